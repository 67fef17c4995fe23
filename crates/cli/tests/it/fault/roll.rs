//! Nodes are replaced one after the other while events come in, as in a rolling deploy: row 25 of the experiments.

use super::ledger::drained;
use super::load::Load;
use super::node::{Node, Stage};
use super::{tell, times};
use agenstack_store::testing::postgres;
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

async fn deployed(taken_out: TakenOut) {
    let (deploys, db) = (times("AGENSTACK_TEST_DEPLOYS", 3), postgres().await);
    let stage = Stage::new(&db.url, ORGANIZATIONS).await;
    let mut nodes = stage.nodes(2).await;
    let running = Load::new(&stage, &nodes, ORGANIZATIONS).run(LINES);
    let load = running.load.clone();
    let ledger = &load.ledger;
    let mut slowest = Duration::ZERO;
    for n in 0..deploys * nodes.len() {
        let place = n % nodes.len();
        let mut former = std::mem::replace(&mut nodes[place], Node::start(&stage, None).await);
        load.balance(nodes.iter().chain((taken_out == TakenOut::After).then_some(&former)));
        ledger.more(60).await;
        let began = Instant::now();
        former.tell_to_stop();
        assert!(former.ended(), "it says that all is well");
        slowest = slowest.max(began.elapsed());
        load.balance(nodes.iter());
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
