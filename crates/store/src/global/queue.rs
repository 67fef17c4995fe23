//! Leasing queued rows: events and jobs have the same queue columns and the same rules.
//!
//! Due rows are leased oldest first, and of the rows with one order key only the first that is not ended, so that a
//! conversation is worked in order while others go on. A lease carries a token; only its holder can end the row.

use crate::db::{Conn, GlobalTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::QueuedFor;
use agenstack_core::id::OrgId;

macro_rules! lease {
    ($table:literal, $lock:literal) => {
        concat!(
            "UPDATE ", $table, " SET state = 'running', attempts = attempts + 1, lease = $2, lease_token = $3
             WHERE (organization_id, id) IN (
                SELECT q.organization_id, q.id FROM ", $table, " q
                WHERE q.state IN ('pending', 'failed') AND q.next_at <= $1
                  AND NOT EXISTS (SELECT 1 FROM ", $table, " p
                      WHERE p.organization_id = q.organization_id AND p.order_key = q.order_key AND p.id < q.id
                        AND p.state IN ('pending', 'failed', 'running'))
                ORDER BY q.next_at, q.id LIMIT $4 ", $lock, ")
             RETURNING organization_id, id, attempts"
        )
    };
}

statements! { Global;
    #[sqlite] EVENT_LEASE_SQLITE = lease!("events", "");
    #[postgres] EVENT_LEASE_POSTGRES = lease!("events", "FOR UPDATE OF q SKIP LOCKED");
    #[sqlite] JOB_LEASE_SQLITE = lease!("jobs", "");
    #[postgres] JOB_LEASE_POSTGRES = lease!("jobs", "FOR UPDATE OF q SKIP LOCKED");
    EVENT_DUE = "SELECT COUNT(*) FROM (SELECT 1 FROM events WHERE state IN ('pending', 'failed') AND next_at <= $1 LIMIT 1) d";
    EVENT_LEASE_EXTEND = "UPDATE events SET lease = $2 WHERE state = 'running' AND lease_token = $1";
    EVENT_LEASE_EXPIRE = "UPDATE events SET state = 'failed', next_at = $1, lease = NULL, lease_token = NULL
        WHERE state = 'running' AND lease <= $1 AND lease_token <> $2";
    JOB_DUE = "SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE state IN ('pending', 'failed') AND next_at <= $1 LIMIT 1) d";
    JOB_LEASE_EXTEND = "UPDATE jobs SET lease = $2 WHERE state = 'running' AND lease_token = $1";
    JOB_LEASE_EXPIRE = "UPDATE jobs SET state = 'failed', next_at = $1, lease = NULL, lease_token = NULL
        WHERE state = 'running' AND lease <= $1 AND lease_token <> $2";
    EVENT_LEASE_RETURN = "UPDATE events SET state = 'failed', attempts = attempts - 1, next_at = $2, lease = NULL, lease_token = NULL
        WHERE state = 'running' AND lease_token = $1";
    JOB_LEASE_RETURN = "UPDATE jobs SET state = 'failed', attempts = attempts - 1, next_at = $2, lease = NULL, lease_token = NULL
        WHERE state = 'running' AND lease_token = $1";
    JOB_KIND = "SELECT kind FROM jobs WHERE organization_id = $1 AND id = $2";
    QUEUE_WAITING = "SELECT (SELECT COUNT(*) FROM events WHERE state IN ('pending', 'failed', 'running'))
        + (SELECT COUNT(*) FROM jobs WHERE state IN ('pending', 'failed', 'running'))";
}

/// Which queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// The inbox.
    Events,
    /// Queued deeds.
    Jobs,
}

/// A leased row.
#[derive(Clone, Debug)]
pub struct Leased {
    /// Whose it is: what an [`agenstack_core::ctx::OrgCtx`] is made from.
    pub queued_for: QueuedFor,
    /// The organization's id.
    pub org: OrgId,
    /// The row's id.
    pub id: String,
    /// Which attempt this is, from 1.
    pub attempts: i64,
}

impl GlobalTx {
    /// Leases up to `limit` due rows until `until`, under `token`.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn lease(
        &mut self,
        queue: Queue,
        token: &str,
        now: Timestamp,
        until: Timestamp,
        limit: i64,
    ) -> Result<Vec<Leased>, StoreError> {
        let sql = match (&self.conn, queue) {
            (Conn::Sqlite(_), Queue::Events) => EVENT_LEASE_SQLITE,
            (Conn::Sqlite(_), Queue::Jobs) => JOB_LEASE_SQLITE,
            (Conn::Postgres(_), Queue::Events) => EVENT_LEASE_POSTGRES,
            (Conn::Postgres(_), Queue::Jobs) => JOB_LEASE_POSTGRES,
        };
        let mut rows =
            rows!(fetch_all, self, (String, String, i64), sql, now.millis(), until.millis(), token, limit)?;
        rows.sort_by(|a, b| a.1.cmp(&b.1));
        rows.into_iter()
            .map(|(org, id, attempts)| {
                let org = OrgId::parse(&org)
                    .ok_or(StoreError::Corrupt { table: "events", column: "organization_id" })?;
                Ok(Leased { queued_for: QueuedFor::row(org.clone()), org, id, attempts })
            })
            .collect()
    }

    /// What kind of deed a leased job is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it ended meanwhile.
    pub async fn job_kind(&mut self, leased: &Leased) -> Result<String, StoreError> {
        let row = rows!(fetch_optional, self, (String,), JOB_KIND, leased.org.as_str(), leased.id.as_str())?;
        row.map(|(kind,)| kind).ok_or(StoreError::NotFound("job"))
    }

    /// Whether any row is due. Cheap, and takes no lock.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn is_due(&mut self, queue: Queue, now: Timestamp) -> Result<bool, StoreError> {
        let sql = match queue {
            Queue::Events => EVENT_DUE,
            Queue::Jobs => JOB_DUE,
        };
        let (n,) = rows!(fetch_one, self, (i64,), sql, now.millis())?;
        Ok(n > 0)
    }

    /// Holds what is leased under `token` until `until`.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn lease_extend(&mut self, token: &str, until: Timestamp) -> Result<u64, StoreError> {
        Ok(execute!(self, EVENT_LEASE_EXTEND, token, until.millis())?
            + execute!(self, JOB_LEASE_EXTEND, token, until.millis())?)
    }

    /// Frees rows whose holder let the lease run out: it died, or hangs. The caller's own, under `token`, are left
    /// alone: it knows that it is at work on them.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn lease_expire(&mut self, token: &str, now: Timestamp) -> Result<u64, StoreError> {
        Ok(execute!(self, EVENT_LEASE_EXPIRE, now.millis(), token)?
            + execute!(self, JOB_LEASE_EXPIRE, now.millis(), token)?)
    }

    /// Hands leases back unused, at shutdown.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn lease_return(&mut self, token: &str, now: Timestamp) -> Result<u64, StoreError> {
        Ok(execute!(self, EVENT_LEASE_RETURN, token, now.millis())?
            + execute!(self, JOB_LEASE_RETURN, token, now.millis())?)
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
