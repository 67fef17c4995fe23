//! Group commit: deliveries that arrive together share a transaction, and each is answered after its commit. A commit costs a
//! disk's sync whether it holds one event or hundreds.
//!
//! One task for each process takes what waits, commits it and tells everybody. What waits is bounded: past the bound a
//! delivery is refused at once and comes again, rather than filling memory.

use crate::group;
use crate::metric::Metrics;
use agenstack_core::clock::{Clock, Timestamp};
use agenstack_core::id::{EventId, IntegrationId};
use agenstack_store::error::Kind;
use agenstack_store::global::inbox::{Addressed, Incoming};
use agenstack_store::{Held, Store, StoreError};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Mutex, mpsc, oneshot};

/// Deliveries that may wait.
const WAITING: usize = 1_024;
/// Events of one transaction. What waits beyond them is the next one's.
const BATCH: usize = 256;
/// Connections whose last event is noted in one transaction, at most, and how long one takes up: with a hundred thousand
/// connections, more would cost as much as the events. The others' turn comes with the next transactions.
const SEEN: i64 = 32;
const SEEN_MILLIS: i64 = 5;
/// Connections that are remembered as noted, at most. One is noted once a minute; what is forgotten is noted again.
const NOTED: usize = 20_000;
const NOTED_MILLIS: i64 = 60_000;

/// What of a delivery is to be committed, all or nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delivery {
    /// For their owners.
    pub owned: Vec<Addressed>,
    /// For nobody yet: the account and the event.
    pub unrouted: Vec<(String, Incoming)>,
}

/// Which events of a delivery are new.
#[derive(Clone, Debug, Default)]
pub(crate) struct Committed {
    /// Of those with an owner. One that is missing was there already, or its connection has changed.
    pub owned: BTreeSet<EventId>,
    /// How many of those without an owner.
    pub unrouted: usize,
}

/// Why a delivery was not committed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NotCommitted {
    /// Too much waits already.
    #[error("too many deliveries wait to be committed")]
    Full,
    /// The database refused.
    #[error(transparent)]
    Store(Arc<StoreError>),
}

struct Asked {
    delivery: Delivery,
    answer: oneshot::Sender<Result<Committed, NotCommitted>>,
}

/// The way to the tasks.
#[derive(Debug)]
pub(crate) struct Committer(mpsc::Sender<Asked>);

/// What waits, for whichever task is free.
struct Queue {
    waiting: mpsc::Receiver<Asked>,
    seen: Seen,
}

impl Committer {
    /// Starts the tasks; they end when this is dropped and what waits is committed.
    pub(crate) fn start(store: Store, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let (asked, waiting) = mpsc::channel::<Asked>(WAITING);
        let queue = Arc::new(Mutex::new(Queue { waiting, seen: Seen::new(clock.now()) }));
        // PostgreSQL writes one group while the next is on its way; SQLite has one writer.
        let at_once = if store.kind() == "postgres" { 2 } else { 1 };
        for _ in 0..at_once {
            let (store, clock, metrics, queue) =
                (store.clone(), clock.clone(), metrics.clone(), queue.clone());
            tokio::spawn(async move {
                let mut held = Held::default();
                loop {
                    let (batch, noted) = {
                        let mut queue = queue.lock().await;
                        if queue.waiting.is_empty() {
                            held.let_go();
                        }
                        let next = group::next(&mut queue.waiting, BATCH, |asked| asked.delivery.len()).await;
                        let Some(batch) = next else { break };
                        let noted = queue.seen.take(&batch, clock.now());
                        (batch, noted)
                    };
                    let (events, begun) = (batch.iter().map(|a| a.delivery.len()).sum(), Instant::now());
                    // Its deliveries would come again.
                    if !group::survive(commit(&store, &mut held, clock.now(), batch, &noted)).await {
                        held = Held::default();
                    }
                    metrics.committed(events, begun.elapsed());
                }
            });
        }
        Self(asked)
    }

    /// Commits a delivery together with whatever else waits.
    ///
    /// # Errors
    /// [`NotCommitted`]; then nothing of it is there.
    pub(crate) async fn commit(&self, delivery: Delivery) -> Result<Committed, NotCommitted> {
        let (answer, told) = oneshot::channel();
        self.0.try_send(Asked { delivery, answer }).map_err(|_| NotCommitted::Full)?;
        // The task answers everybody; that it is gone means that it, or the process, has failed.
        told.await.unwrap_or(Err(NotCommitted::Full))
    }
}

impl Delivery {
    fn len(&self) -> usize {
        self.owned.len() + self.unrouted.len()
    }
}

/// Which connections' last event is to be noted.
struct Seen {
    /// When each was queued last.
    queued: HashMap<IntegrationId, Timestamp>,
    queue: VecDeque<IntegrationId>,
    /// When the next may be noted.
    next: Timestamp,
}

impl Seen {
    fn new(now: Timestamp) -> Self {
        Self { queued: HashMap::new(), queue: VecDeque::new(), next: now }
    }

    /// Those of the batch, and of former ones, that were not noted within the minute, up to a bound.
    fn take(&mut self, batch: &[Asked], now: Timestamp) -> Vec<IntegrationId> {
        // What lies ahead is of a clock that was set back since.
        let fresh = |at: &Timestamp| *at <= now && at.plus_millis(NOTED_MILLIS) > now;
        for a in batch.iter().flat_map(|asked| &asked.delivery.owned) {
            let id = &a.to.integration;
            if self.queue.len() < NOTED && !self.queued.get(id).is_some_and(fresh) {
                self.queued.insert(id.clone(), now);
                self.queue.push_back(id.clone());
            }
        }
        if self.queued.len() >= NOTED {
            self.queued.retain(|_, at| fresh(at));
            // All of them within the minute: noting one again is a cheap mistake.
            if self.queued.len() >= NOTED {
                self.queued.clear();
            }
        }
        self.next = self.next.clamp(now.plus_millis(-SEEN * SEEN_MILLIS), now.plus_millis(SEEN_MILLIS));
        let mut taken = Vec::new();
        while self.next <= now
            && let Some(id) = self.queue.pop_front()
        {
            self.next = self.next.plus_millis(SEEN_MILLIS);
            taken.push(id);
        }
        taken
    }
}

/// What goes to owners alone is committed in one step. What nobody owns, which is rare, takes several, and has a transaction of
/// its own.
async fn commit(store: &Store, held: &mut Held, now: Timestamp, batch: Vec<Asked>, seen: &[IntegrationId]) {
    let (owned, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(|a| a.delivery.unrouted.is_empty());
    let (first, second) = if owned.is_empty() { (others, owned) } else { (owned, others) };
    commit_alike(store, held, now, first, seen).await;
    if !second.is_empty() {
        commit_alike(store, held, now, second, &[]).await;
    }
}

async fn commit_alike(
    store: &Store,
    held: &mut Held,
    now: Timestamp,
    batch: Vec<Asked>,
    seen: &[IntegrationId],
) {
    let (deliveries, answers): (Vec<Delivery>, Vec<_>) =
        batch.into_iter().map(|a| (a.delivery, a.answer)).unzip();
    let outcomes = match together(store, held, now, &deliveries, seen).await {
        Ok(all) => all.into_iter().map(Ok).collect(),
        Err(error) if deliveries.len() > 1 && error.kind() != Kind::Unavailable => {
            // One of them spoils it for all: each on its own, so that only that one is refused.
            let mut outcomes = Vec::with_capacity(deliveries.len());
            for one in &deliveries {
                let alone = together(store, held, now, std::slice::from_ref(one), &[]).await;
                let alone = alone.map(|mut all| all.pop().unwrap_or_default());
                outcomes.push(alone.map_err(|e| NotCommitted::Store(Arc::new(e))));
            }
            outcomes
        }
        Err(error) => {
            let error = Arc::new(error);
            deliveries.iter().map(|_| Err(NotCommitted::Store(error.clone()))).collect::<Vec<_>>()
        }
    };
    // Apart, so that the next transaction does not wait for all that is to be woken.
    tokio::spawn(async move {
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Nobody waits any more: the provider has hung up, and finds it there when it comes again.
            let _ = answer.send(outcome);
        }
    });
}

/// All of them in one transaction.
async fn together(
    store: &Store,
    held: &mut Held,
    now: Timestamp,
    deliveries: &[Delivery],
    seen: &[IntegrationId],
) -> Result<Vec<Committed>, StoreError> {
    let all: Vec<&Addressed> = deliveries.iter().flat_map(|d| &d.owned).collect();
    let mut unrouted = vec![0; deliveries.len()];
    let new = if deliveries.iter().all(|d| d.unrouted.is_empty()) {
        store.events_commit(held, &all, seen, now).await?
    } else {
        held.let_go();
        let mut tx = store.global().await?;
        let new = if all.is_empty() { BTreeSet::new() } else { tx.events_accept(&all).await? };
        if !seen.is_empty() {
            tx.routes_seen(seen, now).await?;
        }
        for (delivery, added) in deliveries.iter().zip(&mut unrouted) {
            for (account, event) in &delivery.unrouted {
                *added += usize::from(tx.unrouted_add(account, event).await?);
            }
        }
        tx.commit().await?;
        new
    };
    let ids =
        |d: &Delivery| d.owned.iter().map(|a| a.event.id.clone()).filter(|id| new.contains(id)).collect();
    let each = deliveries.iter().zip(unrouted);
    Ok(each.map(|(delivery, unrouted)| Committed { owned: ids(delivery), unrouted }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use agenstack_core::ctx::Route;
    use agenstack_core::entropy::SeededEntropy;
    use agenstack_core::id::{IdMaker, OrgId};
    use agenstack_core::integration::Provider;
    use agenstack_core::sealed::Sealed;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    /// One delivery for each of so many connections.
    fn asked(connections: &[IntegrationId]) -> Vec<Asked> {
        let (maker, entropy) = (IdMaker::new(), SeededEntropy::new(1));
        let one = |integration: &IntegrationId| {
            let event = Incoming {
                id: EventId::new(&maker, at(0), &entropy),
                provider: Provider::Shopify,
                topic: String::new(),
                external_id: String::new(),
                dedup_key: String::new(),
                order_key: String::new(),
                payload: Sealed::from_bytes(Vec::new()),
                received_at: at(0),
                triggered_at: None,
                rank: at(0),
                log_only: true,
                digests: None,
            };
            let org = OrgId::new(&maker, at(0), &entropy);
            let to = Route { org, integration: integration.clone(), generation: 1 };
            let delivery =
                Delivery { owned: vec![Addressed { to, held: false, event }], ..Delivery::default() };
            Asked { delivery, answer: oneshot::channel().0 }
        };
        connections.iter().map(one).collect()
    }

    #[test]
    fn connections_are_noted_once_a_minute_in_the_order_of_their_events_and_at_a_pace() {
        let (maker, entropy) = (IdMaker::new(), SeededEntropy::new(2));
        let all: Vec<_> = (0..50).map(|_| IntegrationId::new(&maker, at(0), &entropy)).collect();
        let mut seen = Seen::new(at(0));
        assert_eq!(seen.take(&asked(&all), at(500)), all[..33], "at once, after a while of nothing");
        assert!(seen.take(&asked(&all), at(504)).is_empty(), "each takes five milliseconds");
        assert_eq!(seen.take(&[], at(519)), all[33..36]);
        assert_eq!(seen.take(&[], at(9_000)), all[36..]);
        assert!(seen.take(&asked(&all), at(60_499)).is_empty(), "within the minute");
        assert_eq!(seen.take(&asked(&all[..2]), at(60_500)), all[..2]);
        assert_eq!(seen.take(&asked(&all[..2]), at(-3_600_000)), [], "the clock was set back");
        assert_eq!(seen.take(&[], at(-3_600_000 + 10)), all[..2]);
    }
}
