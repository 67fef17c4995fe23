//! Organizations that come from an older platform, found again by the name they came under.

use crate::db::{GlobalTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::ctx::QueuedFor;
use agenstack_core::id::OrgId;
use agenstack_core::org::Organization;

statements! { Global;
    ORGANIZATION_IMPORT = "INSERT INTO organizations (id, name, created_at, imported_from) VALUES ($1, $2, $3, $4)";
    ORGANIZATION_IMPORTED = "SELECT id, deleted_at FROM organizations WHERE imported_from = $1";
}

/// An organization that was imported.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Its id here.
    pub id: OrgId,
    /// Proof that what follows it may be written.
    pub proof: QueuedFor,
    /// It was deleted here since.
    pub is_closed: bool,
}

impl GlobalTx {
    /// Adds an organization that comes under the name `from`; it has no members yet.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if its id or that name is taken.
    pub async fn organization_import(
        &mut self,
        org: &Organization,
        from: &str,
    ) -> Result<Imported, StoreError> {
        let at = org.created_at.millis();
        execute!(self, ORGANIZATION_IMPORT, org.id.as_str(), org.name.as_str(), at, from)?;
        Ok(Imported { id: org.id.clone(), proof: QueuedFor::row(org.id.clone()), is_closed: false })
    }

    /// The organization that came under this name.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn organization_imported(&mut self, from: &str) -> Result<Option<Imported>, StoreError> {
        let row = rows!(fetch_optional, self, (String, Option<i64>), ORGANIZATION_IMPORTED, from)?;
        let Some((id, deleted_at)) = row else { return Ok(None) };
        let id = OrgId::parse(&id).ok_or(StoreError::Corrupt { table: "organizations", column: "id" })?;
        Ok(Some(Imported { proof: QueuedFor::row(id.clone()), id, is_closed: deleted_at.is_some() }))
    }
}
