//! Nodes are killed while events come in, and started again by a supervisor: rows 1 and 14 of the experiments.

use super::ledger::{drained, inversions, waiting};
use super::load::Load;
use super::node::{Node, Stage};
use super::{Dice, tell, times};
use agenstack_store::testing::{TestDb, postgres, sqlite};
use std::time::Duration;

const ORGANIZATIONS: usize = 20;
const LINES: usize = 24;

/// Kills a random node at a random moment and starts it again; gives how long that took.
async fn kill_one(nodes: &mut [Node], dice: &Dice) -> Duration {
    let node = &mut nodes[dice.below(nodes.len())];
    // Any moment of accepting and working will do.
    tokio::time::sleep(Duration::from_micros(dice.below(20_000) as u64)).await;
    node.kill();
    node.restart().await
}

async fn kills_during_ingest(db: TestDb, nodes: usize) {
    let (kills, dice) = (times("AGENSTACK_TEST_KILLS", 20), Dice::new());
    let stage = Stage::new(&db.url, ORGANIZATIONS).await;
    let mut nodes = stage.nodes(nodes).await;
    let running = Load::new(&stage, &nodes, ORGANIZATIONS).run(LINES);
    let ledger = &running.load.clone().ledger;
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        ledger.more(1 + dice.below(80)).await;
        slowest = slowest.max(kill_one(&mut nodes, &dice).await);
    }
    ledger.more(100).await;
    let load = running.stop().await;
    let drained = drained(&db.store).await;
    tell(&format!(
        "{kills} kills of {} nodes on {}: ready again after {slowest:?} at most, drained {drained:?} after the last event, {} deliveries \
         without an answer and sent again",
        nodes.len(),
        db.store.kind(),
        ledger.silences(),
    ));
    load.ledger.audit(&db.store).await.holds();
    assert_eq!(inversions(&db.store).await, (0, 0), "conversations and lines of work out of order");
    assert!(nodes.iter_mut().all(Node::runs), "what was started last runs on");
    assert!(slowest < Duration::from_secs(30), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_one_node_on_sqlite_loses_nothing_and_does_nothing_twice() {
    kills_during_ingest(sqlite().await, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_one_node_on_postgres_loses_nothing_and_does_nothing_twice() {
    kills_during_ingest(postgres().await, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_one_of_three_nodes_on_postgres_loses_nothing_and_does_nothing_twice() {
    kills_during_ingest(postgres().await, 3).await;
}

/// Customers write faster than is worked, so that several messages of each wait at two nodes' workers when these are killed.
#[tokio::test(flavor = "multi_thread")]
async fn what_each_customer_wrote_is_handled_in_order_by_two_nodes_that_are_killed_again_and_again() {
    const EACH: usize = 6;
    let (conversations, kills) =
        (times("AGENSTACK_TEST_CONVERSATIONS", 60), times("AGENSTACK_TEST_KILLS", 12));
    let (db, dice) = (postgres().await, Dice::new());
    let stage = Stage::new(&db.url, ORGANIZATIONS).await;
    let mut nodes = stage.nodes(2).await;
    let running = Load::new(&stage, &nodes, ORGANIZATIONS).converse(conversations, EACH, LINES);
    let ledger = &running.load.clone().ledger;
    // Half of the kills while they write, and half while what waits is worked on.
    for n in 0..kills / 2 {
        ledger.at_least(conversations * EACH * (n + 1) / (kills / 2 + 1)).await;
        kill_one(&mut nodes, &dice).await;
    }
    let load = running.finish().await;
    let all = waiting(&db.store).await;
    for n in 0..kills / 2 {
        let some = all - all * (n as i64 + 1) / (kills as i64 / 2 + 1);
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while waiting(&db.store).await > some {
            tick.tick().await;
        }
        kill_one(&mut nodes, &dice).await;
    }
    drained(&db.store).await;
    load.ledger.audit(&db.store).await.holds();
    let fallen = inversions(&db.store).await;
    tell(&format!("{conversations} conversations, {kills} kills: out of order {fallen:?}"));
    assert_eq!(fallen, (0, 0), "conversations and lines of work out of order");
}
