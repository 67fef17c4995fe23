//! Keyed hashes and encodings, in the four dialects that the providers speak.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// HMAC-SHA256.
pub(crate) fn hmac256(key: &str, message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// HMAC-SHA256 as lower-case hex.
pub(crate) fn hmac256_hex(key: &str, message: &[u8]) -> String {
    hex::encode(hmac256(key, message))
}

/// HMAC-SHA256 as padded base64: Shopify's webhook header (shopify.md 2.2).
pub(crate) fn hmac256_base64(key: &str, message: &[u8]) -> String {
    STANDARD.encode(hmac256(key, message))
}

/// HMAC-SHA1 as hex: Meta's legacy header (messenger.md 2.3).
pub(crate) fn hmac1_hex(key: &str, message: &[u8]) -> String {
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(message);
    hex::encode(mac.finalize().into_bytes())
}

/// base64url without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// base64 with its padding stripped: the `host` of a Shopify callback (shopify.md 1.2).
pub(crate) fn base64_unpadded(bytes: &[u8]) -> String {
    STANDARD.encode(bytes).trim_end_matches('=').to_owned()
}

/// The PKCE challenge that belongs to a verifier (S256).
pub(crate) fn pkce_challenge(verifier: &str) -> String {
    base64url(&Sha256::digest(verifier.as_bytes()))
}

/// Eight hex digits by which a token can be told apart without being shown.
pub(crate) fn fingerprint(token: &str) -> String {
    if token.is_empty() {
        return String::new();
    }
    hex::encode(&Sha256::digest(token.as_bytes())[..4])
}

/// A JWT in the shape of a Kustomer API key: HS256 over made-up claims (kustomer.md 1.3).
pub(crate) fn jwt(secret: &str, claims: &serde_json::Value) -> String {
    let head = base64url(br#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{head}.{}", base64url(claims.to_string().as_bytes()));
    let mac = base64url(&hmac256(secret, signed.as_bytes()));
    format!("{signed}.{mac}")
}

/// The query of a Shopify callback with its `hmac` (shopify.md 1.3): sorted, re-encoded with `%20`.
pub(crate) fn shopify_query(secret: &str, pairs: &[(&str, &str)]) -> String {
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable();
    let message = form(&sorted);
    let mac = hmac256_hex(secret, message.as_bytes());
    format!("{message}&hmac={mac}")
}

/// Form encoding with `%20` for a space.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    let encode = |s: &str| form_urlencoded::byte_serialize(s.as_bytes()).collect::<String>().replace('+', "%20");
    pairs.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect::<Vec<_>>().join("&")
}

/// JSON as Meta serialises it: ASCII only, lower-case `\u00e4` escapes and `\/` (messenger.md 2.3).
pub(crate) fn meta_json(value: &serde_json::Value) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_json_is_ascii_with_escaped_slashes() {
        let text = serde_json::json!({"text": "café 😀 https://ex.am/ple"});
        assert_eq!(meta_json(&text), r#"{"text":"caf\u00e9 \ud83d\ude00 https:\/\/ex.am\/ple"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&meta_json(&text)).unwrap(), text);
    }

    #[test]
    fn a_callback_is_signed_over_sorted_pairs_with_percent_twenty() {
        let query = shopify_query("hush", &[("state", "a b"), ("code", "x")]);
        let (message, mac) = query.split_once("&hmac=").unwrap();
        assert_eq!(message, "code=x&state=a%20b");
        assert_eq!(mac, hmac256_hex("hush", b"code=x&state=a%20b"));
    }

    #[test]
    fn a_fingerprint_is_eight_digits_and_nothing_for_no_token() {
        assert_eq!(fingerprint("abc"), "ba7816bf");
        assert_eq!(fingerprint(""), "");
    }
}
