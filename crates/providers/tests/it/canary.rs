//! No token and no secret in anything that is printed, logged or shown.

use crate::call::{CALLS, SECRETS, every_call};
use crate::wire::{self, NOW, Reply, SECRET, TOKEN, Wire, org, page, secret, shop, token};
use agenstack_providers::Http;
use agenstack_providers::kustomer::{Client, check_key_claims, tidy_key};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

fn clean(what: &str, text: &str) {
    for secret in SECRETS.into_iter().chain(["verify-me-0003", "hook-secret-0005"]) {
        assert!(!text.contains(secret), "{what} tells {secret}: {text}");
    }
}

/// Everything that a provider's text could carry back at us.
fn all_secrets() -> String {
    SECRETS.join(" ")
}

#[tokio::test]
async fn no_error_holds_a_token_even_where_the_providers_text_repeats_it() {
    let text = all_secrets();
    for status in [400, 401, 402, 403, 404, 409, 413, 423, 429, 500] {
        // The shapes of all three, so that each reader finds its own texts in it.
        let body = json!({
            "error": {"message": text, "code": 77, "type": text, "error_user_msg": text, "fbtrace_id": text},
            "errors": [{"message": text, "code": text, "extensions": {"code": text, "requiredAccess": text}}],
            "error_description": text,
        });
        let wire = Wire::with(status, body).await;
        let errors = every_call(&wire.url, &Http::new()).await;
        assert!(errors.len() + 8 > CALLS, "{status}: a few take 404 for an answer");
        for (call, error) in errors {
            clean(call, &format!("{error} {error:?} {} {}", error.plain(), error.code));
        }
    }
    // Refusals inside a success, whose texts are read for the names of scopes.
    let errors = json!([{"message": text, "path": [text], "extensions": {"code": "ACCESS_DENIED", "requiredAccess": text}}]);
    let wire =
        Wire::with(200, json!({"errors": errors, "data": {"x": {"userErrors": [{"message": text}]}}})).await;
    for (call, error) in every_call(&wire.url, &Http::new()).await {
        clean(call, &format!("{error} {error:?} {}", error.plain()));
    }
}

#[tokio::test]
async fn no_transport_error_holds_the_url_or_the_token() {
    let lost = Wire::answering(|_| Reply::Lost).await;
    let odd = Wire::answering(|_| Reply::With(200, Vec::new(), all_secrets().into_bytes())).await;
    for url in [&lost.url, &odd.url, "http://127.0.0.1:1"] {
        let errors = every_call(url, &Http::new()).await;
        assert_eq!(errors.len(), CALLS, "{url}");
        for (call, error) in errors {
            let text = format!("{error} {error:?} {}", error.plain());
            clean(call, &text);
            assert!(!text.contains("127.0.0.1"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_token_that_no_header_can_hold_is_refused_without_being_shown() {
    let wire = Wire::with(200, json!({})).await;
    let broken = secret(&format!("{TOKEN}\n{SECRET}"));
    let refused = [
        wire.shopify().shop_info(&shop(), &broken).await.unwrap_err(),
        wire.messenger().page_info(&page(), &broken).await.unwrap_err(),
        wire.kustomer().verify_token(&org(), &broken).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.code, "token_unreadable");
        clean("an unreadable token", &format!("{error} {error:?} {}", error.plain()));
    }
    assert!(wire.asked().is_empty());
}

#[tokio::test]
async fn no_client_config_or_grant_shows_what_it_holds() {
    let url = "http://127.0.0.1:1";
    let (shopify, messenger, kustomer) = (
        wire::shopify(url, Http::new()),
        wire::messenger(url, Http::new()),
        wire::kustomer(url, Http::new()),
    );
    clean("Shopify", &format!("{shopify:?} {shopify:#?}"));
    clean("Messenger", &format!("{messenger:?} {messenger:#?}"));
    clean("Kustomer", &format!("{kustomer:?} {kustomer:#?}"));

    let reply = json!({"access_token": TOKEN, "refresh_token": "shprt-0002", "expires_in": 3600});
    let wire = Wire::with(200, reply).await;
    let code = secret("c0de-0001");
    clean(
        "Shopify's grant",
        &format!("{:?}", wire.shopify().exchange_code(&shop(), &code, NOW).await.unwrap()),
    );
    clean("Meta's grant", &format!("{:?}", wire.messenger().long_lived(&token(), NOW).await.unwrap()));
    clean(
        "Kustomer's grant",
        &format!("{:?}", wire.kustomer().refresh(Client::Platform, &org(), &code, NOW).await.unwrap()),
    );

    let wire = Wire::with(200, json!({"data": [{"id": "1", "name": "P", "access_token": TOKEN}]})).await;
    let offers = wire.messenger().pages(&token()).await.unwrap();
    assert!(offers[0].access_token.is_some());
    clean("an offered page", &format!("{offers:?}"));

    let made = json!({"data": {"id": "w", "attributes": {"token": "hook-secret-0005"}}});
    let wire = Wire::with(200, made).await;
    let made = wire.kustomer().webhook_create(&org(), &token(), "https://a.example/w", "A").await.unwrap();
    clean("a webhook that was made", &format!("{made:?}"));
}

#[test]
fn no_callback_or_key_shows_what_it_holds() {
    let url = "http://127.0.0.1:1";
    let (shopify, messenger, kustomer) = (
        wire::shopify(url, Http::new()),
        wire::messenger(url, Http::new()),
        wire::kustomer(url, Http::new()),
    );
    let query = format!("code=c0de-0001&shop={}&state=s&timestamp={}", shop(), NOW.secs());
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(query.as_bytes());
    let signed = format!("{query}&hmac={}", hex::encode(mac.finalize().into_bytes()));
    let callback = shopify.verify_callback(&signed, NOW).unwrap();
    assert!(callback.code.is_some());
    clean("Shopify's callback", &format!("{callback:?}"));
    clean("Meta's callback", &format!("{:?}", messenger.parse_callback("code=c0de-0001&state=s").unwrap()));
    clean(
        "Kustomer's callback",
        &format!("{:?}", kustomer.parse_callback("code=c0de-0001&state=s").unwrap()),
    );
    for query in ["code=c0de-0001", "code=c0de-0001&error=x&state=s", "code=c0de-0001&code=c0de-0001"] {
        let refused = messenger.parse_callback(query).unwrap_err();
        clean("a refused callback", &format!("{refused} {refused:?} {}", refused.code()));
        let refused = shopify.verify_callback(query, NOW).unwrap_err();
        clean("a refused callback", &format!("{refused} {refused:?} {}", refused.code()));
    }

    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let key = format!("{}.{}.{}", part("{}"), part(r#"{"org":"o1","jti":"x"}"#), part(TOKEN));
    let claims = check_key_claims(&secret(&key), NOW).unwrap();
    let tidy = tidy_key(&secret(&format!(" Bearer {key} ")));
    for text in [format!("{claims:?}"), format!("{tidy:?}")] {
        assert!(!text.contains(&part(TOKEN)) && !text.contains(&key), "{text}");
    }
    let refused = check_key_claims(&secret(TOKEN), NOW).unwrap_err();
    clean("a refused key", &format!("{refused} {refused:?} {}", refused.plain()));
}

#[test]
fn a_dialogs_address_holds_no_secret() {
    let url = "http://127.0.0.1:1";
    let challenge = agenstack_providers::kustomer::pkce_challenge("pkce-verifier-0004");
    for address in [
        wire::shopify(url, Http::new()).authorize_url(&shop(), "https://a.example/cb", "s"),
        wire::messenger(url, Http::new()).dialog_url("https://a.example/cb", "s", true),
        wire::kustomer(url, Http::new())
            .authorize_url(Client::Platform, &org(), "https://a.example/cb", "s", &challenge)
            .unwrap(),
    ] {
        clean("a dialog's address", &address);
    }
}
