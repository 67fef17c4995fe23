//! Signatures and random words, written here again so that the product is checked against somebody else.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256};

fn mac(key: &str, message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// HMAC-SHA256 in lower-case hex.
pub(crate) fn hex_mac(key: &str, message: &[u8]) -> String {
    hex::encode(mac(key, message))
}

/// HMAC-SHA256 in standard base64.
pub(crate) fn base64_mac(key: &str, message: &[u8]) -> String {
    STANDARD.encode(mac(key, message))
}

/// HMAC-SHA1 in lower-case hex, Meta's old header.
pub(crate) fn hex_mac_sha1(key: &str, message: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(message);
    hex::encode(mac.finalize().into_bytes())
}

/// A JWT (HS256).
pub(crate) fn jwt(key: &str, claims: &Value) -> String {
    let head = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let body = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = URL_SAFE_NO_PAD.encode(mac(key, body.as_bytes()));
    format!("{body}.{signature}")
}

/// Meta's `signed_request`.
pub(crate) fn signed_request(secret: &str, payload: &Value) -> String {
    let body = URL_SAFE_NO_PAD.encode(payload.to_string());
    format!("{}.{body}", URL_SAFE_NO_PAD.encode(mac(secret, body.as_bytes())))
}

/// The S256 challenge of a PKCE verifier.
pub(crate) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// So many random bytes in hex.
pub(crate) fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0u8; bytes];
    #[expect(
        clippy::disallowed_methods,
        reason = "an emulator's tokens; nothing of the product takes randomness from here"
    )]
    getrandom::fill(&mut buffer).expect("the operating system gives random bytes");
    hex::encode(buffer)
}

/// Digits that are always the same for the same words.
pub(crate) fn digits_of(words: &str, count: usize) -> String {
    let hash = Sha256::digest(words.as_bytes());
    let mut out: String = hash.iter().map(|b| char::from(b'0' + b % 10)).take(count).collect();
    out.replace_range(0..1, "7");
    out
}

/// A 24-digit hex id that is always the same for the same words.
pub(crate) fn object_id(words: &str) -> String {
    hex::encode(&Sha256::digest(words.as_bytes())[..12])
}

/// JSON as Meta writes it: ASCII, with lower-case escapes and `\/`; exactly these bytes are signed.
pub(crate) fn meta_json(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        match c {
            '/' => out.push_str("\\/"),
            c if c.is_ascii() => out.push(c),
            c => {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out
}

/// The signature of a callback from Shopify's consent page.
pub(crate) fn shopify_query_mac(secret: &str, pairs: &[(&str, &str)]) -> String {
    let encode =
        |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable();
    let signed: Vec<String> = sorted.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect();
    hex_mac(secret, signed.join("&").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_is_written_as_meta_signs_it() {
        let written = meta_json(&json!({"text": "ä/😀"}));
        assert_eq!(written, r#"{"text":"\u00e4\/\ud83d\ude00"}"#);
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), json!({"text": "ä/😀"}));
    }
}
