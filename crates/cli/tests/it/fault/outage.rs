//! The database goes away, refuses to write, or takes its time: rows 3, 4 and 6 of the experiments. No node ends, nothing is
//! acknowledged that is not stored, and it goes on as soon as the database does.

use super::cluster::{Cluster, End};
use super::ledger::{Ledger, change, drained, rows};
use super::load::{Load, Running};
use super::node::{Node, Stage};
use super::proxy::Slow;
use super::{Dice, tell, times};
use crate::scene::{LARK, Scene, environment};
use crate::wire::{delivery, message, messenger_signed};
use agenstack::config::{Config, Sources};
use agenstack::wiring::World;
use agenstack_app::worker;
use agenstack_store::Store;
use agenstack_store::testing::{postgres, sqlite};
use std::collections::BTreeMap;
use std::time::Duration;

const ORGANIZATIONS: usize = 10;
const LINES: usize = 24;
/// Acknowledgements over which a rate is taken.
const SOME: usize = 150;
/// Shopify hangs up after five seconds.
const LATEST: Duration = Duration::from_secs(5);

/// A node, its database, and a load on it.
struct Outage {
    cluster: Cluster,
    stage: Stage,
    node: Vec<Node>,
    running: Running,
}

impl Outage {
    async fn begin(cluster: Cluster, url: &str) -> Self {
        let stage = Stage::new(&cluster.url(), 4 * ORGANIZATIONS).await;
        let stage = Stage { environment: with_database(stage.environment.clone(), url), ..stage };
        let node = stage.nodes(1).await;
        let running = Load::new(&stage, &node, ORGANIZATIONS).run(LINES);
        running.load.ledger.more(SOME).await;
        Self { cluster, stage, node, running }
    }

    fn ledger(&self) -> &Ledger {
        &self.running.load.ledger
    }

    /// The database is back: so is the former rate, within ten seconds.
    async fn is_back(&mut self, what: &str, usual: Duration) {
        let took = self.ledger().more(SOME).await;
        let (p99, slowest) = self.ledger().answers();
        tell(&format!(
            "{what}: {SOME} acknowledgements {took:?} after it was over (before: {usual:?}); answers 99% {p99:?}, slowest {slowest:?}"
        ));
        assert!(took < Duration::from_secs(10) + 2 * usual, "{what}: {took:?}, before {usual:?}");
        assert!(self.node[0].runs(), "{what}: the node has ended");
    }

    async fn ends_well(self) {
        let load = self.running.stop().await;
        let store = Store::connect(&self.cluster.url()).await.expect("the database opens");
        let took = drained(&store).await;
        let (refusals, silences) = (load.ledger.refusals(), load.ledger.silences());
        tell(&format!(
            "{refusals} refusals with Retry-After, {silences} without an answer; drained in {took:?}"
        ));
        load.ledger.audit(&store).await.holds();
        store.close().await;
    }
}

fn with_database(mut environment: BTreeMap<String, String>, url: &str) -> BTreeMap<String, String> {
    environment.insert("AGENSTACK_DATABASE_URL".into(), url.into());
    environment
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_restarted_killed_read_only_or_ends_its_sessions_costs_nothing_that_was_acknowledged()
 {
    let (rounds, dice) = (times("AGENSTACK_TEST_OUTAGES", 1), Dice::new());
    let cluster = Cluster::new(None, BTreeMap::new(), &[]).await;
    let url = cluster.url();
    let mut outage = Outage::begin(cluster, &url).await;
    for _ in 0..rounds {
        for end in [End::Fast, End::Immediate, End::Killed] {
            let usual = outage.ledger().more(SOME).await;
            outage.ledger().measure();
            outage.cluster.end(end).await;
            // By then it is known that the database is away, and nobody waits for it any more.
            outage.ledger().more_refusals(LINES).await;
            outage.ledger().measure();
            // Away until so many were told to come again, a different number each time.
            outage.ledger().more_refusals(20 + dice.below(40)).await;
            let (p99, slowest) = outage.ledger().answers();
            tell(&format!("{end:?}: refused while it is known, 99% {p99:?}, slowest {slowest:?}"));
            // All the patience that a delivery has would be four seconds.
            assert!(p99 < Duration::from_secs(2), "{p99:?}");
            outage.cluster.start().await;
            outage.is_back(&format!("{end:?}"), usual).await;
        }
        let usual = outage.ledger().more(SOME).await;
        outage.ledger().measure();
        outage
            .cluster
            .say("ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()")
            .await;
        outage.ledger().more_refusals(40).await;
        outage.cluster.say("ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf()").await;
        outage.is_back("read-only", usual).await;

        let usual = outage.ledger().more(SOME).await;
        outage.ledger().measure();
        for _ in 0..5 {
            outage.ledger().more(5).await;
            outage
                .cluster
                .say("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
                .await;
        }
        outage.is_back("sessions ended", usual).await;
    }
    outage.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_database_is_answered_for_before_the_provider_hangs_up() {
    let rounds = times("AGENSTACK_TEST_OUTAGES", 1);
    let cluster = Cluster::new(None, BTreeMap::new(), &[]).await;
    let way = Slow::to(cluster.port()).await;
    let url = cluster.url_at(way.port);
    let mut outage = Outage::begin(cluster, &url).await;
    // Busy for longer than it takes to suspect that it is away: it is looked at, found to be there, and nobody is refused.
    let refusals = outage.ledger().refusals();
    outage
        .cluster
        .say("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(1.8); COMMIT")
        .await;
    outage.ledger().more(SOME).await;
    assert_eq!(outage.ledger().refusals(), refusals);
    for _ in 0..rounds {
        for (n, millis) in [50, 500, 5_000].into_iter().enumerate() {
            let usual = outage.ledger().more(SOME).await;
            outage.ledger().measure();
            way.take(millis);
            // Until so many have their answer, whichever it is; also of organizations of which the node knows nothing yet.
            let others = ((n + 1) * ORGANIZATIONS + 1, ORGANIZATIONS);
            let strangers = Load::to(&outage.stage, &outage.node, others).run(ORGANIZATIONS);
            strangers.load.ledger.more_answers(3 * ORGANIZATIONS).await;
            outage.ledger().more_answers(3 * LINES).await;
            for (who, ledger) in [("known", outage.ledger()), ("not known yet", &strangers.load.ledger)] {
                let (p99, slowest) = ledger.answers();
                tell(&format!("+{millis} ms, {who}: answers 99% {p99:?}, slowest {slowest:?}"));
                assert!(p99 < LATEST, "+{millis} ms: {p99:?}");
            }
            way.take(0);
            strangers.stop().await;
            outage.is_back(&format!("+{millis} ms"), usual).await;
        }
    }
    outage.ends_well().await;
}

/// An event fails, and the database refuses to write down that it did: the process that leased it is alive, and is not at
/// work on it any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_could_not_be_recorded_is_tried_again_by_the_process_that_had_it() {
    const EVENT: &str =
        "SELECT state, COALESCE(last_error, ''), attempts FROM events WHERE external_id = 'm_1'";
    let scene = Scene::on(sqlite().await).await;
    let v = scene.connected("V", LARK).await;
    let store = &scene.db.store;
    let body = delivery(LARK.page, &[message(LARK.page, "7000000000000001", "m_1", "hello")]);
    assert_eq!(messenger_signed(&scene, &body).await, 200);
    // What nobody can open.
    change(store, "UPDATE events SET payload = X'00' WHERE external_id = 'm_1'").await;
    change(store, "CREATE TRIGGER refusing BEFORE UPDATE ON events WHEN NEW.last_error IS NOT NULL BEGIN SELECT RAISE(ABORT, 'no'); END").await;
    let working =
        tokio::spawn(worker::run(scene.running.app.clone(), 4, std::future::pending(), Duration::ZERO));
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while rows(store, EVENT).await[0].0 != "running" {
        tick.tick().await;
    }
    // Long enough for every lease to run out, as often as leases are looked after.
    let mut looks = 0;
    while rows(store, EVENT).await[0].2 < 2 {
        scene.pass_time(16);
        tokio::time::sleep(Duration::from_secs(1)).await;
        looks += 1;
        assert!(looks < 20, "it is held by nobody and given to nobody");
    }
    change(store, "DROP TRIGGER refusing").await;
    while rows(store, EVENT).await[0].0 != "dead" {
        scene.pass_time(16);
        tokio::time::sleep(Duration::from_secs(1)).await;
        looks += 1;
        assert!(looks < 40, "it is never given up");
    }
    let events = v.list("/events").await;
    let told = events.iter().find(|e| e["external_id"] == "m_1").expect("it is in the list");
    assert!(!told["last_error"].as_str().unwrap_or_default().is_empty(), "{told}");
    working.abort();
}

/// Another process accepts, and nobody is told: its notice was lost, or is not passed on by what is between.
#[tokio::test(flavor = "multi_thread")]
async fn work_of_which_nobody_was_told_is_found_by_asking() {
    const STATE: &str = "SELECT state, '', attempts FROM events WHERE external_id = 'm_1'";
    let scene = Scene::on(postgres().await).await;
    scene.connected("V", LARK).await;
    let settings = Sources::from_environment(environment(&scene.settings, &scene.db.url));
    let config = Config::load(&settings).expect("the settings are right");
    let deaf = agenstack::wiring::app(&config, &config.server.public_url, World::default()).await;
    let deaf = deaf.unwrap_or_else(|_| panic!("it starts"));
    let working = tokio::spawn(worker::run(deaf, 4, std::future::pending(), Duration::ZERO));
    let body = delivery(LARK.page, &[message(LARK.page, "7000000000000001", "m_1", "hello")]);
    assert_eq!(messenger_signed(&scene, &body).await, 200);
    let began = std::time::Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while rows(&scene.db.store, STATE).await[0].0 != "done" {
        tick.tick().await;
        assert!(began.elapsed() < Duration::from_secs(30), "nobody finds it");
    }
    working.abort();
}
