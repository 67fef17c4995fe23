//! Connecting an account: from the button to a connection that has been proven to work.
//!
//! A flow row remembers who began, in which browser, for which organization and account; the browser carries only
//! its state. [`callback`] burns the row in one statement before anything leaves the house. Each provider has its
//! own file for what lies between the code and the stored connection; `store` is the one place that stores it.

pub(crate) mod hook;
mod kustomer;
mod messenger;
mod reason;
mod shopify;

pub(crate) use kustomer::API_KEY;
pub use kustomer::{kustomer_api_key, kustomer_private_app};
pub(crate) use messenger::OFFER_SECS;
pub use messenger::{PageChoice, choose_page, pages};
pub use reason::{reason_text, scope_text};
pub use shopify::{Install, install, install_again};
pub(crate) use shopify::{TOPICS, webhook_uri};

use crate::account::{Session, org_ctx};
use crate::error::AppError;
use crate::job::Job;
use crate::live::Topic;
use crate::state::Change;
use crate::token::place;
use crate::{App, new_id, transfer};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::{Actor, Ctx, OrgCtx};
use agenstack_core::entropy::bytes;
use agenstack_core::id::{FlowId, IntegrationId, OrgId};
use agenstack_core::integration::{
    AccountIdentifier, ConnectionStatus, Integration, Provider, SealedTokens, ShopDomain, Subdomain,
    Subscription,
};
use agenstack_core::policy::Action;
use agenstack_core::sealed::{Place, Sealed};
use agenstack_providers::kustomer::{Client, CreatedWebhook};
use agenstack_providers::{KustomerApp, TokenGrant};
use agenstack_store::StoreError;
use agenstack_store::global::flow::{Flow, FlowClient};
use agenstack_store::global::transfer::Offered;
use agenstack_store::tenant::integration::Ends;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// How long a person may take at the provider.
const FLOW_SECS: i64 = 600;

/// What is to be connected.
#[derive(Clone, Debug)]
pub struct Begin {
    /// To whom.
    pub provider: Provider,
    /// Shopify: the shop, as a person writes it.
    pub shop: Option<String>,
    /// Kustomer: the subdomain, as a person writes it.
    pub subdomain: Option<String>,
}

/// How a return from a provider ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The account is connected.
    Connected {
        /// To which organization.
        org: OrgId,
        /// Whose account.
        provider: Provider,
    },
    /// Meta said yes; the person chooses a page next.
    ChoosePage {
        /// For which organization.
        org: OrgId,
    },
    /// The flow was ours and did not end in a connection.
    Failed {
        /// Of which organization.
        org: OrgId,
        /// At whom.
        provider: Provider,
        /// A stable word; [`reason_text`] says it to people.
        reason: String,
    },
    /// The state is unknown, used, too old, or of another browser. Nothing was sent anywhere.
    StateRefused,
}

/// Why an account was not connected, as a stable word.
pub(crate) enum Refusal {
    Reason(String),
    Error(AppError),
}

impl Refusal {
    fn because(reason: &str) -> Self {
        Self::Reason(reason.to_owned())
    }
}

impl<E: Into<AppError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

fn hash(state: &str) -> [u8; 32] {
    Sha256::digest(state.as_bytes()).into()
}

/// 32 random bytes in letters that need no escaping anywhere (`shopify.md` 1.3).
fn random_text(app: &App) -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>(app.entropy()))
}

/// Begins a connection and gives the provider's address to send the browser to.
///
/// # Errors
/// The role is too small, the provider is not set up, or the shop or subdomain has the wrong shape.
pub async fn begin(app: &App, org: &OrgCtx, session: &Session, what: Begin) -> Result<String, AppError> {
    org.require(Action::IntegrationManage)?;
    begin_flow(app, org, session, what, None, None).await
}

/// Begins to authorize a connection again. The flow is pinned: only the same account can come out of it.
///
/// # Errors
/// As [`begin`]; [`AppError::Conflict`] with `replace_key` for a connection that lives by an API key, and with
/// `replace_client` for one whose own app is not readable any more.
pub async fn reconnect(app: &App, org: &OrgCtx, session: &Session, id: &str) -> Result<String, AppError> {
    org.require(Action::IntegrationManage)?;
    let it = crate::integration::get(app, org, id).await?;
    let mut what = Begin { provider: it.provider, shop: None, subdomain: None };
    let mut client = None;
    match &it.account_identifier {
        AccountIdentifier::Shopify { shop, .. } => what.shop = Some(shop.clone()),
        AccountIdentifier::Messenger { .. } => {}
        AccountIdentifier::Kustomer { method, .. } if method == kustomer::API_KEY => {
            return Err(AppError::conflict(
                "replace_key",
                "This connection lives by an API key. Enter a new key for the same account to renew it.",
            ));
        }
        AccountIdentifier::Kustomer { subdomain, method, .. } => {
            what.subdomain = Some(subdomain.clone());
            if method == kustomer::PRIVATE_APP {
                kustomer::is_worth_trying(&it)?;
                client = Some(kustomer::stored_client(app, org, &it).await?);
            }
        }
    }
    begin_flow(app, org, session, what, client, Some(it.id)).await
}

async fn begin_flow(
    app: &App,
    org: &OrgCtx,
    session: &Session,
    what: Begin,
    own: Option<KustomerApp>,
    reconnects: Option<IntegrationId>,
) -> Result<String, AppError> {
    let id = new_id!(app, FlowId, org.now());
    let state = random_text(app);
    let redirect_uri = app.redirect_uri(what.provider);
    let (mut verifier, mut client) = (None, None);
    let (account, url) = match what.provider {
        Provider::Shopify => {
            let shopify = app.shopify()?;
            let shop = what.shop.as_deref().and_then(ShopDomain::from_input).ok_or_else(|| {
                AppError::invalid(
                    "shop",
                    "Write the shop's name as in name.myshopify.com: lower-case letters, digits and dashes.",
                )
            })?;
            (shop.as_str().to_owned(), shopify.authorize_url(&shop, &redirect_uri, &state))
        }
        Provider::Messenger => {
            let rerequest = reconnects.is_some();
            (String::new(), app.messenger()?.dialog_url(&redirect_uri, &state, rerequest))
        }
        Provider::Kustomer => {
            if own.is_none() && !app.kustomer_oauth() {
                return Err(AppError::NotSetUp(Provider::Kustomer));
            }
            let subdomain = subdomain(what.subdomain.as_deref().unwrap_or_default())?;
            let secret = random_text(app);
            let challenge = agenstack_providers::kustomer::pkce_challenge(&secret);
            let key = app.keyring().key(org.org()).await?;
            verifier = Some(key.seal(verifier_place(&id), secret.as_bytes(), app.entropy()));
            if let Some(own) = &own {
                // Sealed from the first moment; the flow forgets it with its row.
                let text = own.client_secret.expose_secret().as_bytes();
                let secret = key.seal(client_place(&id), text, app.entropy());
                client = Some(FlowClient { id: own.client_id.clone(), secret });
            }
            let through = own.as_ref().map_or(Client::Platform, Client::Own);
            let url = app.kustomer().authorize_url(through, &subdomain, &redirect_uri, &state, &challenge)?;
            (subdomain.as_str().to_owned(), url)
        }
    };
    let flow = Flow {
        id,
        org: org.org().clone(),
        user: session.user.id.clone(),
        session: session.id.clone(),
        provider: what.provider,
        account,
        reconnects,
        verifier,
        client,
        created_at: org.now(),
        expires_at: org.now().plus_secs(FLOW_SECS),
    };
    let mut tx = app.store().tenant(org).await?;
    tx.flow_add(&flow, &hash(&state)).await?;
    tx.commit().await?;
    Ok(url)
}

fn verifier_place(id: &FlowId) -> Place<'_> {
    Place { table: "oauth_flows", row: id.as_str(), column: "verifier" }
}

fn client_place(id: &FlowId) -> Place<'_> {
    Place { table: "oauth_flows", row: id.as_str(), column: "client_secret" }
}

/// What a person calls their Kustomer account, or what is wrong with it.
pub(crate) fn subdomain(text: &str) -> Result<Subdomain, AppError> {
    Subdomain::from_input(text).ok_or_else(|| {
        AppError::invalid(
            "subdomain",
            "Write the name before .kustomerapp.com: lower-case letters, digits and dashes.",
        )
    })
}

/// The state of a raw query; `None` unless it stands there exactly once.
fn state_of(raw_query: &str) -> Option<String> {
    if raw_query.len() > 8 * 1024 {
        return None;
    }
    let mut states = url::form_urlencoded::parse(raw_query.as_bytes()).filter(|(name, _)| name == "state");
    let (_, state) = states.next()?;
    (states.next().is_none() && state.len() == 43).then(|| state.into_owned())
}

/// Ends a flow: the browser came back from the provider with `raw_query`.
///
/// The state is found and burnt first, by hash, provider and browser session in one statement, so that whatever
/// else the query holds is looked at only for a flow that this browser began. Nothing is sent before that.
///
/// # Errors
/// Only if the database is not available; everything else is an [`Outcome`].
pub async fn callback(
    app: &App,
    ctx: &Ctx,
    session: Option<&Session>,
    provider: Provider,
    raw_query: &str,
) -> Result<Outcome, AppError> {
    let (Some(session), Some(state)) = (session, state_of(raw_query)) else {
        return Ok(Outcome::StateRefused);
    };
    let mut tx = app.store().global().await?;
    let found = tx.flow_consume(&hash(&state), provider, &session.id, ctx.now).await?;
    tx.commit().await?;
    let Some(flow) = found.filter(|flow| flow.user == session.user.id) else {
        return Ok(Outcome::StateRefused);
    };
    // The role is read now, not remembered from when the flow began.
    let org = match org_ctx(app, ctx, session, flow.org.as_str()).await {
        Ok((org, _)) if org.require(Action::IntegrationManage).is_ok() => org,
        Ok(_) | Err(AppError::NotFound) => return Ok(Outcome::StateRefused),
        Err(e) => return Err(e),
    };
    let done = match provider {
        Provider::Shopify => shopify::finish(app, &org, &flow, raw_query).await,
        Provider::Messenger => messenger::finish(app, &org, &flow, raw_query).await,
        Provider::Kustomer => kustomer::finish(app, &org, &flow, raw_query).await,
    };
    let org = flow.org;
    let reason = match done {
        Ok(()) if provider == Provider::Messenger => return Ok(Outcome::ChoosePage { org }),
        Ok(()) => return Ok(Outcome::Connected { org, provider }),
        Err(Refusal::Reason(reason)) => reason,
        Err(Refusal::Error(e @ AppError::Unavailable(_))) => return Err(e),
        Err(Refusal::Error(e)) => {
            tracing::warn!(org.id = %org, %provider, code = e.code(), error = ?e, "an account was not connected");
            e.code().to_owned()
        }
    };
    tracing::info!(org.id = %org, %provider, reason, request.id = %ctx.request, "an authorization ended without a connection");
    Ok(Outcome::Failed { org, provider, reason })
}

/// A connection that is ready to be stored.
pub(crate) struct Ready {
    pub seat: Seat,
    pub account: AccountIdentifier,
    pub external_id: String,
    pub grant: TokenGrant,
    pub scopes: Vec<String>,
    pub missing_scopes: Vec<String>,
    pub acting_user_id: Option<String>,
    pub webhook: Hook,
    pub subscription: Subscription,
    /// The merchant's own app, where it was authorized through one.
    pub client: Option<KustomerApp>,
}

/// Where events of the account come from.
pub(crate) enum Hook {
    /// From no webhook of its own.
    None,
    /// From one that has just been made.
    Made(CreatedWebhook),
    /// From the one that is stored already.
    Kept,
}

/// Where an account is to be stored.
pub(crate) struct Seat {
    /// Its former row in this organization, or a new one.
    pub id: IntegrationId,
    /// The release by which it comes from another organization.
    pub from: Option<Offered>,
}

/// Finds an account's seat in this organization.
///
/// # Errors
/// If another organization holds the account and has not released it to this one, the organization holds another account of the provider, or the flow
/// is pinned to another account.
pub(crate) async fn seat_for(
    app: &App,
    org: &OrgCtx,
    provider: Provider,
    external_id: &str,
    reconnects: Option<&IntegrationId>,
) -> Result<Seat, Refusal> {
    let owned = app.store().global_read().await?.route_by_account(provider, external_id).await?;
    let from = match owned.filter(|o| o.route.org != *org.org()) {
        Some(owned) => {
            let permit = transfer::permit(app, org, provider, external_id, &owned.route.org).await?;
            Some(permit.ok_or_else(|| Refusal::because("owned_by_another"))?)
        }
        None => None,
    };
    let mut tx = app.store().tenant_read(org).await?;
    let former = tx.integration_by_account(provider, external_id).await?;
    if reconnects.is_some_and(|id| former.as_ref().map(|f| &f.id) != Some(id)) {
        return Err(Refusal::because("other_account"));
    }
    // One shop and one help desk for each organization: the bot must not have to guess whose orders are meant.
    let single = provider != Provider::Messenger;
    let others = tx.integration_list().await?;
    if single && others.iter().any(|it| it.provider == provider && it.external_id != external_id) {
        return Err(Refusal::because("another_account_connected"));
    }
    Ok(Seat { id: former.map_or_else(|| new_id!(app, IntegrationId, org.now()), |f| f.id), from })
}

/// Seals and stores a connection that was proven to work, with its audit entry and the job that adopts events which
/// came too early. One transaction: there is no half connection.
pub(crate) async fn store(app: &App, org: &OrgCtx, ready: Ready) -> Result<Integration, Refusal> {
    let id = ready.seat.id;
    let key = app.keyring().key(org.org()).await?;
    let seal = |column, secret: &SecretString| -> Sealed {
        key.seal(place(&id, column), secret.expose_secret().as_bytes(), app.entropy())
    };
    let mut before = app.store().tenant_read(org).await?;
    let former = before.integration_find(&id).await?;
    let present = match &former {
        Some(_) => before.integration_tokens(&id).await?.sealed.webhook_secret,
        None => None,
    };
    drop(before);
    let (webhook_id, webhook_secret, webhook_secret_previous) = match ready.webhook {
        Hook::None => (None, None, None),
        Hook::Made(made) => {
            let previous = hook::replaced(app, org, &id, present.as_ref()).await?;
            (Some(made.id), Some(seal("webhook_secret", &made.secret)), previous)
        }
        Hook::Kept => (former.and_then(|f| f.webhook_id), present, None),
    };
    let tokens = SealedTokens {
        access_token: Some(seal("access_token", &ready.grant.access_token)),
        refresh_token: ready.grant.refresh_token.as_ref().map(|t| seal("refresh_token", t)),
        webhook_secret,
        webhook_secret_previous,
        client_secret: ready.client.as_ref().map(|c| seal("client_secret", &c.client_secret)),
    };
    // The other organization agreed, and the account has just been authorized for this one: there it ends now.
    if let Some(from) = &ready.seat.from
        && !transfer::take(app, org.ctx(), from).await?
    {
        return Err(Refusal::because("owned_by_another"));
    }
    let now = app.now();
    let mut tx = app.store().tenant(org).await?;
    let former = tx.integration_find(&id).await?;
    let it = Integration {
        id,
        organization_id: org.org().clone(),
        provider: provider_of(&ready.account),
        status: ConnectionStatus::Connected,
        account_identifier: ready.account,
        scopes: ready.scopes,
        missing_scopes: ready.missing_scopes,
        token_expires_at: ready.grant.expires_at,
        connected_at: now,
        last_success_at: Some(now),
        last_error: None,
        external_id: ready.external_id,
        generation: former.as_ref().map_or(1, |f| f.generation + 1),
        last_event_at: former.as_ref().and_then(|f| f.last_event_at),
        acting_user_id: ready.acting_user_id,
        webhook_id,
        subscription: None,
        client_id: ready.client.map(|c| c.client_id),
    };
    let ends = Ends {
        refresh: ready.grant.refresh_expires_at,
        renew_at: crate::token::renew_at(app, it.provider, &ready.grant, now),
    };
    match tx.integration_put(&it, &tokens, ends, former.is_none()).await {
        Ok(()) => {}
        Err(StoreError::NotFound(_)) => {
            let message =
                "Somebody else connected this account at the same moment. Look whether it is connected now.";
            return Err(AppError::conflict("conflict", message).into());
        }
        // The unique index is the judge: two organizations that connect at once find it here.
        Err(StoreError::Conflict(_)) => return Err(Refusal::because("owned_by_another")),
        Err(e) => return Err(e.into()),
    }
    tx.integration_subscription(&it.id, it.generation, ready.subscription, now).await?;
    // What waited for this connection need not wait any longer.
    let awake = app.now();
    tx.event_wake(awake, awake).await?;
    tx.job_wake(awake, awake).await?;
    let action = if ready.seat.from.is_some() { "integration.taken" } else { "integration.connect" };
    audit(app, org, &mut tx, action, it.id.as_str(), now).await?;
    let (code, message) = match former {
        Some(_) => ("reconnected", "The account was authorized again."),
        None => ("connected", "The account was connected."),
    };
    let change =
        Change { generation: it.generation, status: ConnectionStatus::Connected, code, message, at: now };
    crate::state::changed(app, org, &mut tx, &it.id, change).await?;
    crate::job::add(app, &mut tx, &Job::AdoptEvents { integration: it.id.clone() }, it.id.as_str(), now)
        .await?;
    tx.tell_account(it.provider, &it.external_id);
    tx.commit().await?;
    app.routes().forget(it.provider, &it.external_id);
    app.wake();
    app.live().changed(org.org(), Topic::Integrations);
    tracing::info!(org.id = %org.org(), integration.id = %it.id, provider = %it.provider, generation = it.generation, "connected");
    Ok(it)
}

fn provider_of(account: &AccountIdentifier) -> Provider {
    match account {
        AccountIdentifier::Shopify { .. } => Provider::Shopify,
        AccountIdentifier::Messenger { .. } => Provider::Messenger,
        AccountIdentifier::Kustomer { .. } => Provider::Kustomer,
    }
}

/// Who did it, for the audit log.
pub(crate) async fn audit(
    app: &App,
    org: &OrgCtx,
    tx: &mut agenstack_store::TenantTx,
    action: &str,
    subject: &str,
    at: Timestamp,
) -> Result<(), AppError> {
    Ok(tx.audit_add(&new_id!(app, AuditId, at), &actor(org), action, subject, at).await?)
}

/// Who does it, as a word that logs may hold.
pub(crate) fn actor(org: &OrgCtx) -> String {
    match &org.ctx().actor {
        Actor::User(id) => id.as_str().to_owned(),
        Actor::Provider(provider) => provider.as_str().to_owned(),
        Actor::Worker => "worker".to_owned(),
        Actor::Operator => "operator".to_owned(),
        Actor::Anonymous => "anonymous".to_owned(),
    }
}

/// A refusal outside a callback, as the API answers it.
pub(crate) fn as_error(provider: Provider, refusal: Refusal) -> AppError {
    match refusal {
        Refusal::Error(e) => e,
        Refusal::Reason(reason) => {
            let message = reason_text(provider, &reason);
            AppError::conflict(reason::stable(&reason), message)
        }
    }
}
