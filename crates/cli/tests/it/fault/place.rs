//! Many organizations beside each other on one node, one of which something is done with: how long the others' messages take meanwhile.

use super::ledger::rows;
use super::node::Stage;
use crate::wire::{delivery, message, meta_signature_by};
use agenstack_core::clock::Timestamp;
use agenstack_store::Store;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// The page of the i-th seeded organization has this number plus i.
const PAGES: usize = 100_000_000_000_000;
/// The organizations of which customers send [`FLOOD`] messages before the others begin, one in each round: the first ones'
/// providers answer, the others' stall.
pub const HEALTHY: usize = 7;
pub const STALLED: usize = 20;
/// As many rounds at most: what lies between the two.
pub const MOST_ROUNDS: usize = STALLED - HEALTHY;
const FLOOD: usize = 40;
/// Customers of the noisy one that write at once, each as soon as what it wrote last is acknowledged.
pub const NOISY: usize = 8;
/// Places of a worker that one organization may hold, and calls that one connection may have under way.
pub const CAP: usize = 4;
pub const STALL: Duration = Duration::from_secs(29);

/// A running node, its providers, and customers.
pub struct Place {
    pub http: Client,
    pub stage: Stage,
    pub at: String,
    pub store: Store,
    pub organizations: usize,
    /// How many messages the others send in a second, whatever becomes of those before.
    pub rate: usize,
}

/// What was seen while the others sent.
#[derive(Default)]
pub struct Seen {
    /// From acknowledgement to effect, in milliseconds.
    pub took: Vec<i64>,
    /// Places that the one that was flooded held at most.
    pub held: i64,
    /// How many of its rows were not done at the end, at least.
    pub waiting: i64,
    /// How many rounds that were.
    pub rounds: usize,
}

impl Seen {
    /// With another round. The times of the first, which was watched, count only if it is the only one.
    pub fn and(&mut self, other: Self) {
        match self.rounds {
            0 => (self.held, self.waiting, self.took) = (other.held, other.waiting, other.took),
            1 => (self.waiting, self.took) = (self.waiting.min(other.waiting), other.took),
            _ => {
                self.waiting = self.waiting.min(other.waiting);
                self.took.extend(other.took);
            }
        }
        self.rounds += 1;
        self.took.sort_unstable();
    }

    pub fn percentile(&self, percent: usize) -> i64 {
        self.took[(self.took.len() - 1) * percent / 100]
    }

    pub fn mean(&self) -> f64 {
        self.took.iter().sum::<i64>() as f64 / self.took.len() as f64
    }
}

impl Place {
    async fn control(&self, method: Method, path: &str, body: &Value) -> Value {
        let url = format!("{}/control{path}", self.stage.settings.base_url);
        let answer = self.http.request(method, url).json(body).send().await.expect("the sandbox answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.expect("the sandbox answers in JSON")
    }

    /// What customers meet: an answer like any other, that changes nothing. Those of one meet none for a while, whatever is asked.
    pub async fn arrange(&self, stalled: Option<usize>) {
        self.control(Method::DELETE, "/faults", &Value::Null).await;
        for account in stalled.into_iter().flat_map(accounts) {
            let stall = json!({"provider": "meta", "account": account, "times": 1_000_000, "hold_ms": STALL.as_millis() as u64});
            self.control(Method::POST, "/faults", &stall).await;
        }
        let gone = json!({"provider": "meta", "status": 400, "times": 1_000_000,
            "body": {"error": {"code": 551, "message": "This person isn't available right now."}}});
        self.control(Method::POST, "/faults", &gone).await;
    }

    /// The one that stalled does not any more, and nobody waits for it.
    pub async fn release(&self, stalled: usize) {
        self.arrange(None).await;
        let (mut tick, began) = (tokio::time::interval(Duration::from_millis(200)), Instant::now());
        while self.rows_of(stalled).await.0 > 0 {
            tick.tick().await;
            assert!(began.elapsed() < Duration::from_secs(60), "it still waits");
        }
    }

    /// When calls for an organization began, in order.
    pub async fn calls(&self, organization: usize) -> Vec<i64> {
        let all = self.control(Method::GET, "/received?provider=meta", &Value::Null).await;
        let text = |call: &Value, name: &str| call[name].as_str().expect("each call has it").to_owned();
        let ours: BTreeSet<String> = accounts(organization).collect();
        let calls =
            all.as_array().expect("a list").iter().filter(|call| ours.contains(&text(call, "account")));
        let at = |call| Timestamp::parse_rfc3339(&text(call, "at")).expect("a time").millis();
        let mut all: Vec<i64> = calls.map(at).collect();
        all.sort_unstable();
        all
    }

    /// A customer writes.
    async fn write(&self, organization: usize, psid: &str, mid: &str) {
        self.write_all(organization, [(psid.to_owned(), mid.to_owned())]).await;
    }

    /// Customers, each with a message, write in one delivery; again, if it is told to come again.
    pub async fn write_all(&self, organization: usize, what: impl IntoIterator<Item = (String, String)>) {
        let page = page(organization);
        let messages: Vec<_> =
            what.into_iter().map(|(psid, mid)| message(&page, &psid, &mid, &mid)).collect();
        let body = delivery(&page, &messages).to_string();
        let (name, signature) = meta_signature_by(&self.stage.settings.meta_app_secret, &body);
        let mut again = tokio::time::interval(Duration::from_millis(500));
        loop {
            again.tick().await;
            let request =
                self.http.post(format!("{}/api/webhooks/messenger", self.at)).header(name, &signature);
            let status = request.body(body.clone()).send().await.expect("the node answers").status();
            // A debug build beside others may not be done in the time that a provider waits.
            if status != 503 {
                return assert_eq!(status, 200, "{body}");
            }
        }
    }

    /// Customers of an organization write, all at once.
    async fn flood(&self, organization: usize) {
        for n in 0..FLOOD {
            self.write(organization, &psid(organization, n), &format!("flood_{organization}_{n}")).await;
        }
    }

    /// Customers of an organization go on writing until they are told to end, so many messages in a second at most; how many they were.
    pub async fn noise(self: Arc<Self>, organization: usize, rate: usize, over: Arc<AtomicBool>) -> usize {
        let mut lines = JoinSet::new();
        for line in 0..NOISY {
            let (place, over) = (self.clone(), over.clone());
            lines.spawn(async move {
                let mut pace = tokio::time::interval(Duration::from_secs(NOISY as u64) / rate as u32);
                let mut sent = 0;
                while !over.load(Ordering::SeqCst) {
                    pace.tick().await;
                    // Now and then somebody else, so that the order of one conversation is not what holds them up.
                    let psid = psid(organization, line * 1_000 + sent / 4);
                    place.write(organization, &psid, &format!("noise_{organization}_{line}_{sent}")).await;
                    sent += 1;
                }
                sent
            });
        }
        lines.join_all().await.into_iter().sum()
    }

    /// The rows of an organization which run, and those that run or wait.
    async fn rows_of(&self, organization: usize) -> (i64, i64) {
        let sql = format!(
            "SELECT q.state, '', CAST(COUNT(*) AS BIGINT) FROM integrations i JOIN (SELECT organization_id, state FROM events
                UNION ALL SELECT organization_id, state FROM jobs) q ON q.organization_id = i.organization_id
             WHERE i.external_id = '{}' AND q.state IN ('pending', 'failed', 'running') GROUP BY q.state",
            page(organization)
        );
        let all = rows(&self.store, &sql).await;
        let running = all.iter().filter(|row| row.0 == "running").map(|row| row.2).sum();
        (running, all.iter().map(|row| row.2).sum())
    }

    /// Watches how many places an organization holds, until it is told to end.
    async fn most_held(self: Arc<Self>, organization: usize, mut over: oneshot::Receiver<()>) -> i64 {
        let (mut tick, mut most) = (tokio::time::interval(Duration::from_millis(50)), 0);
        while over.try_recv().is_err() {
            tick.tick().await;
            most = most.max(self.rows_of(organization).await.0);
        }
        most
    }

    /// An organization is flooded; then each of the others sends a message.
    pub async fn round(self: &Arc<Self>, flooded: usize, rounds: usize, watched: bool) -> Seen {
        if flooded >= STALLED {
            self.arrange(Some(flooded)).await;
        }
        self.flood(flooded).await;
        if flooded >= STALLED {
            let (mut tick, began) = (tokio::time::interval(Duration::from_millis(50)), Instant::now());
            while self.calls(flooded).await.len() < CAP {
                tick.tick().await;
                assert!(
                    began.elapsed() < Duration::from_secs(60),
                    "it never had as many calls under way as it may"
                );
            }
            self.nobody_stands_in_a_transaction().await;
        }
        self.others(flooded, rounds, watched).await
    }

    /// Each organization but one, and those whose providers stall, sends a message, at an even pace, and all of them are done. That one is
    /// watched, which costs some of what is measured.
    pub async fn others(self: &Arc<Self>, one: usize, rounds: usize, watched: bool) -> Seen {
        let (end, over) = oneshot::channel();
        let watch = watched.then(|| tokio::spawn(self.clone().most_held(one, over)));
        let mut pace = tokio::time::interval(Duration::from_secs(1) / self.rate as u32);
        let mut sent = JoinSet::new();
        let is_stalled = |i: &usize| (STALLED..STALLED + rounds).contains(i);
        for organization in (1..=self.organizations).filter(|i| *i != one && !is_stalled(i)) {
            pace.tick().await;
            let place = self.clone();
            let mid = format!("round{one}_{organization}");
            let psid = format!("8{one:02}{organization:05}");
            sent.spawn(async move { place.write(organization, &psid, &mid).await });
        }
        let expected = sent.len();
        sent.join_all().await;
        let (mut tick, began) = (tokio::time::interval(Duration::from_millis(200)), Instant::now());
        let of_this = format!("FROM events WHERE external_id LIKE 'round{one}_%' AND state = 'done'");
        loop {
            tick.tick().await;
            let done =
                rows(&self.store, &format!("SELECT '', '', CAST(COUNT(*) AS BIGINT) {of_this}")).await[0].2;
            if done == expected as i64 {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(90), "{done} of {expected} are done");
        }
        let held = match watch {
            Some(watch) => {
                end.send(()).expect("it watches");
                watch.await.expect("it ends")
            }
            None => 0,
        };
        let took = rows(&self.store, &format!("SELECT '', '', done_at - received_at {of_this}")).await;
        let waiting = self.rows_of(one).await.1;
        Seen { took: took.into_iter().map(|row| row.2).collect(), held, waiting, rounds: 1 }
    }

    /// While calls are under way and nothing else is, no session of the product stands in a transaction.
    async fn nobody_stands_in_a_transaction(&self) {
        if self.store.postgres().is_none() {
            return;
        }
        const STANDING: &str = "SELECT '', '', COUNT(*) FROM pg_stat_activity
            WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        // One that looks for work may be seen in between; what waits for a provider would stand there all the time.
        let (mut tick, began) = (tokio::time::interval(Duration::from_millis(20)), Instant::now());
        while rows(&self.store, STANDING).await[0].2 > 0 {
            tick.tick().await;
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "a transaction is open while a provider is asked"
            );
        }
    }
}

pub fn page(organization: usize) -> String {
    (PAGES + organization).to_string()
}

/// A customer of an organization that is flooded.
fn psid(organization: usize, n: usize) -> String {
    format!("9{organization:05}{n:05}")
}

/// The accounts by which the provider knows an organization and its customers.
fn accounts(organization: usize) -> impl Iterator<Item = String> {
    (0..FLOOD).map(move |n| psid(organization, n)).chain([page(organization)])
}
