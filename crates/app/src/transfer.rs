//! An account changes its organization: the owner of the one releases it to the other by its id, and the other takes it
//! by authorizing at the provider itself. Only the account moves: tokens are new, conversations and events stay.

use crate::connect::audit;
use crate::error::AppError;
use crate::integration::{self, Ending};
use crate::live::Topic;
use crate::{App, new_id};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::{Actor, Ctx, OrgCtx};
use agenstack_core::id::{IntegrationId, OrgId, TransferId};
use agenstack_core::integration::Provider;
use agenstack_core::policy::Action;
use agenstack_store::StoreError;
use agenstack_store::global::transfer::{Offer, Offered};
use serde::Serialize;

/// How long an offer stands.
const OFFER_SECS: i64 = 7 * 86_400;

/// An account that this organization has released and that nobody has taken yet.
#[derive(Clone, Debug, Serialize)]
pub struct Released {
    /// The offer's id.
    pub id: TransferId,
    /// The organization that may take it.
    pub to_organization_id: OrgId,
    /// Until when.
    pub expires_at: Timestamp,
}

/// An account that another organization has released to this one.
#[derive(Clone, Debug, Serialize)]
pub struct OnOffer {
    /// The offer's id.
    pub id: TransferId,
    /// Whose account it is.
    pub provider: Provider,
    /// The account's key at the provider: shop domain, page id or Kustomer org id.
    pub account: String,
    /// What people call it: what to write into the connect page.
    pub label: String,
    /// The organization that releases it.
    pub from_name: String,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Releases an account to the organization with the id `to`. It stays connected here until the other has taken it.
/// Whether there is such an organization is not told.
///
/// # Errors
/// If the role is too small, there is no such connection, the id is no organization's or this one's own, or the account
/// is on offer already.
pub async fn offer(app: &App, org: &OrgCtx, id: &str, to: &str) -> Result<Released, AppError> {
    org.require(Action::IntegrationTransfer)?;
    let it = integration::get(app, org, id).await?;
    let to = OrgId::parse(to.trim()).filter(|to| to != org.org()).ok_or_else(|| {
        AppError::invalid(
            "organization_id",
            "Write the id of the other organization. It begins with org_ and stands on its Integrations page.",
        )
    })?;
    let now = app.now();
    let offer = Offer {
        id: new_id!(app, TransferId, now),
        from: org.org().clone(),
        integration: it.id.clone(),
        provider: it.provider,
        external_id: it.external_id.clone(),
        label: it.account_identifier.label().to_owned(),
        to,
        created_at: now,
        expires_at: now.plus_secs(OFFER_SECS),
    };
    let mut tx = app.store().tenant(org).await?;
    if tx.transfer_open(&it.id).await?.is_some_and(|open| open.expires_at <= now) {
        tx.transfer_withdraw(&it.id).await?;
    }
    let by = crate::connect::actor(org);
    tx.transfer_add(&offer, &by).await.map_err(|e| match e {
        StoreError::Conflict(_) => {
            AppError::conflict("on_offer", "This account is released already. Take that back first.")
        }
        e => e.into(),
    })?;
    audit(app, org, &mut tx, "transfer.offer", it.id.as_str(), now).await?;
    tx.commit().await?;
    Ok(Released { id: offer.id, to_organization_id: offer.to, expires_at: offer.expires_at })
}

/// What stands of a connection's release.
///
/// # Errors
/// If the role is too small or there is no such connection.
pub async fn released(app: &App, org: &OrgCtx, id: &IntegrationId) -> Result<Option<Released>, AppError> {
    org.require(Action::IntegrationRead)?;
    let found = app.store().tenant_read(org).await?.transfer_open(id).await?;
    let open = found.filter(|o| o.expires_at > app.now());
    Ok(open.map(|o| Released { id: o.id, to_organization_id: o.to, expires_at: o.expires_at }))
}

/// Takes a release back. Taking back what is not on offer does nothing.
///
/// # Errors
/// If the role is too small or there is no such connection.
pub async fn withdraw(app: &App, org: &OrgCtx, id: &str) -> Result<(), AppError> {
    org.require(Action::IntegrationTransfer)?;
    let it = integration::get(app, org, id).await?;
    let mut tx = app.store().tenant(org).await?;
    if tx.transfer_withdraw(&it.id).await? {
        audit(app, org, &mut tx, "transfer.withdraw", it.id.as_str(), app.now()).await?;
    }
    Ok(tx.commit().await?)
}

/// What other organizations have released to this one.
///
/// # Errors
/// If the role is too small.
pub async fn on_offer(app: &App, org: &OrgCtx) -> Result<Vec<OnOffer>, AppError> {
    org.require(Action::IntegrationManage)?;
    let offered = app.store().global_read().await?.transfer_offers(org, app.now()).await?;
    let shown = |o: Offered| OnOffer {
        id: o.offer.id,
        provider: o.offer.provider,
        account: o.offer.external_id,
        label: o.offer.label,
        from_name: o.from_name,
        expires_at: o.offer.expires_at,
    };
    Ok(offered.into_iter().map(shown).collect())
}

/// Does not want what was released to this organization.
///
/// # Errors
/// If the role is too small, or nothing with this id is on offer to it.
pub async fn decline(app: &App, org: &OrgCtx, id: &str) -> Result<(), AppError> {
    org.require(Action::IntegrationManage)?;
    let id = TransferId::parse(id).ok_or(AppError::NotFound)?;
    let mut tx = app.store().global().await?;
    if !tx.transfer_decline(org, &id).await? {
        return Err(AppError::NotFound);
    }
    tx.commit().await?;
    let mut tx = app.store().tenant(org).await?;
    audit(app, org, &mut tx, "transfer.decline", id.as_str(), app.now()).await?;
    Ok(tx.commit().await?)
}

/// The release that lets this organization take an account from its present owner, if there is one.
pub(crate) async fn permit(
    app: &App,
    org: &OrgCtx,
    provider: Provider,
    external_id: &str,
    owner: &OrgId,
) -> Result<Option<Offered>, AppError> {
    let offered = app.store().global_read().await?.transfer_offers(org, app.now()).await?;
    let fits = |o: &Offered| {
        o.offer.provider == provider && o.offer.external_id == external_id && o.offer.from == *owner
    };
    Ok(offered.into_iter().find(fits))
}

/// Ends the connection at the one that released it, just before the other's is stored. `false` if the release was taken
/// back meanwhile.
pub(crate) async fn take(app: &App, ctx: &Ctx, offered: &Offered) -> Result<bool, AppError> {
    // Whoever takes it is a stranger to the other organization, and does not appear in its log.
    let ctx = Ctx { actor: Actor::Worker, ..ctx.clone() };
    let from = OrgCtx::from_queue(ctx, &offered.proof);
    let offer = &offered.offer;
    let Some(it) = app.store().tenant_read(&from).await?.integration_find(&offer.integration).await? else {
        return Ok(false);
    };
    let why = Ending {
        action: "integration.transferred",
        code: "transferred",
        message: "The account was released to another organization, which has connected it.",
        taken: Some(&offer.id),
    };
    let ended = integration::end(app, &from, &it, &why, true).await;
    match ended {
        Ok(ended) => {
            app.live().changed(from.org(), Topic::Integrations);
            Ok(ended != integration::Ended::NotOurs)
        }
        Err(AppError::Conflict { code: "not_on_offer", .. }) => Ok(false),
        Err(e) => Err(e),
    }
}
