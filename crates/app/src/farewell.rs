//! Telling a provider that a connection has ended. The connection's own row is erased at once; what is needed to say
//! goodbye is sealed anew in a row of its own, which goes when it was said, or after about a day.

use crate::connect::{actor, audit};
use crate::error::AppError;
use crate::job::{self, Job};
use crate::state::Change;
use crate::{App, new_id, token};
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::FarewellId;
use agenstack_core::integration::{
    AccountIdentifier, ConnectionStatus, Integration, PageId, Provider, ShopDomain, Subdomain,
};
use agenstack_core::sealed::{Place, Sealed};
use agenstack_providers::kustomer::Client;
use agenstack_providers::{Kind, KustomerApp, ProviderError};
use agenstack_store::TenantTx;
use agenstack_store::tenant::farewell::Farewell;
use agenstack_store::tenant::integration::Tokens;
use secrecy::{ExposeSecret, SecretString};

/// The queue waits this long, so that whoever ended the connection says it first.
const LATER_SECS: i64 = 60;

fn place<'a>(id: &'a FarewellId, column: &'a str) -> Place<'a> {
    Place { table: "farewells", row: id.as_str(), column }
}

/// Seals what is needed, outside of any transaction. Also gives the tokens it was made from, to be compared in the one
/// that ends the connection. `None` if there is nobody to tell.
pub(crate) async fn prepare(
    app: &App,
    org: &OrgCtx,
    it: &Integration,
) -> Result<Option<(Farewell, Tokens)>, AppError> {
    let seen = app.store().tenant_read(org).await?.integration_tokens(&it.id).await?;
    let key = app.keyring().key(org.org()).await?;
    let id = new_id!(app, FarewellId, app.now());
    let mut moved = [None, None, None];
    let columns = ["access_token", "refresh_token", "client_secret"];
    let from = [&seen.sealed.access_token, &seen.sealed.refresh_token, &seen.sealed.client_secret];
    for ((column, sealed), to) in columns.iter().zip(from).zip(&mut moved) {
        let Some(sealed) = sealed else { continue };
        match app.keyring().open_secret(org.org(), token::place(&it.id, column), sealed).await {
            Ok(text) => {
                *to = Some(key.seal(place(&id, column), text.expose_secret().as_bytes(), app.entropy()));
            }
            // What cannot be opened cannot be used to say anything; the connection ends all the same.
            Err(AppError::Sealed(_)) => {}
            Err(e) => return Err(e),
        }
    }
    let [access_token, refresh_token, client_secret] = moved;
    // A page is let go by the app itself, without the page's token (`messenger.md` 1.10).
    if access_token.is_none() && it.provider != Provider::Messenger {
        return Ok(None);
    }
    let farewell = Farewell {
        id,
        integration: it.id.clone(),
        account: it.account_identifier.clone(),
        webhook_id: it.webhook_id.clone(),
        access_token,
        refresh_token,
        client_id: it.client_id.clone(),
        client_secret,
        created_at: app.now(),
    };
    Ok(Some((farewell, seen)))
}

/// Keeps it, with the deed that says it, in the transaction that ends the connection.
pub(crate) async fn keep(app: &App, tx: &mut TenantTx, f: &Farewell) -> Result<FarewellId, AppError> {
    tx.farewell_add(f).await?;
    let deed = Job::SayFarewell { farewell: f.id.clone() };
    job::add_later(app, tx, &deed, f.id.as_str(), app.now(), LATER_SECS).await?;
    Ok(f.id.clone())
}

/// Tells the provider, and erases what was needed for it. Saying it again does nothing.
///
/// # Errors
/// If the provider did not answer: then it is to be said later.
pub(crate) async fn say(app: &App, org: &OrgCtx, id: &FarewellId) -> Result<(), AppError> {
    let found = app.store().tenant_read(org).await?.farewell_find(id).await?;
    let Some(f) = found else { return Ok(()) };
    let said = match tell(app, org, &f).await {
        Ok(said) => said,
        Err(AppError::Provider(e)) if e.is_retryable() => return Err(e.into()),
        Err(AppError::Provider(e)) => {
            // Dead tokens and missing rights stay as they are: nothing more can be said with them.
            tracing::info!(org.id = %org.org(), integration.id = %f.integration, code = e.code, "a provider would not be told of a disconnection");
            matches!(e.kind, Kind::Unauthorized | Kind::GrantRejected | Kind::NotFound)
        }
        Err(AppError::NotSetUp(_) | AppError::Sealed(_) | AppError::NotFound) => false,
        Err(e) => return Err(e),
    };
    let mut tx = app.store().tenant(org).await?;
    if tx.farewell_end(id).await? {
        record(app, org, &mut tx, &f, said).await?;
    }
    Ok(tx.commit().await?)
}

/// It could not be said for about a day: the tokens go, and people learn what is left to do.
pub(crate) async fn given_up(
    app: &App,
    org: &OrgCtx,
    tx: &mut TenantTx,
    id: &FarewellId,
) -> Result<(), AppError> {
    let Some(f) = tx.farewell_find(id).await? else { return Ok(()) };
    tx.farewell_end(id).await?;
    record(app, org, tx, &f, false).await
}

async fn record(
    app: &App,
    org: &OrgCtx,
    tx: &mut TenantTx,
    f: &Farewell,
    said: bool,
) -> Result<(), AppError> {
    let at = app.now();
    let action = if said { "integration.provider_told" } else { "integration.provider_not_told" };
    audit(app, org, tx, action, f.integration.as_str(), at).await?;
    if said {
        return Ok(());
    }
    let message = match &f.account {
        AccountIdentifier::Shopify { .. } => {
            "Shopify could not be told. Remove AgenStack under Settings, Apps in the shop's admin."
        }
        AccountIdentifier::Messenger { .. } => {
            "Facebook could not be told. Remove AgenStack under the page's settings, Connected apps."
        }
        AccountIdentifier::Kustomer { .. } => {
            "Kustomer could not be told. Delete the webhook named AgenStack under Settings, Outbound webhooks, and the API key."
        }
    };
    let found = tx.integration_find(&f.integration).await?;
    if let Some(it) = found.filter(|it| it.status == ConnectionStatus::Disconnected) {
        let (generation, code) = (it.generation, "provider_not_told");
        let change = Change { generation, status: it.status, code, message, at };
        crate::state::changed(app, org, tx, &it.id, change).await?;
    }
    tracing::warn!(org.id = %org.org(), integration.id = %f.integration, by = actor(org), "a provider was not told of a disconnection");
    Ok(())
}

/// Whether somebody has the account connected (again): then it must not be cut off.
async fn is_live(app: &App, provider: Provider, account: &str) -> Result<bool, AppError> {
    Ok(app.store().global_read().await?.route_by_account(provider, account).await?.is_some())
}

/// The call itself. `true`: the provider knows, or needs not know any more.
async fn tell(app: &App, org: &OrgCtx, f: &Farewell) -> Result<bool, AppError> {
    match &f.account {
        AccountIdentifier::Shopify { shop, .. } => {
            if is_live(app, Provider::Shopify, shop).await? {
                return Ok(true);
            }
            let (shopify, shop) = (app.shopify()?, ShopDomain::parse(shop).ok_or(AppError::NotFound)?);
            let shop = &shop;
            // Takes the webhook subscriptions along (`shopify.md` 4.1).
            with_token(app, org, f, |t| async move { shopify.uninstall(shop, &t).await }).await?;
        }
        AccountIdentifier::Messenger { page_id, .. } => {
            if is_live(app, Provider::Messenger, page_id).await? {
                return Ok(true);
            }
            let (messenger, page) = (app.messenger()?, PageId::parse(page_id).ok_or(AppError::NotFound)?);
            let page = &page;
            let told = match f.access_token {
                Some(_) => {
                    with_token(app, org, f, |t| async move { messenger.unsubscribe(page, &t).await }).await
                }
                None => Err(AppError::NotFound),
            };
            if told.is_err() {
                // A dead page token cannot unsubscribe; the app itself can (`messenger.md` 1.10).
                messenger.unsubscribe_as_app(page).await?;
            }
        }
        AccountIdentifier::Kustomer { subdomain, .. } => {
            let Some(webhook) = f.webhook_id.as_deref() else { return Ok(true) };
            let (kustomer, account) =
                (app.kustomer(), Subdomain::parse(subdomain).ok_or(AppError::NotFound)?);
            let account = &account;
            with_token(app, org, f, |t| async move { kustomer.webhook_delete(account, &t, webhook).await })
                .await?;
        }
    }
    Ok(true)
}

async fn with_token<F, Fut>(app: &App, org: &OrgCtx, f: &Farewell, call: F) -> Result<(), AppError>
where
    F: Fn(SecretString) -> Fut,
    Fut: Future<Output = Result<(), ProviderError>>,
{
    let open = async |column: &'static str, sealed: &Option<Sealed>| match sealed {
        Some(sealed) => app.keyring().open_secret(org.org(), place(&f.id, column), sealed).await.map(Some),
        None => Ok(None),
    };
    let token = open("access_token", &f.access_token).await?.ok_or(AppError::NotFound)?;
    let refused = match call(token).await {
        Err(e) if e.kind == Kind::Unauthorized => e,
        other => return Ok(other?),
    };
    let Some(refresh) = open("refresh_token", &f.refresh_token).await? else { return Err(refused.into()) };
    let grant = match &f.account {
        AccountIdentifier::Shopify { shop, .. } => {
            let shop = ShopDomain::parse(shop).ok_or(AppError::NotFound)?;
            app.shopify()?.refresh(&shop, &refresh, app.now()).await?
        }
        AccountIdentifier::Kustomer { subdomain, .. } => {
            let account = Subdomain::parse(subdomain).ok_or(AppError::NotFound)?;
            let secret = open("client_secret", &f.client_secret).await?;
            let own = f.client_id.clone().zip(secret);
            let own = own.map(|(client_id, client_secret)| KustomerApp { client_id, client_secret });
            let client = match &own {
                Some(own) => Client::Own(own),
                None if app.kustomer_oauth() => Client::Platform,
                None => return Err(refused.into()),
            };
            app.kustomer().refresh(client, &account, &refresh, app.now()).await?
        }
        AccountIdentifier::Messenger { .. } => return Err(refused.into()),
    };
    // Stored before it is used, as with a living connection (`shopify.md` 1.7).
    let key = app.keyring().key(org.org()).await?;
    let seal = |column, secret: &SecretString| {
        key.seal(place(&f.id, column), secret.expose_secret().as_bytes(), app.entropy())
    };
    let access = seal("access_token", &grant.access_token);
    let refresh = grant.refresh_token.as_ref().map(|t| seal("refresh_token", t));
    let mut tx = app.store().tenant(org).await?;
    tx.farewell_tokens(&f.id, &access, refresh.as_ref().or(f.refresh_token.as_ref())).await?;
    tx.commit().await?;
    Ok(call(grant.access_token).await?)
}
