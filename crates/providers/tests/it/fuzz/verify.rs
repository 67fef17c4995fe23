//! Signatures: exact. One bit of the body, of the signature or of the secret makes it another.

use super::{NOW, hmac, kustomer, messenger, shopify};
use crate::wire::secret;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

/// What is under one signature.
#[derive(Clone, Debug)]
struct Signed {
    secret: String,
    body: Vec<u8>,
}

fn signed() -> impl Strategy<Value = Signed> {
    ("[a-zA-Z0-9_]{1,80}", vec(any::<u8>(), 1..400)).prop_map(|(secret, body)| Signed { secret, body })
}

fn flipped(bytes: &[u8], at: &Index, bit: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = at.index(bytes.len());
    bytes[at] ^= 1 << bit;
    bytes
}

fn headers(name: &'static str, value: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(name, HeaderValue::from_bytes(value).ok()?);
    Some(headers)
}

/// The three that sign bodies: the header, how the signature is written, and whether it is believed.
type Scheme = (&'static str, fn([u8; 32]) -> String, fn(&str, &HeaderMap, &[u8]) -> bool);

const SCHEMES: [Scheme; 3] = [
    ("x-shopify-hmac-sha256", |tag| STANDARD.encode(tag), |s, h, b| shopify(s, None).verify(h, b).is_ok()),
    (
        "x-hub-signature-256",
        |tag| format!("sha256={}", hex::encode(tag)),
        |s, h, b| messenger(s).verify(h, b).is_ok(),
    ),
    ("x-kustomer-webhook-signature", hex::encode, |s, h, b| kustomer().verify(h, b, &secret(s)).is_ok()),
];

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A query as Shopify signs it: in the order of its names.
fn query(secret: &str, extra: &[(String, String)]) -> String {
    let mut pairs = vec![
        ("code".to_owned(), "c0de".to_owned()),
        ("shop".to_owned(), "lark.myshopify.com".to_owned()),
        ("state".to_owned(), "57a7e".to_owned()),
        ("timestamp".to_owned(), NOW.secs().to_string()),
    ];
    pairs.extend_from_slice(extra);
    pairs.sort();
    let text: Vec<String> = pairs.iter().map(|(n, v)| format!("{}={}", encoded(n), encoded(v))).collect();
    let text = text.join("&");
    format!("{text}&hmac={}", hex::encode(hmac(secret, text.as_bytes())))
}

fn decoded(query: &[u8]) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = form_urlencoded::parse(query).into_owned().collect();
    pairs.sort();
    pairs
}

proptest! {
    #[test]
    fn one_bit_of_body_signature_or_secret_makes_it_another(case in signed(), at: Index, bit in 0..8_u8, more in 1..4_usize) {
        for (name, written, believed) in SCHEMES {
            let tag = hmac(&case.secret, &case.body);
            let text = written(tag);
            let right = headers(name, text.as_bytes()).unwrap();
            prop_assert!(believed(&case.secret, &right, &case.body), "{}", name);

            let other = flipped(&case.body, &at, bit);
            prop_assert!(!believed(&case.secret, &right, &other), "{}: the body", name);
            prop_assert!(!believed(&case.secret, &right, &case.body[..case.body.len() - 1]), "{}: a shorter body", name);
            let longer = [case.body.as_slice(), &[0, 10, 13][..more.min(3)]].concat();
            prop_assert!(!believed(&case.secret, &right, &longer), "{}: a longer body", name);

            // What cannot be a header at all does not get so far.
            if let Some(wrong) = headers(name, &flipped(text.as_bytes(), &at, bit)) {
                prop_assert!(!believed(&case.secret, &wrong, &case.body), "{}: the text of the signature", name);
            }
            let wrong = written(flipped(&tag, &at, bit).try_into().unwrap());
            prop_assert!(!believed(&case.secret, &headers(name, wrong.as_bytes()).unwrap(), &case.body), "{}: the signature", name);

            if let Ok(other) = String::from_utf8(flipped(case.secret.as_bytes(), &at, bit)) {
                prop_assert!(!believed(&other, &right, &case.body), "{}: the secret", name);
            }
            let mut twice = right.clone();
            twice.append(name, right[name].clone());
            prop_assert!(!believed(&case.secret, &twice, &case.body), "{}: twice", name);
        }
    }

    #[test]
    fn of_two_secrets_each_is_right_and_no_other(case in signed(), newer in "[A-Z]{8}") {
        let (name, written, _) = SCHEMES[0];
        let both = shopify(&newer, Some(&case.secret));
        for secret in [&newer, &case.secret] {
            let right = headers(name, written(hmac(secret, &case.body)).as_bytes()).unwrap();
            prop_assert!(both.verify(&right, &case.body).is_ok());
        }
        let wrong = headers(name, written(hmac(&format!("{newer}x"), &case.body)).as_bytes()).unwrap();
        prop_assert!(both.verify(&wrong, &case.body).is_err());
    }

    #[test]
    fn a_signed_request_names_whom_it_was_signed_for_and_no_bit_of_it_can_change(
        key in "[a-z0-9]{32}", user in "[0-9]{1,20}", issued: i64, at: Index, bit in 0..8_u8,
    ) {
        let payload = json!({"algorithm": "HMAC-SHA256", "issued_at": issued, "user_id": user}).to_string();
        let payload = URL_SAFE_NO_PAD.encode(payload);
        let text = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(hmac(&key, payload.as_bytes())));
        prop_assert_eq!(messenger(&key).signed_request(&text).unwrap().user_id, user);
        if let Ok(other) = String::from_utf8(flipped(text.as_bytes(), &at, bit)) {
            prop_assert!(messenger(&key).signed_request(&other).is_err(), "{}", other);
        }
        for other in [format!("{text}="), format!("{text}.{payload}"), format!(" {text}")] {
            prop_assert!(messenger(&key).signed_request(&other).is_err(), "{}", other);
        }
    }

    #[test]
    fn a_query_is_believed_only_if_it_says_what_was_signed(
        key in "[a-z0-9]{32}", extra in vec(("x[a-z]{0,6}", any::<String>()), 0..4), at: Index, bit in 0..8_u8,
    ) {
        let mut extra = extra;
        extra.sort();
        extra.dedup_by(|a, b| a.0 == b.0);
        let query = query(&key, &extra);
        prop_assume!(query.len() <= 8 * 1024);
        let shopify = shopify(&key, None);
        let callback = shopify.verify_callback(&query, NOW).unwrap();
        prop_assert_eq!(callback.shop.as_str(), "lark.myshopify.com");
        if let Ok(other) = String::from_utf8(flipped(query.as_bytes(), &at, bit)) {
            // `%2f` and `%2F` are two ways to write one thing; whatever is another thing is refused.
            let same = decoded(other.as_bytes()) == decoded(query.as_bytes());
            prop_assert!(shopify.verify_callback(&other, NOW).is_err() || same, "{}", other);
        }
        for more in ["&x0=1", "&shop=ash.myshopify.com", "&state=other", "&hmac=", "&%73hop=ash.myshopify.com"] {
            prop_assert!(shopify.verify_callback(&format!("{query}{more}"), NOW).is_err(), "{}", more);
        }
        for late in [-91, 91] {
            prop_assert!(shopify.verify_callback(&query, NOW.plus_secs(late)).is_err());
        }
    }
}
