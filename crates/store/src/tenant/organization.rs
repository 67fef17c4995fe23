//! The organization itself.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::org::Organization;

/// Some rows of the organization in one table.
macro_rules! erase {
    ($table:literal, $key:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE organization_id = $1 AND ",
            $key,
            " IN (SELECT ",
            $key,
            " FROM ",
            $table,
            " WHERE organization_id = $1 LIMIT $2)"
        )
    };
}

statements! { Tenant;
    ERASE_JOBS = erase!("jobs", "id");
    ERASE_MESSAGES = erase!("messages", "id");
    ERASE_CONVERSATIONS = erase!("conversations", "id");
    ERASE_CONTACTS = erase!("contacts", "id");
    ERASE_EVENTS = erase!("events", "id");
    ERASE_EVENT_HISTORY = erase!("event_history", "event_id");
    ERASE_PRIVACY_REQUESTS = erase!("privacy_requests", "id");
    ERASE_OUTBOX = erase!("outbox", "id");
    ERASE_FAREWELLS = erase!("farewells", "id");
    ERASE_REPLAYS = erase!("replays", "id");
    ERASE_TRANSFERS = erase!("transfers", "id");
    ERASE_INTEGRATION_HISTORY = erase!("integration_history", "id");
    ERASE_AUDIT = erase!("audit", "id");
    ERASE_PAGE_OFFERS = erase!("page_offers", "page_id");
    ERASE_OAUTH_FLOWS = erase!("oauth_flows", "id");
    ERASE_FORMER_ACCOUNTS = erase!("former_accounts", "account");
    ERASE_IMPORTED_SETTINGS = erase!("imported_settings", "id");
    ERASE_INTEGRATIONS = erase!("integrations", "id");
    ORGANIZATION_GET = "SELECT id AS organization_id, name, created_at FROM organizations WHERE id = $1";
}

/// Every table that holds rows of an organization, what is worked on first.
const ERASE: &[&str] = &[
    ERASE_JOBS,
    ERASE_MESSAGES,
    ERASE_CONVERSATIONS,
    ERASE_CONTACTS,
    // No event comes in any more when there is no connection.
    ERASE_INTEGRATIONS,
    ERASE_EVENTS,
    ERASE_EVENT_HISTORY,
    ERASE_PRIVACY_REQUESTS,
    ERASE_OUTBOX,
    ERASE_FAREWELLS,
    ERASE_REPLAYS,
    ERASE_TRANSFERS,
    ERASE_INTEGRATION_HISTORY,
    ERASE_AUDIT,
    ERASE_PAGE_OFFERS,
    ERASE_OAUTH_FLOWS,
    ERASE_FORMER_ACCOUNTS,
    ERASE_IMPORTED_SETTINGS,
];

impl TenantTx {
    /// Deletes up to `limit` rows of the organization, and gives how many. 0: nothing is left but the organization itself.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn organization_erase(&mut self, limit: i64) -> Result<u64, StoreError> {
        for sql in ERASE {
            let n = execute!(self, *sql, self.org.as_str(), limit)?;
            if n > 0 {
                return Ok(n);
            }
        }
        Ok(0)
    }

    /// The organization of this transaction.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it was deleted meanwhile.
    pub async fn organization_get(&mut self) -> Result<Organization, StoreError> {
        let row = rows!(fetch_optional, self, (String, String, i64), ORGANIZATION_GET, self.org.as_str())?;
        let (_, name, at) = row.ok_or(StoreError::NotFound("organization"))?;
        Ok(Organization { id: self.org.clone(), name, created_at: Timestamp::from_millis(at) })
    }
}
