//! What an import tells: what was taken, what was there, and each row that was not taken, with the reason.

use serde::Serialize;
use std::collections::BTreeMap;

/// How many of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// New here; in a dry run, what would be.
    pub taken: u64,
    /// There from an earlier run.
    pub already_there: u64,
}

impl Count {
    pub(super) fn add(&mut self, is_new: bool) {
        *(if is_new { &mut self.taken } else { &mut self.already_there }) += 1;
    }
}

/// The kinds, in the order in which they are taken.
pub const KINDS: &[&str] =
    &["members", "accounts", "bots", "knowledge", "customers", "conversations", "messages"];

/// One organization.
#[derive(Clone, Debug, Serialize)]
pub struct OrgLine {
    /// Its id at the old platform.
    pub source_id: String,
    /// Its name.
    pub name: String,
    /// Its id here; none if a dry run would make it.
    pub id: Option<String>,
    /// Whether it is new.
    pub is_new: bool,
    /// How much of each kind.
    pub counts: BTreeMap<&'static str, Count>,
}

/// What became of a row that was not simply taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It belongs to nobody in particular, and is given to nobody.
    Quarantined,
    /// It holds a credential, or claims what somebody else claims as well.
    Refused,
    /// There is nothing here that could hold it, or it is not in use.
    Skipped,
    /// It was taken, and somebody should know how.
    Noted,
}

impl Outcome {
    /// The word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quarantined => "quarantined",
            Self::Refused => "refused",
            Self::Skipped => "skipped",
            Self::Noted => "noted",
        }
    }
}

/// A row that was not simply taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowLine {
    /// What became of it.
    pub outcome: Outcome,
    /// Where it stood.
    pub place: String,
    /// Why. Never with a value that might be a credential.
    pub reason: String,
}

/// The whole.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Nothing was written.
    pub dry_run: bool,
    /// The organizations.
    pub organizations: Vec<OrgLine>,
    /// People with an account: new ones cannot log in before they have chosen a password.
    pub people: Count,
    /// Mails with a link to choose one.
    pub mails: u64,
    /// Everything that was not simply taken.
    pub rows: Vec<RowLine>,
}

impl Report {
    pub(super) fn row(&mut self, outcome: Outcome, place: &str, reason: impl Into<String>) {
        self.rows.push(RowLine { outcome, place: place.to_owned(), reason: reason.into() });
    }

    pub(super) fn skipped(&mut self, place: &str, reason: impl Into<String>) {
        self.row(Outcome::Skipped, place, reason);
    }

    pub(super) fn noted(&mut self, place: &str, reason: impl Into<String>) {
        self.row(Outcome::Noted, place, reason);
    }

    pub(super) fn refused(&mut self, place: &str, reason: impl Into<String>) {
        self.row(Outcome::Refused, place, reason);
    }

    pub(super) fn quarantined(&mut self, place: &str) {
        let reason = "it belongs to the organization that stands for nobody in particular";
        self.row(Outcome::Quarantined, place, reason);
    }

    /// The line of an organization.
    pub(super) fn org(&mut self, source_id: &str) -> &mut OrgLine {
        let at = self.organizations.iter().position(|o| o.source_id == source_id);
        let at = at.expect("an organization has its line before anything of it is taken");
        &mut self.organizations[at]
    }

    pub(super) fn count(&mut self, source_id: &str, kind: &'static str, is_new: bool) {
        self.org(source_id).counts.entry(kind).or_default().add(is_new);
    }
}
