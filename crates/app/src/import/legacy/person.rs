//! People: those whom the log-in knew (`agents`), those it did not (`users` with their places), and owners by name.

use super::{is_off, is_on, place, text};
use crate::import::record::{Member, Person, Records};
use crate::import::report::Report;
use agenstack_core::org::email_address;
use agenstack_store::StoreError;
use agenstack_store::legacy::shape::{AGENTS, MEMBERS, USERS};
use agenstack_store::legacy::{Legacy, LegacyRow};
use std::collections::{BTreeSet, HashMap, HashSet};

/// What an administrator is called who came with the installation, before the `@`.
const SEEDED: &[&str] = &["admin", "administrator", "superadmin", "super-admin", "root"];
/// Where such a one lives: the product's own names, and domains of nobody.
const NOWHERE: &[&str] =
    &["agenstack", "example", "localhost", "test", "demo", "company", "yourdomain", "domain"];

/// Who has which id, and where they are.
#[derive(Default)]
pub(super) struct People {
    emails: HashMap<String, String>,
    places: HashMap<String, BTreeSet<String>>,
}

impl People {
    /// The one organization of a person; `None` if there is none, or several.
    pub(super) fn only_place(&self, id: &str) -> Option<&str> {
        let places = self.places.get(self.emails.get(id)?)?;
        if places.len() == 1 { places.first().map(String::as_str) } else { None }
    }
}

/// Whether somebody is the administrator who came with the installation: known to whoever has seen its code.
fn is_seeded(email: &str, is_super: bool) -> bool {
    let Some((local, domain)) = email.rsplit_once('@') else { return false };
    let nowhere = domain.split('.').any(|label| NOWHERE.contains(&label));
    SEEDED.contains(&local) && (is_super || nowhere)
}

fn name(row: &LegacyRow) -> String {
    match (row.first(&["name"]), row.get("first_name"), row.get("last_name")) {
        (Some(name), _, _) => name.to_owned(),
        (None, first, last) => format!("{} {}", first.unwrap_or_default(), last.unwrap_or_default()),
    }
}

struct Reading<'a> {
    people: People,
    seeded: HashSet<String>,
    records: &'a mut Records,
    report: &'a mut Report,
}

impl Reading<'_> {
    fn person(&mut self, table: &str, row: &LegacyRow) -> Option<String> {
        let (place, email) = (place(table, row), text(row, "email"));
        let known = email_address(&email).unwrap_or_else(|| email.clone());
        if let Some(id) = row.get("id") {
            self.people.emails.insert(id.to_owned(), known.clone());
        }
        if self.seeded.contains(&known) {
            self.report.skipped(&place, "it is the administrator who came with the installation");
            return None;
        }
        if is_off(row) {
            self.report.skipped(&place, "the account is switched off");
            return None;
        }
        if is_on(row, "is_super_admin") {
            self.report.noted(
                &place,
                "it could do everything at the old platform; here it is a member like any other",
            );
        }
        self.records.people.push(Person { place, email, name: name(row) });
        Some(known)
    }

    fn member(&mut self, place: String, organization: &str, email: String, role: String) {
        self.people.places.entry(email.clone()).or_default().insert(organization.to_owned());
        self.records.members.push(Member { place, organization: organization.to_owned(), email, role });
    }
}

/// Reads all three.
pub(super) async fn read(
    db: &mut Legacy,
    organizations: &[LegacyRow],
    records: &mut Records,
    report: &mut Report,
) -> Result<People, StoreError> {
    let (users, members, agents) =
        (db.rows(&USERS).await?, db.rows(&MEMBERS).await?, db.rows(&AGENTS).await?);
    // The same person may be marked in one table only.
    let seeded = users.iter().chain(&agents).filter_map(|row| {
        let email = email_address(row.get("email")?).or_else(|| row.get("email").map(str::to_lowercase))?;
        is_seeded(&email, is_on(row, "is_super_admin")).then_some(email)
    });
    let mut reading = Reading { people: People::default(), seeded: seeded.collect(), records, report };
    for row in &users {
        let taken = reading.person("users", row);
        if let (Some(email), Some(organization)) = (taken, row.get("organization_id")) {
            reading.member(place("users", row), organization, email, role(row));
        }
    }
    for row in &members {
        let place = format!("organization_users row of user {}", row.get("user_id").unwrap_or("without id"));
        let organization = text(row, "organization_id");
        let email = row.get("user_id").and_then(|id| reading.people.emails.get(id)).cloned();
        match email {
            Some(email) if reading.seeded.contains(&email) => {}
            Some(_) if is_off(row) => reading.report.skipped(&place, "the membership is switched off"),
            Some(email) => reading.member(place, &organization, email, role(row)),
            None => reading.report.skipped(&place, "there is no such user"),
        }
    }
    for row in &agents {
        let taken = reading.person("agents", row);
        if let Some(email) = taken {
            let organization = text(row, "organization_id");
            reading.member(place("agents", row), &organization, email, role(row));
        }
    }
    for row in organizations {
        let Some(owner) = row.get("owner_user_id") else { continue };
        let place = format!("{}, owner_user_id", place("organizations", row));
        match reading.people.emails.get(owner).cloned() {
            Some(email) if reading.seeded.contains(&email) => {
                reading.report.skipped(&place, "it is the administrator who came with the installation");
            }
            Some(email) => reading.member(place, &text(row, "id"), email, "owner".into()),
            None => reading.report.skipped(&place, "there is no such user"),
        }
    }
    Ok(reading.people)
}

/// A row that says nothing lets one look.
fn role(row: &LegacyRow) -> String {
    row.first(&["role"]).unwrap_or("viewer").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_administrator_of_the_installation_is_told_from_that_of_a_shop() {
        assert!(is_seeded("admin@example.com", false) && is_seeded("admin@agenstack.com", false));
        assert!(is_seeded("superadmin@lark.shop", true));
        assert!(!is_seeded("admin@lark.shop", false) && !is_seeded("ana@example.com", true));
    }
}
