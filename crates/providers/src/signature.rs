//! Signatures of webhooks: read strictly, compared in constant time, before anything is parsed.

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Why a delivery is not believed. The answer to the sender is the same for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No secret is configured; nothing can be believed.
    #[error("no secret is configured")]
    NotConfigured,
    /// The header is absent or empty.
    #[error("the signature is missing")]
    Missing,
    /// The header stands there twice.
    #[error("the signature is repeated")]
    Repeated,
    /// Wrong prefix, alphabet, case, padding or length.
    #[error("the signature has the wrong shape")]
    Shape,
    /// There is no body.
    #[error("the body is empty")]
    EmptyBody,
    /// It is not the signature of this body.
    #[error("the signature does not match")]
    Mismatch,
}

impl SignatureError {
    /// A stable word for logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotConfigured => "not_configured",
            Self::Missing => "missing",
            Self::Repeated => "repeated",
            Self::Shape => "shape",
            Self::EmptyBody => "empty_body",
            Self::Mismatch => "mismatch",
        }
    }
}

/// The only value of a header; absent, empty, repeated and non-ASCII ones are refused.
pub(crate) fn only_header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, SignatureError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(SignatureError::Missing)?;
    if values.next().is_some() {
        return Err(SignatureError::Repeated);
    }
    match value.to_str() {
        Ok("") => Err(SignatureError::Missing),
        Ok(text) => Ok(text),
        Err(_) => Err(SignatureError::Shape),
    }
}

/// 64 lower-case hex digits as bytes.
pub(crate) fn digest_of_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return None;
    }
    let mut out = [0u8; 32];
    hex::decode_to_slice(text, &mut out).ok()?;
    Some(out)
}

/// A MAC under a secret.
pub(crate) fn mac(secret: &SecretString) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.expose_secret().as_bytes()).expect("HMAC takes a key of any length")
}

/// HMAC-SHA256 as bytes.
pub(crate) fn sign(secret: &SecretString, message: &[u8]) -> [u8; 32] {
    let mut mac = mac(secret);
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Whether `tag` is the HMAC-SHA256 of `message`, in constant time. An empty secret signs nothing.
pub(crate) fn is_signed(secret: &SecretString, message: &[u8], tag: &[u8; 32]) -> bool {
    if secret.expose_secret().is_empty() {
        return false;
    }
    let mut mac = mac(secret);
    mac.update(message);
    mac.verify_slice(tag).is_ok()
}

/// The same with several active secrets, newest first (`shopify.md` 2.4).
pub(crate) fn is_signed_by_any<'a>(
    secrets: impl IntoIterator<Item = &'a SecretString>,
    message: &[u8],
    tag: &[u8; 32],
) -> bool {
    secrets.into_iter().any(|secret| is_signed(secret, message, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_only_in_lower_case_and_full_length() {
        assert!(digest_of_hex(&"0a".repeat(32)).is_some());
        for bad in ["0A".repeat(32), "0a".repeat(31), "0a".repeat(33), "0g".repeat(32), "é".repeat(32)] {
            assert!(digest_of_hex(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_empty_secret_signs_nothing() {
        let empty = SecretString::from("");
        assert!(!is_signed(&empty, b"x", &sign(&empty, b"x")));
        let full = SecretString::from("k");
        assert!(is_signed(&full, b"x", &sign(&full, b"x")));
        assert!(is_signed_by_any([&empty, &full], b"x", &sign(&full, b"x")));
    }
}
