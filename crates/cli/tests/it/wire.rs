//! Requests as the providers make them, signed by the test itself: forged ones, too.

use crate::scene::{Answer, Scene};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::StatusCode;
use serde_json::Value;
use sha2::Sha256;

fn mac(key: &str, message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// A callback's query, signed by Shopify's secret. The values need no escaping.
pub fn shopify_query(secret: &str, pairs: &[(&str, &str)]) -> String {
    let mut sorted: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
    sorted.sort();
    let signed = sorted.join("&");
    format!("{signed}&hmac={}", hex::encode(mac(secret, signed.as_bytes())))
}

/// A delivery of Messenger with the headers that are given.
pub async fn messenger(scene: &Scene, body: &str, signature: Option<(&str, String)>) -> StatusCode {
    let mut request =
        scene.http.post(format!("{}/api/webhooks/messenger", scene.product)).body(body.to_owned());
    if let Some((name, value)) = signature {
        request = request.header(name, value);
    }
    request.send().await.expect("the server answers").status()
}

/// Meta's signature.
pub fn meta_signature(scene: &Scene, body: &str) -> (&'static str, String) {
    meta_signature_by(&scene.settings.meta_app_secret, body)
}

/// The same by any secret.
pub fn meta_signature_by(secret: &str, body: &str) -> (&'static str, String) {
    let tag = hex::encode(mac(secret, body.as_bytes()));
    ("x-hub-signature-256", format!("sha256={tag}"))
}

/// A delivery of Messenger, rightly signed.
pub async fn messenger_signed(scene: &Scene, body: &Value) -> StatusCode {
    let body = body.to_string();
    messenger(scene, &body, Some(meta_signature(scene, &body))).await
}

/// A customer's message in a delivery.
pub fn message(page: &str, psid: &str, mid: &str, text: &str) -> Value {
    serde_json::json!({"sender": {"id": psid}, "recipient": {"id": page}, "timestamp": 1_795_600_000_000_i64,
        "message": {"mid": mid, "text": text}})
}

/// A delivery for one page.
pub fn delivery(page: &str, items: &[Value]) -> Value {
    serde_json::json!({"object": "page", "entry": [{"id": page, "time": 1_795_600_000_000_i64, "messaging": items}]})
}

/// A delivery of Shopify with the headers that are given.
pub async fn shopify(
    scene: &Scene,
    topic: &str,
    shop: &str,
    id: &str,
    body: &str,
    signature: Option<String>,
) -> Answer {
    let mut request = scene
        .http
        .post(format!("{}/api/webhooks/shopify", scene.product))
        .header("x-shopify-topic", topic)
        .header("x-shopify-shop-domain", shop)
        .header("x-shopify-webhook-id", id)
        .header("x-shopify-api-version", "2026-10")
        .body(body.to_owned());
    if let Some(signature) = signature {
        request = request.header("x-shopify-hmac-sha256", signature);
    }
    scene.browser().finish(request).await
}

/// Shopify's signature of a webhook.
pub fn shopify_signature(scene: &Scene, body: &str) -> String {
    shopify_signature_by(&scene.settings.shopify_api_secret, body)
}

/// The same by any secret.
pub fn shopify_signature_by(secret: &str, body: &str) -> String {
    signature_of(secret, body.as_bytes())
}

/// The same of bytes that are no text.
pub fn shopify_signature_of(scene: &Scene, body: &[u8]) -> String {
    signature_of(&scene.settings.shopify_api_secret, body)
}

fn signature_of(secret: &str, body: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(mac(secret, body))
}
