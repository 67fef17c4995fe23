//! What can be wrong with a key or with a sealed value. No text here carries a byte of either.

use thiserror::Error;

/// Why a master key was refused. Each text says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Nothing was given.
    #[error("the master key is empty; make one with `agenstack keys generate`")]
    Empty,
    /// Not the text that `keys generate` prints.
    #[error(
        "the master key is not standard base64 with padding; copy the whole line that `agenstack keys generate` prints"
    )]
    NotBase64,
    /// Too few bytes. A passphrase is not stretched into a key.
    #[error(
        "the master key has {bytes} bytes and needs exactly 32; a passphrase will not do, make a key with `agenstack keys generate`"
    )]
    TooShort {
        /// How many there were.
        bytes: usize,
    },
    /// Too many bytes. Cutting the rest away would hide a mistake.
    #[error("the master key has more than the 32 bytes it needs; make one with `agenstack keys generate`")]
    TooLong,
    /// One byte, 32 times: a placeholder.
    #[error(
        "the master key repeats one byte and is no secret; make a random one with `agenstack keys generate`"
    )]
    NotRandom,
}

/// Why a value did not open.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The bytes are not a sealed value, plain text for instance. They are not passed on.
    #[error("the value is not sealed")]
    NotSealed,
    /// Sealed by a format that this version does not know.
    #[error("the value is sealed in format version {0}, which this version of agenstack does not know")]
    UnknownVersion(u8),
    /// Sealed by an algorithm that this version does not know.
    #[error("the value is sealed with algorithm {0}, which this version of agenstack does not know")]
    UnknownAlgorithm(u8),
    /// Wrapped by a master key that was not given.
    #[error(
        "the value needs the master key {0}, which was not given; set it as AGENSTACK_MASTER_KEY or, during a rotation, as AGENSTACK_MASTER_KEY_PREVIOUS"
    )]
    UnknownMasterKey(String),
    /// Another key, another place, or changed bytes. Which of these is not told apart.
    #[error("the value does not open: it was changed, moved, or sealed with another key")]
    DoesNotOpen,
}
