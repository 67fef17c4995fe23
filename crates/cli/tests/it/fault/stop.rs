//! A node is told to stop, as each is in a rolling deploy: what was asked is answered, what is under way is finished or handed
//! back, and the program has ended in time.

use super::ledger::{drained, rows};
use super::load::Load;
use super::node::{Stage, program};
use super::tell;
use crate::scene::{LARK, Scene, environment};
use crate::wire::{delivery, message, meta_signature_by};
use agenstack_store::Store;
use agenstack_store::testing::{TestDb, postgres, sqlite};
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ORGANIZATIONS: usize = 10;
const LINES: usize = 24;
/// `AGENSTACK_SHUTDOWN_SECS`, if nobody sets it.
const LATEST: Duration = Duration::from_secs(20);

/// Rows that somebody holds.
async fn leased(store: &Store) -> i64 {
    const LEASED: &str = "SELECT '', '', (SELECT COUNT(*) FROM events WHERE lease_token IS NOT NULL)
        + (SELECT COUNT(*) FROM jobs WHERE lease_token IS NOT NULL)";
    rows(store, LEASED).await[0].2
}

async fn stops_under_load(db: TestDb) {
    let stage = Stage::new(&db.url, ORGANIZATIONS).await;
    let mut nodes = stage.nodes(1).await;
    let running = Load::new(&stage, &nodes, ORGANIZATIONS).run(LINES);
    let ledger = &running.load.clone().ledger;
    ledger.more(200).await;

    // A delivery of which the node has read the beginning when it is told to stop.
    let body =
        delivery("100000000000001", &[message("100000000000001", "7900000000000001", "m_last_0", "last")])
            .to_string();
    let (name, signature) = meta_signature_by(&stage.settings.meta_app_secret, &body);
    let mut half = TcpStream::connect(nodes[0].at.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST /api/webhooks/messenger HTTP/1.1\r\nHost: x\r\n{name}: {signature}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    half.write_all(head.as_bytes()).await.unwrap();
    // That it asks for the body says that it has begun with the request.
    let mut said = [0; 64];
    let n = half.read(&mut said).await.unwrap();
    assert!(said[..n].starts_with(b"HTTP/1.1 100"), "{:?}", String::from_utf8_lossy(&said[..n]));

    let began = Instant::now();
    nodes[0].tell_to_stop();
    // Nobody new is let in from the moment on in which it has heard of it.
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    while TcpStream::connect(nodes[0].at.trim_start_matches("http://")).await.is_ok() {
        tick.tick().await;
    }
    half.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    ledger.acked(&["m_last_0".to_owned()], began.elapsed());
    assert!(nodes[0].ended(), "it says that all is well");
    let took = began.elapsed();
    tell(&format!("{}: ended {took:?} after SIGTERM, {} silences", db.store.kind(), ledger.silences()));
    assert!(took < LATEST, "{took:?}");
    assert_eq!(leased(&db.store).await, 0, "what was leased is handed back or done");

    nodes[0].restart().await;
    ledger.more(100).await;
    let load = running.stop().await;
    drained(&db.store).await;
    load.ledger.audit(&db.store).await.holds();
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_under_load_a_node_on_sqlite_answers_what_was_asked_and_has_ended_in_time() {
    stops_under_load(sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_under_load_a_node_on_postgres_answers_what_was_asked_and_has_ended_in_time() {
    stops_under_load(postgres().await).await;
}

/// A provider that says nothing for a minute holds up neither the end nor who comes after.
async fn hands_back(db: TestDb) {
    let scene = Scene::on(db).await;
    let lark = scene.connected("Lark", LARK).await;
    let fault = json!({"provider": "meta", "operation": "POST messages", "times": 1, "hold_ms": 60_000});
    scene.control(Method::POST, "/faults", Some(fault)).await;
    let stage = Stage {
        settings: scene.settings.clone(),
        environment: environment(&scene.settings, &scene.db.url),
        program: program(),
    };
    let mut nodes = stage.with(&[("AGENSTACK_SHUTDOWN_SECS", "5")]).nodes(1).await;
    let sends = async || scene.received("meta").await.iter().filter(|call| call.1 == "POST messages").count();
    let written = json!({"page_id": LARK.page, "from": "Bo", "text": "hello"});
    scene.control(Method::POST, "/messages", Some(written)).await;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while sends().await == 0 {
        tick.tick().await;
    }
    // The page has taken it, and does not say so.
    assert!(leased(&scene.db.store).await >= 1, "the call is under way");

    let began = Instant::now();
    nodes[0].tell_to_stop();
    assert!(nodes[0].ended(), "it says that all is well");
    let took = began.elapsed();
    tell(&format!("{}: ended {took:?} after SIGTERM, with a call under way", scene.db.store.kind()));
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Another worker has it at once, sees that it was handed out, and does not send it again.
    assert_eq!(leased(&scene.db.store).await, 0, "it is handed back");
    scene.settle().await;
    let messages = lark.messages_all(&lark.conversation().await).await;
    let answers: Vec<_> = messages.into_iter().filter(|m| m.0 == "bot").collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(sends().await, 1, "sent once");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_not_finished_in_time_is_handed_back_and_not_done_twice_on_sqlite() {
    hands_back(sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_not_finished_in_time_is_handed_back_and_not_done_twice_on_postgres() {
    hands_back(postgres().await).await;
}
