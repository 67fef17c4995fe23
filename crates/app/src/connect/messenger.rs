//! Facebook Pages: the consent gives a list, the person chooses from it (`messenger.md` 1.4 to 1.10).

use super::{Hook, Ready, Refusal, as_error, seat_for, store};
use crate::App;
use crate::error::AppError;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::integration::{AccountIdentifier, Integration, PageId, Provider, Subscription};
use agenstack_core::policy::Action;
use agenstack_core::sealed::Place;
use agenstack_providers::TokenGrant;
use agenstack_store::global::flow::Flow;
use agenstack_store::tenant::offer::PageOffer;
use secrecy::ExposeSecret;
use serde::Serialize;

/// How long the offered pages, and their tokens, are kept.
pub(crate) const OFFER_SECS: i64 = 30 * 60;

/// A page as the chooser shows it.
#[derive(Clone, Debug, Serialize)]
pub struct PageChoice {
    /// The page's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it can be chosen.
    pub selectable: bool,
    /// Why not.
    pub reason: Option<String>,
}

fn place(page_id: &str) -> Place<'_> {
    Place { table: "page_offers", row: page_id, column: "access_token" }
}

pub(super) async fn finish(app: &App, org: &OrgCtx, flow: &Flow, raw_query: &str) -> Result<(), Refusal> {
    let messenger = app.messenger()?;
    let returned = messenger.parse_callback(raw_query).map_err(|e| Refusal::because(e.code()))?;
    let short =
        messenger.exchange_code(&app.redirect_uri(Provider::Messenger), &returned.code, app.now()).await?;
    let user = messenger.long_lived(&short.access_token, app.now()).await?.access_token;
    let info = messenger.debug_token(&user).await?;
    if !info.is_valid || info.app_id.as_deref() != Some(messenger.app_id()) {
        return Err(Refusal::because("token_of_another_app"));
    }
    let person = info.user_id.clone().ok_or_else(|| Refusal::because("token_of_another_app"))?;
    let lacking = info.missing_permissions();
    let mut offered = messenger.pages(&user).await?;
    // Pages of a business portfolio can be granted and still be left out of the list (`messenger.md` 1.6).
    for id in info.targets("pages_messaging").unwrap_or_default() {
        if let Some(page) = PageId::parse(id).filter(|id| !offered.iter().any(|o| o.id == *id))
            && let Ok(more) = messenger.page_offer(&page, &user).await
        {
            offered.push(more);
        }
    }

    let key = app.keyring().key(org.org()).await?;
    let now = app.now();
    let mut offers = Vec::new();
    for page in offered {
        let id = page.id.as_str().to_owned();
        let reason = if lacking.is_empty() {
            match seat_for(app, org, Provider::Messenger, &id, None).await {
                Ok(_) => page.problem(),
                Err(Refusal::Reason(reason)) => Some(super::reason_text(Provider::Messenger, &reason)),
                Err(e) => return Err(e),
            }
        } else {
            Some(format!(
                "The permission {} was not granted; connect again and allow it.",
                lacking.join(" and ")
            ))
        };
        let token = page.access_token.filter(|_| reason.is_none());
        offers.push(PageOffer {
            access_token: token.map(|t| key.seal(place(&id), t.expose_secret().as_bytes(), app.entropy())),
            page_id: id,
            name: page.name,
            reason,
            scopes: info.scopes.clone(),
            acting_user_id: person.clone(),
            reconnects: flow.reconnects.clone(),
            offered_at: now,
        });
    }
    let mut tx = app.store().tenant(org).await?;
    tx.offer_replace(&offers).await?;
    tx.commit().await?;
    // Who logs in again and unticks a page takes its token from whoever had it (`messenger.md` 4 no. 1). Whether that
    // happened, each connection of this person asks with its own token, on behalf of its own organization.
    let mut tx = app.store().global().await?;
    tx.probe_soon(Provider::Messenger, &person).await?;
    tx.commit().await?;
    Ok(())
}

async fn offers(app: &App, org: &OrgCtx) -> Result<Vec<PageOffer>, AppError> {
    let since = app.now().plus_secs(-OFFER_SECS);
    Ok(app.store().tenant_read(org).await?.offer_list(since).await?)
}

/// The pages that the last authorization offered.
///
/// # Errors
/// If the role is too small.
pub async fn pages(app: &App, org: &OrgCtx) -> Result<Vec<PageChoice>, AppError> {
    org.require(Action::IntegrationManage)?;
    let pinned = pinned_page(app, org).await?;
    let choice = |o: PageOffer| {
        let other = pinned.as_ref().is_some_and(|page| *page != o.page_id);
        let reason = o.reason.or_else(|| other.then(|| "You are reconnecting another page.".to_owned()));
        PageChoice {
            selectable: reason.is_none() && o.access_token.is_some(),
            id: o.page_id,
            name: o.name,
            reason,
        }
    };
    Ok(offers(app, org).await?.into_iter().map(choice).collect())
}

/// The only page that can be chosen, where the authorization was begun to mend a connection.
async fn pinned_page(app: &App, org: &OrgCtx) -> Result<Option<String>, AppError> {
    let Some(id) = offers(app, org).await?.into_iter().find_map(|o| o.reconnects) else { return Ok(None) };
    let it = app.store().tenant_read(org).await?.integration_find(&id).await?;
    Ok(it.map(|it| it.external_id))
}

/// Connects one of the offered pages: subscribes to it, reads back what was subscribed, and stores its token.
///
/// # Errors
/// If the page was not offered, cannot be chosen or belongs to another organization by now, or Meta refuses.
pub async fn choose_page(app: &App, org: &OrgCtx, page_id: &str) -> Result<Integration, AppError> {
    org.require(Action::IntegrationManage)?;
    let messenger = app.messenger()?;
    let offer = offers(app, org).await?.into_iter().find(|o| o.page_id == page_id);
    let not_offered = || {
        AppError::invalid(
            "page_id",
            "This page is not on offer (any more). Connect with Facebook again and choose from its list.",
        )
    };
    let (offer, page) = offer.zip(PageId::parse(page_id)).ok_or_else(not_offered)?;
    if let Some(reason) = offer.reason {
        return Err(AppError::conflict("page_not_selectable", reason));
    }
    if pinned_page(app, org).await?.is_some_and(|pinned| pinned != page_id) {
        return Err(as_error(Provider::Messenger, Refusal::because("other_account")));
    }
    let sealed = offer.access_token.as_ref().ok_or_else(not_offered)?;
    let token = app.keyring().open_secret(org.org(), place(page_id), sealed).await?;

    let connected = async {
        let seat = seat_for(app, org, Provider::Messenger, page_id, offer.reconnects.as_ref()).await?;
        messenger.subscribe(&page, &token).await?;
        let info = messenger.page_info(&page, &token).await?;
        let account = AccountIdentifier::Messenger { page_id: page_id.to_owned(), page_name: info.name };
        let grant = TokenGrant {
            access_token: token.clone(),
            refresh_token: None,
            scopes: offer.scopes.clone(),
            expires_at: None,
            refresh_expires_at: None,
        };
        let ready = Ready {
            seat,
            account,
            external_id: page_id.to_owned(),
            grant,
            scopes: offer.scopes.clone(),
            missing_scopes: Vec::new(),
            acting_user_id: Some(offer.acting_user_id.clone()),
            webhook: Hook::None,
            client: None,
            subscription: Subscription::Active,
        };
        store(app, org, ready).await
    };
    let it = connected.await.map_err(|refusal| as_error(Provider::Messenger, refusal))?;
    let mut tx = app.store().tenant(org).await?;
    tx.offer_remove(page_id).await?;
    tx.commit().await?;
    Ok(it)
}
