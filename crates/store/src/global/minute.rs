//! How the installation goes, minute by minute: numbers of each process, and of no organization.

use crate::db::{GlobalTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;

statements! { Global;
    // A process writes its own rows only, the present one again and again.
    MINUTE_PUT = "INSERT INTO minutes (minute, process, accepted, refused, failed, dead, lags) VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (minute, process) DO UPDATE SET accepted = excluded.accepted, refused = excluded.refused,
            failed = excluded.failed, dead = excluded.dead, lags = excluded.lags";
    MINUTE_LIST = "SELECT minute, accepted, refused, failed, dead, lags FROM minutes WHERE minute >= $1 ORDER BY minute";
    MINUTE_SWEEP = "DELETE FROM minutes WHERE minute < $1";
    // The first of each index: what has its turn next, which is what waits longest unless an organization sends too much.
    QUEUE_FRONT = "SELECT MIN(next_at) FROM (
            SELECT next_at FROM (SELECT next_at FROM events WHERE state = 'pending' ORDER BY rank, id LIMIT 1) p
            UNION ALL SELECT next_at FROM (SELECT next_at FROM events WHERE state = 'failed' ORDER BY rank, id LIMIT 1) f) e";
}

/// What was done in a minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Minute {
    /// Which one: minutes since 1970.
    pub minute: i64,
    /// Events that were committed.
    pub accepted: i64,
    /// Deliveries that were refused.
    pub refused: i64,
    /// Attempts that failed and are made again.
    pub failed: i64,
    /// Events and deeds that were given up.
    pub dead: i64,
    /// How many events took how long, by bound.
    pub lags: Vec<i64>,
}

impl GlobalTx {
    /// Stores what a process did in a minute, in the place of what it said before.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn minute_put(&mut self, process: &str, it: &Minute) -> Result<(), StoreError> {
        let lags = serde_json::to_string(&it.lags).expect("numbers are always JSON");
        let Minute { minute, accepted, refused, failed, dead, .. } = *it;
        execute!(self, MINUTE_PUT, minute, process, accepted, refused, failed, dead, lags)?;
        Ok(())
    }

    /// What every process did from a minute on, oldest first: several rows for one minute, if there are several processes.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn minute_list(&mut self, since: i64) -> Result<Vec<Minute>, StoreError> {
        let rows = rows!(fetch_all, self, (i64, i64, i64, i64, i64, String), MINUTE_LIST, since)?;
        rows.into_iter()
            .map(|(minute, accepted, refused, failed, dead, lags)| {
                let lags = serde_json::from_str(&lags)
                    .map_err(|_| StoreError::Corrupt { table: "minutes", column: "lags" })?;
                Ok(Minute { minute, accepted, refused, failed, dead, lags })
            })
            .collect()
    }

    /// Forgets minutes before this one.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn minute_sweep(&mut self, until: i64) -> Result<u64, StoreError> {
        execute!(self, MINUTE_SWEEP, until)
    }

    /// When the event was due that has its turn next. Cheap, however many wait.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn queue_front(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let (at,) = rows!(fetch_one, self, (Option<i64>,), QUEUE_FRONT)?;
        Ok(at.map(Timestamp::from_millis))
    }
}
