//! `kustomer.json`: its `about.rules` say what each expected field means.

use super::{file, headers, is_yes, number, opt, text};
use crate::wire::secret;
use agenstack_core::clock::Timestamp;
use agenstack_providers::kustomer::{Direction, KeyRefusal, check_key_claims, verify_app_token};
use agenstack_providers::{Http, Kustomer, SignatureError, json};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn client() -> Kustomer {
    let (web, api) = ("https://{org}.kustomerapp.com", "https://{org}.api.kustomerapp.com");
    Kustomer::new(Http::new(), web, api, None).unwrap()
}

#[test]
fn every_case_gets_the_verdict_of_the_vectors() {
    let vectors = file("kustomer");
    let cases = vectors["vectors"].as_array().unwrap();
    let mut looked_at = 0;
    for case in cases {
        let id = text(case, "/id");
        match text(case, "/kind") {
            "webhook_signature" => signature(id, case),
            "api_key_claims" => key_claims(id, case),
            "event_row" => event_row(id, case),
            "app_token" => app_token(id, case),
            kind => panic!("{id}: nobody looks at cases of the kind {kind}"),
        }
        looked_at += 1;
    }
    assert_eq!(looked_at, cases.len());
    assert!(looked_at > 0);
}

fn signature(id: &str, case: &Value) {
    let body = text(case, "/input/raw_body").as_bytes();
    assert_eq!(
        hex::encode(Sha256::digest(body)),
        text(case, "/input/raw_body_sha256"),
        "{id}: read as it was made"
    );
    let token = secret(text(case, "/input/webhook_token"));
    let outcome = client().verify(&headers(&case["input"]["headers"]), body, &token);
    assert_eq!(outcome.is_ok(), is_yes(case, "/expected/valid"), "{id}: {outcome:?}");
    if text(case, "/expected/reason") == "missing header" {
        assert_eq!(outcome, Err(SignatureError::Missing), "{id}");
    }
}

fn key_claims(id: &str, case: &Value) {
    let expected = &case["expected"];
    let now = Timestamp::from_secs(number(case, "/input/now_unix"));
    let outcome = check_key_claims(&secret(text(case, "/input/token")), now);
    assert_eq!(outcome.is_ok(), is_yes(expected, "/usable"), "{id}: {outcome:?}");
    match outcome {
        Ok(claims) => {
            assert_eq!(claims.org_id, text(expected, "/org_id"), "{id}");
            assert_eq!(opt(claims.org_name.as_deref()), expected["org_name"], "{id}");
            assert_eq!(opt(claims.user_id.as_deref()), expected["user_id"], "{id}");
            assert_eq!(opt(claims.user_type.as_deref()), expected["user_type"], "{id}");
            assert_eq!(json!(claims.expires_at.map(Timestamp::secs)), expected["expires_unix"], "{id}");
        }
        Err(refusal) => {
            let why = if !is_yes(expected, "/is_jwt") {
                KeyRefusal::NotAKey
            } else if expected["org_id"].is_null() {
                KeyRefusal::NoOrg
            } else if is_yes(expected, "/expired") {
                KeyRefusal::Expired
            } else {
                KeyRefusal::ChatKey
            };
            assert_eq!(refusal, why, "{id}");
        }
    }
}

fn event_row(id: &str, case: &Value) {
    let (expected, connection) = (&case["expected"], &case["input"]["connection"]);
    let body = json::parse(text(case, "/input/raw_body").as_bytes()).unwrap();
    let event = client().parse_event(&body).unwrap();
    assert_eq!(event.id, text(expected, "/event_id"), "{id}");
    assert_eq!(event.org, text(expected, "/org_id"), "{id}");
    assert_eq!(event.name, text(expected, "/event"), "{id}");
    assert_eq!(event.name.split('.').nth(1), Some(text(expected, "/object_type")), "{id}");
    assert_eq!(event.data_id, text(expected, "/object_id"), "{id}");
    assert_eq!(opt(event.conversation_id.as_deref()), expected["conversation_id"], "{id}");
    assert_eq!(opt(event.customer_id.as_deref()), expected["customer_id"], "{id}");
    let direction = event.direction.map(|d| if d == Direction::Out { "out" } else { "in" });
    assert_eq!(opt(direction), expected["direction"], "{id}");
    assert_eq!(opt(event.author_user_id.as_deref()), expected["author_user_id"], "{id}");

    // Deciding is the caller's; what an event says has to be enough for the decisions of the sheet.
    let accepted = event.org == text(connection, "/kustomer_org_id");
    let by_us = event.author_user_id.as_deref() == Some(text(connection, "/machine_user_id"));
    let bound = connection["bound_conversation_ids"].as_array().unwrap();
    let relay = accepted
        && !by_us
        && event.name == "kustomer.message.create"
        && event.direction == Some(Direction::Out)
        && bound.contains(&opt(event.conversation_id.as_deref()));
    assert_eq!(accepted, is_yes(expected, "/accepted"), "{id}");
    assert_eq!(by_us, is_yes(expected, "/self_authored"), "{id}");
    assert_eq!(relay, is_yes(expected, "/relay_to_end_user"), "{id}");
}

fn app_token(id: &str, case: &Value) {
    let now = Timestamp::from_secs(1_795_500_000);
    let outcome =
        verify_app_token(text(case, "/input/token"), &secret(text(case, "/input/client_secret")), now);
    assert_eq!(outcome.is_some(), is_yes(case, "/expected/valid"), "{id}");
    if let Some((app, version)) = outcome {
        assert_eq!(app, text(case, "/expected/app"), "{id}");
        assert_eq!(version, text(case, "/expected/version"), "{id}");
    }
}

#[test]
fn an_apps_token_counts_only_with_its_own_secret_algorithm_and_time() {
    let now = Timestamp::from_secs(1_795_500_000);
    let make = |head: &Value, claims: &Value, key: &str| {
        let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
        let signed = format!("{}.{}", part(head), part(claims));
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    };
    let hs256 = json!({"alg": "HS256", "typ": "JWT"});
    let claims = json!({"app": "a", "version": "1.0.0"});
    let with_exp = |exp: Value| json!({"app": "a", "version": "1.0.0", "exp": exp});
    let good = make(&hs256, &claims, "k");
    let cut = good.rsplit_once('.').unwrap().0;
    for (what, token, key, valid) in [
        ("as it is made", good.clone(), "k", true),
        ("an end to come", make(&hs256, &with_exp(json!(1_795_500_001)), "k"), "k", true),
        ("an end that is now", make(&hs256, &with_exp(json!(1_795_500_000)), "k"), "k", false),
        ("an end in words", make(&hs256, &with_exp(json!("1895500001")), "k"), "k", false),
        ("another secret", make(&hs256, &claims, "j"), "k", false),
        ("no secret of ours", make(&hs256, &claims, ""), "", false),
        ("no algorithm", make(&json!({"alg": "none"}), &claims, "k"), "k", false),
        ("another algorithm", make(&json!({"alg": "HS512"}), &claims, "k"), "k", false),
        ("no signature", format!("{cut}."), "k", false),
        ("two parts", cut.to_owned(), "k", false),
        ("four parts", format!("{good}.{}", "A".repeat(43)), "k", false),
        ("no version", make(&hs256, &json!({"app": "a"}), "k"), "k", false),
        ("nothing", String::new(), "k", false),
    ] {
        let expected = valid.then(|| ("a".to_owned(), "1.0.0".to_owned()));
        assert_eq!(verify_app_token(&token, &secret(key), now), expected, "{what}");
    }
}
