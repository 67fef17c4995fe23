//! Group commit: deliveries that arrive together share a transaction, and each is answered after its commit. A commit costs a
//! disk's sync whether it holds one event or hundreds.
//!
//! One task for each process takes what waits, commits it and tells everybody. What waits is bounded: past the bound a
//! delivery is refused at once and comes again, rather than filling memory.

use agenstack_core::clock::{Clock, Timestamp};
use agenstack_core::id::{EventId, IntegrationId};
use agenstack_store::error::Kind;
use agenstack_store::global::inbox::{Addressed, Incoming};
use agenstack_store::{Store, StoreError};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

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

/// The way to the task.
#[derive(Debug)]
pub(crate) struct Committer(mpsc::Sender<Asked>);

impl Committer {
    /// Starts the task; it ends when this is dropped and what waits is committed.
    pub(crate) fn start(store: Store, clock: Arc<dyn Clock>) -> Self {
        let (asked, mut waiting) = mpsc::channel::<Asked>(WAITING);
        tokio::spawn(async move {
            while let Some(first) = waiting.recv().await {
                let mut events = first.delivery.owned.len() + first.delivery.unrouted.len();
                let mut batch = vec![first];
                while events < BATCH
                    && let Ok(next) = waiting.try_recv()
                {
                    events += next.delivery.owned.len() + next.delivery.unrouted.len();
                    batch.push(next);
                }
                // A task of its own: were it to panic, its deliveries would come again, and the next would go on.
                let (store, now) = (store.clone(), clock.now());
                if tokio::spawn(async move { commit(&store, now, batch).await }).await.is_err() {
                    tracing::error!("a batch of deliveries was not committed");
                }
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

async fn commit(store: &Store, now: Timestamp, batch: Vec<Asked>) {
    let (deliveries, answers): (Vec<Delivery>, Vec<_>) =
        batch.into_iter().map(|a| (a.delivery, a.answer)).unzip();
    let outcomes = match together(store, now, &deliveries).await {
        Ok(all) => all.into_iter().map(Ok).collect(),
        Err(error) if deliveries.len() > 1 && error.kind() != Kind::Unavailable => {
            // One of them spoils it for all: each on its own, so that only that one is refused.
            let mut outcomes = Vec::with_capacity(deliveries.len());
            for one in &deliveries {
                let alone = together(store, now, std::slice::from_ref(one)).await;
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
) -> Result<Vec<Committed>, StoreError> {
    let all: Vec<Addressed> = deliveries.iter().flat_map(|d| d.owned.iter().cloned()).collect();
    let mut tx = store.global().await?;
    let new = if all.is_empty() { BTreeSet::new() } else { tx.events_accept(&all).await? };
    // In one order everywhere, so that two nodes never wait for each other.
    let seen: BTreeSet<&IntegrationId> =
        all.iter().filter(|a| new.contains(&a.event.id)).map(|a| &a.to.integration).collect();
    for id in seen {
        tx.route_seen(id, now).await?;
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
