//! The organization itself.

use crate::db::{TenantTx, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::org::Organization;

statements! { Tenant;
    ORGANIZATION_GET = "SELECT id AS organization_id, name, created_at FROM organizations WHERE id = $1";
}

impl TenantTx {
    /// The organization of this transaction.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it was deleted meanwhile.
    pub async fn organization_get(&mut self) -> Result<Organization, StoreError> {
        let row = rows!(fetch_optional, self, (String, String, i64), ORGANIZATION_GET, self.org.as_str())?;
        let (_, name, at) = row.ok_or(StoreError::NotFound("organization"))?;
        Ok(Organization { id: self.org.clone(), name, created_at: Timestamp::from_millis(at) })
    }
}
