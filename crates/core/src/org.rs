//! Organizations, people and memberships.

use crate::clock::Timestamp;
use crate::id::{OrgId, UserId};
use crate::policy::Role;
use serde::Serialize;

/// The tenant.
#[derive(Clone, Debug, Serialize)]
pub struct Organization {
    /// Its id.
    pub id: OrgId,
    /// What its people call it; 1 to 80 characters.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A person who signs in.
#[derive(Clone, Debug, Serialize)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their e-mail address, lower-cased.
    pub email: String,
    /// Their name as they wrote it.
    pub name: String,
}

/// A person's place in an organization. Loaded fresh for each request, so a changed role applies to the next one.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The organization.
    pub organization: Organization,
    /// The person.
    pub user: UserId,
    /// What the person may do there.
    pub role: Role,
}

/// Checks and tidies a display name: surrounding space removed, 1 to 80 characters, no control characters.
pub fn display_name(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = (1..=80).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

/// Checks the shape of an e-mail address and lower-cases it. Whether it exists, only a mail can tell.
pub fn email_address(text: &str) -> Option<String> {
    let text = text.trim();
    let (local, domain) = text.rsplit_once('@')?;
    let ok = !local.is_empty()
        && text.len() <= 254
        && domain.contains('.')
        && !domain.starts_with('.')
        && !domain.ends_with('.')
        && !text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | ',' | ';'))
        && !local.contains('@');
    ok.then(|| text.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_address_is_lower_cased_and_a_misshapen_one_refused() {
        assert_eq!(email_address(" Ana@Example.com "), Some("ana@example.com".into()));
        for bad in [
            "",
            "ana",
            "ana@",
            "@example.com",
            "a b@example.com",
            "a@b@c.de",
            "a@localhost",
            "a@b.",
            "<a@b.c>",
        ] {
            assert_eq!(email_address(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_display_name_has_one_to_eighty_characters() {
        assert_eq!(display_name("  Lark Supply "), Some("Lark Supply".into()));
        assert_eq!(display_name("\u{7}"), None);
        assert_eq!(display_name(" "), None);
        assert_eq!(display_name(&"x".repeat(81)), None);
    }
}
