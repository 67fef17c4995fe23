//! Which of the roles we need a credential has (`kustomer.md` 1.3). What it claims is a hint: one role may stand for
//! many, and older names still work. What a live read says counts more.

use super::SCOPES;

/// The roles we need that none of the granted ones covers. Nothing if the granted words are no roles at all.
pub(super) fn uncovered(granted: &[String]) -> Vec<&'static str> {
    let tells = granted.iter().any(|g| g == "org" || g.starts_with("org."));
    let needed = SCOPES.iter().copied().filter(|role| role.starts_with("org.") && tells);
    needed.filter(|role| !granted.iter().any(|g| covers(g, role))).collect()
}

/// Whether a granted role is the needed one, lies above it, or is its older name.
fn covers(granted: &str, role: &str) -> bool {
    let is_above = |lower: &str| {
        lower == granted || lower.strip_prefix(granted).is_some_and(|rest| rest.starts_with('.'))
    };
    let Some((what, deed)) = role.strip_prefix("org.permission.").and_then(|r| r.split_once('.')) else {
        return is_above(role);
    };
    let old_deed = if deed == "read" { "read" } else { "write" };
    is_above(role)
        || granted == "org.admin"
        || is_above(&format!("org.user.{what}.{old_deed}"))
        || (what == "outbound_webhook"
            && matches!(granted, "org.outbound_webhooks" | "org.admin.outbound_webhooks"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking(granted: &[&str]) -> Vec<&'static str> {
        uncovered(&granted.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_role_covers_what_lies_below_it_and_older_names_count() {
        assert!(lacking(&["org.permission"]).is_empty());
        assert!(lacking(&["org"]).is_empty());
        assert!(lacking(&["org.user", "org.outbound_webhooks"]).is_empty());
        assert!(lacking(SCOPES).is_empty());
        let left =
            lacking(&["org.user.customer.read", "org.permission.conversation", "org.user.message.write"]);
        assert!(!left.contains(&"org.permission.customer.read"));
        assert!(left.contains(&"org.permission.customer.create"));
        assert!(!left.contains(&"org.permission.conversation.update"));
        assert!(
            left.contains(&"org.permission.message.read") && !left.contains(&"org.permission.message.create")
        );
        assert!(left.contains(&"org.permission.outbound_webhook.create"));
    }

    #[test]
    fn words_that_are_no_roles_say_nothing() {
        assert!(lacking(&[]).is_empty());
        assert!(lacking(&["offline_access", "openid"]).is_empty());
        assert_eq!(lacking(&["org.permission.customers"]).len(), SCOPES.len() - 1);
    }
}
