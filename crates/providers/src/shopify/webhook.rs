//! What Shopify sends us (`shopify.md` 2).

use super::Shopify;
use crate::json;
use crate::signature::{SignatureError, is_signed_by_any, only_header};
use agenstack_core::clock::Timestamp;
use agenstack_core::integration::ShopDomain;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Deliveries may be a day late and are repeated for four hours (`shopify.md` 2.3); older ones are replays.
const OLDEST_SECS: i64 = 3 * 86_400;
const NEWEST_SECS: i64 = 3600;

/// The headers of a delivery. The signature does not cover them: they route only where the body is silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// `orders/create` style.
    pub topic: String,
    /// The shop the header names.
    pub shop_header: ShopDomain,
    /// The same for every try of one delivery: the dedup key.
    pub webhook_id: String,
    /// The same for all deliveries that one deed of the merchant caused.
    pub event_id: Option<String>,
    /// When it happened.
    pub triggered_at: Option<Timestamp>,
    /// Hex SHA-256 of the body: the second dedup key, because a replay may carry any header.
    pub body_sha256: String,
}

/// Which header of a delivery is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the delivery's {0} is missing, repeated or of the wrong shape")]
pub struct DeliveryError(pub &'static str);

impl Delivery {
    /// Whether the body names the same shop as the header, or none (`shopify.md` 2.3), and may be one of the topic that
    /// the header names.
    pub fn agrees_with(&self, body: &Value) -> bool {
        fits_topic(&self.topic, body)
            && match shop_field(&self.topic).and_then(|field| body.get(field)) {
                None | Some(Value::Null) => true,
                Some(named) => named.as_str() == Some(self.shop_header.as_str()),
            }
    }

    /// Whether the time it says is possible; a delivery that says none is.
    pub fn is_timely(&self, now: Timestamp) -> bool {
        self.triggered_at
            .is_none_or(|at| at >= now.plus_secs(-OLDEST_SECS) && at <= now.plus_secs(NEWEST_SECS))
    }
}

impl Shopify {
    /// Proves that Shopify signed these bytes for our app (`shopify.md` 2.2). Comes before any parse, and says
    /// nothing about the headers. Both secrets count while they rotate.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), SignatureError> {
        if self.secrets().all(|s| s.expose_secret().is_empty()) {
            return Err(SignatureError::NotConfigured);
        }
        let text = only_header(headers, "x-shopify-hmac-sha256")?;
        // 32 bytes in the standard alphabet with padding are 44 characters; the decoder refuses everything else.
        let tag: [u8; 32] = STANDARD
            .decode(text)
            .ok()
            .filter(|_| text.len() == 44)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(SignatureError::Shape)?;
        if body.is_empty() {
            return Err(SignatureError::EmptyBody);
        }
        if is_signed_by_any(self.secrets(), body, &tag) { Ok(()) } else { Err(SignatureError::Mismatch) }
    }

    /// Reads the headers of a delivery (`shopify.md` 2.1), after [`Shopify::verify`].
    pub fn delivery(&self, headers: &HeaderMap, body: &[u8]) -> Result<Delivery, DeliveryError> {
        let one = |name: &'static str| only_header(headers, name).map_err(|_| DeliveryError(name));
        let word = |name: &'static str| {
            let text = one(name)?;
            let ok = text.len() <= 128 && text.bytes().all(|b| b.is_ascii_graphic());
            if ok { Ok(text.to_owned()) } else { Err(DeliveryError(name)) }
        };
        let optional = |name: &'static str| {
            if headers.contains_key(name) { word(name).map(Some) } else { Ok(None) }
        };
        let topic = word("x-shopify-topic")?;
        if !topic.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'/') {
            return Err(DeliveryError("x-shopify-topic"));
        }
        let shop = one("x-shopify-shop-domain")?;
        Ok(Delivery {
            topic,
            shop_header: ShopDomain::parse(shop).ok_or(DeliveryError("x-shopify-shop-domain"))?,
            webhook_id: word("x-shopify-webhook-id")?,
            event_id: optional("x-shopify-event-id")?,
            triggered_at: optional("x-shopify-triggered-at")?
                .and_then(|text| Timestamp::parse_rfc3339(&text)),
            body_sha256: hex::encode(Sha256::digest(body)),
        })
    }
}

/// `orders/create` as GraphQL writes it: `ORDERS_CREATE`.
pub(super) fn topic_enum(topic: &str) -> String {
    topic.to_ascii_uppercase().replace('/', "_")
}

/// Whether a body can be one of a topic that asks for something which cannot be taken back. The topic is a header, so
/// that what a shop once signed could be sent again as a request to erase.
fn fits_topic(topic: &str, body: &Value) -> bool {
    let has = |field: &str| body.get(field).is_some_and(|v| !v.is_null());
    let without = |fields: &[&str]| has("shop_domain") && !fields.iter().any(|f| has(f));
    match topic {
        "customers/data_request" => without(&["orders_to_redact"]),
        "customers/redact" => without(&["orders_requested", "data_request"]),
        "shop/redact" => without(&["customer", "orders_requested", "orders_to_redact", "data_request"]),
        _ => true,
    }
}

/// The field in which the body of a topic names its shop (`shopify.md` 2.3).
fn shop_field(topic: &str) -> Option<&'static str> {
    match topic {
        "customers/data_request" | "customers/redact" | "shop/redact" => Some("shop_domain"),
        "app/uninstalled" | "shop/update" => Some("myshopify_domain"),
        _ => None,
    }
}

/// The shop that the signed body names, where the topic's body names one. Takes no other shape than the domain's;
/// [`Delivery::agrees_with`] refuses a body that names something else.
pub fn shop_in_body(topic: &str, body: &Value) -> Option<ShopDomain> {
    ShopDomain::parse(body.get(shop_field(topic)?)?.as_str()?)
}

/// The shop's id that the signed body names, as `gid://shopify/Shop/1` (`shopify.md` 2.3, 2.7).
pub fn shop_id_in_body(topic: &str, body: &Value) -> Option<String> {
    let pointer = match topic {
        "customers/data_request" | "customers/redact" | "shop/redact" | "app/scopes_update" => "/shop_id",
        "app/uninstalled" | "shop/update" => "/id",
        _ => return None,
    };
    let id = json::text(body, pointer)?;
    let number = id.strip_prefix("gid://shopify/Shop/").unwrap_or(&id);
    let ok = !number.is_empty() && number.len() <= 20 && number.bytes().all(|b| b.is_ascii_digit());
    ok.then(|| format!("gid://shopify/Shop/{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_shop_signed_as_one_thing_cannot_be_sent_again_as_a_request_to_erase() {
        let shop = "lark.myshopify.com";
        let data = json!({"shop_domain": shop, "customer": {"id": 1}, "orders_requested": [], "data_request": {"id": 9}});
        let redact = json!({"shop_domain": shop, "customer": {"id": 1}, "orders_to_redact": [1]});
        let gone = json!({"shop_id": 1, "shop_domain": shop});
        let order = json!({"id": 1, "customer": {"id": 1, "email": "ana@example.com"}});
        let uninstalled = json!({"id": 1, "myshopify_domain": shop});
        let topics = ["customers/data_request", "customers/redact", "shop/redact"];
        for (body, as_what) in [
            (&data, [true, false, false]),
            (&redact, [false, true, false]),
            // It names no customer: nothing is found by it.
            (&gone, [true, true, true]),
            (&order, [false, false, false]),
            (&uninstalled, [false, false, false]),
            (&json!({}), [false, false, false]),
        ] {
            assert_eq!(topics.map(|topic| fits_topic(topic, body)), as_what, "{body}");
        }
        assert!(fits_topic("orders/updated", &order));
    }
}
