//! The power fails while events come in: what was never synced is gone. Row 2 of the experiments, with the proof that it sees:
//! a disk that only says that it has synced, and a database that does not wait for it, do lose.

use super::cluster::Cluster;
use super::disk::{Disk, Loss};
use super::ledger::{Ledger, drained, rows};
use super::load::Load;
use super::node::{Node, Stage};
use super::{Dice, tell, times};
use agenstack_store::Store;
use std::time::Duration;

pub const ORGANIZATIONS: usize = 5;
pub const LINES: usize = 16;

/// A machine: a disk, a database on it, and a node.
pub struct Machine {
    pub disk: Disk,
    cluster: Option<Cluster>,
    pub stage: Stage,
    pub node: Vec<Node>,
    url: String,
}

impl Machine {
    pub async fn on_sqlite() -> Self {
        let disk = Disk::new();
        let url = format!("sqlite://{}", disk.files().join("agenstack.db").display());
        let mut stage = Stage::new(&url, ORGANIZATIONS).await;
        stage.environment.extend(disk.environment());
        let node = stage.nodes(1).await;
        Self { disk, cluster: None, stage, node, url }
    }

    pub async fn on_postgres(settings: &[&'static str]) -> Self {
        let disk = Disk::new();
        let cluster = Cluster::new(Some(disk.files().join("data")), disk.environment(), settings).await;
        let url = cluster.url();
        let stage = Stage::new(&url, ORGANIZATIONS).await;
        let node = stage.nodes(1).await;
        Self { disk, cluster: Some(cluster), stage, node, url }
    }

    /// Everything stops at once, what was never synced is gone, and everything starts again.
    async fn lose_power(&mut self) -> Loss {
        self.node[0].kill();
        if let Some(cluster) = &mut self.cluster {
            cluster.lose_power().await;
        }
        self.disk.lie(false);
        let loss = self.disk.lose();
        if let Some(cluster) = &mut self.cluster {
            cluster.start().await;
        }
        self.node[0].restart().await;
        loss
    }

    pub async fn store(&self) -> Store {
        Store::connect(&self.url).await.expect("the database opens")
    }
}

async fn cycles(mut machine: Machine) {
    let (cycles, dice) = (times("AGENSTACK_TEST_POWER_CUTS", 4), Dice::new());
    let running = Load::new(&machine.stage, &machine.node, ORGANIZATIONS).run(LINES);
    let ledger = &running.load.clone().ledger;
    let mut all = Loss::default();
    for _ in 0..cycles {
        ledger.more(1 + dice.below(60)).await;
        // Any moment of accepting, working and writing back will do.
        tokio::time::sleep(Duration::from_micros(dice.below(20_000) as u64)).await;
        let loss = machine.lose_power().await;
        all = Loss { writes: all.writes + loss.writes, files: all.files + loss.files };
    }
    ledger.more(20).await;
    let load = running.stop().await;
    let store = machine.store().await;
    drained(&store).await;
    tell(&format!(
        "{cycles} power cuts on {}: {} writes to {} files taken back",
        store.kind(),
        all.writes,
        all.files
    ));
    load.ledger.audit(&store).await.holds();
    if store.sqlite().is_some() {
        let whole = rows(&store, "SELECT integrity_check, '', 0 FROM pragma_integrity_check").await;
        assert_eq!(whole, [("ok".to_owned(), String::new(), 0)]);
    }
}

/// Cuts the power until something that was acknowledged is gone; it has to be soon.
async fn is_seen_to_lose(mut machine: Machine, lies: bool) {
    let dice = Dice::new();
    let running = Load::new(&machine.stage, &machine.node, ORGANIZATIONS).run(LINES);
    let ledger: &Ledger = &running.load.clone().ledger;
    ledger.more(20).await;
    for cut in 1..=10 {
        if lies {
            machine.disk.lie(true);
        }
        ledger.more(20 + dice.below(40)).await;
        machine.lose_power().await;
        let store = machine.store().await;
        let lost = ledger.audit(&store).await.lost.len();
        store.close().await;
        if lost > 0 {
            tell(&format!("{lost} acknowledged events were lost by power cut {cut}"));
            running.stop().await;
            return;
        }
    }
    panic!("ten power cuts took nothing that was acknowledged: this test sees nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_power_fails_on_sqlite() {
    cycles(Machine::on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_power_fails_on_postgres() {
    cycles(Machine::on_postgres(&[]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_only_says_that_it_has_synced_is_seen_to_lose_on_sqlite() {
    is_seen_to_lose(Machine::on_sqlite().await, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_only_says_that_it_has_synced_is_seen_to_lose_on_postgres() {
    is_seen_to_lose(Machine::on_postgres(&[]).await, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_wait_for_its_disk_is_seen_to_lose() {
    is_seen_to_lose(Machine::on_postgres(&["synchronous_commit=off"]).await, false).await;
}
