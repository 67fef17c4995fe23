//! Finds what still ties a code base to a single customer.
//!
//! The room of `agenstack scan`, and of the rules that it shares with the refusal at the start of a server. It imports
//! none of ours, and only `cli` imports it: what it needs to walk trees and read repositories stays off the path of daily
//! edits.
//!
//! Look first at `rules.toml`, where every rule stands with its examples.

pub mod name;

pub use name::{Names, RenamedName, TenantName};
