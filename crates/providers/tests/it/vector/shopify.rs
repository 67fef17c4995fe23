//! `shopify.json`: what Shopify's own library answered.

use super::{file, headers, is_yes, number, opt, text};
use crate::wire::{Wire, secret};
use agenstack_core::clock::Timestamp;
use agenstack_core::integration::ShopDomain;
use agenstack_providers::shopify::{CallbackError, missing_scopes};
use agenstack_providers::{Http, Shopify, ShopifyApp, SignatureError, TokenGrant};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// The client of one case: every case has a secret of its own.
fn client(base: &str, vectors: &Value, case: &Value, scopes: Vec<String>) -> Shopify {
    let app = ShopifyApp {
        api_key: text(vectors, "/app/client_id").to_owned(),
        api_secret: secret(text(case, "/secret")),
        api_secret_previous: None,
        scopes,
    };
    Shopify::new(app, base.to_owned(), Http::new()).unwrap()
}

fn offline(vectors: &Value, case: &Value) -> Shopify {
    client("https://{shop}", vectors, case, Vec::new())
}

fn now(case: &Value) -> Timestamp {
    Timestamp::from_secs(number(case, "/input/now"))
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

#[tokio::test]
async fn every_case_gets_the_verdict_of_shopifys_own_library() {
    let vectors = file("shopify");
    let cases = vectors["vectors"].as_array().unwrap();
    let mut looked_at = 0;
    for case in cases {
        let id = text(case, "/id");
        let normative = case["normative"] != false;
        match (text(case, "/kind"), normative) {
            ("oauth_query_hmac", true) => query_hmac(id, &vectors, case),
            ("oauth_callback", true) => callback(id, &vectors, case).await,
            ("oauth_begin", true) => begin(id, &vectors, case),
            ("token_request", true) => token_request(id, &vectors, case).await,
            ("webhook", true) => webhook(id, &vectors, case),
            ("shop_sanitize", true) => shop_sanitize(id, case),
            ("scope_compare", true) => scope_compare(id, case),
            (kind, normative) => {
                assert!(!normative, "{id}: nobody looks at cases of the kind {kind}");
                deviation(id, &vectors, case);
            }
        }
        looked_at += 1;
    }
    assert_eq!(looked_at, cases.len());
    assert!(looked_at > 0);
}

/// What we do where the library has a habit that a stricter server may refuse.
fn deviation(id: &str, vectors: &Value, case: &Value) {
    match id {
        // The library repeats `ids[]`, Shopify is reported to sign a list in brackets (`shopify.md` 1.3). Two
        // readers of a repeated name can see two things, and no callback has one: refused, whatever its signature.
        "p-array" => {
            let query = format!(
                "{}&hmac={}",
                text(case, "/input/query_equivalent"),
                text(case, "/input/params/hmac")
            );
            let refused = offline(vectors, case).verify_install(&query, now(case)).unwrap_err();
            assert_eq!(refused, CallbackError::Unreadable, "{id}");
        }
        // Nothing that Shopify sends is empty; the library refuses it too, though the signature is right.
        "wh-empty" => {
            let refused =
                offline(vectors, case).verify(&headers(&case["input"]["headers"]), b"").unwrap_err();
            assert_eq!(refused, SignatureError::EmptyBody, "{id}");
        }
        _ => panic!("{id}: decide what we do with it and say why"),
    }
}

fn query_hmac(id: &str, vectors: &Value, case: &Value) {
    let shopify = offline(vectors, case);
    let query = text(case, "/input/query");
    // A request that begins at Shopify has no code.
    let outcome = if query.contains("code=") {
        shopify.verify_callback(query, now(case))
    } else {
        shopify.verify_install(query, now(case))
    };
    assert_eq!(outcome.is_ok(), is_yes(case, "/expected/valid"), "{id}: {outcome:?}");
    match outcome {
        Ok(callback) => assert!(query.contains(callback.shop.as_str()), "{id}"),
        Err(refused) => {
            let expected = match text(case, "/expected/reason") {
                "hmac_mismatch" => CallbackError::Signature,
                "missing_hmac" => CallbackError::Missing("hmac"),
                "timestamp_out_of_range" => CallbackError::Timestamp,
                other => panic!("{id}: {other} is not a reason known here"),
            };
            assert_eq!(refused, expected, "{id}");
        }
    }
}

async fn callback(id: &str, vectors: &Value, case: &Value) {
    let input = &case["input"];
    let wire = answering_with(input).await;
    let shopify = client(&format!("{}/{{shop}}", wire.url), vectors, case, Vec::new());
    // Where the flows are kept is not this crate's business; what it hands out has to be enough to refuse.
    let state_of_the_browser = (input["cookie"] != "absent").then(|| text(input, "/state_hex"));
    let accepted = shopify.verify_callback(text(input, "/query"), now(case)).ok().filter(|callback| {
        callback.state.is_some()
            && callback.state.as_deref() == state_of_the_browser
            && callback.shop.as_str() == text(input, "/begin_shop")
    });
    assert_eq!(accepted.is_some(), is_yes(case, "/expected/accepted"), "{id}");
    let Some(callback) = accepted else {
        assert_eq!(wire.asked().len() as i64, number(case, "/expected/token_requests"), "{id}");
        return;
    };
    let code = callback.code.expect("a callback has a code");
    let grant = shopify.exchange_code(&callback.shop, &code, now(case)).await.unwrap();
    same_request(id, &wire, &case["expected"]["token_request"]);
    let session = &case["expected"]["session"];
    assert_eq!(callback.shop.as_str(), text(session, "/shop"), "{id}");
    same_grant(id, &grant, session, input);
}

fn begin(id: &str, vectors: &Value, case: &Value) {
    let input = &case["input"];
    let scopes = input["scopes"].as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_owned()).collect();
    let shopify = client("https://{shop}", vectors, case, scopes);
    let redirect_uri = format!("https://{}{}", text(vectors, "/app/host"), text(input, "/callback_path"));
    let shop = ShopDomain::parse(text(input, "/shop")).unwrap();
    let url = shopify.authorize_url(&shop, &redirect_uri, text(input, "/state_hex"));
    assert_eq!(url, text(case, "/expected/location"), "{id}");
}

async fn token_request(id: &str, vectors: &Value, case: &Value) {
    let input = &case["input"];
    assert_eq!(input["grant"], "refresh_token", "{id}: the only grant that is asked for besides the code's");
    let wire = answering_with(input).await;
    let shopify = client(&format!("{}/{{shop}}", wire.url), vectors, case, Vec::new());
    let shop = ShopDomain::parse(text(input, "/shop")).unwrap();
    let grant = shopify.refresh(&shop, &secret(text(input, "/token")), now(case)).await.unwrap();
    same_request(id, &wire, &case["expected"]);
    same_grant(id, &grant, &case["expected"], input);
}

async fn answering_with(input: &Value) -> Wire {
    Wire::with(200, input.get("token_reply").cloned().unwrap_or_else(|| json!({}))).await
}

fn same_request(id: &str, wire: &Wire, expected: &Value) {
    let asked = wire.asked();
    let [asked] = asked.as_slice() else { panic!("{id}: one request, not {}", asked.len()) };
    // The listener has the shop as the first part of its path.
    assert_eq!(format!("https:/{}", asked.path), text(expected, "/url"), "{id}");
    assert_eq!(asked.raw_query, "", "{id}");
    assert_eq!(asked.method.as_str(), text(expected, "/method"), "{id}");
    assert_eq!(asked.header("content-type"), text(expected, "/content_type"), "{id}");
    assert_eq!(asked.header("accept"), text(expected, "/accept"), "{id}");
    assert_eq!(asked.json(), expected["body"], "{id}");
}

fn same_grant(id: &str, grant: &TokenGrant, expected: &Value, input: &Value) {
    let reply = &input["token_reply"];
    assert_eq!(grant.access_token.expose_secret(), text(reply, "/access_token"), "{id}");
    let refresh = grant.refresh_token.as_ref().map(|t| t.expose_secret());
    assert_eq!(refresh, Some(text(reply, "/refresh_token")), "{id}");
    assert_eq!(grant.scopes.join(","), text(reply, "/scope"), "{id}");
    assert_eq!(grant.expires_at.map(Timestamp::secs), Some(number(expected, "/access_expires_at")), "{id}");
    assert_eq!(
        grant.refresh_expires_at.map(Timestamp::secs),
        Some(number(expected, "/refresh_expires_at")),
        "{id}"
    );
}

fn webhook(id: &str, vectors: &Value, case: &Value) {
    let shopify = offline(vectors, case);
    let body = STANDARD.decode(text(case, "/input/body_base64")).unwrap();
    let headers = headers(&case["input"]["headers"]);
    let outcome = shopify.verify(&headers, &body);
    assert_eq!(outcome.is_ok(), is_yes(case, "/expected/valid"), "{id}: {outcome:?}");
    if let Err(refused) = outcome {
        let expected = match text(case, "/expected/reason") {
            "invalid_hmac" => SignatureError::Mismatch,
            "missing_body" => SignatureError::EmptyBody,
            other => panic!("{id}: {other} is not a reason known here"),
        };
        assert_eq!(refused, expected, "{id}");
        return;
    }
    let delivery = shopify.delivery(&headers, &body).unwrap();
    let expected = &case["expected"];
    assert_eq!(delivery.topic.to_uppercase().replace('/', "_"), text(expected, "/topic"), "{id}");
    assert_eq!(delivery.shop_header.as_str(), text(expected, "/shop"), "{id}");
    assert_eq!(delivery.webhook_id, text(expected, "/webhook_id"), "{id}");
    assert_eq!(opt(delivery.event_id.as_deref()), expected["event_id"], "{id}");
    assert!(delivery.triggered_at.is_some(), "{id}: nanoseconds are read");
}

fn shop_sanitize(id: &str, case: &Value) {
    let shop = ShopDomain::from_provider(text(case, "/input/shop"));
    assert_eq!(shop.is_some(), is_yes(case, "/expected/accepted"), "{id}");
    assert_eq!(opt(shop.as_ref().map(ShopDomain::as_str)), case["expected"]["value"], "{id}");
}

fn scope_compare(id: &str, case: &Value) {
    let missing = missing_scopes(&list(text(case, "/input/required")), &list(text(case, "/input/granted")));
    assert_eq!(missing.is_empty(), is_yes(case, "/expected/included"), "{id}: {missing:?}");
}
