//! Group commit: deliveries that arrive together share a transaction, and each is answered after its commit. A commit costs a
//! disk's sync whether it holds one event or hundreds.
//!
//! One task for each process takes what waits, commits it and tells everybody. What waits is bounded: past the bound a
//! delivery is refused at once and comes again, rather than filling memory.

use crate::metric::Metrics;
use agenstack_core::clock::{Clock, Timestamp};
use agenstack_core::id::{EventId, IntegrationId};
use agenstack_store::error::Kind;
use agenstack_store::global::inbox::{Addressed, Incoming};
use agenstack_store::{Store, StoreError};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Deliveries that may wait.
const WAITING: usize = 1_024;
/// Events of one transaction. What waits beyond them is the next one's.
const BATCH: usize = 256;
/// Connections whose last event is noted in one transaction; the others' turn comes with the next ones.
const SEEN: usize = 32;
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

/// The way to the task.
#[derive(Debug)]
pub(crate) struct Committer(mpsc::Sender<Asked>);

impl Committer {
    /// Starts the task; it ends when this is dropped and what waits is committed.
    pub(crate) fn start(store: Store, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let (asked, mut waiting) = mpsc::channel::<Asked>(WAITING);
        // PostgreSQL writes one group while the next is on its way; SQLite has one writer.
        let at_once = Arc::new(Semaphore::new(if store.kind() == "postgres" { 2 } else { 1 }));
        tokio::spawn(async move {
            let mut seen = Seen::default();
            while let Ok(place) = at_once.clone().acquire_owned().await
                && let Some(first) = waiting.recv().await
            {
                let mut events = first.delivery.owned.len() + first.delivery.unrouted.len();
                let mut batch = vec![first];
                while events < BATCH
                    && let Ok(next) = waiting.try_recv()
                {
                    events += next.delivery.owned.len() + next.delivery.unrouted.len();
                    batch.push(next);
                }
                let (store, metrics, now) = (store.clone(), metrics.clone(), clock.now());
                let noted = seen.take(&batch, now);
                // A task of its own: were it to panic, its deliveries would come again, and the next would go on.
                tokio::spawn(async move {
                    let begun = Instant::now();
                    commit(&store, now, batch, &noted).await;
                    metrics.committed(events, begun.elapsed());
                    drop(place);
                });
            }
        });
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

/// Which connections' last event is to be noted.
#[derive(Default)]
struct Seen {
    noted: HashMap<IntegrationId, Timestamp>,
    waiting: BTreeSet<IntegrationId>,
}

impl Seen {
    /// Those of the batch, and of former ones, that were not noted within the minute, up to a bound.
    fn take(&mut self, batch: &[Asked], now: Timestamp) -> Vec<IntegrationId> {
        let fresh = |at: &Timestamp| at.plus_millis(NOTED_MILLIS) > now;
        for a in batch.iter().flat_map(|asked| &asked.delivery.owned) {
            if self.waiting.len() < NOTED && !self.noted.get(&a.to.integration).is_some_and(fresh) {
                self.waiting.insert(a.to.integration.clone());
            }
        }
        if self.noted.len() >= NOTED {
            self.noted.retain(|_, at| fresh(at));
            // All of them within the minute: noting one again is a cheap mistake.
            if self.noted.len() >= NOTED {
                self.noted.clear();
            }
        }
        let mut taken = Vec::new();
        while taken.len() < SEEN
            && let Some(id) = self.waiting.pop_first()
        {
            self.noted.insert(id.clone(), now);
            taken.push(id);
        }
        taken
    }
}

async fn commit(store: &Store, now: Timestamp, batch: Vec<Asked>, seen: &[IntegrationId]) {
    let (deliveries, answers): (Vec<Delivery>, Vec<_>) =
        batch.into_iter().map(|a| (a.delivery, a.answer)).unzip();
    let outcomes = match together(store, now, &deliveries, seen).await {
        Ok(all) => all.into_iter().map(Ok).collect(),
        Err(error) if deliveries.len() > 1 && error.kind() != Kind::Unavailable => {
            // One of them spoils it for all: each on its own, so that only that one is refused.
            let mut outcomes = Vec::with_capacity(deliveries.len());
            for one in &deliveries {
                let alone = together(store, now, std::slice::from_ref(one), &[]).await;
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
    for (answer, outcome) in answers.into_iter().zip(outcomes) {
        // Nobody waits any more: the provider has hung up, and finds it there when it comes again.
        let _ = answer.send(outcome);
    }
}

/// All of them in one transaction.
async fn together(
    store: &Store,
    now: Timestamp,
    deliveries: &[Delivery],
    seen: &[IntegrationId],
) -> Result<Vec<Committed>, StoreError> {
    let all: Vec<Addressed> = deliveries.iter().flat_map(|d| d.owned.iter().cloned()).collect();
    let mut tx = store.global().await?;
    let new = if all.is_empty() { BTreeSet::new() } else { tx.events_accept(&all).await? };
    if !seen.is_empty() {
        tx.routes_seen(seen, now).await?;
    }
    let mut outcomes = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        let mut committed = Committed {
            owned: delivery.owned.iter().map(|a| a.event.id.clone()).filter(|id| new.contains(id)).collect(),
            unrouted: 0,
        };
        for (account, event) in &delivery.unrouted {
            committed.unrouted += usize::from(tx.unrouted_add(account, event).await?);
        }
        outcomes.push(committed);
    }
    tx.commit().await?;
    Ok(outcomes)
}
