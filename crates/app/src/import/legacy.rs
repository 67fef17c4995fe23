//! What the rows of the old platform's database mean. Which columns are read, and which are never named, is in the store.
//!
//! Its JSON may be an object, text that holds JSON, or JSON that was encoded twice ([`json`]); one row held what several
//! editors saved ([`bot`]); accounts were written in two shapes and two older tables ([`account`]).

mod account;
mod bot;
mod chats;
mod json;
mod person;

pub(super) use chats::Chats;

use super::plan::is_nobody;
use super::record::{Customer, Org, Records};
use super::report::Report;
use super::{NotImported, Options};
use agenstack_core::clock::Timestamp;
use agenstack_core::org::email_address;
use agenstack_store::legacy::shape::{CUSTOMERS, DELETIONS, LEFT, ORGANIZATIONS};
use agenstack_store::legacy::{Legacy, LegacyRow};
use std::collections::HashSet;

/// Words of a request that nothing more has to be done for.
const DONE: &[&str] = &["completed", "complete", "done", "cancelled", "canceled", "rejected"];

/// The old database.
pub(super) struct Old {
    db: Legacy,
    gone: Gone,
}

/// Customers who asked to be forgotten: nothing of them is taken.
#[derive(Default)]
struct Gone {
    ids: HashSet<String>,
    /// Organization, if it was told, and e-mail address.
    emails: HashSet<(Option<String>, String)>,
}

impl Gone {
    fn has(&self, organization: &str, id: Option<&str>, email: Option<&str>) -> bool {
        let by_email = |email: String| {
            self.emails.contains(&(None, email.clone()))
                || self.emails.contains(&(Some(organization.to_owned()), email))
        };
        id.is_some_and(|id| self.ids.contains(id)) || email.and_then(email_address).is_some_and(by_email)
    }
}

/// Where a row stands, for people.
fn place(table: &str, row: &LegacyRow) -> String {
    format!("{table} row {}", row.get("id").unwrap_or("without id"))
}

fn text(row: &LegacyRow, column: &str) -> String {
    row.get(column).unwrap_or_default().to_owned()
}

/// A time, as the store gives it, or as somebody wrote it into a column of text.
fn time(row: &LegacyRow, columns: &[&str]) -> Option<Timestamp> {
    let text = row.first(columns)?;
    text.parse().ok().map(Timestamp::from_millis).or_else(|| Timestamp::parse_rfc3339(text))
}

/// Whether a row says that it is not in use.
fn is_off(row: &LegacyRow) -> bool {
    matches!(row.get("is_active"), Some("false" | "f" | "0"))
}

fn is_on(row: &LegacyRow, column: &str) -> bool {
    matches!(row.get(column), Some("true" | "t" | "1"))
}

impl Old {
    pub(super) async fn connect(url: &str) -> Result<Self, NotImported> {
        let db = Legacy::connect(url).await.map_err(NotImported::Old)?;
        if !db.has_table(ORGANIZATIONS.table) {
            return Err(NotImported::NotThePlatform);
        }
        Ok(Self { db, gone: Gone::default() })
    }

    /// Everything but conversations.
    pub(super) async fn records(
        &mut self,
        options: &Options,
        report: &mut Report,
    ) -> Result<Records, NotImported> {
        self.read(options, report).await.map_err(NotImported::Old)
    }

    async fn read(
        &mut self,
        options: &Options,
        report: &mut Report,
    ) -> Result<Records, agenstack_store::StoreError> {
        let mut records = Records::default();
        let organizations = self.db.rows(&ORGANIZATIONS).await?;
        records.organizations.extend(organizations.iter().map(|row| Org {
            place: place("organizations", row),
            id: text(row, "id"),
            name: text(row, "name"),
            created_at: time(row, &["created_at"]),
        }));
        let people = person::read(&mut self.db, &organizations, &mut records, report).await?;
        bot::read(&mut self.db, options, &mut records, report).await?;
        self.customers(&mut records, report).await?;
        account::read(&mut self.db, &people, &mut records, report).await?;
        for (table, why) in LEFT {
            for (organization, n) in self.db.count(table).await? {
                if organization.as_deref().is_some_and(is_nobody) {
                    report.quarantined(&format!("{table}, {n} rows"));
                    continue;
                }
                let whose = organization
                    .map_or_else(|| "no organization".to_owned(), |o| format!("organization {o}"));
                report.skipped(&format!("{table} of {whose}"), format!("{n} rows: {why}"));
            }
        }
        Ok(records)
    }

    async fn customers(
        &mut self,
        records: &mut Records,
        report: &mut Report,
    ) -> Result<(), agenstack_store::StoreError> {
        for row in self.db.rows(&DELETIONS).await? {
            let status = row.get("status").unwrap_or_default().to_lowercase();
            if row.get("completed_at").is_some() || DONE.contains(&status.as_str()) {
                continue;
            }
            report.skipped(
                &place("data_deletion_requests", &row),
                "a customer asked to be forgotten, and it is still open: nothing of them is taken; do it at the old platform",
            );
            self.gone.ids.extend(row.get("customer_id").map(str::to_owned));
            let email = row.first(&["email", "customer_email"]).and_then(email_address);
            let organization = row.get("organization_id").map(str::to_owned);
            self.gone.emails.extend(email.map(|email| (organization, email)));
        }
        for row in self.db.rows(&CUSTOMERS).await? {
            let organization = text(&row, "organization_id");
            if self.gone.has(&organization, row.get("id"), row.get("email")) {
                self.gone.ids.extend(row.get("id").map(str::to_owned));
                let email = row.get("email").and_then(email_address);
                self.gone.emails.extend(email.map(|email| (Some(organization), email)));
                continue;
            }
            records.customers.push(Customer {
                place: place("customers", &row),
                organization,
                id: text(&row, "id"),
                name: row.first(&["name"]).map(str::to_owned),
                email: row.first(&["email"]).map(str::to_owned),
            });
        }
        Ok(())
    }

    /// Goes on with the conversations.
    pub(super) async fn chats(self) -> Result<Chats, NotImported> {
        Chats::open(self.db, self.gone).await.map_err(NotImported::Old)
    }
}
