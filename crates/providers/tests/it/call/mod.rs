//! Calls to a provider of our own: what is sent, what an answer means, and what becomes of a lost one.

mod kustomer;
mod messenger;
mod shopify;

use crate::wire::{self, NOW, Reply, SECRET, TOKEN, Wire, org, page, secret, shop, token};
use agenstack_providers::http::MOST_ANSWER_BYTES;
use agenstack_providers::kustomer::{Client, Direction, Turn};
use agenstack_providers::{Http, Kind, ProviderError};
use serde_json::json;
use std::fmt::Debug;
use std::time::Duration;

/// Everything in a call that nobody else may read.
pub const SECRETS: [&str; 5] = [TOKEN, SECRET, "c0de-0001", "shprt-0002", "pkce-verifier-0004"];

/// Makes every call there is once, and gives what went wrong in each.
pub async fn every_call(url: &str, http: &Http) -> Vec<(&'static str, ProviderError)> {
    let (s, m, k) = (
        wire::shopify(url, http.clone()),
        wire::messenger(url, http.clone()),
        wire::kustomer(url, http.clone()),
    );
    let (shop, page, org, token) = (&shop(), &page(), &org(), &token());
    let (code, refresh, verifier) =
        (&secret("c0de-0001"), &secret("shprt-0002"), &secret("pkce-verifier-0004"));
    let turn = Turn { external_id: "t1", direction: Direction::In, text: "hello", sent_at: NOW };
    let mut errors = Vec::new();
    macro_rules! calls {
        ($($name:literal: $call:expr;)*) => { $( errors.extend($call.await.err().map(|e| ($name, e))); )* };
    }
    calls! {
        "shopify exchange": s.exchange_code(shop, code, NOW);
        "shopify refresh": s.refresh(shop, refresh, NOW);
        "shop_info": s.shop_info(shop, token);
        "granted_scopes": s.granted_scopes(shop, token);
        "webhooks_ensure": s.webhooks_ensure(shop, token, "https://a.example/w", &["orders/updated"]);
        "webhooks_remove": s.webhooks_remove(shop, token, "https://a.example/w");
        "uninstall": s.uninstall(shop, token);
        "order_by_number": s.order_by_number(shop, token, "1001");
        "meta exchange": m.exchange_code("https://a.example/cb", code, NOW);
        "long_lived": m.long_lived(token, NOW);
        "debug_token": m.debug_token(token);
        "pages": m.pages(token);
        "page_offer": m.page_offer(page, token);
        "page_info": m.page_info(page, token);
        "subscribe": m.subscribe(page, token);
        "subscription": m.subscription(page, token);
        "unsubscribe": m.unsubscribe(page, token);
        "unsubscribe_as_app": m.unsubscribe_as_app(page);
        "send_text": m.send_text(page, token, "7100000000000001", "hi", "out-1");
        "profile": m.profile("7100000000000001", token);
        "kustomer exchange": k.exchange_code(Client::Platform, org, code, "https://a.example/cb", verifier, NOW);
        "kustomer refresh": k.refresh(Client::Platform, org, refresh, NOW);
        "verify_token": k.verify_token(org, token);
        "identity": k.identity(org, token);
        "missing_roles": k.missing_roles(org, token, &[]);
        "customer": k.customer_find_or_create(org, token, "c1", "Ana", Some("ana@shop.example"));
        "conversation": k.conversation_find_or_create(org, token, "c1", "v1", "Where is it?");
        "messages_add": k.messages_add(org, token, "v1", &[turn]);
        "note_add": k.note_add(org, token, "v1", "a note");
        "tag_add": k.tag_add(org, token, "v1", "bot-handover");
        "webhook_create": k.webhook_create(org, token, "https://a.example/w", "AgenStack");
        "webhook_delete": k.webhook_delete(org, token, "w1");
        "webhook_state": k.webhook_state(org, token, "w1");
        "webhooks_at": k.webhooks_at(org, token, "https://a.example/w");
        "webhook_enable": k.webhook_enable(org, token, "w1", "https://a.example/w", "AgenStack");
    }
    errors
}

pub const CALLS: usize = 35;

fn failed<T: Debug>(outcome: Result<T, ProviderError>) -> ProviderError {
    outcome.expect_err("the provider refused or was lost")
}

#[tokio::test]
async fn no_token_or_secret_stands_in_a_url_but_the_one_that_meta_wants_examined() {
    // Enough of an answer for most calls to go on to their next request; the others have asked by then.
    let wire = Wire::with(
        200,
        json!({"success": true, "id": "104729388401553", "data": {"id": "x1", "relationships": {"org": {"data": {"id": "o1"}}},
            "attributes": {"token": "w"}}}),
    )
    .await;
    every_call(&wire.url, &Http::new()).await;
    let asked = wire.asked();
    assert!(asked.len() >= CALLS, "every call asks at least once: {}", asked.len());
    for asked in asked {
        let url = format!("{}?{}", asked.path, asked.raw_query);
        for secret in SECRETS {
            let named_to_be_examined = asked.path.ends_with("/debug_token")
                && asked.query("input_token").as_deref() == Some(secret)
                && url.matches(secret).count() == 1;
            assert!(!url.contains(secret) || named_to_be_examined, "{url}");
        }
        assert_eq!(asked.header("referer"), "");
        assert!(asked.header("user-agent").starts_with("AgenStack/"));
    }
}

#[tokio::test]
async fn a_redirect_is_an_error_and_never_followed() {
    for status in [301, 302, 303, 307, 308] {
        let wire = Wire::answering(move |asked| {
            assert_ne!(asked.path, "/elsewhere");
            Reply::With(status, vec![("location", "/elsewhere".to_owned())], Vec::new())
        })
        .await;
        let errors = every_call(&wire.url, &Http::new()).await;
        assert_eq!(errors.len(), CALLS, "{status}");
        for (call, error) in errors {
            assert_eq!((error.kind, error.code), (Kind::Rejected, "redirected"), "{call} {status}");
        }
        assert!(wire.lines().iter().all(|line| !line.contains("elsewhere")), "{status}");
    }
}

#[tokio::test]
async fn an_answer_of_four_mebibytes_is_read_and_a_larger_one_is_refused() {
    let padded = |bytes: usize| {
        let mut body = json!({"id": page().as_str(), "name": "Lark"}).to_string().into_bytes();
        body.resize(bytes, b' ');
        body
    };
    let wire = Wire::answering(move |_| Reply::With(200, Vec::new(), padded(MOST_ANSWER_BYTES))).await;
    assert_eq!(wire.messenger().page_info(&page(), &token()).await.unwrap().name, "Lark");

    let wire = Wire::answering(move |_| Reply::With(200, Vec::new(), padded(MOST_ANSWER_BYTES + 1))).await;
    let error = failed(wire.messenger().page_info(&page(), &token()).await);
    assert_eq!((error.kind, error.code, error.outcome_unknown), (Kind::Malformed, "answer_too_large", false));
    let error = failed(wire.messenger().send_text(&page(), &token(), "7", "hi", "m").await);
    assert_eq!((error.code, error.outcome_unknown), ("answer_too_large", true));
}

#[tokio::test]
async fn a_large_answer_that_does_not_say_its_length_is_refused_too() {
    let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let chunk = vec![b' '; 1 << 20];
    for _ in 0..5 {
        bytes.extend_from_slice(b"100000\r\n");
        bytes.extend_from_slice(&chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    let wire = Wire::raw(bytes).await;
    let error = failed(wire.messenger().page_info(&page(), &token()).await);
    assert_eq!((error.kind, error.code), (Kind::Malformed, "answer_too_large"));
}

/// One call of each provider that does something, and one that only asks.
async fn writing_and_reading(url: &str, http: &Http) -> [(Vec<ProviderError>, bool); 2] {
    let (s, m, k) = (
        wire::shopify(url, http.clone()),
        wire::messenger(url, http.clone()),
        wire::kustomer(url, http.clone()),
    );
    let writing = vec![
        failed(s.uninstall(&shop(), &token()).await),
        failed(s.refresh(&shop(), &secret("r"), NOW).await),
        failed(m.send_text(&page(), &token(), "7", "hi", "m").await),
        failed(m.unsubscribe(&page(), &token()).await),
        failed(k.note_add(&org(), &token(), "v", "n").await),
        failed(k.webhook_delete(&org(), &token(), "w").await),
    ];
    let reading = vec![
        failed(s.shop_info(&shop(), &token()).await),
        failed(s.order_by_number(&shop(), &token(), "1").await),
        failed(m.page_info(&page(), &token()).await),
        failed(m.debug_token(&token()).await),
        failed(k.verify_token(&org(), &token()).await),
        failed(k.webhook_state(&org(), &token(), "w").await),
    ];
    [(writing, true), (reading, false)]
}

#[tokio::test]
async fn a_lost_answer_leaves_the_outcome_unknown_of_what_writes_and_of_nothing_else() {
    let lost = Wire::answering(|_| Reply::Lost).await;
    let silent = Wire::answering(|_| Reply::Never).await;
    let down = Wire::with(503, json!({})).await;
    // Long enough to connect on a busy machine; the listener never answers, so that nothing depends on it.
    let short = Http::with_timeout(Duration::from_millis(250));
    for (wire, http, code) in [
        (&lost, &Http::new(), "connection_lost"),
        (&silent, &short, "timed_out"),
        (&down, &Http::new(), "outage"),
    ] {
        for (errors, unknown) in writing_and_reading(&wire.url, http).await {
            for error in errors {
                assert_eq!((error.kind, error.code), (Kind::Unavailable, code));
                assert_eq!(error.outcome_unknown, unknown, "{error}");
                assert!(error.is_retryable());
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_lost_although_it_began_well() {
    let wire = Wire::raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"message_id\":\"m".to_vec()).await;
    let error = failed(wire.messenger().send_text(&page(), &token(), "7", "hi", "m").await);
    assert_eq!((error.code, error.status, error.outcome_unknown), ("connection_lost", Some(200), true));
}

#[tokio::test]
async fn who_cannot_be_reached_has_certainly_done_nothing() {
    // Nobody listens on the first port of a machine that runs tests.
    for (errors, _) in writing_and_reading("http://127.0.0.1:1", &Http::new()).await {
        for error in errors {
            assert_eq!((error.code, error.outcome_unknown), ("connect_failed", false));
        }
    }
}

#[tokio::test]
async fn a_success_that_cannot_be_read_may_have_done_what_was_asked() {
    let wire = Wire::answering(|_| Reply::With(200, Vec::new(), b"<html>".to_vec())).await;
    let error = failed(wire.messenger().send_text(&page(), &token(), "7", "hi", "m").await);
    assert_eq!((error.kind, error.outcome_unknown), (Kind::Malformed, true));
    let error = failed(wire.shopify().shop_info(&shop(), &token()).await);
    assert_eq!((error.kind, error.outcome_unknown), (Kind::Malformed, false));
}
