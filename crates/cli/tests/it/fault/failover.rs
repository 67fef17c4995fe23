//! The database's machine is lost, and a synchronous standby takes over behind the same address: rows 3 of the experiments.
//! What was acknowledged was committed on both.

use super::cluster::Cluster;
use super::ledger::drained;
use super::load::{Load, Running};
use super::node::{Node, Stage};
use super::proxy::Slow;
use super::{Dice, tell, times};
use agenstack_store::Store;
use std::collections::BTreeMap;
use std::time::Duration;

const ORGANIZATIONS: usize = 10;
const LINES: usize = 24;
/// Acknowledgements over which a rate is taken.
const SOME: usize = 150;

/// A node that reaches its database through an address that may lead elsewhere, and a load on it.
struct Behind {
    primary: Cluster,
    way: Slow,
    node: Vec<Node>,
    running: Running,
}

impl Behind {
    async fn begin() -> Self {
        let primary = Cluster::new(None, BTreeMap::new(), &[]).await;
        let way = Slow::to(primary.port()).await;
        let url = primary.url_at(way.port);
        let stage = Stage::new(&primary.url(), ORGANIZATIONS).await.with(&[("AGENSTACK_DATABASE_URL", &url)]);
        let node = stage.nodes(1).await;
        let running = Load::new(&stage, &node, ORGANIZATIONS).run(LINES);
        running.load.ledger.more(SOME).await;
        Self { primary, way, node, running }
    }

    /// The primary's processes stop at once, whatever they are at; the standby becomes the primary.
    async fn fail_over(&mut self, standby: Cluster, dice: &Dice) {
        let ledger = &self.running.load.ledger;
        // Any moment will do.
        tokio::time::sleep(Duration::from_micros(dice.below(20_000) as u64)).await;
        self.primary.lose_power().await;
        ledger.more_refusals(10 + dice.below(20)).await;
        standby.take_over().await;
        self.way.lead_to(standby.port());
        self.primary = standby;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_lost_and_a_synchronous_standby_that_takes_over_cost_nothing_that_was_acknowledged()
{
    let (rounds, dice) = (times("AGENSTACK_TEST_FAILOVERS", 1), Dice::new());
    let mut all = Behind::begin().await;
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds {
        let standby = all.primary.standby().await;
        all.primary.commit_with_standby().await;
        let usual = all.running.load.ledger.more(SOME).await;
        all.fail_over(standby, &dice).await;
        let took = all.running.load.ledger.more(SOME).await;
        slowest = slowest.max(took);
        tell(&format!(
            "{SOME} acknowledgements {took:?} after the standby had taken over (before: {usual:?})"
        ));
        assert!(took < Duration::from_secs(10) + 2 * usual, "{took:?}, before {usual:?}");
        assert!(all.node[0].runs(), "the node has ended");
    }
    let load = all.running.stop().await;
    let store = Store::connect(&all.primary.url()).await.expect("the database opens");
    drained(&store).await;
    tell(&format!(
        "{rounds} failovers: {slowest:?} at most, {} refusals, {} silences",
        load.ledger.refusals(),
        load.ledger.silences()
    ));
    load.ledger.audit(&store).await.holds();
    store.close().await;
}

/// Without waiting for the standby it has to lose, or the test above sees nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_with_a_standby_that_nobody_waits_for_loses_and_is_seen_to_lose() {
    let dice = Dice::new();
    let mut all = Behind::begin().await;
    let standby = all.primary.standby().await;
    all.primary.until("SELECT EXISTS (SELECT 1 FROM pg_stat_replication WHERE state = 'streaming')").await;
    // It hears no more.
    standby.say("ALTER SYSTEM SET primary_conninfo = ''; SELECT pg_reload_conf()").await;
    all.primary.until("SELECT NOT EXISTS (SELECT 1 FROM pg_stat_replication)").await;
    all.running.load.ledger.more(SOME).await;
    all.fail_over(standby, &dice).await;
    all.running.load.ledger.more(SOME).await;
    let load = all.running.stop().await;
    let store = Store::connect(&all.primary.url()).await.expect("the database opens");
    let audit = load.ledger.audit(&store).await;
    tell(&format!("{} of {} lost", audit.lost.len(), audit.acked));
    assert!(audit.lost.len() >= SOME / 2, "{}", audit.lost.len());
    store.close().await;
}
