//! Whose events came in last is noted at their connections: apart from what commits the events, since nobody who waits for an
//! answer needs it, and a few at a time, since with many connections it would cost as much as the events.

use agenstack_core::clock::{Clock, Timestamp};
use agenstack_core::id::IntegrationId;
use agenstack_store::Store;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Connections that are noted in one transaction, at most.
const GROUP: usize = 64;
/// The pause after a transaction; what comes in meanwhile is the next one's.
const PAUSE: Duration = Duration::from_secs(1);
/// Connections that are remembered as noted, and that wait for it, at most. One is noted once a minute; what is forgotten is
/// noted again, and what finds no place is noted with its next event.
const REMEMBERED: usize = 20_000;
const MINUTE_MILLIS: i64 = 60_000;

/// The way to the task that notes.
#[derive(Debug)]
pub(crate) struct Seen {
    waiting: Arc<Mutex<Waiting>>,
    wake: mpsc::Sender<()>,
}

impl Seen {
    /// Starts the task; it ends when this is dropped.
    pub(crate) fn start(store: Store, clock: Arc<dyn Clock>) -> Self {
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let (wake, woken) = mpsc::channel(1);
        tokio::spawn(run(waiting.clone(), woken, store, clock, PAUSE));
        Self { waiting, wake }
    }

    /// Events of these came in.
    pub(crate) fn came<'a>(&self, of: impl Iterator<Item = &'a IntegrationId>, now: Timestamp) {
        if lock(&self.waiting).came(of, now) {
            // Full means that it is about to look.
            let _ = self.wake.try_send(());
        }
    }
}

fn lock(waiting: &Mutex<Waiting>) -> std::sync::MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(
    waiting: Arc<Mutex<Waiting>>,
    mut woken: mpsc::Receiver<()>,
    store: Store,
    clock: Arc<dyn Clock>,
    pause: Duration,
) {
    while woken.recv().await.is_some() {
        loop {
            let group = lock(&waiting).take();
            if group.is_empty() {
                break;
            }
            if let Err(error) = note(&store, &group, clock.now()).await {
                tracing::warn!(%error, "whose events came in was not noted; their next ones are");
            }
            tokio::time::sleep(pause).await;
        }
    }
}

async fn note(
    store: &Store,
    group: &[IntegrationId],
    now: Timestamp,
) -> Result<(), agenstack_store::StoreError> {
    let mut tx = store.global().await?;
    tx.routes_seen(group, now).await?;
    tx.commit().await
}

/// Which connections are to be noted.
#[derive(Debug, Default)]
struct Waiting {
    /// When each was queued last.
    queued: HashMap<IntegrationId, Timestamp>,
    queue: VecDeque<IntegrationId>,
}

impl Waiting {
    /// Queues those that were not queued within the minute; whether there is now something where nothing was.
    fn came<'a>(&mut self, of: impl Iterator<Item = &'a IntegrationId>, now: Timestamp) -> bool {
        let nothing = self.queue.is_empty();
        // What lies ahead is of a clock that was set back since.
        let fresh = |at: &Timestamp| *at <= now && at.plus_millis(MINUTE_MILLIS) > now;
        for id in of {
            if self.queue.len() < REMEMBERED && !self.queued.get(id).is_some_and(fresh) {
                self.queued.insert(id.clone(), now);
                self.queue.push_back(id.clone());
            }
        }
        if self.queued.len() >= REMEMBERED {
            self.queued.retain(|_, at| fresh(at));
            // All of them within the minute: noting one again is a cheap mistake.
            if self.queued.len() >= REMEMBERED {
                self.queued.clear();
            }
        }
        nothing && !self.queue.is_empty()
    }

    fn take(&mut self) -> Vec<IntegrationId> {
        let most = self.queue.len().min(GROUP);
        self.queue.drain(..most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agenstack_core::clock::ManualClock;
    use agenstack_core::entropy::SeededEntropy;
    use agenstack_core::id::IdMaker;
    use agenstack_core::integration::Provider;
    use agenstack_store::testing::World;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    #[test]
    fn connections_are_noted_once_a_minute_in_the_order_of_their_events_a_group_at_a_time() {
        let (maker, entropy) = (IdMaker::new(), SeededEntropy::new(2));
        let all: Vec<_> = (0..100).map(|_| IntegrationId::new(&maker, at(0), &entropy)).collect();
        let mut waiting = Waiting::default();
        assert!(!waiting.came([].iter(), at(0)), "nothing wakes nobody");
        assert!(waiting.came(all.iter().chain(&all), at(0)));
        assert!(!waiting.came(all.iter(), at(59_999)), "within the minute");
        assert_eq!(waiting.take(), all[..64]);
        assert!(!waiting.came(all[..2].iter(), at(60_000)), "whoever takes goes on by itself");
        assert_eq!(waiting.take(), [&all[64..], &all[..2]].concat());
        assert!(waiting.take().is_empty());
        assert!(waiting.came(all[..2].iter(), at(-3_600_000)), "the clock was set back");
        assert_eq!(waiting.take(), all[..2]);
    }

    agenstack_store::both_databases! {
        async fn what_waits_is_noted_group_by_group_and_also_when_nothing_comes_after_it(db: TestDb) {
            let w = World::new();
            let (org, _) = w.organization(&db.store, "Lark").await;
            let mut connections = Vec::new();
            for n in 0..=GROUP {
                connections.push(w.connection(&db.store, &org, Provider::Messenger, &n.to_string()).await.id);
            }
            let (wake, woken) = mpsc::channel(1);
            let seen = Seen { waiting: Arc::default(), wake };
            seen.came(connections.iter(), w.now());
            let waiting = seen.waiting.clone();
            drop(seen);
            run(waiting, woken, db.store.clone(), Arc::new(ManualClock::at(w.now())), Duration::ZERO).await;
            let mut tx = db.store.tenant_read(&org).await.unwrap();
            for id in &connections {
                let it = tx.integration_find(id).await.unwrap().unwrap();
                assert_eq!(it.last_event_at, Some(w.now()));
            }
        }
    }
}
