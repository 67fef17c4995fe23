//! Seals and opens: one data key for each organization, wrapped by the master key.
//!
//! This room turns plaintext into [`Sealed`](agenstack_core::sealed::Sealed) and back, and nothing else does. It
//! imports only `core`; it knows no database, no provider and no clock, and takes randomness as a value.
//!
//! There are three floors, and each knows only the key above it:
//!
//! 1. [`MasterKey`]: 32 bytes that the operator keeps. It never seals a row; two keys are derived from it.
//! 2. [`DataKey`]: 32 random bytes of one organization, stored wrapped. Destroying the wrapped copy destroys
//!    everything that the organization ever sealed.
//! 3. Sealed values: tokens, payloads, messages, each bound to its organization, table, row and column.
//!
//! Look first at [`Vault`], then at `envelope` for the bytes of a sealed value. Everything that does not open is
//! an error; there is no value that is passed on as it is.

mod data_key;
mod envelope;
mod error;
mod master;
mod material;
mod vault;

pub use data_key::DataKey;
pub use envelope::{key_id_of, master_key_id_of};
pub use error::{KeyError, VaultError};
pub use master::MasterKey;
pub use vault::{Vault, WrappedKey};
