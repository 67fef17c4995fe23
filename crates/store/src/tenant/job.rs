//! Queued deeds of one organization: what an event's effects ask to be done outside the transaction.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::event::EventState;
use agenstack_core::id::JobId;

statements! { Tenant;
    JOB_ADD = "INSERT INTO jobs (organization_id, id, kind, subject, order_key, state, attempts, next_at, rank, created_at)
        VALUES ($1, $2, $3, $4, $5, 'pending', 0, $7, $7, $6)";
    JOB_DONE = "DELETE FROM jobs WHERE organization_id = $1 AND id = $2 AND lease_token = $3";
    JOB_FAILED = "UPDATE jobs SET state = $4, expired = 0, next_at = $5, rank = $5, last_error = $6, lease = NULL, lease_token = NULL
        WHERE organization_id = $1 AND id = $2 AND lease_token = $3";
    JOB_PUT_OFF = "UPDATE jobs SET state = 'failed', attempts = attempts - 1, expired = 0, next_at = $4, rank = $4, last_error = $5,
            lease = NULL, lease_token = NULL
        WHERE organization_id = $1 AND id = $2 AND lease_token = $3";
    // That it waits is said twice: so it is looked for among what waits, and not among all that ever came.
    JOB_WAKE = "UPDATE jobs SET next_at = $2, rank = $2
        WHERE organization_id = $1 AND state IN ('pending', 'failed', 'running') AND state = 'failed' AND next_at > $3";
    JOB_SUBJECT = "SELECT subject FROM jobs WHERE organization_id = $1 AND id = $2 AND lease_token = $3";
}

impl TenantTx {
    /// Queues a deed in the transaction of the change that asks for it, to be done at `due` or later. `subject` is what
    /// it is about, as JSON of ids.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn job_add(
        &mut self,
        id: &JobId,
        kind: &str,
        subject: &str,
        order_key: &str,
        now: Timestamp,
        due: Timestamp,
    ) -> Result<(), StoreError> {
        let (org, id) = (self.org.as_str(), id.as_str());
        execute!(self, JOB_ADD, org, id, kind, subject, order_key, now.millis(), due.millis())?;
        self.telling.work();
        Ok(())
    }

    /// Makes deeds due now that wait for another attempt until after `beyond`: what stood in their way was mended.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn job_wake(&mut self, now: Timestamp, beyond: Timestamp) -> Result<u64, StoreError> {
        self.telling.work();
        execute!(self, JOB_WAKE, self.org.as_str(), now.millis(), beyond.millis())
    }

    /// What a leased deed is about.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another worker took it.
    pub async fn job_subject(&mut self, id: &JobId, lease_token: &str) -> Result<String, StoreError> {
        let row =
            rows!(fetch_optional, self, (String,), JOB_SUBJECT, self.org.as_str(), id.as_str(), lease_token)?;
        row.map(|(s,)| s).ok_or(StoreError::LeaseLost)
    }

    /// The deed is done and its record is in this transaction.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another worker took it; then the transaction must be dropped.
    pub async fn job_done(&mut self, id: &JobId, lease_token: &str) -> Result<(), StoreError> {
        let n = execute!(self, JOB_DONE, self.org.as_str(), id.as_str(), lease_token)?;
        if n == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
    }

    /// An attempt failed: the deed waits until `next_at`, or is dead.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another worker took it.
    pub async fn job_failed(
        &mut self,
        id: &JobId,
        lease_token: &str,
        state: EventState,
        next_at: Timestamp,
        error: &str,
    ) -> Result<(), StoreError> {
        let n = execute!(
            self,
            JOB_FAILED,
            self.org.as_str(),
            id.as_str(),
            lease_token,
            state.as_str(),
            next_at.millis(),
            error
        )?;
        if n == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
    }

    /// Nothing was done: the deed waits until `next_at`, and the attempt does not count.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another worker took it.
    pub async fn job_put_off(
        &mut self,
        id: &JobId,
        lease_token: &str,
        next_at: Timestamp,
        why: &str,
    ) -> Result<(), StoreError> {
        let org = self.org.as_str();
        let n = execute!(self, JOB_PUT_OFF, org, id.as_str(), lease_token, next_at.millis(), why)?;
        if n == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
    }
}
