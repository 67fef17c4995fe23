//! A database is backed up under load, is lost later, and the backup takes its place: row 32 of the experiments. What was acknowledged
//! before the backup is there, and what was acknowledged since is named.

use super::cluster::Cluster;
use super::ledger::drained;
use super::load::{Load, Running};
use super::node::{Node, Stage};
use super::tell;
use agenstack_store::Store;
use agenstack_store::testing::sqlite;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

const ORGANIZATIONS: usize = 10;
const LINES: usize = 24;
const SOME: usize = 200;

/// A node under load whose database is about to be lost.
struct Used {
    stage: Stage,
    nodes: Vec<Node>,
    running: Running,
    /// What was acknowledged when the backup began.
    before: BTreeSet<String>,
}

impl Used {
    async fn begin(url: &str) -> Self {
        let stage = Stage::new(url, ORGANIZATIONS).await;
        let nodes = stage.nodes(1).await;
        let running = Load::new(&stage, &nodes, ORGANIZATIONS).run(LINES);
        running.load.ledger.more(SOME).await;
        let before = running.load.ledger.acknowledged();
        Self { stage, nodes, running, before }
    }

    /// Goes on until there is something that the backup does not have, and ends where it stands.
    async fn lose(&mut self) {
        self.running.load.ledger.more(SOME).await;
        self.nodes[0].kill();
    }

    /// Starts on what was restored to `url`, and compares.
    async fn compare(self, url: &str, what: &str) {
        let Self { stage, nodes: _killed, running, before } = self;
        let stage = stage.with(&[("AGENSTACK_DATABASE_URL", url)]);
        let began = Instant::now();
        let nodes = stage.nodes(1).await;
        let ready = began.elapsed();
        running.load.balance(nodes.iter());
        let load = running.stop().await;
        let store = Store::connect(url).await.expect("the backup opens");
        drained(&store).await;
        let audit = load.ledger.audit(&store).await;
        tell(&format!(
            "{what}: {} acknowledged, {} before the backup, {} since are missing; ready {ready:?} after it was put in place",
            audit.acked,
            before.len(),
            audit.lost.len()
        ));
        assert!(audit.amiss.is_empty(), "not once: {:?}", audit.amiss);
        let lost: BTreeSet<_> = audit.lost.into_iter().collect();
        assert!(!lost.is_empty(), "what came after the backup is not in it");
        let early: Vec<_> = before.intersection(&lost).collect();
        assert!(early.is_empty(), "acknowledged before the backup: {early:?}");
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_sqlite_that_was_made_under_load_takes_the_place_of_the_database() {
    let db = sqlite().await;
    let mut used = Used::begin(&db.url).await;
    let path = db.url.strip_prefix("sqlite://").expect("this is SQLite").to_owned();
    let copy = format!("{path}.copy");
    let said = used.stage.run(&["backup", &copy]).await;
    assert!(said.starts_with("Everything that was committed by "), "{said}");
    assert!(!Path::new(&format!("{copy}.part")).exists());
    used.lose().await;
    db.store.close().await;
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{path}{end}"));
    }
    std::fs::rename(&copy, &path).expect("the copy is there");
    used.compare(&db.url, "sqlite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_postgresql_that_was_made_under_load_takes_the_place_of_the_database() {
    let cluster = Cluster::new(None, BTreeMap::new(), &[]).await;
    let mut used = Used::begin(&cluster.url()).await;
    let file = cluster.keep("dump", "");
    cluster.call("pg_dump", &["--format=custom", "--file", file.to_str().expect("a name"), &cluster.url()]);
    used.lose().await;
    cluster.say("CREATE DATABASE restored").await;
    let url = format!("{}restored", cluster.url().strip_suffix("postgres").expect("the name of a database"));
    cluster.call("pg_restore", &["--exit-on-error", "--dbname", &url, file.to_str().expect("a name")]);
    used.compare(&url, "postgres").await;
}
