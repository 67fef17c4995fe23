//! What was signed once is sent again, by somebody who can change everything but the body: row 19 of the experiments.

use super::ledger::rows;
use super::{Dice, tell, times};
use crate::scene::{FERN, LARK, Scene};
use crate::wire::{self, delivery, message, meta_signature};
use agenstack_core::clock::Clock;
use agenstack_store::both_databases;
use reqwest::{Method, StatusCode};
use serde_json::json;

/// A delivery of Shopify.
struct Sent<'a> {
    topic: &'a str,
    shop: &'a str,
    id: &'a str,
    at: Option<&'a str>,
}

async fn send(scene: &Scene, sent: Sent<'_>, body: &str) -> StatusCode {
    let mut request = scene
        .http
        .post(format!("{}/api/webhooks/shopify", scene.product))
        .header("x-shopify-topic", sent.topic)
        .header("x-shopify-shop-domain", sent.shop)
        .header("x-shopify-webhook-id", sent.id)
        .header("x-shopify-api-version", "2026-10")
        .header("x-shopify-hmac-sha256", wire::shopify_signature(scene, body));
    if let Some(at) = sent.at {
        request = request.header("x-shopify-triggered-at", at);
    }
    request.body(body.to_owned()).send().await.expect("the server answers").status()
}

/// Everything that an event could have had an effect on, but the list of events itself.
async fn effects(scene: &Scene) -> Vec<(String, String, i64)> {
    let mut all = Vec::new();
    for table in ["messages", "conversations", "contacts", "jobs", "privacy_requests"] {
        let sql = format!("SELECT '{table}', '', CAST(COUNT(*) AS BIGINT) FROM {table}");
        all.extend(rows(&scene.db.store, &sql).await);
    }
    all.extend(rows(&scene.db.store, "SELECT id, status, generation FROM integrations ORDER BY id").await);
    all
}

async fn events(scene: &Scene) -> i64 {
    rows(&scene.db.store, "SELECT '', '', CAST(COUNT(*) AS BIGINT) FROM events").await[0].2
}

both_databases! {
    async fn nothing_that_is_sent_again_has_a_second_effect(db: TestDb) {
        let scene = Scene::on(db).await;
        let _v = scene.connected("V", LARK).await;
        let _x = scene.connected("X", FERN).await;
        let (shop, other) = (LARK.shop(), FERN.shop());
        let now = scene.clock.now().rfc3339();
        let written = delivery(LARK.page, &[message(LARK.page, "7000000000000001", "m_1", "hello")]).to_string();
        let order = r#"{"id":1001,"name":"1001"}"#;
        let ended = format!(r#"{{"id":1,"myshopify_domain":"{shop}"}}"#);
        let (topic, ending) = ("orders/updated", "app/uninstalled");
        assert_eq!(wire::messenger(&scene, &written, Some(meta_signature(&scene, &written))).await, 200);
        assert_eq!(send(&scene, Sent { topic, shop: &shop, id: "w-1", at: Some(&now) }, order).await, 200);
        scene.settle().await;
        let (before, stored) = (effects(&scene).await, events(&scene).await);

        let (tries, dice) = (times("AGENSTACK_TEST_REPLAYS", 150), Dice::new());
        let mut refused = 0;
        for n in 0..tries {
            let id = format!("other-{n}");
            let status = match dice.below(6) {
                // The same again.
                0 => wire::messenger(&scene, &written, Some(meta_signature(&scene, &written))).await,
                1 => send(&scene, Sent { topic, shop: &shop, id: "w-1", at: Some(&now) }, order).await,
                // Under another id of the delivery, another time, or none.
                2 => send(&scene, Sent { topic, shop: &shop, id: &id, at: Some(&now) }, order).await,
                3 => send(&scene, Sent { topic, shop: &shop, id: &id, at: None }, order).await,
                // Under another shop's name, which its body contradicts.
                4 => send(&scene, Sent { topic: ending, shop: &other, id: &id, at: Some(&now) }, &ended).await,
                // Months old.
                _ => send(&scene, Sent { topic, shop: &shop, id: &id, at: Some("2026-01-01T00:00:00Z") }, order).await,
            };
            match status {
                StatusCode::OK => {}
                StatusCode::UNAUTHORIZED => refused += 1,
                status => panic!("{n}: {status}"),
            }
        }
        scene.settle().await;
        assert_eq!((effects(&scene).await, events(&scene).await), (before.clone(), stored));
        tell(&format!("{tries} replays, {refused} of them refused, no effect and no event"));

        // Ten minutes later, and thirty days.
        for secs in [600, 30 * 86_400 - 600] {
            scene.pass_time(secs);
            let again = wire::messenger(&scene, &written, Some(meta_signature(&scene, &written))).await;
            assert_eq!(again, 200, "after {secs} s");
            let old = send(&scene, Sent { topic, shop: &shop, id: "w-1", at: Some(&now) }, order).await;
            assert_eq!(old, if secs == 600 { 200 } else { 401 }, "after {secs} s");
            let none = send(&scene, Sent { topic, shop: &shop, id: "w-1", at: None }, order).await;
            assert_eq!(none, 200, "after {secs} s");
            let stored_now = events(&scene).await;
            assert_eq!(stored_now, stored, "after {secs} s");
        }
        // An end that comes again, as if it were new: the shop is asked before anything is ended.
        scene.settle().await;
        let fresh = scene.clock.now().rfc3339();
        assert_eq!(send(&scene, Sent { topic: ending, shop: &shop, id: "end", at: Some(&fresh) }, &ended).await, 200);
        scene.settle().await;
        let sql = format!("SELECT external_id, status, generation FROM integrations WHERE external_id = '{shop}'");
        assert_eq!(rows(&scene.db.store, &sql).await[0].1, "connected");
        let messages = |all: &[(String, String, i64)]| all.iter().take(3).cloned().collect::<Vec<_>>();
        assert_eq!(messages(&effects(&scene).await), messages(&before));
    }

    async fn an_end_in_the_same_words_is_heard_once_for_each_time_that_the_shop_was_connected(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let shop = LARK.shop();
        // The time is that of the shop's last change, which an end is not.
        let ended = format!(r#"{{"id":1,"myshopify_domain":"{shop}","updated_at":"2026-10-01T12:00:00+02:00"}}"#);
        let end = async |id: &str| {
            let now = scene.clock.now().rfc3339();
            let sent = Sent { topic: "app/uninstalled", shop: &shop, id, at: Some(&now) };
            assert_eq!(send(&scene, sent, &ended).await, 200);
            scene.settle().await;
            events(&scene).await
        };
        let before = events(&scene).await;
        assert_eq!((end("e-1").await, end("e-2").await), (before + 1, before + 1), "the same again");
        v.connect_shopify(LARK.label).await;
        assert_eq!((end("e-3").await, end("e-4").await), (before + 2, before + 2), "after it was connected anew");
        // Each time the shop was asked, which is still ours.
        assert_eq!(v.integration("shopify").await["status"], "connected");
    }

    async fn a_body_of_a_shop_under_another_shops_name_touches_nothing_of_either(db: TestDb) {
        let scene = Scene::on(db).await;
        let _v = scene.connected("V", LARK).await;
        let _x = scene.connected("X", FERN).await;
        let before = effects(&scene).await;
        // An order names no shop: the header is all there is, and the event is no more than a line in a list.
        let order = r#"{"id":1002,"name":"1002"}"#;
        for (shop, id) in [(LARK.shop(), "w-1"), (FERN.shop(), "w-1"), (FERN.shop(), "w-2")] {
            assert_eq!(send(&scene, Sent { topic: "orders/updated", shop: &shop, id, at: None }, order).await, 200);
        }
        scene.settle().await;
        assert_eq!(effects(&scene).await, before);
        // Where the body names the shop, the header has to agree.
        for topic in ["app/uninstalled", "shop/update"] {
            let body = format!(r#"{{"id":1,"myshopify_domain":"{}"}}"#, LARK.shop());
            assert_eq!(send(&scene, Sent { topic, shop: &FERN.shop(), id: topic, at: None }, &body).await, 401);
        }
        for topic in ["customers/data_request", "customers/redact", "shop/redact"] {
            let body = json!({"shop_id": 1, "shop_domain": LARK.shop()}).to_string();
            assert_eq!(send(&scene, Sent { topic, shop: &FERN.shop(), id: topic, at: None }, &body).await, 401);
        }
        scene.settle().await;
        assert_eq!(effects(&scene).await, before);
    }

    async fn a_body_that_one_desk_signed_is_worth_nothing_at_anothers_address(db: TestDb) {
        let scene = Scene::on(db).await;
        let _v = scene.connected("V", LARK).await;
        let _x = scene.connected("X", FERN).await;
        let hook = async |label: &str| {
            let list = scene.control(Method::GET, &format!("/kustomer/{label}/webhooks"), None).await;
            list[0].clone()
        };
        let (of_v, of_x) = (hook(LARK.label).await, hook(FERN.label).await);
        let stored = events(&scene).await;
        // V's secret at X's address, and at its own.
        let crossed = json!({"url": of_x["url"], "secret_of": of_v["id"]});
        let path = format!("/kustomer/{}/late", LARK.label);
        let told = scene.control(Method::POST, &path, Some(crossed)).await;
        assert_eq!(told["status"], 401, "{told} {of_v} {of_x}");
        assert_eq!(events(&scene).await, stored);
        let own = json!({"url": of_v["url"], "secret_of": of_v["id"]});
        assert_eq!(scene.control(Method::POST, &path, Some(own)).await["status"], 200);
    }
}
