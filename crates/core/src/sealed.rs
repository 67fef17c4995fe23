//! Ciphertext, as every room may carry it. Only `vault` opens it.

use std::fmt;

/// A sealed value: version, algorithm, key id, nonce, ciphertext. Bound to its organization, table, row and column.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Takes bytes as they were stored; whether they open is for the vault to say.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// The bytes to store, given away.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// Where a sealed value lives. It opens nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Table name, such as `integrations`.
    pub table: &'a str,
    /// Primary key of the row.
    pub row: &'a str,
    /// Column name, such as `access_token`.
    pub column: &'a str,
}
