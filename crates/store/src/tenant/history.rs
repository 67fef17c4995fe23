//! How connections came to be as they are.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::id::{HistoryId, IntegrationId};
use agenstack_core::integration::{ConnectionStatus, StateChange};

statements! { Tenant;
    HISTORY_ADD = "INSERT INTO integration_history (organization_id, id, integration_id, generation, actor, status, code, message, at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    HISTORY_LIST = "SELECT id, generation, actor, status, code, message, at FROM integration_history
        WHERE organization_id = $1 AND integration_id = $2 ORDER BY id DESC LIMIT $3";
    HISTORY_FIND = "SELECT id, generation, actor, status, code, message, at FROM integration_history
        WHERE organization_id = $1 AND integration_id = $2 AND id = $3";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    generation: i64,
    actor: String,
    status: String,
    code: String,
    message: String,
    at: i64,
}

fn change(r: Row) -> Result<StateChange, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "integration_history", column };
    Ok(StateChange {
        id: HistoryId::parse(&r.id).ok_or_else(|| corrupt("id"))?,
        generation: r.generation,
        actor: r.actor,
        status: ConnectionStatus::parse(&r.status).ok_or_else(|| corrupt("status"))?,
        code: r.code,
        message: r.message,
        at: Timestamp::from_millis(r.at),
    })
}

impl TenantTx {
    /// Records a change of state in the transaction that makes it.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn history_add(&mut self, it: &IntegrationId, change: &StateChange) -> Result<(), StoreError> {
        execute!(
            self,
            HISTORY_ADD,
            self.org.as_str(),
            change.id.as_str(),
            it.as_str(),
            change.generation,
            change.actor.as_str(),
            change.status.as_str(),
            change.code.as_str(),
            change.message.as_str(),
            change.at.millis(),
        )?;
        Ok(())
    }

    /// The latest changes of a connection, newest first.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn history_list(
        &mut self,
        it: &IntegrationId,
        limit: i64,
    ) -> Result<Vec<StateChange>, StoreError> {
        let rows = rows!(fetch_all, self, Row, HISTORY_LIST, self.org.as_str(), it.as_str(), limit)?;
        rows.into_iter().map(change).collect()
    }

    /// One change of a connection.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn history_find(
        &mut self,
        it: &IntegrationId,
        id: &HistoryId,
    ) -> Result<Option<StateChange>, StoreError> {
        let row =
            rows!(fetch_optional, self, Row, HISTORY_FIND, self.org.as_str(), it.as_str(), id.as_str())?;
        row.map(change).transpose()
    }
}
