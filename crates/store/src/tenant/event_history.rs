//! What became of an event before it was as it is: attempts that failed, and who asked for it again.
//!
//! An event that is done at its first attempt, as nearly all are, has no row here: its own times say everything.

use super::event::cancelled;
use super::replay::meant;
use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::event::{EventHistory, EventState, EventStep, HISTORY_KEPT, Replay};
use agenstack_core::id::{EventId, IntegrationId};
use agenstack_core::integration::Provider;

/// Whoever adds a step holds the event's own row, so that no two count alike.
macro_rules! next {
    ($event:literal) => {
        concat!(
            "(SELECT COALESCE(MAX(h.n), 0) + 1 FROM event_history h WHERE h.organization_id = $1 AND h.event_id = ",
            $event,
            ")"
        )
    };
}

/// Rows for many events: what they were done by, or that they were asked for again.
macro_rules! many {
    ($values:literal, $which:expr) => {
        concat!(
            "INSERT INTO event_history (organization_id, event_id, n, kind, begun_at, at, reason, actor)
            SELECT e.organization_id, e.id, ",
            next!("e.id"),
            ", ",
            $values,
            " FROM events e WHERE e.organization_id = $1 AND ",
            $which,
            // Somebody else did the same at this moment, and holds the row.
            " ON CONFLICT DO NOTHING"
        )
    };
}

macro_rules! step {
    () => {
        concat!("e.id IN (SELECT id FROM events WHERE ", meant!(), " AND id > $7 ORDER BY id LIMIT $8)")
    };
}

statements! { Tenant;
    EVENT_HISTORY_ADD = concat!("INSERT INTO event_history (organization_id, event_id, n, kind, begun_at, at, reason, actor)
        VALUES ($1, $2, ", next!("$2"), ", $3, $4, $5, $6, $7)");
    EVENT_HISTORY_LIST = "SELECT kind, begun_at, at, reason, actor FROM event_history WHERE organization_id = $1 AND event_id = $2
        ORDER BY n";
    // What an event was done by stands in its own row, which is about to be used again.
    EVENT_HISTORY_KEEP = many!("'done', CASE WHEN e.attempts > 0 THEN e.next_at END, e.done_at, NULL, NULL",
        "e.id = $2 AND e.state = 'done' AND e.done_at IS NOT NULL");
    EVENT_HISTORY_KEEP_STEP = many!("'done', CASE WHEN e.attempts > 0 THEN e.next_at END, e.done_at, NULL, NULL",
        concat!("e.done_at IS NOT NULL AND ", step!()));
    EVENT_HISTORY_REPLAY_STEP = many!("'replayed', NULL, CAST($9 AS BIGINT), NULL, CAST($10 AS TEXT)", step!());
    EVENT_HISTORY_CANCEL = many!("'cancelled', NULL, CAST($5 AS BIGINT), CAST($4 AS TEXT), NULL",
        concat!("e.id IN (SELECT id FROM events WHERE ", cancelled!(), ")"));
    EVENT_HISTORY_TRIM = "DELETE FROM event_history WHERE organization_id = $1 AND event_id >= $2 AND event_id <= $3
        AND n <= (SELECT MAX(h.n) FROM event_history h
            WHERE h.organization_id = $1 AND h.event_id = event_history.event_id) - $4";
}

#[derive(sqlx::FromRow)]
struct Row {
    kind: String,
    begun_at: Option<i64>,
    at: i64,
    reason: Option<String>,
    actor: Option<String>,
}

impl TenantTx {
    /// Adds a step, in the transaction that makes it.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_history_add(&mut self, id: &EventId, it: &EventHistory) -> Result<(), StoreError> {
        execute!(
            self,
            EVENT_HISTORY_ADD,
            self.org.as_str(),
            id.as_str(),
            it.step.as_str(),
            it.begun_at.map(Timestamp::millis),
            it.at.millis(),
            it.reason.as_deref(),
            it.actor.as_deref(),
        )?;
        self.event_history_trim(id.as_str(), id.as_str()).await
    }

    /// Keeps how an event was done that is about to be handled again.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_history_keep(&mut self, id: &EventId) -> Result<u64, StoreError> {
        execute!(self, EVENT_HISTORY_KEEP, self.org.as_str(), id.as_str())
    }

    /// The steps of an event, oldest first.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_history_list(&mut self, id: &EventId) -> Result<Vec<EventHistory>, StoreError> {
        let rows = rows!(fetch_all, self, Row, EVENT_HISTORY_LIST, self.org.as_str(), id.as_str())?;
        let corrupt = StoreError::Corrupt { table: "event_history", column: "kind" };
        let step = |r: Row| {
            Some(EventHistory {
                step: EventStep::parse(&r.kind)?,
                begun_at: r.begun_at.map(Timestamp::from_millis),
                at: Timestamp::from_millis(r.at),
                reason: r.reason,
                actor: r.actor,
            })
        };
        rows.into_iter().map(step).collect::<Option<_>>().ok_or(corrupt)
    }

    /// The same for the next events of a replay, before it puts them back; with a line for each that it does.
    pub(super) async fn event_history_replay_step(
        &mut self,
        r: &Replay,
        limit: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (provider, topic) = (r.provider.map_or("", Provider::as_str), r.topic.as_deref().unwrap_or(""));
        let (since, until) = (r.since.map_or(0, Timestamp::millis), r.until.millis());
        let (org, state) = (self.org.as_str(), r.state.as_str());
        let position = r.position.as_ref().map_or("", EventId::as_str);
        if r.state == EventState::Done {
            let sql = EVENT_HISTORY_KEEP_STEP;
            execute!(self, sql, org, provider, topic, state, since, until, position, limit)?;
        }
        let (at, actor) = (now.millis(), r.id.as_str());
        let sql = EVENT_HISTORY_REPLAY_STEP;
        execute!(self, sql, org, provider, topic, state, since, until, position, limit, at, actor)?;
        Ok(())
    }

    /// A line for each event that is about to be given up with its connection.
    pub(super) async fn event_history_cancel(
        &mut self,
        integration: &IntegrationId,
        generation: i64,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (org, it) = (self.org.as_str(), integration.as_str());
        execute!(self, EVENT_HISTORY_CANCEL, org, it, generation, reason, now.millis())?;
        Ok(())
    }

    /// Leaves the last steps of each of these events.
    pub(super) async fn event_history_trim(&mut self, first: &str, last: &str) -> Result<(), StoreError> {
        execute!(self, EVENT_HISTORY_TRIM, self.org.as_str(), first, last, HISTORY_KEPT)?;
        Ok(())
    }
}
