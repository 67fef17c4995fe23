//! Each organization's share of the queue, so that a flood of one does not stand in front of everybody else's events.
//!
//! An event's rank is when its turn comes. An organization that sends no more than [`SHARE_MILLIS`] allows has its turn when
//! it comes in; whoever sends faster takes turns of the time ahead, one after the other. Nothing waits for its turn if
//! nobody else does: the rank only says who goes first. Each process counts what came in through it.

use agenstack_core::clock::Timestamp;
use agenstack_core::id::OrgId;
use moka::sync::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// One turn: fifty events in a second are anybody's right.
const SHARE_MILLIS: i64 = 20;
/// However much an organization has sent, its next turn is no further away than this.
const FURTHEST_MILLIS: i64 = 600_000;

/// The next turn of each organization that has sent something lately.
#[derive(Debug)]
pub(crate) struct Shares(Cache<OrgId, Arc<AtomicI64>>);

impl Shares {
    pub(crate) fn new() -> Self {
        // Whoever is forgotten starts anew, which is their right after so long.
        let idle = Duration::from_millis(FURTHEST_MILLIS.unsigned_abs());
        Self(Cache::builder().max_capacity(20_000).time_to_idle(idle).build())
    }

    /// Takes the organization's next turn, for an event that came at `now`.
    pub(crate) fn turn(&self, org: &OrgId, now: Timestamp) -> Timestamp {
        let next = self.0.get_with_by_ref(org, Arc::default);
        let (now, furthest) = (now.millis(), now.millis() + FURTHEST_MILLIS);
        let after = |turn: i64| Some(turn.clamp(now, furthest) + SHARE_MILLIS);
        let turn = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
        Timestamp::from_millis(turn.unwrap_or(now).clamp(now, furthest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn org(n: u8) -> OrgId {
        OrgId::parse(&format!("org_{:0>26}", n)).unwrap()
    }

    #[test]
    fn who_sends_within_the_share_has_its_turn_at_once_and_who_floods_gets_turns_ahead() {
        let (shares, now) = (Shares::new(), Timestamp::from_millis(1_000_000));
        for n in 0..5 {
            let at = now.plus_millis(n * SHARE_MILLIS);
            assert_eq!(shares.turn(&org(1), at), at);
        }
        let flood: Vec<_> = (0..3).map(|_| shares.turn(&org(2), now).millis() - now.millis()).collect();
        assert_eq!(flood, [0, SHARE_MILLIS, 2 * SHARE_MILLIS]);
        assert_eq!(shares.turn(&org(3), now), now, "the flood of one is nobody else's");
        let later = now.plus_secs(60);
        assert_eq!(shares.turn(&org(2), later), later, "and is forgotten when its turns are over");
    }

    #[test]
    fn the_next_turn_is_never_further_away_than_ten_minutes() {
        let (shares, now) = (Shares::new(), Timestamp::from_millis(1_000_000));
        let furthest = (0..100_000).map(|_| shares.turn(&org(1), now)).max();
        assert_eq!(furthest, Some(now.plus_millis(FURTHEST_MILLIS)));
    }
}
