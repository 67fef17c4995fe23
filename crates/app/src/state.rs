//! A connection's state changes: one place writes its history, in the transaction that makes the change.

use crate::connect::actor;
use crate::error::AppError;
use crate::{App, new_id};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::IntegrationId;
use agenstack_core::integration::{ConnectionStatus, StateChange};
use agenstack_store::TenantTx;

/// What changed, and why.
pub(crate) struct Change<'a> {
    /// Which time the account was connected.
    pub generation: i64,
    /// The state from now on.
    pub status: ConnectionStatus,
    /// Why, as a stable word.
    pub code: &'a str,
    /// Why, in one plain sentence.
    pub message: &'a str,
    /// When.
    pub at: Timestamp,
}

/// Records a change that `tx` makes.
pub(crate) async fn changed(
    app: &App,
    org: &OrgCtx,
    tx: &mut TenantTx,
    it: &IntegrationId,
    change: Change<'_>,
) -> Result<(), AppError> {
    let entry = StateChange {
        id: new_id!(app, HistoryId, change.at),
        generation: change.generation,
        actor: actor(org),
        status: change.status,
        code: change.code.to_owned(),
        message: change.message.to_owned(),
        at: change.at,
    };
    tx.history_add(it, &entry).await?;
    crate::mail::queue(app, tx, it, &entry).await
}
