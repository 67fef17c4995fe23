//! For how long what came in is kept.

use crate::scene::{LARK, Scene, Tenant};
use crate::wire::{delivery, message, messenger_signed};
use agenstack_app::{metric, retention};
use agenstack_store::both_databases;
use reqwest::{Method, StatusCode};
use serde_json::json;

const DAY: i64 = 86_400;

async fn states(tenant: &Tenant) -> Vec<String> {
    let mut all: Vec<_> = tenant
        .list("/events?limit=200")
        .await
        .iter()
        .map(|e| e["state"].as_str().unwrap().to_owned())
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Days pass, and the person logs in again.
async fn later(scene: &Scene, tenant: &Tenant, days: i64) {
    scene.pass_time(days * DAY);
    let body = json!({"email": tenant.email, "password": "correct horse battery"});
    assert_eq!(tenant.browser.post("/api/auth/login", body).await.status, StatusCode::OK);
}

/// What the metric with this beginning says.
async fn metric(scene: &Scene, name: &str) -> f64 {
    let text = metric::render(&scene.running.app).await;
    let line =
        text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

both_databases! {
    async fn what_is_done_is_kept_for_its_days_what_was_given_up_for_longer_and_what_waits_for_good(db: TestDb) {
        let scene = Scene::with(db, &[("AGENSTACK_RETENTION_DAYS", "10"), ("AGENSTACK_RETENTION_DEAD_DAYS", "20")]).await;
        let v = scene.connected("V", LARK).await;
        scene.write(LARK.page, "Ana", "hello").await;
        // A delivery that cannot be read is dead at once.
        let signature = crate::wire::shopify_signature(&scene, "{");
        let answer = crate::wire::shopify(&scene, "orders/updated", &LARK.shop(), "w-1", "{", Some(signature)).await;
        assert_eq!(answer.status, StatusCode::OK);
        scene.settle().await;
        assert_eq!(states(&v).await, ["dead", "done"]);
        let audit = v.list("/conversations").await.len();

        let app = &scene.running.app;
        assert_eq!(retention::round(app).await.unwrap(), 0);
        later(&scene, &v, 9).await;
        assert_eq!(retention::round(app).await.unwrap(), 0);
        let waits = delivery(LARK.page, &[message(LARK.page, "7000000000000001", "m_1", "waits")]);
        assert_eq!(messenger_signed(&scene, &waits).await, StatusCode::OK);
        later(&scene, &v, 2).await;
        let done = retention::round(app).await.unwrap();
        assert!(done > 0);
        assert_eq!(states(&v).await, ["dead", "pending"]);
        assert_eq!(retention::round(app).await.unwrap(), 0, "the next pass is not due yet");
        assert!(metric(&scene, "agenstack_retention_deleted_total{table=\"events\"}").await >= done as f64);
        let oldest = metric(&scene, "agenstack_retention_oldest_seconds").await;
        assert!((11.0 * 86_400.0..12.0 * 86_400.0).contains(&oldest), "{oldest}");
        later(&scene, &v, 10).await;
        assert_eq!(retention::round(app).await.unwrap(), 1);
        assert_eq!(states(&v).await, ["pending"]);
        later(&scene, &v, 1_000).await;
        assert_eq!(retention::round(app).await.unwrap(), 0);
        assert_eq!(states(&v).await, ["pending"]);
        assert_eq!(v.list("/conversations").await.len(), audit, "conversations are not of the log");
    }

    async fn a_message_that_comes_again_after_its_event_was_deleted_is_no_second_message(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let sent = scene.control(Method::POST, "/messages", Some(json!({"page_id": LARK.page, "from": "Bo", "text": "hello"}))).await;
        scene.settle().await;
        let (psid, mid) = (sent["psid"].as_str().unwrap(), sent["mid"].as_str().unwrap());
        let (thread, before) = (scene.thread(LARK.page, psid).await, v.messages(&v.conversation().await).await);
        later(&scene, &v, 31).await;
        assert!(retention::round(&scene.running.app).await.unwrap() > 0);
        let caught = delivery(LARK.page, &[message(LARK.page, psid, mid, "hello")]);
        assert_eq!(messenger_signed(&scene, &caught).await, StatusCode::OK);
        scene.settle().await;
        assert_eq!(v.messages(&v.conversation().await).await, before);
        assert_eq!(scene.thread(LARK.page, psid).await, thread);
    }
}
