//! What was acknowledged, kept outside of the product, and compared with its database afterwards.

use super::tell;
use agenstack_store::Store;
use sqlx::AssertSqlSafe;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[derive(Default)]
struct Pages {
    acked: BTreeSet<String>,
    took: Vec<Duration>,
    refused: usize,
    unanswered: usize,
    torn: usize,
    wrong: Vec<String>,
}

/// What was sent and how it was answered.
#[derive(Default)]
pub struct Ledger {
    pages: Mutex<Pages>,
    turned: tokio::sync::Notify,
}

impl Ledger {
    /// A delivery with these events was answered 2xx.
    pub fn acked(&self, events: &[String], took: Duration) {
        let mut pages = self.pages.lock().unwrap();
        pages.acked.extend(events.iter().cloned());
        pages.took.push(took);
        self.turned.notify_waiters();
    }

    /// It was told to come again later.
    pub fn refused(&self, took: Duration) {
        let mut pages = self.pages.lock().unwrap();
        pages.refused += 1;
        pages.took.push(took);
        self.turned.notify_waiters();
    }

    /// No answer came: nobody listened, or the node had been `reached` and then was killed.
    pub fn unanswered(&self, reached: bool) {
        let mut pages = self.pages.lock().unwrap();
        pages.unanswered += 1;
        pages.torn += usize::from(reached);
    }

    /// An answer that a provider must never get.
    pub fn wrong(&self, what: String) {
        self.pages.lock().unwrap().wrong.push(what);
    }

    /// Events that were acknowledged.
    pub fn count(&self) -> usize {
        self.pages.lock().unwrap().acked.len()
    }

    /// Which they are.
    pub fn acknowledged(&self) -> BTreeSet<String> {
        self.pages().acked.clone()
    }

    /// How often it was told to come again later.
    pub fn refusals(&self) -> usize {
        self.pages.lock().unwrap().refused
    }

    /// How often nothing was answered.
    pub fn silences(&self) -> usize {
        self.pages.lock().unwrap().unanswered
    }

    /// How often a node had been reached, and did not answer: a balancer could not know whether to send it again.
    pub fn torn(&self) -> usize {
        self.pages.lock().unwrap().torn
    }

    /// Begins to measure answers anew.
    pub fn measure(&self) {
        self.pages.lock().unwrap().took.clear();
    }

    /// The answer that 99 of 100 were faster than, and the slowest, since [`Ledger::measure`].
    pub fn answers(&self) -> (Duration, Duration) {
        let mut took = self.pages.lock().unwrap().took.clone();
        took.sort();
        let last = took.len().saturating_sub(1);
        (took[last * 99 / 100], took[last])
    }

    /// Every answer up to now was one that a provider may get.
    fn pages(&self) -> std::sync::MutexGuard<'_, Pages> {
        let pages = self.pages.lock().unwrap();
        assert!(pages.wrong.is_empty(), "{:?}", pages.wrong);
        pages
    }

    async fn until(&self, what: &str, over: impl Fn(&Self) -> bool) {
        loop {
            let turned = self.turned.notified();
            tokio::pin!(turned);
            // Listening begins before it is looked: what happens in between is not missed.
            turned.as_mut().enable();
            if over(self) {
                return;
            }
            let turned = tokio::time::timeout(Duration::from_secs(90), turned).await;
            assert!(turned.is_ok(), "{what} did not happen");
        }
    }

    /// Waits until `n` more events were acknowledged; gives how long that took.
    pub async fn more(&self, n: usize) -> Duration {
        let began = Instant::now();
        self.at_least(self.count() + n).await;
        began.elapsed()
    }

    /// Waits until `n` events were acknowledged.
    pub async fn at_least(&self, n: usize) {
        self.until("more acknowledgements", |ledger| ledger.count() >= n).await;
    }

    /// Waits until `n` more deliveries were told to come again later.
    pub async fn more_refusals(&self, n: usize) {
        let so_many = self.refusals() + n;
        self.until("more refusals", |ledger| ledger.refusals() >= so_many).await;
    }

    /// Waits until `n` deliveries were answered, however, since [`Ledger::measure`].
    pub async fn more_answers(&self, n: usize) {
        self.until("more answers", |ledger| ledger.pages.lock().unwrap().took.len() >= n).await;
    }

    /// Compares with the database, where nothing waits any more.
    pub async fn audit(&self, store: &Store) -> Audit {
        let acked = self.pages().acked.clone();
        let mut stored: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (event, state, _) in
            rows(store, "SELECT external_id, state, CAST(0 AS BIGINT) FROM events ORDER BY id").await
        {
            stored.entry(event).or_default().push(state);
        }
        let effects: BTreeMap<String, i64> =
            rows(store, "SELECT external_id, '', CAST(COUNT(*) AS BIGINT) FROM messages WHERE author = 'customer' GROUP BY external_id")
                .await
                .into_iter()
                .map(|(event, _, n)| (event, n))
                .collect();
        let mut audit = Audit { acked: acked.len(), ..Audit::default() };
        for event in &acked {
            if !stored.contains_key(event) {
                audit.lost.push(event.clone());
            }
        }
        for (event, states) in &stored {
            let messages = effects.get(event).copied().unwrap_or_default();
            // A message has its effect in a conversation, an order has none but that it is done.
            if states != &["done"] || messages != i64::from(event.starts_with("m_")) {
                audit.amiss.push(format!("{event}: {states:?}, {messages} messages"));
            }
        }
        for (event, _, _) in rows(store, "SELECT m.external_id, '', CAST(0 AS BIGINT) FROM messages m WHERE m.author = 'customer'
            AND NOT EXISTS (SELECT 1 FROM events e WHERE e.organization_id = m.organization_id AND e.external_id = m.external_id)").await {
            audit.amiss.push(format!("{event}: a message without an event"));
        }
        audit.stored = stored.len();
        audit
    }
}

/// How ledger and database compare.
#[derive(Debug, Default)]
pub struct Audit {
    pub acked: usize,
    pub stored: usize,
    /// Acknowledged and not there.
    pub lost: Vec<String>,
    /// There, and not done exactly once.
    pub amiss: Vec<String>,
}

impl Audit {
    /// Nothing is lost, and everything happened once.
    pub fn holds(&self) {
        tell(&format!(
            "{} acknowledged, {} stored, {} lost, {} not done once",
            self.acked,
            self.stored,
            self.lost.len(),
            self.amiss.len()
        ));
        assert!(self.lost.is_empty(), "lost: {:?}", &self.lost[..self.lost.len().min(20)]);
        assert!(self.amiss.is_empty(), "not once: {:?}", &self.amiss[..self.amiss.len().min(20)]);
    }
}

/// Two texts and a number from the database, behind the product's back.
pub async fn rows(store: &Store, sql: &str) -> Vec<(String, String, i64)> {
    let sql = AssertSqlSafe(sql);
    match (store.sqlite(), store.postgres()) {
        (Some(pool), _) => sqlx::query_as(sql).fetch_all(pool).await.unwrap(),
        (_, Some(pool)) => sqlx::query_as(sql).fetch_all(pool).await.unwrap(),
        _ => unreachable!("a store is one of the two"),
    }
}

/// Changes rows behind the product's back.
pub async fn change(store: &Store, sql: &str) -> u64 {
    let sql = AssertSqlSafe(sql);
    match (store.sqlite(), store.postgres()) {
        (Some(pool), _) => sqlx::query(sql).execute(pool).await.unwrap().rows_affected(),
        (_, Some(pool)) => sqlx::query(sql).execute(pool).await.unwrap().rows_affected(),
        _ => unreachable!("a store is one of the two"),
    }
}

/// How many events wait or run.
pub async fn waiting(store: &Store) -> i64 {
    const WAITING: &str =
        "SELECT '', '', CAST(COUNT(*) AS BIGINT) FROM events WHERE state IN ('pending', 'failed', 'running')";
    rows(store, WAITING).await[0].2
}

/// Waits until no event waits or runs, as long as there are fewer and fewer; gives how long that took.
pub async fn drained(store: &Store) -> Duration {
    const WAITING: &str = "SELECT state, MAX(COALESCE(last_error, '')), CAST(COUNT(*) AS BIGINT) FROM events
        WHERE state IN ('pending', 'failed', 'running') GROUP BY state";
    let began = Instant::now();
    let (mut fewest, mut at) = (i64::MAX, began);
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    loop {
        tick.tick().await;
        let waiting = rows(store, WAITING).await;
        let n = waiting.iter().map(|w| w.2).sum();
        if n == 0 {
            return began.elapsed();
        }
        if n < fewest {
            (fewest, at) = (n, Instant::now());
        }
        assert!(at.elapsed() < Duration::from_secs(90), "nothing is done any more: {waiting:?}");
    }
}

/// In how many conversations customers' messages stand in another order than they were sent in, and in how many lines of
/// work an event was done before one that came earlier.
pub async fn inversions(store: &Store) -> (usize, usize) {
    let messages = rows(
        store,
        "SELECT conversation_id, external_id, CAST(0 AS BIGINT) FROM messages WHERE author = 'customer' ORDER BY conversation_id, id",
    );
    let events = rows(
        store,
        "SELECT organization_id || order_key, state, COALESCE(done_at, 0) FROM events ORDER BY organization_id, order_key, id",
    );
    let order = |(conversation, event, _): (String, String, i64)| {
        let n = event.rsplit('_').next().and_then(|n| n.parse().ok()).unwrap_or_default();
        (conversation, n)
    };
    let messages: Vec<(String, i64)> = messages.await.into_iter().map(order).collect();
    for pair in messages.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].1 > pair[1].1) {
        let sql = format!(
            "SELECT m.external_id || ' ' || m.id || ' ' || e.id || ' ' || e.attempts, e.received_at || ' ' || e.done_at, m.created_at
             FROM messages m JOIN events e ON e.organization_id = m.organization_id AND e.external_id = m.external_id
             WHERE m.conversation_id = '{}' AND m.author = 'customer' ORDER BY m.id",
            pair[0].0
        );
        tell(&format!("out of order: {:#?}", rows(store, &sql).await));
    }
    let events: Vec<(String, i64)> = events.await.into_iter().map(|(key, _, at)| (key, at)).collect();
    (falls(&messages), falls(&events))
}

/// In how many groups the numbers fall at least once.
fn falls(all: &[(String, i64)]) -> usize {
    let fallen = all.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].1 > pair[1].1);
    fallen.map(|pair| &pair[0].0).collect::<BTreeSet<_>>().len()
}

#[test]
fn a_number_that_falls_is_seen_in_its_group_and_not_between_groups() {
    let all =
        |numbers: &[(&str, i64)]| numbers.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect::<Vec<_>>();
    assert_eq!(falls(&all(&[("a", 1), ("a", 2), ("b", 1), ("b", 1)])), 0);
    assert_eq!(falls(&all(&[("a", 2), ("a", 1), ("a", 0), ("b", 3), ("b", 2), ("c", 1)])), 2);
}
