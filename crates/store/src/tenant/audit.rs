//! What was done, by whom.

use crate::db::{TenantTx, execute};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::id::AuditId;

statements! { Tenant;
    AUDIT_ADD = "INSERT INTO audit (organization_id, id, actor, action, subject, at) VALUES ($1, $2, $3, $4, $5, $6)";
    AUDIT_RECEIPT_ADD = "INSERT INTO audit (organization_id, id, actor, action, subject, at, receipt) VALUES ($1, $2, $3, $4, $5, $6, $7)";
}

impl TenantTx {
    /// Records a deed in the transaction that does it. `subject` is an id or an account's public name, never a secret.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn audit_add(
        &mut self,
        id: &AuditId,
        actor: &str,
        action: &str,
        subject: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        execute!(self, AUDIT_ADD, self.org.as_str(), id.as_str(), actor, action, subject, at.millis())?;
        Ok(())
    }

    /// Records a deed that is evidenced: `receipt` is a signed text that names no person.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn audit_receipt_add(
        &mut self,
        id: &AuditId,
        (actor, action): (&str, &str),
        subject: &str,
        at: Timestamp,
        receipt: &str,
    ) -> Result<(), StoreError> {
        let (org, at) = (self.org.as_str(), at.millis());
        execute!(self, AUDIT_RECEIPT_ADD, org, id.as_str(), actor, action, subject, at, receipt)?;
        Ok(())
    }
}
