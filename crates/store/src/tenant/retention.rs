//! What of the inbox was kept long enough, a few rows at a time.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::id::EventId;

statements! { Tenant;
    // The id says when an event came: no index by time is needed.
    RETENTION_WINDOW = "SELECT COALESCE(MAX(id), ''), COUNT(*) FROM (SELECT id FROM events
        WHERE organization_id = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4) w";
    // What waits is not ended; what a replay is still to come to, or stands still before, is left to it.
    EVENT_EXPIRE = "DELETE FROM events WHERE organization_id = $1 AND id > $2 AND id <= $3
          AND ((state = 'done' AND COALESCE(done_at, received_at) < $4) OR (state = 'dead' AND next_at < $5))
          AND NOT EXISTS (SELECT 1 FROM replays r WHERE r.organization_id = $1 AND r.status IN ('running', 'paused')
              AND r.state = events.state AND events.id > r.position AND events.received_at >= r.since
              AND events.received_at < r.until AND r.provider IN ('', events.provider) AND r.topic IN ('', events.topic))";
    EVENT_HISTORY_EXPIRE = "DELETE FROM event_history WHERE organization_id = $1 AND event_id > $2 AND event_id <= $3
          AND NOT EXISTS (SELECT 1 FROM events e WHERE e.organization_id = $1 AND e.id = event_history.event_id)";
    EVENT_OLDEST = "SELECT id FROM events WHERE organization_id = $1 ORDER BY id LIMIT 1";
    JOB_EXPIRE = "DELETE FROM jobs WHERE organization_id = $1 AND state = 'dead' AND id IN (SELECT id FROM jobs
        WHERE organization_id = $1 AND state = 'dead' AND next_at < $2 LIMIT $3)";
    REPLAY_EXPIRE = "DELETE FROM replays WHERE organization_id = $1 AND ended_at < $2";
}

/// Until when rows were kept long enough.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// What was done before.
    pub done: Timestamp,
    /// What was given up before.
    pub dead: Timestamp,
}

/// One batch of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// How many events were deleted.
    pub events: u64,
    /// The last row that was looked at, if there may be more behind it.
    pub more: Option<EventId>,
}

impl TenantTx {
    /// Looks at up to `limit` events behind `after` that came before the time for which what is done is kept, and deletes
    /// those among them that are ended and were kept long enough.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_expire(
        &mut self,
        after: Option<&EventId>,
        kept: Kept,
        limit: i64,
    ) -> Result<Expired, StoreError> {
        let org = self.org.clone();
        let (org, after) = (org.as_str(), after.map_or("", EventId::as_str));
        let until = EventId::first_of(kept.done.max(kept.dead));
        let (last, looked_at) =
            rows!(fetch_one, self, (String, i64), RETENTION_WINDOW, org, after, until.as_str(), limit)?;
        if looked_at == 0 {
            return Ok(Expired { events: 0, more: None });
        }
        let (done, dead) = (kept.done.millis(), kept.dead.millis());
        let events = execute!(self, EVENT_EXPIRE, org, after, last.as_str(), done, dead)?;
        execute!(self, EVENT_HISTORY_EXPIRE, org, after, last.as_str())?;
        let last = EventId::parse(&last).ok_or(StoreError::Corrupt { table: "events", column: "id" })?;
        Ok(Expired { events, more: (looked_at == limit).then_some(last) })
    }

    /// The organization's oldest event.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_oldest(&mut self) -> Result<Option<EventId>, StoreError> {
        let row = rows!(fetch_optional, self, (String,), EVENT_OLDEST, self.org.as_str())?;
        let corrupt = StoreError::Corrupt { table: "events", column: "id" };
        row.map(|(id,)| EventId::parse(&id).ok_or(corrupt)).transpose()
    }

    /// Deletes up to `limit` queued deeds that were given up before `until`.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn job_expire(&mut self, until: Timestamp, limit: i64) -> Result<u64, StoreError> {
        execute!(self, JOB_EXPIRE, self.org.as_str(), until.millis(), limit)
    }

    /// Deletes replays that ended before `until`.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn replay_expire(&mut self, until: Timestamp) -> Result<u64, StoreError> {
        execute!(self, REPLAY_EXPIRE, self.org.as_str(), until.millis())
    }
}
