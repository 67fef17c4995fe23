//! How an organization's newest events go, minute by minute: a bounded number of them, found by their ids.

use crate::db::{TenantTx, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::id::EventId;

/// Bounds of how long events take, as numbers and as text of a statement.
macro_rules! bounds {
    ($($n:literal: $ms:literal,)*) => {
        /// In milliseconds; what takes longer than the last is counted behind it.
        pub const BOUNDS: &[i64] = &[$($ms),*];
        macro_rules! bound {
            () => { concat!("CASE", $(" WHEN done_at - received_at <= ", $ms, " THEN ", $n,)* " ELSE 15 END") };
        }
    };
}
bounds! {
    0: 10, 1: 25, 2: 50, 3: 100, 4: 250, 5: 500, 6: 1000, 7: 2500, 8: 5000, 9: 10000, 10: 30000, 11: 60000,
    12: 300000, 13: 3600000, 14: 86400000,
}

statements! { Tenant;
    // What is for the log only is done by being committed, and tells nothing of how long things take.
    EVENT_MINUTES = concat!("SELECT minute, failed, bound, COUNT(*), MIN(received_at) FROM (
            SELECT received_at / 60000 AS minute, received_at, CAST(CASE WHEN state IN ('failed', 'dead') THEN 1 ELSE 0 END AS BIGINT) AS failed,
                CAST(CASE WHEN done_at IS NULL OR attempts = 0 THEN -1 ELSE ", bound!(), " END AS BIGINT) AS bound
            FROM (SELECT received_at, done_at, attempts, state FROM events WHERE organization_id = $1 AND id >= $2
                ORDER BY id DESC LIMIT $3) e) m
        GROUP BY minute, failed, bound");
    // The condition is that of the index by conversation, so that what is ended is not read.
    EVENT_WAITING = "SELECT COUNT(*), MIN(id) FROM (SELECT id FROM events
        WHERE organization_id = $1 AND state IN ('pending', 'failed', 'running') AND order_key >= '' LIMIT $2) w";
}

/// Events of one minute that went alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinuteRow {
    /// In which minute since 1970 they came.
    pub minute: i64,
    /// Whether they failed or were given up.
    pub failed: bool,
    /// Under which of [`BOUNDS`] they were done, if they were.
    pub bound: Option<usize>,
    /// How many.
    pub count: i64,
}

/// What waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many events, as far as was counted.
    pub count: i64,
    /// There are more.
    pub more: bool,
    /// When the oldest of these came.
    pub oldest: Option<Timestamp>,
}

impl TenantTx {
    /// How the newest events since `since` went, `limit` of them; and from when on all are counted, if those were not all.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_minutes(
        &mut self,
        since: Timestamp,
        limit: i64,
    ) -> Result<(Vec<MinuteRow>, Option<Timestamp>), StoreError> {
        let (org, first) = (self.org.as_str(), EventId::first_of(since));
        let rows =
            rows!(fetch_all, self, (i64, i64, i64, i64, i64), EVENT_MINUTES, org, first.as_str(), limit)?;
        let all: i64 = rows.iter().map(|r| r.3).sum();
        let oldest = rows.iter().map(|r| r.4).min().filter(|_| all == limit).map(Timestamp::from_millis);
        let row = |(minute, failed, bound, count, _): (i64, i64, i64, i64, i64)| MinuteRow {
            minute,
            failed: failed == 1,
            bound: usize::try_from(bound).ok(),
            count,
        };
        Ok((rows.into_iter().map(row).collect(), oldest))
    }

    /// How many events wait or are worked on, counted up to `limit`, and since when the oldest of these.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_waiting(&mut self, limit: i64) -> Result<Waiting, StoreError> {
        let (count, oldest) =
            rows!(fetch_one, self, (i64, Option<String>), EVENT_WAITING, self.org.as_str(), limit + 1)?;
        let corrupt = StoreError::Corrupt { table: "events", column: "id" };
        let oldest = oldest.map(|id| EventId::parse(&id).ok_or(corrupt)).transpose()?;
        Ok(Waiting { count: count.min(limit), more: count > limit, oldest: oldest.map(|id| id.made_at()) })
    }
}
