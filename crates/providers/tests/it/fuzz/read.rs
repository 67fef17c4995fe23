//! Reading: nothing panics, two readings are one, and an event belongs to whom its body names.

use super::corpus::{files, hostile, value};
use super::{NOW, kustomer, messenger, shopify};
use crate::wire::secret;
use agenstack_core::clock::Timestamp;
use agenstack_core::id::{EventId, IntegrationId, OrgId};
use agenstack_core::integration::{PageId, ShopDomain, Subdomain};
use agenstack_providers::json;
use agenstack_providers::kustomer::{check_key_claims, verify_app_token};
use agenstack_providers::shopify::{shop_id_in_body, shop_in_body};
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

const TOPICS: [&str; 6] = [
    "orders/updated",
    "app/uninstalled",
    "shop/update",
    "customers/data_request",
    "customers/redact",
    "shop/redact",
];

/// Through every reader there is.
fn everything(bytes: &[u8]) {
    body(bytes);
    words(&String::from_utf8_lossy(bytes));
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        header(&value);
    }
}

fn body(bytes: &[u8]) {
    let read = json::parse(bytes);
    if let Ok(plain) = serde_json::from_slice::<Value>(bytes) {
        // What is JSON by itself is read as it is.
        assert_eq!(read.as_ref(), Ok(&plain));
    }
    // The outline refuses what the whole refuses, and says of its fields what the whole says.
    assert_eq!(json::outline(bytes), read.clone().map(outline));
    let Ok(read) = read else { return };
    let written = serde_json::to_vec(&read).unwrap();
    let again = json::parse(&written).expect("what was read can be written and read again");
    assert_eq!(whole(again), whole(read.clone()));
    pages(&read, &messenger("s").parse(bytes).expect("it is JSON"));
    shop(&read);
    if let Some(event) = kustomer().parse_event(&read) {
        let named = ["org", "orgId"].map(|field| read.get(field).map(said).unwrap_or_default());
        assert!(!event.org.is_empty() && named.contains(&event.org), "{event:?}");
        assert!(storable(&event.id) && storable(&event.org), "{event:?}");
    }
}

/// What an outline leaves of a value.
fn outline(value: Value) -> Value {
    let empty = |value| match value {
        Value::Array(_) => json!([]),
        Value::Object(_) => json!({}),
        other => other,
    };
    match value {
        Value::Object(all) => Value::Object(all.into_iter().map(|(k, v)| (k, empty(v))).collect()),
        other => empty(other),
    }
}

/// Fractions are read to the nearest, and that may be another after writing it.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(n) if n.is_f64() => Value::from("fraction"),
        Value::Array(all) => all.into_iter().map(whole).collect(),
        Value::Object(all) => Value::Object(all.into_iter().map(|(k, v)| (k, whole(v))).collect()),
        other => other,
    }
}

/// As ids are read: text or a whole number.
fn said(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| text.replace('\0', "\u{fffd}"))
}

/// PostgreSQL's text has no NUL, and an index has a bound.
fn storable(text: &str) -> bool {
    !text.contains('\0')
}

fn pages(read: &Value, events: &[agenstack_providers::messenger::MessagingEvent]) {
    let named: Vec<String> =
        read["entry"].as_array().into_iter().flatten().map(|entry| said(&entry["id"])).collect();
    for event in events {
        assert!(named.iter().any(|id| id == event.page_id.as_str()), "{event:?} of none of {named:?}");
        assert!(storable(&event.dedup_key) && event.dedup_key.len() < 600, "{event:?}");
        assert!(event.psid.as_deref().is_none_or(|psid| storable(psid) && psid.len() <= 256), "{event:?}");
        assert!(!event.answer || event.psid.as_deref() != Some(event.page_id.as_str()), "{event:?}");
        // It is kept by itself, and read again when it is handled: it is the same event then.
        let time = event.timestamp.map(Timestamp::millis);
        let entry = json!({"id": event.page_id.as_str(), "time": time, event.channel: [event.raw]});
        let alone = serde_json::to_vec(&json!({"object": "page", "entry": [entry]})).unwrap();
        let alone = messenger("s").parse(&alone).unwrap();
        assert_eq!(alone.len(), 1, "{event:?}");
        let id = |e: &agenstack_providers::messenger::MessagingEvent| {
            (e.page_id.clone(), e.kind.clone(), e.psid.clone(), e.mid.clone(), e.text.clone(), e.answer)
        };
        assert_eq!(id(&alone[0]), id(event));
    }
}

fn shop(read: &Value) {
    for topic in TOPICS {
        let mut headers = HeaderMap::new();
        headers.insert("x-shopify-topic", HeaderValue::from_static(topic));
        headers.insert("x-shopify-webhook-id", HeaderValue::from_static("w-1"));
        headers.insert("x-shopify-shop-domain", HeaderValue::from_static("lark.myshopify.com"));
        let delivery = shopify("s", None).delivery(&headers, b"x").expect("its headers are whole");
        let in_body = shop_in_body(topic, read);
        shop_id_in_body(topic, read);
        let named = match topic {
            "orders/updated" => None,
            "app/uninstalled" | "shop/update" => read.get("myshopify_domain"),
            _ => read.get("shop_domain"),
        };
        assert_eq!(
            in_body.as_ref().map(ShopDomain::as_str),
            named.and_then(Value::as_str).filter(|n| ShopDomain::parse(n).is_some())
        );
        // A header never stands against the body: either the body names the same, or it names none at all.
        if delivery.agrees_with(read) {
            assert!(in_body.is_none_or(|shop| shop == delivery.shop_header), "{topic}: {read}");
            assert!(
                named.is_none_or(|n| n.is_null() || n.as_str() == Some("lark.myshopify.com")),
                "{topic}: {read}"
            );
        }
    }
}

fn header(value: &HeaderValue) {
    for name in ["x-shopify-hmac-sha256", "x-hub-signature-256", "x-kustomer-webhook-signature"] {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.clone());
        // Nobody knows this secret.
        let secret_text = "the secret of this test";
        assert!(shopify(secret_text, None).verify(&headers, b"{}").is_err());
        assert!(messenger(secret_text).verify(&headers, b"{}").is_err());
        assert!(kustomer().verify(&headers, b"{}", &secret(secret_text)).is_err());
    }
    let mut headers = HeaderMap::new();
    for name in ["topic", "shop-domain", "webhook-id", "event-id", "triggered-at"] {
        headers.insert(http::HeaderName::try_from(format!("x-shopify-{name}")).unwrap(), value.clone());
    }
    assert!(shopify("s", None).delivery(&headers, b"x").is_err(), "a topic is no shop: {value:?}");
    headers.insert("x-shopify-topic", HeaderValue::from_static("orders/updated"));
    headers.insert("x-shopify-shop-domain", HeaderValue::from_static("lark.myshopify.com"));
    if let Ok(delivery) = shopify("s", None).delivery(&headers, b"x") {
        assert!(delivery.webhook_id.len() <= 128);
        delivery.is_timely(NOW);
    }
}

fn words(text: &str) {
    let secret_text = "the secret of this test";
    assert!(messenger(secret_text).signed_request(text).is_err());
    assert!(shopify(secret_text, None).verify_callback(text, NOW).is_err());
    assert!(shopify(secret_text, None).verify_install(text, NOW).is_err());
    assert!(verify_app_token(text, &secret(secret_text), NOW).is_none());
    // An answer to Meta's check is a word, whatever was asked.
    if let Ok(challenge) = messenger(secret_text).challenge(text) {
        assert!(challenge.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)));
    }
    let _ = kustomer().parse_callback(text);
    let _ = messenger("s").parse_callback(text);
    let _ = check_key_claims(&secret(text), NOW);
    // What is accepted is exactly what was given, and harmless in an address.
    let exact = [
        ShopDomain::parse(text).map(|n| n.as_str().to_owned()),
        Subdomain::parse(text).map(|n| n.as_str().to_owned()),
        PageId::parse(text).map(|n| n.as_str().to_owned()),
        OrgId::parse(text).map(|n| n.as_str().to_owned()),
        EventId::parse(text).map(|n| n.as_str().to_owned()),
        IntegrationId::parse(text).map(|n| n.as_str().to_owned()),
    ];
    for accepted in exact.into_iter().flatten() {
        assert_eq!(accepted, text);
        assert!(
            text.len() <= 80 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)),
            "{text:?}"
        );
    }
    if let Some(shop) = ShopDomain::from_input(text) {
        assert_eq!(ShopDomain::parse(shop.as_str()), Some(shop));
    }
    if let Some(at) = Timestamp::parse_rfc3339(text) {
        assert_eq!(Timestamp::parse_rfc3339(&at.rfc3339()), Some(at), "{text:?}");
    }
}

#[test]
fn every_file_of_the_corpus_goes_through_every_reader() {
    let all = files();
    assert!(all.len() >= 30, "the corpus is gone");
    for (name, bytes) in all {
        let read = std::panic::catch_unwind(|| everything(&bytes));
        assert!(read.is_ok(), "tests/corpus/{name}");
    }
}

proptest! {
    #[test]
    fn whatever_is_sent_no_reader_panics_and_all_of_them_agree(bytes in hostile()) {
        everything(&bytes);
    }

    #[test]
    fn what_we_write_is_read_as_it_was(value in value()) {
        prop_assert_eq!(json::parse(&serde_json::to_vec(&value).unwrap()), Ok(value));
    }

    #[test]
    fn half_an_emoji_anywhere_spoils_nothing_beside_it(before: String, after: String, unit in 0xd800..0xe000_u16) {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        let body = format!("{{\"a\":{},\"b\":\"\\u{unit:04x}\",\"c\":{}}}", quoted(&before), quoted(&after));
        let expected = json!({"a": before, "b": "\u{fffd}", "c": after});
        prop_assert_eq!(json::parse(body.as_bytes()), Ok(expected));
    }

    #[test]
    fn however_deep_it_is_it_is_read_or_refused(depth in 1..4_000_usize, open in "\\[|\\{\"a\":") {
        let close = if open == "[" { "]" } else { "}" };
        let body = [open.repeat(depth), "1".to_owned(), close.repeat(depth)].concat();
        prop_assert_eq!(json::parse(body.as_bytes()).is_ok(), depth < 128, "{}", depth);
    }
}
