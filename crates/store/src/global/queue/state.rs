//! What waits, counted: for operators, and for metrics.

use crate::db::{Conn, GlobalTx, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::event::EventState;
use agenstack_core::id::OrgId;

statements! { Global;
    // A part for each index of what waits; what is done is never looked at.
    EVENTS_BY_ORGANIZATION = "SELECT organization_id, state, COUNT(*), MIN(next_at) FROM (
            SELECT organization_id, state, next_at FROM events WHERE state = 'pending'
            UNION ALL SELECT organization_id, state, next_at FROM events WHERE state = 'failed'
            UNION ALL SELECT organization_id, state, next_at FROM events WHERE state = 'dead') e
        GROUP BY organization_id, state ORDER BY COUNT(*) DESC, organization_id, state LIMIT $1";
    QUEUE_STATE = "SELECT (SELECT COUNT(*) FROM events WHERE state = 'dead'),
        (SELECT MIN(next_at) FROM (SELECT MIN(next_at) AS next_at FROM events WHERE state = 'pending'
            UNION ALL SELECT MIN(next_at) FROM events WHERE state = 'failed') e)";
    QUEUE_WAITING = "SELECT (SELECT COUNT(*) FROM events WHERE state IN ('pending', 'failed', 'running') AND order_key >= '')
        + (SELECT COUNT(*) FROM jobs WHERE state IN ('pending', 'failed', 'running') AND order_key >= '')";
    #[postgres] TABLE_ROWS = "SELECT CAST(relname AS TEXT), n_live_tup, n_dead_tup FROM pg_stat_user_tables
        WHERE schemaname = current_schema() AND relname IN ('events', 'jobs') ORDER BY relname";
}

/// What PostgreSQL believes to have in a table that is written all day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRows {
    /// Its name.
    pub table: String,
    /// How many rows.
    pub live: i64,
    /// How many former versions of rows that are not cleaned away.
    pub dead: i64,
}

/// Events of one organization that wait, or are dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Whose.
    pub org: OrgId,
    /// Where they stand.
    pub state: EventState,
    /// How many.
    pub count: i64,
    /// Since when, or until when, the first of them waits.
    pub oldest: Timestamp,
}

impl GlobalTx {
    /// How many events of each organization wait, or are dead, with the longest due of them: the most first.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn events_by_organization(&mut self, limit: i64) -> Result<Vec<Backlog>, StoreError> {
        let corrupt = |column| StoreError::Corrupt { table: "events", column };
        let rows = rows!(fetch_all, self, (String, String, i64, i64), EVENTS_BY_ORGANIZATION, limit)?;
        rows.into_iter()
            .map(|(org, state, count, oldest)| {
                Ok(Backlog {
                    org: OrgId::parse(&org).ok_or_else(|| corrupt("organization_id"))?,
                    state: EventState::parse(&state).ok_or_else(|| corrupt("state"))?,
                    count,
                    oldest: Timestamp::from_millis(oldest),
                })
            })
            .collect()
    }

    /// How many events are dead, and when the one was due that is due longest.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn queue_state(&mut self) -> Result<(i64, Option<Timestamp>), StoreError> {
        let (dead, oldest) = rows!(fetch_one, self, (i64, Option<i64>), QUEUE_STATE)?;
        Ok((dead, oldest.map(Timestamp::from_millis)))
    }

    /// How much stands in the tables of the queues, by PostgreSQL's statistics; nothing for SQLite, which keeps no former versions of rows.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn table_rows(&mut self) -> Result<Vec<TableRows>, StoreError> {
        let Conn::Postgres(c) = &mut self.conn else { return Ok(Vec::new()) };
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(TABLE_ROWS).fetch_all(&mut **c).await?;
        Ok(rows.into_iter().map(|(table, live, dead)| TableRows { table, live, dead }).collect())
    }

    /// How many rows wait or run, in both queues.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn queue_waiting(&mut self) -> Result<i64, StoreError> {
        let (n,) = rows!(fetch_one, self, (i64,), QUEUE_WAITING)?;
        Ok(n)
    }
}
