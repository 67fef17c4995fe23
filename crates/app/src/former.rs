//! Accounts that a former platform had connected: people are asked to connect them here.

use crate::App;
use crate::error::AppError;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::integration::{AccountIdentifier, Integration};
use agenstack_core::policy::Action;

pub use agenstack_store::tenant::former::FormerAccount;

/// Accounts that the organization's former platform had connected, and that were never connected here.
///
/// # Errors
/// If the role is too small.
pub async fn list(app: &App, org: &OrgCtx) -> Result<Vec<FormerAccount>, AppError> {
    org.require(Action::IntegrationRead)?;
    let mut tx = app.store().tenant_read(org).await?;
    let mut former = tx.former_list().await?;
    if former.is_empty() {
        return Ok(former);
    }
    let mut ours = tx.integration_list().await?;
    ours.extend(tx.integration_ended(1_000).await?);
    former.retain(|f| !ours.iter().any(|it| is_same(f, it)));
    Ok(former)
}

/// A page of which only the name was known is known again by it.
fn is_same(former: &FormerAccount, it: &Integration) -> bool {
    let is = |name: &str| former.account == name;
    let named = match &it.account_identifier {
        AccountIdentifier::Shopify { shop, .. } => is(shop),
        AccountIdentifier::Messenger { page_id, page_name } => is(page_id) || is(page_name),
        AccountIdentifier::Kustomer { subdomain, .. } => is(subdomain),
    };
    named && former.provider == it.provider
}
