//! The disk is full, and has room again later: row 5 of the experiments.

use super::ledger::drained;
use super::load::Load;
use super::node::Node;
use super::power::{LINES, Machine, ORGANIZATIONS};
use super::{Dice, tell, times};
use crate::scene::client;
use std::time::Duration;

async fn full_and_freed(mut machine: Machine) {
    let (rounds, dice) = (times("AGENSTACK_TEST_FULL", 2), Dice::new());
    let running = Load::new(&machine.stage, &machine.node, ORGANIZATIONS).run(LINES);
    let ledger = &running.load.clone().ledger;
    for round in 1..=rounds {
        ledger.more(20 + dice.below(40)).await;
        machine.disk.fill(true);
        let before = ledger.count();
        ledger.more_refusals(40 + dice.below(40)).await;
        let fitted = ledger.count() - before;
        let health =
            client().get(format!("{}/healthz", machine.node[0].at)).send().await.expect("it answers");
        assert_eq!(health.status(), 200);
        assert!(machine.node.iter_mut().all(Node::runs), "the node has ended");
        machine.disk.fill(false);
        let took = ledger.more(50).await;
        tell(&format!(
            "full {round}: {fitted} events still found room; 50 acknowledgements {took:?} after it was freed"
        ));
        assert!(took < Duration::from_secs(30), "{took:?}");
    }
    let load = running.stop().await;
    let store = machine.store().await;
    drained(&store).await;
    tell(&format!(
        "{rounds} times full on {}: {} refusals with Retry-After, {} without an answer",
        store.kind(),
        load.ledger.refusals(),
        load.ledger.silences(),
    ));
    load.ledger.audit(&store).await.holds();
    assert!(machine.node.iter_mut().all(Node::runs), "the node has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_survived_on_sqlite() {
    full_and_freed(Machine::on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_survived_on_postgres() {
    full_and_freed(Machine::on_postgres(&[]).await).await;
}
