//! Nodes whose machines disagree about the time, over one PostgreSQL: no lease and no attempt is taken for older or newer than
//! it is.

use super::disk::shared_library;
use super::ledger::rows;
use super::node::{Stage, program};
use super::tell;
use crate::scene::{LARK, Scene, environment};
use agenstack_store::Store;
use agenstack_store::testing::postgres;
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The leases of what is being sent: token, and end in milliseconds from the database's present.
async fn held(store: &Store) -> BTreeMap<String, i64> {
    const HELD: &str = "SELECT lease_token, '', lease FROM jobs WHERE state = 'running'";
    let now = store.time().await.unwrap().expect("PostgreSQL tells its time").millis();
    rows(store, HELD).await.into_iter().map(|(token, _, until)| (token, until - now)).collect()
}

/// How often the page was asked to send a message.
async fn sends(scene: &Scene) -> usize {
    scene.received("meta").await.iter().filter(|call| call.1 == "POST messages").count()
}

/// A customer writes, and somebody answers.
async fn answered(scene: &Scene, from: &str) {
    let before = sends(scene).await;
    let written = json!({"page_id": LARK.page, "from": from, "text": "hello"});
    scene.control(Method::POST, "/messages", Some(written)).await;
    let (began, mut tick) = (Instant::now(), tokio::time::interval(Duration::from_millis(20)));
    while sends(scene).await == before {
        tick.tick().await;
        assert!(began.elapsed() < Duration::from_secs(30), "nobody answers {from}");
    }
}

/// A node whose clock is right holds a message at a provider that says nothing, when another one is started whose clock is wrong
/// by so much.
async fn nobody_takes_what_another_holds(secs: i64) {
    let scene = Scene::on(postgres().await).await;
    scene.connected("Lark", LARK).await;
    let folder = tempfile::tempdir().unwrap();
    let library = shared_library("wrong_clock.c", &folder.path().join("wrong_clock.so"));
    let stage = || Stage {
        settings: scene.settings.clone(),
        environment: environment(&scene.settings, &scene.db.url),
        program: program(),
    };
    let silent = json!({"provider": "meta", "operation": "POST messages", "times": 1, "hold_ms": 60_000});
    scene.control(Method::POST, "/faults", Some(silent.clone())).await;
    let mut right = stage().with(&[("AGENSTACK_WORKERS", "1")]).nodes(1).await;
    answered(&scene, "Bo").await;
    let first: Vec<_> = held(&scene.db.store).await.into_keys().collect();
    assert_eq!(first.len(), 1, "it is under way");

    let ahead = secs.to_string();
    let wrong = [("LD_PRELOAD", &*library), ("WRONG_CLOCK_SECS", &ahead), ("AGENSTACK_SHUTDOWN_SECS", "5")];
    let mut wrong = stage().with(&wrong).nodes(1).await;
    // The one place of the first node is taken, so that the other answers these. Each time that it looks for work it also frees
    // what was leased until a time that is over.
    for from in ["Al", "Di", "Ed"] {
        answered(&scene, from).await;
    }
    let now = held(&scene.db.store).await;
    tell(&format!("{secs} s: leases end in {now:?} ms"));
    assert!(now.contains_key(&first[0]), "nobody took it for one that has run out");

    // Now it is the other one that holds a message.
    right[0].kill();
    scene.control(Method::POST, "/faults", Some(silent)).await;
    answered(&scene, "Cy").await;
    let now = held(&scene.db.store).await;
    tell(&format!("{secs} s: leases with those of the other end in {now:?} ms"));
    assert!(now.len() > 1 && now.values().all(|ends| (-15_000..=16_000).contains(ends)), "{now:?}");
    wrong[0].tell_to_stop();
    assert!(wrong[0].ended(), "it says that all is well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_machine_is_ten_minutes_ahead_takes_nothing_that_another_holds() {
    nobody_takes_what_another_holds(600).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_machine_is_an_hour_behind_holds_what_it_does_as_long_as_any_other() {
    nobody_takes_what_another_holds(-3600).await;
}
