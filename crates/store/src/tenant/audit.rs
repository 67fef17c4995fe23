//! What was done, by whom.

use crate::db::{TenantTx, execute};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::id::AuditId;

statements! { Tenant;
    AUDIT_ADD = "INSERT INTO audit (organization_id, id, actor, action, subject, at) VALUES ($1, $2, $3, $4, $5, $6)";
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
}
