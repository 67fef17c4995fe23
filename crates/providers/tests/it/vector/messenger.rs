//! `messenger.json`: what public implementations answered, and rows that the sheet prescribes.

use super::{file, headers, is_yes, opt, text};
use crate::wire::secret;
use agenstack_providers::messenger::MessagingEvent;
use agenstack_providers::{Http, Messenger, MetaApp, SignatureError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeSet;

fn client(app_secret: &str, verify_token: &str) -> Messenger {
    let app = MetaApp {
        app_id: "734512098811204".to_owned(),
        app_secret: secret(app_secret),
        verify_token: secret(verify_token),
    };
    let (dialog, graph) = ("https://www.facebook.com", "https://graph.facebook.com");
    Messenger::new(app, dialog.to_owned(), graph.to_owned(), Http::new()).unwrap()
}

fn of(case: &Value) -> Messenger {
    client(text(case, "/input/app_secret"), "unused")
}

#[test]
fn every_case_gets_the_verdict_of_the_vectors() {
    let vectors = file("messenger");
    let cases = vectors["cases"].as_array().unwrap();
    let mut looked_at = 0;
    for case in cases {
        let id = text(case, "/id");
        match text(case, "/kind") {
            "signature" => signature(id, case),
            "appsecret_proof" => proof(id, case),
            "signed_request" => signed_request(id, case),
            "hub_verify" => hub_verify(id, case),
            "events" => events(id, case),
            kind => panic!("{id}: nobody looks at cases of the kind {kind}"),
        }
        looked_at += 1;
    }
    assert_eq!(looked_at, cases.len());
    assert!(looked_at > 0);
}

fn signature(id: &str, case: &Value) {
    let body = STANDARD.decode(text(case, "/input/body_b64")).unwrap();
    let outcome = of(case).verify(&headers(&case["input"]["headers"]), &body);
    if case["expect"]["valid"] == "either" {
        // Meta writes lower case, and one way to write a signature is enough: everything else is refused.
        assert_eq!(outcome, Err(SignatureError::Shape), "{id}");
        return;
    }
    assert_eq!(outcome.is_ok(), is_yes(case, "/expect/valid"), "{id}: {outcome:?}");
}

fn proof(id: &str, case: &Value) {
    let proof = of(case).appsecret_proof(&secret(text(case, "/input/access_token")));
    assert_eq!(proof, text(case, "/expect/proof"), "{id}");
}

fn signed_request(id: &str, case: &Value) {
    let outcome = of(case).signed_request(text(case, "/input/signed_request")).ok();
    assert_eq!(outcome.is_some(), is_yes(case, "/expect/valid"), "{id}");
    assert_eq!(opt(outcome.as_ref().map(|r| r.user_id.as_str())), case["expect"]["user_id"], "{id}");
}

fn hub_verify(id: &str, case: &Value) {
    let outcome = client("unused", text(case, "/input/verify_token")).challenge(text(case, "/input/query"));
    assert_eq!(opt(outcome.as_deref().ok()), case["expect"]["body"], "{id}");
    assert_eq!(if outcome.is_ok() { 200 } else { 403 }, case["expect"]["status"], "{id}");
}

fn events(id: &str, case: &Value) {
    let events = client("unused", "unused").parse(text(case, "/input/body").as_bytes()).unwrap();
    let rows = case["expect"]["rows"].as_array().unwrap();
    assert_eq!(events.len(), rows.len(), "{id}");
    for (event, row) in events.iter().zip(rows) {
        for (field, expected) in row.as_object().unwrap() {
            assert_eq!(&field_of(id, event, field), expected, "{id}: {field} of {event:?}");
        }
    }
    assert_eq!(left_after_dedup(&events), case["expect"]["after_dedup"], "{id}");
}

fn field_of(id: &str, event: &MessagingEvent, name: &str) -> Value {
    match name {
        "page_id" => event.page_id.as_str().into(),
        "kind" => event.kind.as_str().into(),
        "channel" => event.channel.into(),
        "sender" => opt(event.sender.as_deref()),
        "psid" => opt(event.psid.as_deref()),
        "mid" => opt(event.mid.as_deref()),
        "answer" => event.answer.into(),
        "mids" => event.mids.clone().into(),
        _ => panic!("{id}: {name} is not a field known here"),
    }
}

/// Rows with a message of their own are told apart by our key; the vectors count every other row.
fn left_after_dedup(events: &[MessagingEvent]) -> usize {
    let owns_mid = |e: &&MessagingEvent| {
        e.mid.is_some() && (e.kind.starts_with("message.") || e.kind == "echo" || e.kind == "postback")
    };
    let (own, other): (Vec<_>, Vec<_>) = events.iter().partition(owns_mid);
    own.iter().map(|e| &e.dedup_key).collect::<BTreeSet<_>>().len() + other.len()
}
