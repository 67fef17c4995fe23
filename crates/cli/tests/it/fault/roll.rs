//! Nodes are replaced one after the other while events come in, as in a rolling deploy: row 25 of the experiments. A version is
//! rolled out over the one before and taken back: row 26.

use super::ledger::drained;
use super::load::Load;
use super::node::{Node, Stage, program};
use super::{tell, times};
use crate::upgrade::{ADDS, migrated_by_a_newer_program};
use agenstack_store::testing::{TestDb, postgres, postgres_empty, sqlite, sqlite_empty};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const ORGANIZATIONS: usize = 20;
const LINES: usize = 24;
/// `AGENSTACK_SHUTDOWN_SECS`, if nobody sets it.
const LATEST: Duration = Duration::from_secs(20);

/// When whoever balances the load takes out a node that is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TakenOut {
    /// Before it is told to.
    Before,
    /// When it is gone. Until then what nobody listens to any more is sent to another.
    After,
}

/// Another node takes the place of each, one after the other, with some load in between; gives how long the slowest took to end.
async fn replace(nodes: &mut [Node], stage: &Stage, load: &Load, taken_out: TakenOut) -> Duration {
    let mut slowest = Duration::ZERO;
    for place in 0..nodes.len() {
        let mut former = std::mem::replace(&mut nodes[place], Node::start(stage, None).await);
        load.balance(nodes.iter().chain((taken_out == TakenOut::After).then_some(&former)));
        load.ledger.more(60).await;
        slowest = slowest.max(end(&mut former));
        load.balance(nodes.iter());
    }
    slowest
}

/// The node is told to end, and does so; gives how long that took.
fn end(node: &mut Node) -> Duration {
    let began = Instant::now();
    node.tell_to_stop();
    assert!(node.ended(), "it says that all is well");
    began.elapsed()
}

async fn deployed(taken_out: TakenOut) {
    let (deploys, db) = (times("AGENSTACK_TEST_DEPLOYS", 3), postgres().await);
    let stage = Stage::new(&db.url, ORGANIZATIONS).await;
    let mut nodes = stage.nodes(2).await;
    let running = Load::new(&stage, &nodes, ORGANIZATIONS).run(LINES);
    let load = running.load.clone();
    let mut slowest = Duration::ZERO;
    for _ in 0..deploys {
        slowest = slowest.max(replace(&mut nodes, &stage, &load, taken_out).await);
    }
    let load = running.stop().await;
    drained(&db.store).await;
    tell(&format!(
        "{deploys} deploys of two nodes, taken out {taken_out:?}: ended {slowest:?} after SIGTERM at most; {} found nobody and were sent \
         to another node, {} were torn off, {} refused",
        load.ledger.silences() - load.ledger.torn(),
        load.ledger.torn(),
        load.ledger.refusals(),
    ));
    load.ledger.audit(&db.store).await.holds();
    assert_eq!((load.ledger.torn(), load.ledger.refusals()), (0, 0), "a provider notices nothing of it");
    assert!(slowest < LATEST, "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_rolling_deploy_behind_a_balancer_that_is_told_before_providers_notice_nothing() {
    deployed(TakenOut::Before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_rolling_deploy_behind_a_balancer_that_notices_by_itself_providers_notice_nothing() {
    deployed(TakenOut::After).await;
}

/// A program of an earlier commit, if `AGENSTACK_TEST_FORMER` names one. If not, the one under test is the former itself, and the
/// newer one is played by a migration that it does not know.
fn former() -> Option<PathBuf> {
    std::env::var_os("AGENSTACK_TEST_FORMER").map(PathBuf::from)
}

/// What the newer program does to the schema.
async fn migrate(db: &TestDb, newer: &Stage) {
    match former() {
        Some(_) => drop(newer.run(&["migrate"]).await),
        None => migrated_by_a_newer_program(&db.store, 9_000, "more of everything", ADDS).await,
    }
}

async fn upgraded_and_taken_back(db: TestDb) -> std::sync::Arc<Load> {
    let before = Stage::of(former().unwrap_or_else(program), &db.url, ORGANIZATIONS).await;
    let newer = Stage { program: program(), ..before.clone() };
    // SQLite has one process at a time.
    let alone = db.store.sqlite().is_some();
    let mut nodes = before.nodes(if alone { 1 } else { 2 }).await;
    let running = Load::new(&before, &nodes, ORGANIZATIONS).run(LINES);
    let load = running.load.clone();
    load.ledger.more(times("AGENSTACK_TEST_EVENTS", 60)).await;
    let mut took = Duration::ZERO;
    load.ledger.measure();
    for (n, stage) in [&newer, &before, &newer].into_iter().enumerate() {
        if alone {
            end(&mut nodes[0]);
        }
        if n == 0 {
            let began = Instant::now();
            migrate(&db, &newer).await;
            took = began.elapsed();
        }
        if alone {
            nodes = stage.nodes(1).await;
            load.balance(nodes.iter());
            load.ledger.more(60).await;
        } else {
            replace(&mut nodes, stage, &load, TakenOut::Before).await;
        }
    }
    let load = running.stop().await;
    drained(&db.store).await;
    tell(&format!(
        "migrated within {took:?}; there, back and there again: slowest answer {:?}, {} found nobody, {} torn off, {} refused",
        load.ledger.answers().1,
        load.ledger.silences() - load.ledger.torn(),
        load.ledger.torn(),
        load.ledger.refusals(),
    ));
    load.ledger.audit(&db.store).await.holds();
    load
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_version_that_is_rolled_out_over_postgres_and_taken_back_providers_notice_nothing() {
    let db = if former().is_some() { postgres_empty().await } else { postgres().await };
    let ledger = &upgraded_and_taken_back(db).await.ledger;
    assert_eq!((ledger.silences(), ledger.refusals()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_takes_the_place_of_another_over_sqlite_and_goes_again_loses_nothing() {
    let db = if former().is_some() { sqlite_empty().await } else { sqlite().await };
    let ledger = &upgraded_and_taken_back(db).await.ledger;
    assert_eq!(ledger.refusals(), 0);
}
