//! Connections as their organization sees them: how they are, a live test, and their end.

use crate::App;
use crate::connect::audit;
use crate::connect::hook::{self, Found};
use crate::error::AppError;
use crate::farewell;
use crate::live::Topic;
use crate::state::Change;
use crate::token::{self, place};
use crate::transfer::{self, Released};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::event::Event;
use agenstack_core::id::{FarewellId, IntegrationId, TransferId};
use agenstack_core::integration::{
    AccountIdentifier, ConnectionStatus, Integration, PageId, Provider, ShopDomain, StateChange, Subdomain,
    Subscription,
};
use agenstack_core::policy::Action;
use agenstack_providers::ProviderError;
use agenstack_providers::shopify::missing_scopes;
use agenstack_store::tenant::event::EventFilter;
use secrecy::SecretString;
use serde::Serialize;

/// How old an event may be that a connection's page shows.
const RECENT_SECS: i64 = 7 * 86_400;

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

/// How one of them came to be as it is: its latest changes of state, newest first. Also of one that has ended.
///
/// # Errors
/// [`AppError::NotFound`] for an id of another organization and for text that is no id.
pub async fn history(app: &App, org: &OrgCtx, id: &str) -> Result<Vec<StateChange>, AppError> {
    Ok(detail(app, org, id).await?.history)
}

/// A connection with what its own page shows.
#[derive(Debug)]
pub struct Detail {
    /// The connection, which may have ended.
    pub integration: Integration,
    /// Its latest changes of state, newest first.
    pub history: Vec<StateChange>,
    /// What came in by it last, newest first, up to a week old.
    pub events: Vec<Event>,
    /// Its release to another organization, if it stands.
    pub released: Option<Released>,
}

/// All that there is to tell of a connection, also of one that has ended.
///
/// # Errors
/// [`AppError::NotFound`] for an id of another organization and for text that is no id.
pub async fn detail(app: &App, org: &OrgCtx, id: &str) -> Result<Detail, AppError> {
    org.require(Action::IntegrationRead)?;
    let id = IntegrationId::parse(id).ok_or(AppError::NotFound)?;
    let since = app.now().plus_secs(-RECENT_SECS);
    let mut tx = app.store().tenant_read(org).await?;
    let integration = tx.integration_find(&id).await?.ok_or(AppError::NotFound)?;
    let history = tx.history_list(&id, 50).await?;
    let events = if integration.last_event_at.is_some_and(|at| at >= since) {
        let recent =
            EventFilter { integration: Some(id.clone()), since: Some(since), ..EventFilter::default() };
        tx.event_list(&recent, None, 10).await?
    } else {
        Vec::new()
    };
    drop(tx);
    let released = transfer::released(app, org, &id).await?;
    Ok(Detail { integration, history, events, released })
}

/// A connection that stands still.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// The connection.
    pub integration: Integration,
    /// Since when, if its history tells.
    pub since: Option<Timestamp>,
    /// How many events and messages wait for it.
    pub waiting: i64,
}

/// The connections of the organization that need somebody or wait for their provider. Cheap when there are none.
///
/// # Errors
/// If the role is too small.
pub async fn troubles(app: &App, org: &OrgCtx) -> Result<Vec<Trouble>, AppError> {
    org.require(Action::OrganizationRead)?;
    let mut tx = app.store().tenant_read(org).await?;
    let mut all = Vec::new();
    for integration in tx.integration_troubled().await? {
        let change = tx.history_list(&integration.id, 1).await?.into_iter().next();
        let since = change.filter(|c| c.status == integration.status).map(|c| c.at);
        let waiting = tx.integration_waiting(&integration.id).await?;
        all.push(Trouble { integration, since, waiting });
    }
    Ok(all)
}

/// The organization's connections that have ended and were not connected anew.
///
/// # Errors
/// If the role is too small.
pub async fn ended(app: &App, org: &OrgCtx) -> Result<Vec<Integration>, AppError> {
    org.require(Action::IntegrationRead)?;
    Ok(app.store().tenant_read(org).await?.integration_ended(20).await?)
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
            let found = if missing.is_empty() { Subscription::Active } else { Subscription::Refused };
            tx.integration_subscription(&it.id, it.generation, found, app.now()).await?;
            tx.commit().await?;
            Ok(match missing.as_slice() {
                [] => format!("{name} answers, and its orders can be read."),
                lacking => format!(
                    "{name} answers, but the permission {} is missing. Reconnect and allow it.",
                    lacking.join(", ")
                ),
            })
        }
        AccountIdentifier::Messenger { page_id, .. } => {
            let messenger = app.messenger()?;
            let page = PageId::parse(page_id).ok_or(AppError::NotFound)?;
            let page = &page;
            let (name, grant, mended) = token::call(app, org, it, |token: SecretString| async move {
                let info = messenger.page_info(page, &token).await?;
                let grant = messenger.check_page_token(page, &token).await?;
                let have = messenger.subscription(page, &token).await?;
                let complete =
                    agenstack_providers::messenger::NEEDED_FIELDS.iter().all(|f| have.iter().any(|h| h == f));
                if !complete {
                    messenger.subscribe(page, &token).await?;
                }
                Ok::<_, ProviderError>((info.name, grant, !complete))
            })
            .await?;
            let mut tx = app.store().tenant(org).await?;
            tx.integration_scopes(&it.id, it.generation, &grant.scopes, &grant.missing_permissions()).await?;
            tx.integration_subscription(&it.id, it.generation, Subscription::Active, app.now()).await?;
            tx.commit().await?;
            let mended = if mended { " Its subscription had been lost and was set again." } else { "" };
            Ok(format!("{name} answers, and its messages reach us.{mended}"))
        }
        AccountIdentifier::Kustomer { subdomain, .. } => {
            let kustomer = app.kustomer();
            let account = Subdomain::parse(subdomain).ok_or(AppError::NotFound)?;
            let account = &account;
            let (mut missing, found, token) = token::call(app, org, it, |token: SecretString| async move {
                kustomer.verify_token(account, &token).await?;
                let missing = kustomer.missing_roles(account, &token, &it.scopes).await?;
                let found = hook::look_after(app, it, account, &token).await?;
                Ok::<_, ProviderError>((missing, found, token))
            })
            .await?;
            if let Found::Made(made) = &found {
                let kept = hook::keep(app, org, it, made).await?;
                hook::settle(app, it, account, &token, made, kept).await;
            }
            if matches!(found, Found::Refused(_)) && !missing.iter().any(|role| role == hook::ROLE) {
                missing.push(hook::ROLE.to_owned());
            }
            let mut tx = app.store().tenant(org).await?;
            tx.integration_scopes(&it.id, it.generation, &it.scopes, &missing).await?;
            tx.integration_subscription(&it.id, it.generation, found.subscription(), app.now()).await?;
            tx.commit().await?;
            if let Found::Refused(Some(e)) = found {
                token::note(app, org, it, &e).await?;
                return Err(e.into());
            }
            let mended = match found {
                Found::Enabled | Found::Made(_) => {
                    " Its webhook had been off and was set again: your team's answers reach customers."
                }
                _ => "",
            };
            Ok(match missing.as_slice() {
                [] => format!(
                    "{account} answers, conversations can be handed over and answers come back.{mended}"
                ),
                missing => format!("{account} answers.{mended} {}", lacking(missing)),
            })
        }
    }
}

/// The roles that are missing, each with what it is for.
fn lacking(roles: &[String]) -> String {
    let each = roles.iter().map(|role| {
        let purpose = crate::connect::scope_text(Provider::Kustomer, role);
        format!("The role {role} is missing: {purpose}")
    });
    each.collect::<Vec<_>>().join(" ")
}

/// Whether the provider knows of a disconnection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was told, or there was nobody to tell.
    Now,
    /// It did not answer; it is told later, for about a day.
    Later,
}

/// Ends a connection: queued work is cancelled, the tokens are erased, and the provider is told, now or as soon as it
/// answers. Ending what has ended already does nothing.
///
/// # Errors
/// If the role is too small or there never was such a connection.
pub async fn disconnect(app: &App, org: &OrgCtx, id: &str) -> Result<Told, AppError> {
    org.require(Action::IntegrationManage)?;
    let id = IntegrationId::parse(id).ok_or(AppError::NotFound)?;
    let found = app.store().tenant_read(org).await?.integration_find(&id).await?;
    let it = found.ok_or(AppError::NotFound)?;
    if it.status == ConnectionStatus::Disconnected {
        return Ok(Told::Now);
    }
    let why =
        Ending { action: "integration.disconnect", code: "disconnected", message: DISCONNECTED, taken: None };
    let Ended::Telling(farewell) = end(app, org, &it, &why, true).await? else { return Ok(Told::Now) };
    // At once, so that it is true when the person reads it. What fails here is in the queue already.
    match farewell::say(app, org, &farewell).await {
        Ok(()) => Ok(Told::Now),
        Err(error) => {
            tracing::warn!(org.id = %org.org(), integration.id = %it.id, code = error.code(), "the provider is told of a disconnection later");
            Ok(Told::Later)
        }
    }
}

const DISCONNECTED: &str = "The account was disconnected here.";

/// Why a connection ends.
pub(crate) struct Ending<'a> {
    /// The deed, for the audit log.
    pub action: &'a str,
    /// Why, as a stable word.
    pub code: &'a str,
    /// Why, in one plain sentence.
    pub message: &'a str,
    /// The release by which another organization takes the account; it must still stand.
    pub taken: Option<&'a TransferId>,
}

/// How ending a connection went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was connected anew, or ended, at the same moment; what stands now was left alone.
    NotOurs,
    /// It is ended, and nobody has to be told.
    Silently,
    /// It is ended, and this is to be said to the provider.
    Telling(FarewellId),
}

/// Erases the tokens and cancels what is queued, in one transaction. With `tell` it also keeps what is to be said to
/// the provider, and gives its id.
pub(crate) async fn end(
    app: &App,
    org: &OrgCtx,
    it: &Integration,
    why: &Ending<'_>,
    tell: bool,
) -> Result<Ended, AppError> {
    let now = app.now();
    loop {
        let farewell = if tell { farewell::prepare(app, org, it).await? } else { None };
        let mut tx = app.store().tenant(org).await?;
        if let Some((_, seen)) = &farewell
            && !seen.are(&tx.integration_tokens(&it.id).await?)
        {
            // Renewed while they were sealed anew: the renewed ones are what the provider knows.
            continue;
        }
        if !tx.integration_end(&it.id, it.generation).await? {
            return Ok(Ended::NotOurs);
        }
        if let Some(transfer) = why.taken
            && !tx.transfer_taken(transfer).await?
        {
            return Err(AppError::conflict("not_on_offer", "The release was taken back at the same moment."));
        }
        tx.event_cancel(&it.id, it.generation, "The connection was ended before this was handled.", now)
            .await?;
        tx.message_cancel(&it.id, "The connection was ended before this was sent.").await?;
        tx.transfer_withdraw(&it.id).await?;
        audit(app, org, &mut tx, why.action, it.id.as_str(), now).await?;
        let change = Change {
            generation: it.generation + 1,
            status: ConnectionStatus::Disconnected,
            code: why.code,
            message: why.message,
            at: now,
        };
        crate::state::changed(app, org, &mut tx, &it.id, change).await?;
        let ended = match &farewell {
            Some((farewell, _)) => Ended::Telling(farewell::keep(app, &mut tx, farewell).await?),
            None => Ended::Silently,
        };
        tx.tell_account(it.provider, &it.external_id);
        tx.commit().await?;
        app.routes().forget(it.provider, &it.external_id);
        app.live().changed(org.org(), Topic::Integrations);
        tracing::info!(org.id = %org.org(), integration.id = %it.id, provider = %it.provider, "disconnected");
        return Ok(ended);
    }
}

/// The secrets that this connection's webhooks, and no others, are signed with, opened: the present one, and the one
/// before it while what it signed may still be on its way.
pub(crate) async fn webhook_secrets(
    app: &App,
    owned: &agenstack_store::global::routing::Owned,
) -> Result<Vec<SecretString>, AppError> {
    let previous = owned.webhook_secret_previous.as_ref().filter(|p| p.until > app.now());
    let sealed = [
        ("webhook_secret", owned.webhook_secret.as_ref()),
        ("webhook_secret_previous", previous.map(|p| &p.secret)),
    ];
    let mut opened = Vec::new();
    for (column, sealed) in sealed {
        let Some(sealed) = sealed else { continue };
        let at = place(&owned.route.integration, column);
        opened.push(app.keyring().open_secret(&owned.route.org, at, sealed).await?);
    }
    Ok(opened)
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
