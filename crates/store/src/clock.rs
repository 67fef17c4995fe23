//! The time that all nodes share.
//!
//! Leases, attempts and ends of tokens are moments that one node writes and another compares with. Nodes whose machines disagree
//! by more than a lease would take each other's work while it is being done, so that none goes by its machine's clock: all go
//! by the database's, which the machine only carries on between two looks at it. For that it counts what has passed, which
//! does not change when somebody sets its clock. SQLite has one process, whose clock is its machine's.

use crate::db::{Pools, Store};
use crate::error::StoreError;
use agenstack_core::clock::{Clock, SystemClock, Timestamp};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// How often the database is asked. A machine that stood still (a laptop that slept) is behind for as long.
const LOOK: Duration = Duration::from_secs(5);
/// How long an answer may take. A late one would not say more than what is known.
const PATIENCE: Duration = Duration::from_secs(1);
/// Looks at the beginning, of which the quickest answer counts.
const FIRST: usize = 3;
/// A move by more is told to the operator, in milliseconds.
const WORTH_TELLING: i64 = 1_000;

/// The database's time when it answered, and what had passed here before it was asked and after, in milliseconds.
#[derive(Clone, Copy)]
struct Look {
    asked: i64,
    told: i64,
    answered: i64,
}

impl Look {
    /// How far the database's clock may be ahead of what has passed here, by this look.
    fn bounds(self) -> (i64, i64) {
        (self.told - self.answered, self.told - self.asked)
    }
}

/// What has passed on this machine, and how far the database's clock is ahead of that.
struct Shared {
    begun: Instant,
    ahead: AtomicI64,
}

impl Shared {
    fn passed(&self) -> i64 {
        i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    async fn look(&self, store: &Store) -> Result<Look, StoreError> {
        let asked = self.passed();
        let told = store.time().await?.map_or(asked, Timestamp::millis);
        Ok(Look { asked, told, answered: self.passed() })
    }

    /// Moves as far as the look proves to be needed, and no further, so that the way to the database does not sway it. Gives by
    /// how much.
    fn follow(&self, look: Look) -> i64 {
        let (least, most) = look.bounds();
        let ahead = self.ahead.load(Ordering::Relaxed);
        let moved = ahead.clamp(least, most);
        self.ahead.store(moved, Ordering::Relaxed);
        moved - ahead
    }
}

impl Clock for Shared {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.passed() + self.ahead.load(Ordering::Relaxed))
    }
}

impl Store {
    /// The clock that goes for everybody who works on this database. It follows the database's as long as somebody has it.
    ///
    /// # Errors
    /// If the database does not tell its time.
    pub async fn clock(&self) -> Result<Arc<dyn Clock>, StoreError> {
        if matches!(self.pools, Pools::Sqlite { .. }) {
            return Ok(Arc::new(SystemClock));
        }
        let shared = Shared { begun: Instant::now(), ahead: AtomicI64::new(0) };
        let mut best = shared.look(self).await?;
        for _ in 1..FIRST {
            let look = shared.look(self).await?;
            if look.answered - look.asked < best.answered - best.asked {
                best = look;
            }
        }
        let (least, most) = best.bounds();
        shared.ahead.store(i64::midpoint(least, most), Ordering::Relaxed);
        let shared = Arc::new(shared);
        tokio::spawn(follow(Arc::downgrade(&shared), self.clone()));
        Ok(shared)
    }
}

async fn follow(clock: Weak<Shared>, store: Store) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(shared) = clock.upgrade() else { return };
        // A database that does not answer is told of by those who need more of it than the time.
        if let Ok(Ok(look)) = tokio::time::timeout(PATIENCE, shared.look(&store)).await {
            let moved = shared.follow(look);
            if moved.abs() > WORTH_TELLING {
                tracing::warn!(
                    by_ms = moved,
                    "the database's clock was set, or this machine stood still; its time goes for us"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(ahead: i64) -> Shared {
        Shared { begun: Instant::now(), ahead: AtomicI64::new(ahead) }
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_by_what_has_passed_between_two_looks() {
        let shared = clock(1_000_000);
        tokio::time::advance(Duration::from_millis(1_234)).await;
        assert_eq!(shared.now().millis(), 1_001_234);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_may_be_right_moves_nothing_however_late_it_comes() {
        let shared = clock(10_000);
        for (asked, told, answered) in [(0, 10_000, 0), (100, 10_100, 5_100), (100, 15_100, 5_100)] {
            assert_eq!(shared.follow(Look { asked, told, answered }), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_proves_it_wrong_moves_it_to_the_nearest_time_that_may_be_right() {
        let shared = clock(10_000);
        // The clock was set an hour ahead, then back.
        assert_eq!(shared.follow(Look { asked: 100, told: 3_610_120, answered: 140 }), 3_599_980);
        assert_eq!(shared.follow(Look { asked: 200, told: 10_220, answered: 240 }), -3_599_960);
    }
}
