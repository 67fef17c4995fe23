//! Each organization's share of the queue, so that a flood of one does not stand in front of everybody else's events.
//!
//! An event's rank is when its turn comes. An organization that sends no more than [`SHARE_MILLIS`] allows has its turn when
//! it comes in; whoever sends faster takes turns of the time ahead, one after the other. Nothing waits for its turn if
//! nobody else does: the rank only says who goes first. Each process counts what came in through it.

use agenstack_core::clock::Timestamp;
use agenstack_core::id::OrgId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// One turn: fifty events in a second are anybody's right.
const SHARE_MILLIS: i64 = 20;
/// However much an organization has sent, its next turn is no further away than this.
const FURTHEST_MILLIS: i64 = 600_000;
/// Organizations below which nobody is taken out.
const FEW: usize = 1_024;

/// The next turns of those who have sent more than their share. Whoever's turn has come is as if it had sent nothing.
#[derive(Debug, Default)]
pub(crate) struct Shares(Mutex<Ahead>);

#[derive(Debug, Default)]
struct Ahead {
    turns: HashMap<OrgId, i64>,
    /// When so many are there, those whose turn has come are taken out.
    full: usize,
}

impl Shares {
    /// Takes the organization's next turn, for an event that came at `now`.
    pub(crate) fn turn(&self, org: &OrgId, now: Timestamp) -> Timestamp {
        let (now, furthest) = (now.millis(), now.millis() + FURTHEST_MILLIS);
        let mut ahead = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = match ahead.turns.get_mut(org) {
            Some(next) => {
                let turn = (*next).clamp(now, furthest);
                *next = turn + SHARE_MILLIS;
                turn
            }
            None => {
                if ahead.turns.len() >= ahead.full {
                    ahead.turns.retain(|_, next| *next > now);
                    // So that taking out costs each of them the same, however many are ahead.
                    ahead.full = (2 * ahead.turns.len()).max(FEW);
                }
                ahead.turns.insert(org.clone(), now + SHARE_MILLIS);
                now
            }
        };
        Timestamp::from_millis(turn)
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
        let (shares, now) = (Shares::default(), Timestamp::from_millis(1_000_000));
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
        let (shares, now) = (Shares::default(), Timestamp::from_millis(1_000_000));
        let furthest = (0..100_000).map(|_| shares.turn(&org(1), now)).max();
        assert_eq!(furthest, Some(now.plus_millis(FURTHEST_MILLIS)));
    }

    #[test]
    fn nobody_is_remembered_for_long_who_keeps_to_its_share() {
        let (shares, now) = (Shares::default(), Timestamp::from_millis(1_000_000));
        for n in 0..10_000 {
            let org = OrgId::parse(&format!("org_{n:0>26}")).unwrap();
            assert_eq!(shares.turn(&org, now.plus_millis(n)), now.plus_millis(n));
        }
        assert!(shares.0.lock().unwrap().turns.len() <= FEW);
    }
}
