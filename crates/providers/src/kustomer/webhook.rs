//! Proving and reading what an account sends us (`kustomer.md` 3.2, 3.3).

use super::{Direction, Kustomer};
use crate::json;
use crate::signature::{SignatureError, digest_of_hex, is_signed, only_header};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// One event of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KustomerEvent {
    /// Equal for repeats of one event.
    pub id: String,
    /// `kustomer.message.create` and so on.
    pub name: String,
    /// The account's id; has to be the connection's.
    pub org: String,
    /// The conversation it concerns.
    pub conversation_id: Option<String>,
    /// The customer it concerns.
    pub customer_id: Option<String>,
    /// The resource it is about.
    pub data_id: String,
    /// Of a message only.
    pub direction: Option<Direction>,
    /// Who made it, or changed it.
    pub author_user_id: Option<String>,
    /// What a message says; untrusted.
    pub text: Option<String>,
    /// The id that its writer gave it.
    pub external_id: Option<String>,
    /// The label of the system that wrote it.
    pub app: Option<String>,
    /// Of a conversation: `open`, `snoozed` or `done`.
    pub status: Option<String>,
}

impl Kustomer {
    /// Proves that this connection's webhook sent these bytes (`kustomer.md` 3.2): its own secret, and no other.
    pub fn verify(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        secret: &SecretString,
    ) -> Result<(), SignatureError> {
        if secret.expose_secret().is_empty() {
            return Err(SignatureError::NotConfigured);
        }
        let text = only_header(headers, "x-kustomer-webhook-signature")?;
        let tag = digest_of_hex(text).ok_or(SignatureError::Shape)?;
        if body.is_empty() {
            return Err(SignatureError::EmptyBody);
        }
        if is_signed(secret, body, &tag) { Ok(()) } else { Err(SignatureError::Mismatch) }
    }

    /// Reads an event after [`Kustomer::verify`]; `None` for what has not the shape of one.
    pub fn parse_event(&self, body: &Value) -> Option<KustomerEvent> {
        let name = json::text(body, "/name")?;
        let mut words = name.split('.').skip(1);
        let (about, deed) = (words.next()?, words.next()?);
        let related = |what: &str| json::id(body, &format!("/data/relationships/{what}/data/id"));
        let attribute = |what: &str| json::text(body, &format!("/data/attributes/{what}"));
        let data_id = json::id(body, "/data/id").or_else(|| json::id(body, "/dataId"))?;
        let own = |what: &str| if about == what { Some(data_id.clone()) } else { related(what) };
        let is_message = about == "message";
        let direction = match attribute("direction").as_deref() {
            Some("in") if is_message => Some(Direction::In),
            Some("out") if is_message => Some(Direction::Out),
            _ => None,
        };
        Some(KustomerEvent {
            id: json::id(body, "/id")?,
            org: json::text(body, "/org").or_else(|| json::text(body, "/orgId"))?,
            conversation_id: own("conversation"),
            customer_id: own("customer"),
            direction,
            author_user_id: related(if deed == "create" { "createdBy" } else { "modifiedBy" }),
            text: if is_message {
                attribute("preview").or_else(|| json::text(body, "/data/attributes/meta/body"))
            } else {
                None
            },
            external_id: attribute("externalId"),
            app: attribute("app"),
            status: if about == "conversation" { attribute("status") } else { None },
            name,
            data_id,
        })
    }
}
