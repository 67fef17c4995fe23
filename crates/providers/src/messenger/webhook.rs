//! Proving what Meta sends us (`messenger.md` 1.11, 2.1, 2.3). Reading it is in `event`.

use super::{MessagingEvent, Messenger, event};
use crate::json::{self, NotJson};
use crate::query::Query;
use crate::signature::{SignatureError, digest_of_hex, is_signed, only_header};
use agenstack_core::clock::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The check of our callback address was not answered. Deliberately says no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the challenge is refused")]
pub struct ChallengeRefused;

/// The content of a deauthorize or data deletion callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRequest {
    /// App-scoped id of the person who connected; may match several organizations, never a customer.
    pub user_id: String,
    /// When Meta signed.
    pub issued_at: Option<Timestamp>,
}

/// A signed request that is not believed. Deliberately says no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signed request is refused")]
pub struct SignedRequestError;

impl Messenger {
    /// Proves that Meta signed these bytes (`messenger.md` 2.3). Only the SHA-256 header counts. Proves "Meta",
    /// never which Page.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), SignatureError> {
        if self.app.app_secret.expose_secret().is_empty() {
            return Err(SignatureError::NotConfigured);
        }
        let text = only_header(headers, "x-hub-signature-256")?;
        let tag = text.strip_prefix("sha256=").and_then(digest_of_hex).ok_or(SignatureError::Shape)?;
        if body.is_empty() {
            return Err(SignatureError::EmptyBody);
        }
        if is_signed(&self.app.app_secret, body, &tag) { Ok(()) } else { Err(SignatureError::Mismatch) }
    }

    /// The body to answer Meta's check with (`messenger.md` 2.1), as plain text; else 403.
    pub fn challenge(&self, raw_query: &str) -> Result<String, ChallengeRefused> {
        let query = Query::parse(raw_query).map_err(|_| ChallengeRefused)?;
        let ours = self.app.verify_token.expose_secret();
        let theirs = query.get("hub.verify_token").unwrap_or_default();
        // Digests, so that not even the length is compared early.
        let same = Sha256::digest(ours).ct_eq(&Sha256::digest(theirs));
        let challenge = query.get("hub.challenge").unwrap_or_default();
        // It is echoed, so it may only be a word.
        let is_word = (1..=256).contains(&challenge.len())
            && challenge.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        if bool::from(same) && !ours.is_empty() && query.get("hub.mode") == Some("subscribe") && is_word {
            Ok(challenge.to_owned())
        } else {
            Err(ChallengeRefused)
        }
    }

    /// Reads a delivery after [`Messenger::verify`]: all events of all Pages in it, one by one. What is not an
    /// event of a Page (feed changes, Instagram) gives nothing, and is to be acknowledged all the same.
    pub fn parse(&self, body: &[u8]) -> Result<Vec<MessagingEvent>, NotJson> {
        Ok(event::read(&json::parse(body)?))
    }

    /// Proves and reads `signed_request` (`messenger.md` 1.11, in that order of checks).
    pub fn signed_request(&self, text: &str) -> Result<SignedRequest, SignedRequestError> {
        let (signature, payload) = text.split_once('.').ok_or(SignedRequestError)?;
        if signature.is_empty() || payload.is_empty() || text.len() > 8 * 1024 {
            return Err(SignedRequestError);
        }
        let tag: Option<[u8; 32]> =
            URL_SAFE_NO_PAD.decode(signature).ok().and_then(|bytes| bytes.try_into().ok());
        // The signature is over the text of the second part, not over what it decodes to.
        if !tag.is_some_and(|tag| is_signed(&self.app.app_secret, payload.as_bytes(), &tag)) {
            return Err(SignedRequestError);
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| SignedRequestError)?;
        let payload = json::parse(&payload).map_err(|_| SignedRequestError)?;
        if payload.get("algorithm").and_then(Value::as_str) != Some("HMAC-SHA256") {
            return Err(SignedRequestError);
        }
        Ok(SignedRequest {
            user_id: json::text(&payload, "/user_id").ok_or(SignedRequestError)?,
            issued_at: payload.get("issued_at").and_then(json::integer).map(Timestamp::from_secs),
        })
    }
}
