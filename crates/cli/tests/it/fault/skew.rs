//! Nodes whose machines disagree about the time, over one PostgreSQL: no lease and no attempt is taken for older or newer than
//! it is.

use super::disk::shared_library;
use super::ledger::rows;
use super::node::Stage;
use super::tell;
use crate::scene::{LARK, Scene, environment};
use agenstack_store::Store;
use agenstack_store::testing::postgres;
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};

/// What one node tells another by the database: the end of each lease that is held and the time of each attempt that waits, in
/// milliseconds from the database's present. And how often a lease was found to have run out.
struct Told {
    held: Vec<i64>,
    waiting: Vec<i64>,
    expired: i64,
}

impl Told {
    async fn by(store: &Store) -> Self {
        const ALL: &str = "
            SELECT state, CAST(COALESCE(lease, next_at) AS TEXT), expired FROM events WHERE state IN ('pending', 'failed', 'running')
            UNION ALL SELECT state, CAST(COALESCE(lease, next_at) AS TEXT), expired FROM jobs WHERE state IN ('pending', 'failed', 'running')";
        let now = store.time().await.unwrap().expect("PostgreSQL tells its time").millis();
        let (mut held, mut waiting, mut expired) = (Vec::new(), Vec::new(), 0);
        for (state, at, times) in rows(store, ALL).await {
            let from_now = at.parse::<i64>().expect("milliseconds") - now;
            if state == "running" { &mut held } else { &mut waiting }.push(from_now);
            expired += times;
        }
        Self { held, waiting, expired }
    }
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
    };
    let silent = json!({"provider": "meta", "operation": "POST messages", "times": 1, "hold_ms": 60_000});
    scene.control(Method::POST, "/faults", Some(silent.clone())).await;
    let mut right = stage().with(&[("AGENSTACK_WORKERS", "1")]).nodes(1).await;
    answered(&scene, "Bo").await;

    let ahead = secs.to_string();
    let wrong = [("LD_PRELOAD", &*library), ("WRONG_CLOCK_SECS", &ahead), ("AGENSTACK_SHUTDOWN_SECS", "5")];
    let mut wrong = stage().with(&wrong).nodes(1).await;
    // The one place of the first node is taken, so that the other answers these. Each time that it looks for work it also frees
    // what was leased until a time that is over.
    for from in ["Al", "Di", "Ed"] {
        answered(&scene, from).await;
    }
    let told = Told::by(&scene.db.store).await;
    tell(&format!("{secs} s: leases end in {:?} ms, attempts wait for {:?} ms", told.held, told.waiting));
    assert!(!told.held.is_empty(), "the first message is still under way");
    assert_eq!(told.expired, 0, "no lease was taken for one that has run out");

    // Now it is the other one that holds a message.
    right[0].kill();
    scene.control(Method::POST, "/faults", Some(silent)).await;
    answered(&scene, "Cy").await;
    let told = Told::by(&scene.db.store).await;
    tell(&format!("{secs} s: leases of the other end in {:?} ms", told.held));
    assert!(told.held.iter().all(|ends| (-15_000..=16_000).contains(ends)), "{:?}", told.held);
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
