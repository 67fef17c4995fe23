//! What a provider hands over when someone authorizes.

use agenstack_core::clock::Timestamp;
use secrecy::SecretString;

/// Tokens and their ends. `Debug` shows no token.
#[derive(Clone, Debug)]
pub struct TokenGrant {
    /// The token to call with.
    pub access_token: SecretString,
    /// The token to renew with, where the provider has such.
    pub refresh_token: Option<SecretString>,
    /// What was granted, as the provider lists it; empty where its answer does not say.
    pub scopes: Vec<String>,
    /// When the access token ends; `None`: it has no end of its own.
    pub expires_at: Option<Timestamp>,
    /// When the refresh token ends; `None`: not said.
    pub refresh_expires_at: Option<Timestamp>,
}

/// The longest life we believe; a larger number is a mistake or an attempt to overflow.
const LONGEST_SECS: i64 = 10 * 366 * 86_400;

/// The end of something that lives `secs` from `now`.
pub(crate) fn end(now: Timestamp, secs: Option<i64>) -> Option<Timestamp> {
    secs.map(|s| now.plus_secs(s.clamp(0, LONGEST_SECS)))
}

/// A token as text, or nothing if it is empty.
pub(crate) fn secret(text: Option<String>) -> Option<SecretString> {
    text.filter(|t| !t.is_empty()).map(SecretString::from)
}
