//! What an organization's first page tells.

use crate::App;
use crate::error::AppError;
use crate::former::FormerAccount;
use agenstack_core::conversation::Owner;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::integration::Integration;
use agenstack_core::policy::Action;

/// How things stand.
#[derive(Debug)]
pub struct Overview {
    /// The connections.
    pub integrations: Vec<Integration>,
    /// Accounts that a former platform had connected, to be connected here.
    pub former: Vec<FormerAccount>,
    /// Open conversations.
    pub open: i64,
    /// Open conversations in which a person is awaited.
    pub waiting: i64,
    /// Whether anybody ever wrote.
    pub any_conversation: bool,
}

/// Reads it.
///
/// # Errors
/// If the role is too small or the database is not available.
pub async fn overview(app: &App, org: &OrgCtx) -> Result<Overview, AppError> {
    org.require(Action::OrganizationRead)?;
    let former = crate::former::list(app, org).await?;
    let mut tx = app.store().tenant_read(org).await?;
    Ok(Overview {
        former,
        integrations: tx.integration_list().await?,
        open: tx.conversation_count(None).await?,
        waiting: tx.conversation_count(Some(Owner::Person)).await?,
        any_conversation: tx.conversation_newest().await?.millis() > 0,
    })
}
