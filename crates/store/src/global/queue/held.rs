//! Leases that are held, handed back, or ran out.

use crate::db::{GlobalTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;

statements! { Global;
    // Only what runs has a lease. That it runs is not asked for: see migration 19.
    EVENT_LEASE_EXTEND = "UPDATE events SET lease = $2 WHERE lease >= $3 AND lease_token = $1";
    EVENT_LEASE_EXPIRE = "UPDATE events SET state = 'failed', expired = expired + 1, next_at = $1, rank = $1, lease = NULL, lease_token = NULL
        WHERE lease BETWEEN $3 AND $1 AND lease_token <> $2 RETURNING organization_id, id, expired";
    EVENT_LATER = "UPDATE events SET next_at = $3, rank = $3 WHERE organization_id = $1 AND id = $2";
    JOB_LEASE_EXTEND = "UPDATE jobs SET lease = $2 WHERE lease >= $3 AND lease_token = $1";
    JOB_LEASE_EXPIRE = "UPDATE jobs SET state = 'failed', expired = expired + 1, next_at = $1, rank = $1, lease = NULL, lease_token = NULL
        WHERE lease BETWEEN $3 AND $1 AND lease_token <> $2 RETURNING organization_id, id, expired";
    JOB_LATER = "UPDATE jobs SET next_at = $3, rank = $3 WHERE organization_id = $1 AND id = $2";
    EVENT_LEASE_RETURN = "UPDATE events SET state = CASE WHEN attempts = 1 THEN 'pending' ELSE 'failed' END, attempts = attempts - 1,
            next_at = $2, rank = $2, lease = NULL, lease_token = NULL
        WHERE lease >= $3 AND lease_token = $1";
    JOB_LEASE_RETURN = "UPDATE jobs SET state = CASE WHEN attempts = 1 THEN 'pending' ELSE 'failed' END, attempts = attempts - 1,
            next_at = $2, rank = $2, lease = NULL, lease_token = NULL
        WHERE lease >= $3 AND lease_token = $1";
}

impl GlobalTx {
    /// Holds what is leased under `token`, until `held` or longer, until `until`.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn lease_extend(
        &mut self,
        token: &str,
        held: Timestamp,
        until: Timestamp,
    ) -> Result<u64, StoreError> {
        let (held, until) = (held.millis(), until.millis());
        Ok(execute!(self, EVENT_LEASE_EXTEND, token, until, held)?
            + execute!(self, JOB_LEASE_EXTEND, token, until, held)?)
    }

    /// Frees rows whose holder let the lease run out: it died, or hangs. The caller's own, under `token`, are left
    /// alone: it knows that it is at work on them. What had run out before `from` is not looked for. `again` says when a row is
    /// due whose lease ran out so many times in a row.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn lease_expire(
        &mut self,
        token: &str,
        from: Timestamp,
        now: Timestamp,
        again: impl Fn(i64) -> Timestamp,
    ) -> Result<u64, StoreError> {
        let (from, at, mut freed) = (from.millis(), now.millis(), 0);
        for (expire, later) in [(EVENT_LEASE_EXPIRE, EVENT_LATER), (JOB_LEASE_EXPIRE, JOB_LATER)] {
            let rows = rows!(fetch_all, self, (String, String, i64), expire, at, token, from)?;
            for (org, id, expired) in rows {
                freed += 1;
                let due = again(expired);
                if due > now {
                    execute!(self, later, org.as_str(), id.as_str(), due.millis())?;
                }
            }
        }
        Ok(freed)
    }

    /// Hands leases back unused that are held until `held` or longer, at shutdown.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn lease_return(
        &mut self,
        token: &str,
        held: Timestamp,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let (held, now) = (held.millis(), now.millis());
        Ok(execute!(self, EVENT_LEASE_RETURN, token, now, held)?
            + execute!(self, JOB_LEASE_RETURN, token, now, held)?)
    }
}
