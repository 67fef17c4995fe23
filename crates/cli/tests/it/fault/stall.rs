//! A provider that takes 29 seconds for one tenant among many: row 7 of the experiments. It holds its share of the worker's places and of
//! connections, no transaction is open meanwhile, and nobody else waits for it. And a tenant to whom more is written than is worked,
//! all the time: row 13.

use super::ledger::change;
use super::node::Stage;
use super::place::{CAP, HEALTHY, MOST_ROUNDS, NOISY, Place, STALL, STALLED, Seen};
use super::{tell, times};
use crate::scene::client;
use agenstack_store::testing::{TestDb, postgres, sqlite};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// More messages in a second than anybody works.
const MUCH: usize = 100_000;
/// Calls that begin within less than this are under way at the same time: the product gives up after 15 seconds.
const TOGETHER_MILLIS: i64 = 10_000;

async fn is_noisy(db: TestDb) {
    let organizations = times("AGENSTACK_TEST_ORGANIZATIONS", 50);
    let rate = times("AGENSTACK_TEST_RATE", 10);
    let noise = times("AGENSTACK_TEST_NOISE", MUCH);
    let stage = Stage::new(&db.url, organizations).await;
    change(&db.store, "UPDATE integrations SET probed_at = 99999999999999").await;
    let node = stage.nodes(1).await.remove(0);
    let (at, store) = (node.at.clone(), db.store.clone());
    let place = Arc::new(Place { http: client(), stage, at, store, organizations, rate });
    place.arrange(None).await;
    place.round(HEALTHY - 1, 0, false).await;
    let (mut quiet, mut beside) = (Seen::default(), Seen::default());
    quiet.and(place.round(HEALTHY, 0, true).await);
    let (over, noisy, began) = (Arc::new(AtomicBool::new(false)), HEALTHY + 1, Instant::now());
    let writing = tokio::spawn(place.clone().noise(noisy, noise, over.clone()));
    beside.and(place.round(noisy, 0, true).await);
    let lasted = began.elapsed();
    over.store(true, Ordering::SeqCst);
    let sent = writing.await.expect("it ends");

    let figures = |seen: &Seen| (seen.percentile(50), seen.percentile(99), seen.mean());
    let share = rate as f64 / organizations as f64;
    tell(&format!(
        "{}: {} messages of {organizations} organizations, {rate} in a second, from acknowledgement to effect (median, 99%, mean): {:?} ms, and \
         {:?} ms beside one to whom {sent} were written in {lasted:?}, {:.0} times the share of another; it held {} places at most, {} of its \
         rows waited when the others' were done",
        db.store.kind(),
        beside.took.len(),
        figures(&quiet),
        figures(&beside),
        sent as f64 / lasted.as_secs_f64() / share,
        beside.held,
        beside.waiting,
    ));
    if noise == MUCH {
        assert!(beside.waiting > NOISY as i64, "more was written than worked: {}", beside.waiting);
    }
    assert!(beside.held <= CAP as i64, "it held {} places", beside.held);
    assert!(sent > 50 * beside.took.len() / organizations, "it is noisy: {sent}");
}

async fn stalls(db: TestDb) {
    let organizations = times("AGENSTACK_TEST_ORGANIZATIONS", 50);
    let rate = times("AGENSTACK_TEST_RATE", 10);
    let rounds = times("AGENSTACK_TEST_ROUNDS", 1).min(MOST_ROUNDS);
    let stage = Stage::new(&db.url, organizations).await;
    // Nobody looks after connections whose tokens nobody gave.
    change(&db.store, "UPDATE integrations SET probed_at = 99999999999999").await;
    let node = stage.nodes(1).await.remove(0);
    let (at, store) = (node.at.clone(), db.store.clone());
    let place = Arc::new(Place { http: client(), stage, at, store, organizations, rate });
    place.arrange(None).await;
    // What is new to the node costs more: that round is not counted.
    place.round(HEALTHY - 1, rounds, false).await;
    let (mut without, mut with) = (Seen::default(), Seen::default());
    let mut calls = Vec::new();
    // In turns, since the tables grow and the machine has its moods.
    for n in 0..rounds {
        without.and(place.round(HEALTHY + n, rounds, n == 0).await);
        with.and(place.round(STALLED + n, rounds, n == 0).await);
        if n == 0 {
            calls = place.calls(STALLED).await;
        }
        place.release(STALLED + n).await;
    }

    let figures = |seen: &Seen| (seen.percentile(50), seen.percentile(99), seen.mean());
    let growth =
        |percent| 100.0 * (with.percentile(percent) as f64 / without.percentile(percent) as f64 - 1.0);
    tell(&format!(
        "{}: {rounds} rounds, {} events of {organizations} organizations, {rate} in a second, from acknowledgement to effect (median, 99%, \
         mean): {:?} ms without and {:?} ms with a provider that takes {STALL:?} for one; grown by {:.1}%, {:.1}% and {:.1}%; that one held {} \
         places at most, {} calls were begun for the first, {} of its rows were not done",
        db.store.kind(),
        with.took.len(),
        figures(&without),
        figures(&with),
        growth(50),
        growth(99),
        100.0 * (with.mean() / without.mean() - 1.0),
        with.held,
        calls.len(),
        with.waiting,
    ));
    assert!(with.waiting > 0, "the others were done while it still hangs");
    assert!(with.held <= CAP as i64, "it held {} places", with.held);
    let together = calls.windows(CAP + 1).find(|w| w[CAP] - w[0] < TOGETHER_MILLIS);
    assert_eq!(together, None, "more than {CAP} calls under way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_takes_29_seconds_for_one_of_many_holds_its_share_and_nobody_else_waits_on_sqlite() {
    stalls(sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_takes_29_seconds_for_one_of_many_holds_its_share_and_nobody_else_waits_on_postgres()
{
    stalls(postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_to_whom_more_is_written_than_is_worked_holds_its_share_and_nobody_else_waits_on_sqlite() {
    is_noisy(sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_to_whom_more_is_written_than_is_worked_holds_its_share_and_nobody_else_waits_on_postgres() {
    is_noisy(postgres().await).await;
}
