//! Connections as their organization sees them: how they are, a live test, and their end.

use crate::App;
use crate::connect::audit;
use crate::error::AppError;
use crate::live::Topic;
use crate::token::{self, place};
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::IntegrationId;
use agenstack_core::integration::{
    AccountIdentifier, ConnectionStatus, Integration, PageId, Provider, ShopDomain, Subdomain,
};
use agenstack_core::policy::Action;
use agenstack_providers::ProviderError;
use agenstack_providers::shopify::missing_scopes;
use secrecy::SecretString;
use serde::Serialize;

/// What a live test found.
#[derive(Debug, Serialize)]
pub struct TestReport {
    /// Whether the connection works.
    pub ok: bool,
    /// What was found, in one sentence.
    pub message: String,
    /// The connection as it is now.
    pub integration: Integration,
}

/// The organization's connections that are not disconnected.
///
/// # Errors
/// If the role is too small.
pub async fn list(app: &App, org: &OrgCtx) -> Result<Vec<Integration>, AppError> {
    org.require(Action::IntegrationRead)?;
    Ok(app.store().tenant_read(org).await?.integration_list().await?)
}

/// One of them.
///
/// # Errors
/// [`AppError::NotFound`] for an id of another organization, of a connection that has ended, and for text that is no id.
pub async fn get(app: &App, org: &OrgCtx, id: &str) -> Result<Integration, AppError> {
    org.require(Action::IntegrationRead)?;
    let id = IntegrationId::parse(id).ok_or(AppError::NotFound)?;
    let found = app.store().tenant_read(org).await?.integration_find(&id).await?;
    found.filter(|it| it.status != ConnectionStatus::Disconnected).ok_or(AppError::NotFound)
}

/// Calls the provider with the connection's token, cheaply, and says what it found. What can be mended without a
/// person (a lost webhook subscription) is mended.
///
/// # Errors
/// If the role is too small or there is no such connection. That the provider refuses is not an error but a report.
pub async fn test(app: &App, org: &OrgCtx, id: &str) -> Result<TestReport, AppError> {
    let it = get(app, org, id).await?;
    org.require(Action::IntegrationManage)?;
    let (ok, message) = match probe(app, org, &it).await {
        Ok(found) => (true, found),
        Err(
            e @ (AppError::Provider(_)
            | AppError::Conflict { .. }
            | AppError::Sealed(_)
            | AppError::NotSetUp(_)),
        ) => (false, e.to_string()),
        Err(e) => return Err(e),
    };
    let integration = get(app, org, id).await?;
    Ok(TestReport { ok, message, integration })
}

/// Probes a connection without anybody asking. What it means is recorded at the connection.
pub(crate) async fn look_after(app: &App, org: &OrgCtx, id: &IntegrationId) -> Result<(), AppError> {
    let found = app.store().tenant_read(org).await?.integration_find(id).await?;
    match found {
        Some(it) if it.status != ConnectionStatus::Disconnected => probe(app, org, &it).await.map(drop),
        _ => Ok(()),
    }
}

/// The live call itself; what it means for the connection is recorded by [`token::call`].
pub(crate) async fn probe(app: &App, org: &OrgCtx, it: &Integration) -> Result<String, AppError> {
    match &it.account_identifier {
        AccountIdentifier::Shopify { shop, .. } => {
            let shopify = app.shopify()?;
            let shop = ShopDomain::parse(shop).ok_or(AppError::NotFound)?;
            let uri = crate::connect::webhook_uri(app);
            let (shop, uri) = (&shop, &uri);
            let (name, scopes) = token::call(app, org, it, |token: SecretString| async move {
                let info = shopify.shop_info(shop, &token).await?;
                let scopes = shopify.granted_scopes(shop, &token).await?;
                // Without a permission its topics cannot be subscribed; what is missing is shown anyway.
                if missing_scopes(shopify.scopes(), &scopes).is_empty() {
                    shopify.webhooks_ensure(shop, &token, uri, crate::connect::TOPICS).await?;
                }
                Ok::<_, ProviderError>((info.name, scopes))
            })
            .await?;
            let missing = missing_scopes(shopify.scopes(), &scopes);
            let mut tx = app.store().tenant(org).await?;
            tx.integration_scopes(&it.id, it.generation, &scopes, &missing).await?;
            tx.commit().await?;
            Ok(format!("{name} answers, and its orders can be read."))
        }
        AccountIdentifier::Messenger { page_id, .. } => {
            let messenger = app.messenger()?;
            let page = PageId::parse(page_id).ok_or(AppError::NotFound)?;
            let page = &page;
            let (name, mended) = token::call(app, org, it, |token: SecretString| async move {
                let info = messenger.page_info(page, &token).await?;
                let have = messenger.subscription(page, &token).await?;
                let complete =
                    agenstack_providers::messenger::NEEDED_FIELDS.iter().all(|f| have.iter().any(|h| h == f));
                if !complete {
                    messenger.subscribe(page, &token).await?;
                }
                Ok::<_, ProviderError>((info.name, !complete))
            })
            .await?;
            let mended = if mended { " Its subscription had been lost and was set again." } else { "" };
            Ok(format!("{name} answers, and its messages reach us.{mended}"))
        }
        AccountIdentifier::Kustomer { subdomain, .. } => {
            let kustomer = app.kustomer();
            let account = Subdomain::parse(subdomain).ok_or(AppError::NotFound)?;
            let (account, webhook) = (&account, it.webhook_id.as_deref());
            let (missing, enabled) = token::call(app, org, it, |token: SecretString| async move {
                kustomer.verify_token(account, &token).await?;
                let missing = kustomer.missing_roles(account, &token).await?;
                let enabled = match webhook {
                    Some(id) => kustomer.webhook_enabled(account, &token, id).await.unwrap_or(false),
                    None => false,
                };
                Ok::<_, ProviderError>((missing, enabled))
            })
            .await?;
            let mut tx = app.store().tenant(org).await?;
            tx.integration_scopes(&it.id, it.generation, &it.scopes, &missing).await?;
            tx.commit().await?;
            Ok(match (missing.is_empty(), enabled) {
                (true, true) => {
                    format!("{account} answers, conversations can be handed over and answers come back.")
                }
                (false, _) => format!("{account} answers, but the role {} is missing.", missing.join(", ")),
                (true, false) => format!(
                    "{account} answers, but its webhook is off: your team's answers do not reach customers. Enter the key again to set it."
                ),
            })
        }
    }
}

/// Ends a connection: the provider is told, queued work is cancelled and the tokens are erased. If the provider does
/// not answer, the connection ends here all the same.
///
/// # Errors
/// If the role is too small or there is no such connection.
pub async fn disconnect(app: &App, org: &OrgCtx, id: &str) -> Result<(), AppError> {
    let it = get(app, org, id).await?;
    org.require(Action::IntegrationManage)?;
    if let Err(error) = tell_provider(app, org, &it).await {
        tracing::warn!(org.id = %org.org(), integration.id = %it.id, code = error.code(), "the provider was not told of a disconnection");
    }
    end(app, org, &it, "integration.disconnect").await
}

/// Erases the tokens and cancels what is queued, in one transaction.
pub(crate) async fn end(app: &App, org: &OrgCtx, it: &Integration, action: &str) -> Result<(), AppError> {
    let now = app.now();
    let mut tx = app.store().tenant(org).await?;
    if !tx.integration_end(&it.id, it.generation).await? {
        // It was connected anew, or ended, at the same moment; what stands now is not ours to end.
        return Ok(());
    }
    tx.event_cancel(&it.id, it.generation, "The connection was ended before this was handled.").await?;
    tx.message_cancel(&it.id, "The connection was ended before this was sent.").await?;
    audit(app, org, &mut tx, action, it.id.as_str(), now).await?;
    tx.commit().await?;
    app.live().changed(org.org(), Topic::Integrations);
    tracing::info!(org.id = %org.org(), integration.id = %it.id, provider = %it.provider, "disconnected");
    Ok(())
}

async fn tell_provider(app: &App, org: &OrgCtx, it: &Integration) -> Result<(), AppError> {
    match &it.account_identifier {
        AccountIdentifier::Shopify { shop, .. } => {
            let (shopify, shop) = (app.shopify()?, ShopDomain::parse(shop).ok_or(AppError::NotFound)?);
            let shop = &shop;
            // Takes the webhook subscriptions along (`shopify.md` 4.1).
            token::call(app, org, it, |t: SecretString| async move { shopify.uninstall(shop, &t).await })
                .await
        }
        AccountIdentifier::Messenger { page_id, .. } => {
            let (messenger, page) = (app.messenger()?, PageId::parse(page_id).ok_or(AppError::NotFound)?);
            let page = &page;
            let told =
                token::call(
                    app,
                    org,
                    it,
                    |t: SecretString| async move { messenger.unsubscribe(page, &t).await },
                );
            match told.await {
                Ok(()) => Ok(()),
                // A dead page token cannot unsubscribe; the app itself can (`messenger.md` 1.10).
                Err(_) => Ok(messenger.unsubscribe_as_app(page).await?),
            }
        }
        AccountIdentifier::Kustomer { subdomain, .. } => {
            let (kustomer, account) =
                (app.kustomer(), Subdomain::parse(subdomain).ok_or(AppError::NotFound)?);
            let Some(webhook) = it.webhook_id.as_deref() else { return Ok(()) };
            let account = &account;
            token::call(app, org, it, |t: SecretString| async move {
                kustomer.webhook_delete(account, &t, webhook).await
            })
            .await
        }
    }
}

/// The secret that only this connection's webhooks are signed with, opened.
pub(crate) async fn webhook_secret(
    app: &App,
    owned: &agenstack_store::global::routing::Owned,
) -> Result<Option<SecretString>, AppError> {
    let Some(sealed) = &owned.webhook_secret else { return Ok(None) };
    let at = place(&owned.route.integration, "webhook_secret");
    Ok(Some(app.keyring().open_secret(&owned.route.org, at, sealed).await?))
}

/// The connection of a provider's account, for a deed of that organization.
pub(crate) async fn of_provider(
    app: &App,
    org: &OrgCtx,
    provider: Provider,
) -> Result<Option<Integration>, AppError> {
    match token::connection(app, org, provider, None).await {
        Ok(it) => Ok(Some(it)),
        Err(AppError::Conflict { code: "not_connected", .. }) => Ok(None),
        Err(e) => Err(e),
    }
}
