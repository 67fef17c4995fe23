//! What is read of the old database: tables and columns, and nothing else. A table may have fewer columns than stand here.

/// A table, and what is read of it.
#[derive(Debug)]
pub struct Shape {
    /// Its name.
    pub table: &'static str,
    /// The columns; those that it lacks read as NULL.
    pub columns: &'static [&'static str],
    /// The columns by which rows are ordered, as far as they are there.
    pub order: &'static [&'static str],
}

macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident = $table:literal by $order:tt: $columns:tt;)*) => {
        $($(#[$doc])* pub static $name: Shape = Shape { table: $table, columns: &$columns, order: &$order };)*
        /// All of them.
        pub static ALL: &[&Shape] = &[$(&$name),*];
    };
}

shapes! {
    /// The tenants.
    ORGANIZATIONS = "organizations" by ["id"]: ["id", "name", "owner_user_id", "created_at"];
    /// People.
    USERS = "users" by ["id"]: ["id", "email", "name", "first_name", "last_name", "is_super_admin", "organization_id", "role", "is_active"];
    /// Their places in organizations.
    MEMBERS = "organization_users" by ["organization_id", "user_id"]: ["organization_id", "user_id", "role", "is_active"];
    /// People again, as the log-in knew them.
    AGENTS = "agents" by ["id"]: ["id", "organization_id", "email", "name", "role", "is_active", "is_super_admin"];
    /// What the bots were told.
    BOTS = "bot_configs" by ["id"]: ["id", "organization_id", "name", "personality", "instructions", "greeting_message", "fallback_message",
        "settings", "is_active", "created_at"];
    /// What they knew, beside what stands in their settings.
    KNOWLEDGE = "knowledge_base" by ["id"]: ["id", "organization_id", "bot_config_id", "title", "content", "category", "tags", "is_active"];
    /// The customers of the organizations.
    CUSTOMERS = "customers" by ["id"]: ["id", "organization_id", "email", "name"];
    /// Customers who asked to be forgotten.
    DELETIONS = "data_deletion_requests" by ["id"]: ["id", "organization_id", "customer_id", "email", "customer_email", "status", "completed_at"];
    /// Conversations.
    CONVERSATIONS = "conversations" by ["id"]: ["id", "organization_id", "customer_id", "customer_email", "customer_name", "channel",
        "started_at", "created_at"];
    /// What was said in them, one conversation after the other.
    MESSAGES = "messages" by ["conversation_id", "created_at", "id"]: ["id", "conversation_id", "sender_type", "content", "created_at"];
    /// Connected accounts, in either shape.
    INTEGRATIONS = "integrations" by ["organization_id", "id"]: ["id", "organization_id", "integration_id", "provider", "status", "config",
        "account_identifier", "connected_at", "created_at"];
    /// Shops, by person.
    SHOPS = "shopify_connections" by ["id"]: ["id", "organization_id", "user_id", "shop_domain", "shop", "store_url", "store_name", "status",
        "is_active", "connected_at", "created_at"];
    /// Help desks, by person.
    DESKS = "user_kustomer_connections" by ["id"]: ["id", "organization_id", "user_id", "subdomain", "kustomer_subdomain", "org_name", "status",
        "is_active", "connected_at", "created_at"];
}

/// Tables of which only the number of rows is told, and why they are not taken.
pub static LEFT: &[(&str, &str)] = &[
    ("proactive_triggers", "the bot writes to nobody first here"),
    ("engagement_rules", "the bot writes to nobody first here"),
    ("widget_configs", "there is no widget here"),
    ("custom_forms", "there are no forms here"),
    ("form_submissions", "there are no forms here"),
    ("customer_visits", "visits are not followed here"),
    ("customer_notes", "there are no notes on customers here"),
    ("customer_consent", "nobody is written to here who did not write first"),
    ("analytics_events", "numbers are made anew from what happens here"),
    ("organization_subscriptions", "there are no plans here"),
    ("organization_addons", "there are no plans here"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_column_that_lets_somebody_in_is_ever_named() {
        for shape in ALL {
            for column in shape.columns {
                for word in ["token", "password", "secret", "credential", "key", "hash", "encrypt"] {
                    assert!(!column.contains(word), "{}.{column}", shape.table);
                }
            }
        }
    }
}
