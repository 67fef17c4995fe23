//! The inbox: webhook events and what became of them.

use crate::clock::Timestamp;
use crate::id::{EventId, IntegrationId, OrgId, ReplayId};
use crate::integration::Provider;
use crate::policy::words;
use serde::{Deserialize, Serialize};

words! {
    /// Where an event (or a queued deed) stands.
    EventState {
        /// Committed, not yet begun.
        Pending = "pending",
        /// Leased by a worker.
        Running = "running",
        /// Its effects are committed.
        Done = "done",
        /// An attempt failed; another is due at `next_at`.
        Failed = "failed",
        /// Given up; only a person can replay it.
        Dead = "dead",
        /// Verified, but no organization owned the account.
        Unrouted = "unrouted",
    }
}

/// An event as lists show it; the payload stays sealed.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Whose it is.
    pub organization_id: OrgId,
    /// The connection it came in by.
    #[serde(skip)]
    pub integration_id: IntegrationId,
    /// Generation of that connection when it came.
    #[serde(skip)]
    pub generation: i64,
    /// Who sent it.
    pub provider: Provider,
    /// What it is about: `orders/updated`, `message.text`, `kustomer.message.create`.
    pub topic: String,
    /// The provider's id of the delivery or message.
    pub external_id: String,
    /// Where it stands.
    pub state: EventState,
    /// How often a worker has tried.
    pub attempts: i64,
    /// When it was committed.
    pub received_at: Timestamp,
    /// When the provider says that it happened; unsigned, so that it may narrow and never decide.
    #[serde(skip)]
    pub triggered_at: Option<Timestamp>,
    /// When its effects were committed.
    pub done_at: Option<Timestamp>,
    /// While it waits, when it is due; once it is done, when the attempt began that did it.
    #[serde(skip)]
    pub next_at: Timestamp,
    /// Why the last attempt failed, in plain words.
    pub last_error: Option<String>,
}

words! {
    /// What became of an event at some time.
    EventStep {
        /// An attempt did it.
        Done = "done",
        /// An attempt failed; another came later.
        Failed = "failed",
        /// An attempt failed, and it was given up.
        Dead = "dead",
        /// It was given up without an attempt: its connection was ended.
        Cancelled = "cancelled",
        /// Somebody asked for it to be handled again.
        Replayed = "replayed",
    }
}

/// What became of an event, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventHistory {
    /// What happened.
    pub step: EventStep,
    /// When the attempt began, if it was one.
    pub begun_at: Option<Timestamp>,
    /// When it happened.
    pub at: Timestamp,
    /// Why, in plain words.
    pub reason: Option<String>,
    /// Who asked for it: a person, the operator, or the replay it was part of.
    pub actor: Option<String>,
}

/// How many steps of an event are kept: the last ones.
pub const HISTORY_KEPT: i64 = 24;

words! {
    /// Where a replay of many events stands.
    ReplayStatus {
        /// Events are put back into the queue, so many in a second.
        Running = "running",
        /// A person has stopped it for now.
        Paused = "paused",
        /// It has come to its end.
        Done = "done",
        /// A person has ended it.
        Cancelled = "cancelled",
    }
}

/// A replay of the events that a filter names, oldest first, at a pace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// Only events of this provider.
    pub provider: Option<Provider>,
    /// Only events of this topic.
    pub topic: Option<String>,
    /// Only events in this state: dead, failed or done.
    pub state: EventState,
    /// Only events received at or after.
    pub since: Option<Timestamp>,
    /// Only events received before; the start of the replay, unless it was narrowed further.
    pub until: Timestamp,
    /// How many events a second, at most.
    pub per_second: i64,
    /// Where it stands.
    pub status: ReplayStatus,
    /// How many events it meant when it was begun.
    pub total: i64,
    /// How many were put back into the queue so far.
    pub done: i64,
    /// The last one that was.
    #[serde(skip)]
    pub position: Option<EventId>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// How many events a second a replay puts back into the queue, unless it is said, and at most.
pub const REPLAY_PACE: i64 = 50;
/// The most that may be asked for.
pub const REPLAY_PACE_MOST: i64 = 1_000;

/// How often a deed is tried before it is dead.
pub const MAX_ATTEMPTS: i64 = 18;

/// Milliseconds to wait after the `attempts`-th failure: 2 s doubling to 4 h, about a day in all, plus up to a
/// quarter at random so that a crowd spreads out.
pub fn backoff_millis(attempts: i64, random: u8) -> i64 {
    let doubled = 2_000_i64.saturating_mul(1 << attempts.clamp(1, 14).saturating_sub(1));
    let base = doubled.min(4 * 3_600_000);
    base + base * i64::from(random) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_attempts_together_take_about_a_day() {
        let hours = |random| (1..MAX_ATTEMPTS).map(|n| backoff_millis(n, random)).sum::<i64>() / 3_600_000;
        assert!(
            (18..=30).contains(&hours(0)) && (18..=30).contains(&hours(255)),
            "{} {}",
            hours(0),
            hours(255)
        );
    }

    #[test]
    fn waiting_doubles_and_never_passes_five_hours() {
        assert_eq!(backoff_millis(1, 0), 2_000);
        assert_eq!(backoff_millis(2, 0), 4_000);
        assert!((1..100).all(|n| backoff_millis(n, 255) <= 5 * 3_600_000));
        assert!((1..20).all(|n| backoff_millis(n, 255) < backoff_millis(n, 0) * 5 / 4 + 1));
    }
}
