//! Takes over what an older platform held: organizations, people, bots, knowledge, conversations, and which accounts were
//! connected. Never a credential.
//!
//! Two readers, [`from_lines`] and [`from_database`], give the same records; from there on nothing depends on where they came
//! from. Everything is found again by the name it came under, so that a repeat changes nothing and one that was killed is
//! simply run again. A dry run goes the same way and undoes each transaction.
//!
//! Look first at `plan`, where the rules are, then at `apply`.

mod apply;
pub mod brought;
mod chat;
mod legacy;
mod lines;
mod plan;
mod record;
pub mod report;

pub use lines::Mistake;
pub use report::{Outcome, Report};

use crate::App;
use crate::error::AppError;
use agenstack_store::StoreError;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeSet;
use std::io::BufRead;

/// How a credential is recognised. Whoever calls this knows the rules of `agenstack scan`.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// What kind of credential a text holds, if its shape tells.
    pub shape: fn(&str) -> Option<&'static str>,
    /// Whether a field of this name holds one.
    pub name: fn(&str) -> bool,
}

/// How an import is to be done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Tells one old platform from another: ids are unique only within one.
    pub source: String,
    /// Write nothing.
    pub dry_run: bool,
    /// Write to people who have no password yet.
    pub mails: bool,
    /// People who are left out, by e-mail address in small letters.
    pub skip_users: BTreeSet<String>,
    /// Organizations that are left out, by their id at the old platform.
    pub skip_organizations: BTreeSet<String>,
    /// How a credential is recognised.
    pub check: Check,
}

/// Why nothing, or not everything, was imported.
#[derive(Debug, thiserror::Error)]
pub enum NotImported {
    /// The file says what cannot be read. Nothing was written.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Lines(Vec<Mistake>),
    /// The file cannot be read.
    #[error("the file cannot be read")]
    File(#[source] std::io::Error),
    /// The old database cannot be read, or is not one.
    #[error("the old database cannot be read")]
    Old(#[source] StoreError),
    /// It is a database, and not that of the old platform.
    #[error("there is no table `organizations` in the old database's schema `public`")]
    NotThePlatform,
    /// Our own database could not be written. What was committed stays; run it again.
    #[error("not everything was imported; run it again, and it goes on where it stopped")]
    App(#[from] AppError),
}

impl From<StoreError> for NotImported {
    fn from(error: StoreError) -> Self {
        Self::App(error.into())
    }
}

/// From JSON lines.
///
/// # Errors
/// Names every line and field that cannot be read; then nothing was written.
pub async fn from_lines(
    app: &App,
    from: &mut (dyn BufRead + Send),
    options: &Options,
) -> Result<Report, NotImported> {
    let (records, chats) = lines::read(from, &options.check)?;
    let mut report = Report { dry_run: options.dry_run, ..Report::default() };
    let plan = plan::plan(records, options, &mut report);
    let chats = chat::Chats::Read(chats.into_iter());
    apply::apply(app, plan, chats, options, report).await
}

/// From the old platform's database, which is only read.
///
/// # Errors
/// If it cannot be read, or our own cannot be written.
pub async fn from_database(app: &App, url: &SecretString, options: &Options) -> Result<Report, NotImported> {
    let mut report = Report { dry_run: options.dry_run, ..Report::default() };
    let mut old = legacy::Old::connect(url.expose_secret()).await?;
    let records = old.records(options, &mut report).await?;
    let plan = plan::plan(records, options, &mut report);
    let chats = chat::Chats::Legacy(Box::new(old.chats().await?));
    apply::apply(app, plan, chats, options, report).await
}
