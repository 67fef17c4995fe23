//! Group commit: deliveries that arrive together share a transaction, and each is answered after its commit. A commit costs a
//! disk's sync whether it holds one event or hundreds.
//!
//! One task for each process takes what waits, commits it and tells everybody. What waits is bounded: past the bound a
//! delivery is refused at once and comes again, rather than filling memory.

use crate::group;
use crate::metric::Metrics;
use crate::seen::Seen;
use agenstack_core::clock::{Clock, Timestamp};
use agenstack_core::id::EventId;
use agenstack_store::error::Kind;
use agenstack_store::global::inbox::{Addressed, Incoming};
use agenstack_store::{Held, Store, StoreError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Mutex, mpsc, oneshot};

/// Deliveries that may wait.
const WAITING: usize = 1_024;
/// Events of one transaction. What waits beyond them is the next one's.
const BATCH: usize = 256;

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

impl Committer {
    /// Starts the tasks; they end when this is dropped and what waits is committed.
    pub(crate) fn start(store: Store, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let (asked, waiting) = mpsc::channel::<Asked>(WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        let seen = Arc::new(Seen::start(store.clone(), clock.clone()));
        // PostgreSQL writes one group while the next is on its way; SQLite has one writer.
        let at_once = if store.kind() == "postgres" { 2 } else { 1 };
        for _ in 0..at_once {
            let (store, clock, metrics, waiting, seen) =
                (store.clone(), clock.clone(), metrics.clone(), waiting.clone(), seen.clone());
            tokio::spawn(async move {
                let mut held = Held::default();
                loop {
                    let batch = {
                        let mut waiting = waiting.lock().await;
                        if waiting.is_empty() {
                            held.let_go();
                        }
                        group::next(&mut waiting, BATCH, |asked: &Asked| asked.delivery.len()).await
                    };
                    let Some(batch) = batch else { break };
                    let (events, begun) = (batch.iter().map(|a| a.delivery.len()).sum(), Instant::now());
                    // Its deliveries would come again.
                    if !group::survive(commit(&store, &mut held, &seen, clock.now(), batch)).await {
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

/// What goes to owners alone is committed in one step. What nobody owns, which is rare, takes several, and has a transaction of
/// its own.
async fn commit(store: &Store, held: &mut Held, seen: &Seen, now: Timestamp, batch: Vec<Asked>) {
    let (owned, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(|a| a.delivery.unrouted.is_empty());
    let (first, second) = if owned.is_empty() { (others, owned) } else { (owned, others) };
    commit_alike(store, held, seen, now, first).await;
    if !second.is_empty() {
        commit_alike(store, held, seen, now, second).await;
    }
}

async fn commit_alike(store: &Store, held: &mut Held, seen: &Seen, now: Timestamp, batch: Vec<Asked>) {
    let (deliveries, answers): (Vec<Delivery>, Vec<_>) =
        batch.into_iter().map(|a| (a.delivery, a.answer)).unzip();
    let outcomes = match together(store, held, seen, now, &deliveries).await {
        Ok(all) => all.into_iter().map(Ok).collect(),
        Err(error) if deliveries.len() > 1 && error.kind() != Kind::Unavailable => {
            // One of them spoils it for all: each on its own, so that only that one is refused.
            let mut outcomes = Vec::with_capacity(deliveries.len());
            for one in &deliveries {
                let alone = together(store, held, seen, now, std::slice::from_ref(one)).await;
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
    seen: &Seen,
    now: Timestamp,
    deliveries: &[Delivery],
) -> Result<Vec<Committed>, StoreError> {
    let all: Vec<&Addressed> = deliveries.iter().flat_map(|d| &d.owned).collect();
    let mut unrouted = vec![0; deliveries.len()];
    let new = if deliveries.iter().all(|d| d.unrouted.is_empty()) {
        store.events_commit(held, &all).await?
    } else {
        held.let_go();
        let mut tx = store.global().await?;
        let new = if all.is_empty() { BTreeSet::new() } else { tx.events_accept(&all).await? };
        for (delivery, added) in deliveries.iter().zip(&mut unrouted) {
            for (account, event) in &delivery.unrouted {
                *added += usize::from(tx.unrouted_add(account, event).await?);
            }
        }
        tx.commit().await?;
        new
    };
    seen.came(all.iter().map(|a| &a.to.integration), now);
    let ids =
        |d: &Delivery| d.owned.iter().map(|a| a.event.id.clone()).filter(|id| new.contains(id)).collect();
    let each = deliveries.iter().zip(unrouted);
    Ok(each.map(|(delivery, unrouted)| Committed { owned: ids(delivery), unrouted }).collect())
}
