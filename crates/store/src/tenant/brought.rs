//! Bots' settings and knowledge that were brought along from an older platform, their content sealed.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::id::BroughtId;
use agenstack_core::sealed::Sealed;

statements! { Tenant;
    BROUGHT_ADD = "INSERT INTO imported_settings (organization_id, id, kind, source_id, title, content, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (organization_id, kind, source_id) DO NOTHING";
    BROUGHT_LIST = "SELECT id, kind, source_id, title, content FROM imported_settings
        WHERE organization_id = $1 AND id > $2 ORDER BY id LIMIT $3";
}

/// A setting or a piece of knowledge.
#[derive(Clone, Debug)]
pub struct Brought {
    /// Its id.
    pub id: BroughtId,
    /// `bot` or `knowledge`.
    pub kind: String,
    /// Under which name it came.
    pub source_id: String,
    /// What it is called.
    pub title: String,
    /// What it says, sealed (`imported_settings.content` of row `id`).
    pub content: Sealed,
}

impl TenantTx {
    /// Keeps one. `false` if one of this name is there already.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn brought_add(&mut self, b: &Brought, now: Timestamp) -> Result<bool, StoreError> {
        let n = execute!(
            self,
            BROUGHT_ADD,
            self.org.as_str(),
            b.id.as_str(),
            b.kind.as_str(),
            b.source_id.as_str(),
            b.title.as_str(),
            b.content.as_bytes(),
            now.millis(),
        )?;
        Ok(n == 1)
    }

    /// In the order they came, after the last one seen.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn brought_list(
        &mut self,
        after: Option<&BroughtId>,
        limit: i64,
    ) -> Result<Vec<Brought>, StoreError> {
        type Row = (String, String, String, String, Vec<u8>);
        let after = after.map_or("", BroughtId::as_str);
        let rows = rows!(fetch_all, self, Row, BROUGHT_LIST, self.org.as_str(), after, limit)?;
        let corrupt = StoreError::Corrupt { table: "imported_settings", column: "id" };
        let read = |(id, kind, source_id, title, content): Row| {
            let id = BroughtId::parse(&id)?;
            Some(Brought { id, kind, source_id, title, content: Sealed::from_bytes(content) })
        };
        rows.into_iter().map(read).collect::<Option<_>>().ok_or(corrupt)
    }
}
