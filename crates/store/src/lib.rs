//! All SQL, one body for SQLite and PostgreSQL.
//!
//! Rows of a tenant are reached through [`TenantTx`], which needs an [`agenstack_core::ctx::OrgCtx`] and binds the
//! organization id itself. What crosses tenants (log-in, routing, accepting, leasing) is in [`global`], a short
//! list that a reviewer reads whole. Sealed values pass through as bytes: this crate cannot open them.
//!
//! May import `core` only. Look first at [`db`]: pools, transactions and the two walls.

mod backup;
mod checkpoint;
mod clock;
pub mod db;
pub mod error;
pub mod global;
pub mod legacy;
pub mod notice;
pub mod schema;
pub mod scrub;
pub mod statement;
pub mod tenant;
#[cfg(feature = "testing")]
pub mod testing;
mod writer;

pub use db::{GlobalTx, Store, TenantTx};
pub use error::StoreError;
pub use writer::Held;
