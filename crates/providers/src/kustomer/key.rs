//! What a JSON web token of Kustomer says.
//!
//! An API key (`kustomer.md` 1.3) can be checked by nobody but Kustomer, so that its claims are a hint: they spot a
//! wrong paste before anything is sent, and prove nothing. An app's token (1.4) is signed with the app's own secret
//! and is proof.

use crate::json;
use crate::signature::is_signed;
use agenstack_core::clock::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// Longer texts are not tokens.
const MOST_BYTES: usize = 16 * 1024;

/// The claims that matter. Unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyClaims {
    /// The account's id: 24 hex digits.
    pub org_id: String,
    /// The account's name, which is its subdomain.
    pub org_name: Option<String>,
    /// When the key ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// What it may do.
    pub roles: Vec<String>,
    /// Whom it acts as.
    pub user_id: Option<String>,
    /// `machine`, `user` or `limited`.
    pub user_type: Option<String>,
}

/// Why a key is not even tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// Not three parts with JSON in the middle.
    #[error("this is not a Kustomer API key")]
    NotAKey,
    /// It names no account.
    #[error("the key names no account")]
    NoOrg,
    /// It has ended.
    #[error("the key has expired")]
    Expired,
    /// Made for browsers and devices.
    #[error("the key is a chat key")]
    ChatKey,
}

impl KeyRefusal {
    /// A stable word for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotAKey => "key_unreadable",
            Self::NoOrg => "key_without_org",
            Self::Expired => "key_expired",
            Self::ChatKey => "key_for_chat",
        }
    }

    /// One plain sentence for people, with the remedy.
    pub const fn plain(self) -> &'static str {
        match self {
            Self::NotAKey | Self::NoOrg => {
                "This is not a Kustomer API key. Copy the whole key that Kustomer shows once when it is made, under Settings, Security, API Keys."
            }
            Self::Expired => {
                "This API key has expired. Make a new one in Kustomer, with no expiry or a later one."
            }
            Self::ChatKey => {
                "This is a chat key (its only role is org.tracking), which cannot read or write conversations. Make a key with the roles listed here."
            }
        }
    }
}

/// The key as it is sent: without space around it and without an accidental `Bearer `.
pub fn tidy_key(key: &SecretString) -> SecretString {
    let text = key.expose_secret().trim();
    let bare = match text.split_at_checked(7) {
        Some((word, rest)) if word.eq_ignore_ascii_case("bearer ") => rest.trim(),
        _ => text,
    };
    SecretString::from(bare.to_owned())
}

/// Reads the claims, and refuses what cannot work (`kustomer.md` 1.6, mode A, step 2).
pub fn check_key_claims(key: &SecretString, now: Timestamp) -> Result<KeyClaims, KeyRefusal> {
    let claims = read(tidy_key(key).expose_secret()).ok_or(KeyRefusal::NotAKey)?;
    let org_id = json::text(&claims, "/org").ok_or(KeyRefusal::NoOrg)?;
    let expires_at = claims.get("exp").and_then(json::integer).map(Timestamp::from_secs);
    if expires_at.is_some_and(|at| at <= now) {
        return Err(KeyRefusal::Expired);
    }
    let roles = json::strings(&claims, "/roles");
    if !roles.is_empty() && roles.iter().all(|r| r == "org.tracking") {
        return Err(KeyRefusal::ChatKey);
    }
    let user_id = ["/user", "/id", "/sub"].iter().find_map(|p| json::text(&claims, p));
    Ok(KeyClaims {
        org_id,
        org_name: json::text(&claims, "/orgName"),
        expires_at,
        roles,
        user_id,
        user_type: json::text(&claims, "/userType"),
    })
}

/// Proves an app's token and gives the app's name and version (`kustomer.md` 1.4): the JWT that the apps platform
/// puts into `x-kustomer-app-token` of lifecycle callbacks and commands. HS256 under the app's client secret and
/// nothing else; an end, where one is named, must be to come.
pub fn verify_app_token(
    token: &str,
    client_secret: &SecretString,
    now: Timestamp,
) -> Option<(String, String)> {
    let (signed, signature) = token.rsplit_once('.').filter(|_| token.len() <= MOST_BYTES)?;
    let tag: [u8; 32] = URL_SAFE_NO_PAD.decode(signature).ok()?.try_into().ok()?;
    if !is_signed(client_secret, signed.as_bytes(), &tag) {
        return None;
    }
    let (head, _) = signed.split_once('.')?;
    let head = json::parse(&URL_SAFE_NO_PAD.decode(head).ok()?).ok()?;
    if head.get("alg").and_then(Value::as_str) != Some("HS256") {
        return None;
    }
    let claims = read(token)?;
    // An end that is no number is not "no end".
    let is_alive = claims.get("exp").is_none_or(|exp| {
        exp.is_number() && json::integer(exp).is_some_and(|secs| Timestamp::from_secs(secs) > now)
    });
    if !is_alive {
        return None;
    }
    Some((json::text(&claims, "/app")?, json::text(&claims, "/version")?))
}

/// The middle of a JWT, if the text is one.
fn read(text: &str) -> Option<Value> {
    if text.len() > MOST_BYTES {
        return None;
    }
    let mut parts = text.split('.');
    let (head, middle, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok().filter(|bytes| !bytes.is_empty());
    if parts.next().is_some() || decode(head).is_none() || decode(signature).is_none() {
        return None;
    }
    json::parse(&decode(middle)?).ok().filter(Value::is_object)
}
