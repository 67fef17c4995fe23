//! Whether the database can be reached at all. While it cannot, a delivery is told so at once and not after all the patience
//! that it has: the providers come again, and nothing piles up.
//!
//! Only a connection of its own that fails says that the database is away. A slow one, a crowded one, a transaction that
//! failed: none of these refuses anybody, so that nothing is refused while the database is well.

use agenstack_store::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Who waits for the database for so long has it looked at.
pub(crate) const SUSPICIOUS: Duration = Duration::from_secs(1);
/// How long a connection may take. In a network that needs longer no delivery would be committed in time.
const CONNECTING: Duration = Duration::from_secs(4);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// What is known of the way to the database.
#[derive(Clone, Debug)]
pub(crate) struct Reach(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    away: watch::Sender<bool>,
    looking: AtomicBool,
}

impl Reach {
    pub(crate) fn new(store: Store) -> Self {
        Self(Arc::new(Inner { store, away: watch::Sender::new(false), looking: AtomicBool::new(false) }))
    }

    /// Whether the database was away when it was last looked at.
    pub(crate) fn is_away(&self) -> bool {
        *self.0.away.borrow()
    }

    /// Is done as soon as the database is known to be away.
    pub(crate) async fn away(&self) {
        // This holds the sender, so that it is never gone.
        let _ = self.0.away.subscribe().wait_for(|away| *away).await;
    }

    /// Somebody had no luck with the database: it is looked at, and again until it is there.
    pub(crate) fn suspect(&self) {
        if self.0.looking.swap(true, Ordering::SeqCst) {
            return;
        }
        let reach = self.clone();
        tokio::spawn(async move {
            loop {
                let away = !reach.0.store.reachable(CONNECTING).await;
                let turned = reach.0.away.send_if_modified(|was| std::mem::replace(was, away) != away);
                if turned && away {
                    tracing::error!(
                        "the database cannot be reached; deliveries are to come again until it is back"
                    );
                } else if turned {
                    tracing::info!("the database is back");
                }
                tokio::time::sleep(PAUSE).await;
                if !away {
                    break;
                }
            }
            reach.0.looking.store(false, Ordering::SeqCst);
        });
    }
}
