//! All that one organization was ever written is handled again while everybody else's customers write: row 31 of the experiments.

use super::ledger::{change, rows};
use super::node::Stage;
use super::place::{CAP, HEALTHY, Place, Seen, page};
use super::{tell, times};
use crate::scene::client;
use agenstack_store::testing::{TestDb, postgres, sqlite};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages in one delivery.
const TOGETHER: usize = 50;

/// A number from the database.
async fn number(place: &Place, what: &str) -> i64 {
    rows(&place.store, &format!("SELECT '', '', CAST({what} AS BIGINT)")).await[0].2
}

async fn until(place: &Place, what: &str, enough: i64) {
    let (mut tick, mut before, mut since) =
        (tokio::time::interval(Duration::from_millis(200)), -1, Instant::now());
    loop {
        tick.tick().await;
        let now = number(place, what).await;
        if now == enough {
            return;
        }
        if now != before {
            (before, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{what} stays at {now}, and is to be {enough}");
    }
}

/// `done of total` in what the program says of a replay.
fn counted(said: &str) -> (i64, i64) {
    let (done, total) = said.rsplit_once(": ").and_then(|said| said.1.trim().split_once(" of ")).expect(said);
    (done.parse().expect(said), total.parse().expect(said))
}

async fn is_replayed(db: TestDb) {
    let organizations = times("AGENSTACK_TEST_ORGANIZATIONS", 50);
    let rate = times("AGENSTACK_TEST_RATE", 10);
    let messages = times("AGENSTACK_TEST_REPLAYED", 300);
    let pace = times("AGENSTACK_TEST_PACE", 50);
    let stage = Stage::new(&db.url, organizations).await;
    change(&db.store, "UPDATE integrations SET probed_at = 99999999999999").await;
    let node = stage.nodes(1).await.remove(0);
    let (at, store) = (node.at.clone(), db.store.clone());
    let place = Arc::new(Place { http: client(), stage, at, store, organizations, rate });
    place.arrange(None).await;

    let (quiet, replayed) = (HEALTHY, HEALTHY + 1);
    for first in (0..messages).step_by(TOGETHER) {
        let some = first..messages.min(first + TOGETHER);
        place.write_all(replayed, some.map(|n| (format!("7{n:09}"), format!("history_{n}")))).await;
    }
    let find = format!(
        "SELECT organization_id, id, CAST(0 AS BIGINT) FROM integrations WHERE external_id = '{}'",
        page(replayed)
    );
    let org = rows(&place.store, &find).await.remove(0).0;
    let events = |and: &str| {
        format!(
            "(SELECT COUNT(*) FROM events WHERE organization_id = '{org}' AND external_id LIKE 'history_%' {and})"
        )
    };
    let all_is_done = async || {
        until(&place, &events("AND state = 'done'"), messages as i64).await;
        until(&place, &format!("(SELECT COUNT(*) FROM jobs WHERE organization_id = '{org}')"), 0).await;
    };
    all_is_done().await;
    place.others(HEALTHY - 1, 0, false).await;
    let (mut without, mut beside) = (Seen::default(), Seen::default());
    without.and(place.others(quiet, 0, true).await);

    let said = format!("(SELECT COUNT(*) FROM messages WHERE organization_id = '{org}')");
    let before = (number(&place, &said).await, place.calls(replayed).await.len());
    let again = async |and: &[&str]| {
        place.stage.run(&[&["events", "replay", "--organization", &org], and].concat()).await
    };
    let (pace_a_second, began) = (pace.to_string(), Instant::now());
    let begun =
        again(&["--state", "done", "--provider", "messenger", "--per-second", &pace_a_second, "--detach"])
            .await;
    let replay = begun.split(':').next().expect("its id").to_owned();
    let done_of = format!("(SELECT done FROM replays WHERE id = '{replay}')");
    let asked =
        format!("(SELECT COUNT(*) FROM event_history WHERE organization_id = '{org}' AND kind = 'replayed')");

    // Paused in between, it says exactly how many it has put back.
    while number(&place, &done_of).await < 2 * pace as i64 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(began.elapsed() < Duration::from_secs(60), "it does not go on");
    }
    let (done, total) = counted(&again(&["--pause", &replay]).await);
    let at_most = pace as i64 * (began.elapsed().as_secs() as i64 + 2);
    assert!((2 * pace as i64..=at_most).contains(&done), "{done} in {:?}", began.elapsed());
    all_is_done().await;
    assert_eq!(
        (number(&place, &done_of).await, number(&place, &asked).await),
        (done, done),
        "asked for again"
    );

    again(&["--resume", &replay]).await;
    let resumed = Instant::now();
    beside.and(place.others(replayed, 0, true).await);
    let (lasted, meanwhile) = (resumed.elapsed(), number(&place, &done_of).await - done);
    until(&place, &done_of, total).await;
    all_is_done().await;
    assert_eq!(number(&place, &asked).await, total, "asked for again");
    let after = (number(&place, &said).await, place.calls(replayed).await.len());
    assert_eq!(after, before, "messages, and calls to the provider");

    let figures = |seen: &Seen| (seen.percentile(50), seen.percentile(99), seen.mean());
    tell(&format!(
        "{}: {} messages of {organizations} organizations, {rate} in a second, from acknowledgement to effect (median, 99%, mean): {:?} ms, and \
         {:?} ms beside one of whom {meanwhile} were handled again in {lasted:?}, of {total}; it held {} places at most",
        db.store.kind(),
        beside.took.len(),
        figures(&without),
        figures(&beside),
        beside.held,
    ));
    assert!(beside.held <= CAP as i64, "it held {} places", beside.held);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_was_ever_written_is_handled_again_at_its_pace_and_nobody_else_waits_on_sqlite() {
    is_replayed(sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_was_ever_written_is_handled_again_at_its_pace_and_nobody_else_waits_on_postgres() {
    is_replayed(postgres().await).await;
}
