//! Finds what still ties a code base to a single customer.
//!
//! The room of `agenstack scan`, and of the rules that it shares with the refusal at the start of a server. It imports
//! none of ours, and only `cli` imports it: what it needs to walk trees and read repositories stays off the path of daily
//! edits.
//!
//! Look first at `rules.toml`, where every rule stands with its examples; then at `look.rs`, which applies them to a file.

mod baseline;
mod credential;
mod customer;
mod env;
mod finding;
pub mod format;
mod history;
mod kind;
mod look;
mod mask;
pub mod name;
mod report;
mod rule;
mod source;
mod text;
mod value;
mod walk;

pub use baseline::Baseline;
pub use credential::{credential_in, is_credential_name};
pub use finding::{Category, Finding, FingerprintKey, Severity};
pub use name::{Names, RenamedName, TenantName};
pub use report::{Report, Step, Summary, Unread};
pub use walk::{Event, Options, scan};

use std::path::PathBuf;

/// Why nothing was scanned.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// There is nothing there.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// Not a glob.
    #[error("not a pattern for files: {0}")]
    Glob(String),
    /// A name that would match everything.
    #[error("the customer's name {0:?} is too short to be told from other words")]
    Customer(String),
    /// No repository, or a broken one.
    #[error("the history cannot be read: {0}")]
    History(String),
    /// No baseline, or of another kind.
    #[error("the baseline cannot be used: {0}")]
    Baseline(String),
}

#[cfg(test)]
mod tests;
