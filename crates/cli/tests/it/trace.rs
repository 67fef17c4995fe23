//! The spans of an event: one trace from its receipt to its effect, in whichever process, and nothing in it that is a
//! customer's.

use crate::scene::{LARK, Scene};
use agenstack_app::trace::{Collector, Kind, Span, TraceId};
use agenstack_providers::Http;
use agenstack_store::both_databases;
use agenstack_store::testing::TestDb;
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Keeps what it is given.
#[derive(Default)]
struct Kept {
    spans: Mutex<Vec<Span>>,
    nothing: bool,
}

impl Collector for Kept {
    fn wants(&self, _: &TraceId) -> bool {
        !self.nothing
    }
    fn take(&self, span: Span) {
        self.spans.lock().unwrap().push(span);
    }
    fn end(&self) {}
}

async fn written(db: TestDb, nothing: bool) -> (Scene, Vec<Span>) {
    let kept = Arc::new(Kept { nothing, ..Kept::default() });
    let scene = Scene::watched(db, Http::new(), &[], Some(kept.clone())).await;
    scene.connected("Lark", LARK).await;
    kept.spans.lock().unwrap().clear();
    let written =
        json!({"page_id": LARK.page, "from": "Bo Canary", "text": "order #1001 canary@example.com"});
    scene.control(Method::POST, "/messages", Some(written)).await;
    scene.settle().await;
    let spans = kept.spans.lock().unwrap().clone();
    (scene, spans)
}

both_databases! {
    async fn the_receipt_of_a_message_its_work_and_its_answer_are_one_trace_without_a_word_of_it(db: TestDb) {
        let (scene, spans) = written(db, false).await;
        let first = spans.iter().find(|s| s.name == "effect").expect("an answer was sent").trace;
        let ours: Vec<_> = spans.iter().filter(|s| s.trace == first).collect();
        let named = |name: &str| -> Vec<&&Span> { ours.iter().filter(|s| s.name == name).collect() };
        for (name, kind, parents) in [
            ("accept", Kind::Server, None),
            ("accept.verify", Kind::Internal, Some("accept")),
            ("accept.route", Kind::Internal, Some("accept")),
            ("accept.commit", Kind::Internal, Some("accept")),
            ("wait", Kind::Internal, Some("accept")),
            ("handle", Kind::Consumer, Some("accept")),
            ("effect", Kind::Consumer, Some("accept")),
        ] {
            let these = named(name);
            assert_eq!(these.len(), 1, "{name}: {ours:#?}");
            assert_eq!((these[0].kind, these[0].failed), (kind, None), "{name}");
            assert_eq!(these[0].parent, parents.map(|parent| named(parent)[0].id), "{name}");
        }
        // The order is looked up and the answer sent, each within what asks for it.
        let calls: BTreeSet<_> = named("provider.call").iter().map(|s| (s.parent, s.attributes[1].1.clone())).collect();
        assert!(calls.contains(&(Some(named("handle")[0].id), "shopify".into())), "{calls:?}");
        assert!(calls.contains(&(Some(named("effect")[0].id), "messenger".into())), "{calls:?}");
        let ids: BTreeSet<_> = spans.iter().map(|s| s.id).collect();
        assert_eq!(ids.len(), spans.len(), "each span has an id of its own");
        // The page's echo is an event, and a trace, of its own.
        assert!(spans.iter().any(|s| s.trace != first && s.name == "accept"), "{spans:#?}");
        let all = format!("{spans:?}");
        for secret in [&scene.settings.meta_app_secret, &scene.settings.shopify_api_secret] {
            assert!(!all.contains(secret.as_str()), "a secret is in the spans");
        }
        // Ids and times may hold any short word by chance.
        let values = spans.iter().flat_map(|s| s.attributes.iter().map(|(_, value)| value.as_str()));
        let is_id = |value: &str| value.starts_with("org_") || value.starts_with("evt_");
        let told = values.filter(|value| !is_id(value)).collect::<Vec<_>>().join(" ").to_lowercase();
        for word in ["canary", "1001", "example.com", "eaa", "shpat_"] {
            assert!(!told.contains(word), "{word} is in {told}");
        }
    }

    async fn an_event_whose_trace_nobody_wants_makes_no_span(db: TestDb) {
        let (scene, spans) = written(db, true).await;
        assert!(spans.is_empty(), "{spans:#?}");
        assert!(scene.received("meta").await.iter().any(|call| call.1 == "POST messages"), "and is worked on");
    }
}
