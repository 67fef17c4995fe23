//! A Kustomer account: by an API key, by the platform's OAuth app, or by an app of the merchant's own (`kustomer.md`
//! 1.6, modes A, B and C).

use super::{
    Begin, Hook, Ready, Refusal, as_error, begin_flow, client_place, hook, seat_for, store, subdomain,
    verifier_place,
};
use crate::App;
use crate::account::Session;
use crate::error::AppError;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::IntegrationId;
use agenstack_core::integration::{AccountIdentifier, Integration, Provider, Subdomain, Subscription};
use agenstack_core::policy::Action;
use agenstack_providers::kustomer::{Client, check_key_claims};
use agenstack_providers::{Kind, KustomerApp, TokenGrant};
use agenstack_store::global::flow::Flow;
use secrecy::SecretString;

/// `account_identifier.method` of a connection that lives by a key.
pub(crate) const API_KEY: &str = "api_key";
const OAUTH: &str = "oauth";
/// The same with an app that the merchant registered.
pub(super) const PRIVATE_APP: &str = "private_app";

pub(super) async fn finish(app: &App, org: &OrgCtx, flow: &Flow, raw_query: &str) -> Result<(), Refusal> {
    let kustomer = app.kustomer();
    let returned = kustomer.parse_callback(raw_query).map_err(|e| Refusal::because(e.code()))?;
    // The host comes from the flow, never from what came back.
    let account = Subdomain::parse(&flow.account).ok_or(AppError::NotFound)?;
    let sealed = flow.verifier.as_ref().ok_or(AppError::NotFound)?;
    let verifier = app.keyring().open_secret(org.org(), verifier_place(&flow.id), sealed).await?;
    let redirect_uri = app.redirect_uri(Provider::Kustomer);
    let own = match &flow.client {
        Some(client) => {
            let secret = app.keyring().open_secret(org.org(), client_place(&flow.id), &client.secret).await?;
            Some(KustomerApp { client_id: client.id.clone(), client_secret: secret })
        }
        None => None,
    };
    let client = own.as_ref().map_or(Client::Platform, Client::Own);
    let now = app.now();
    let grant =
        kustomer.exchange_code(client, &account, &returned.code, &redirect_uri, &verifier, now).await?;
    let by = By { method: if own.is_some() { PRIVATE_APP } else { OAUTH }, claimed_org: None, client: own };
    finish_with(app, org, &account, grant, by, flow.reconnects.as_ref()).await.map(drop)
}

/// Begins to connect through an app of the merchant's own, and gives the address to send the browser to. A new secret
/// for the same account replaces the old one.
///
/// # Errors
/// Names `subdomain`, `client_id` or `client_secret` with the remedy.
pub async fn kustomer_private_app(
    app: &App,
    org: &OrgCtx,
    session: &Session,
    name: &str,
    client_id: &str,
    client_secret: SecretString,
) -> Result<String, AppError> {
    org.require(Action::IntegrationManage)?;
    let account = subdomain(name)?;
    let own = KustomerApp::from_input(client_id, &client_secret).map_err(|field| {
        let text = match field {
            "client_id" => "This is not a client id. Copy it as Kustomer showed it when the app was registered.",
            _ => "This is not a client secret. Copy it as Kustomer showed it when it was made, or make a new one.",
        };
        AppError::invalid(field, text)
    })?;
    let what =
        Begin { provider: Provider::Kustomer, shop: None, subdomain: Some(account.as_str().to_owned()) };
    begin_flow(app, org, session, what, Some(own), None).await
}

/// Whether a person need not be sent away in vain.
pub(super) fn is_worth_trying(it: &Integration) -> Result<(), AppError> {
    match &it.last_error {
        Some(e) if e.code == "client_secret_refused" => {
            Err(AppError::conflict("replace_client", e.message.clone()))
        }
        _ => Ok(()),
    }
}

/// The app that a connection lives by, for authorizing it again.
pub(super) async fn stored_client(
    app: &App,
    org: &OrgCtx,
    it: &Integration,
) -> Result<KustomerApp, AppError> {
    let tokens = app.store().tenant_read(org).await?.integration_tokens(&it.id).await?;
    match crate::token::own_client(app, org, it, &tokens).await {
        Ok(Some(own)) => Ok(own),
        Ok(None) | Err(AppError::Sealed(_)) => Err(AppError::conflict(
            "replace_client",
            "The saved client secret of your app cannot be read any more. Enter it again for the same account.",
        )),
        Err(e) => Err(e),
    }
}

/// Connects by an API key: what the key says of itself is a hint, what Kustomer says of it counts. A new key for
/// the same account replaces the old one.
///
/// # Errors
/// Names `subdomain` or `api_key` with the remedy, or tells what Kustomer refused.
pub async fn kustomer_api_key(
    app: &App,
    org: &OrgCtx,
    name: &str,
    key: SecretString,
) -> Result<Integration, AppError> {
    org.require(Action::IntegrationManage)?;
    let account = subdomain(name)?;
    let claims = check_key_claims(&key, app.now()).map_err(|e| AppError::invalid("api_key", e.plain()))?;
    if claims.org_name.as_ref().is_some_and(|named| !named.eq_ignore_ascii_case(account.as_str())) {
        return Err(AppError::invalid(
            "subdomain",
            "This API key was made in another Kustomer account. Check the subdomain, or make a key in this account.",
        ));
    }
    let grant = TokenGrant {
        access_token: agenstack_providers::kustomer::tidy_key(&key),
        refresh_token: None,
        scopes: claims.roles.clone(),
        expires_at: claims.expires_at,
        refresh_expires_at: None,
    };
    let by = By { method: API_KEY, claimed_org: Some(&claims.org_id), client: None };
    let connected = finish_with(app, org, &account, grant, by, None).await;
    connected.map_err(|refusal| match refusal {
        // Not the saved authorization is wrong, but what was just typed.
        Refusal::Error(AppError::Provider(e)) if e.kind == Kind::Unauthorized => AppError::invalid(
            "api_key",
            "Kustomer does not accept this API key. Copy it again, or make a new one.",
        ),
        Refusal::Error(AppError::Provider(e)) if e.kind == Kind::NotFound => {
            AppError::invalid("subdomain", "There is no Kustomer account with this subdomain.")
        }
        other => as_error(Provider::Kustomer, other),
    })
}

/// By what an account is connected.
struct By<'a> {
    /// `account_identifier.method`.
    method: &'static str,
    /// The account that a key says it is for.
    claimed_org: Option<&'a str>,
    /// The merchant's own app.
    client: Option<KustomerApp>,
}

async fn finish_with(
    app: &App,
    org: &OrgCtx,
    account: &Subdomain,
    grant: TokenGrant,
    by: By<'_>,
    reconnects: Option<&IntegrationId>,
) -> Result<Integration, Refusal> {
    let kustomer = app.kustomer();
    let token = grant.access_token.clone();
    kustomer.verify_token(account, &token).await?;
    let identity = kustomer.identity(account, &token).await?;
    if by.claimed_org.is_some_and(|claimed| claimed != identity.org_id) {
        return Err(Refusal::because("other_account"));
    }
    let seat = seat_for(app, org, Provider::Kustomer, &identity.org_id, reconnects).await?;
    let id = seat.id.clone();
    let former = app.store().tenant_read(org).await?.integration_find(&id).await?;
    let former = former.and_then(|f| f.webhook_id);
    let mut missing = kustomer.missing_roles(account, &token, &grant.scopes).await?;
    let webhook = match hook::make(app, account, &token, &id).await {
        Ok(made) => Hook::Made(made),
        // Without one people's answers in Kustomer do not reach the customer; the connection says so. One that is
        // there goes on.
        Err(e) if e.kind == Kind::Forbidden => {
            missing.push(hook::ROLE.to_owned());
            if former.is_some() { Hook::Kept } else { Hook::None }
        }
        Err(e) => return Err(e.into()),
    };
    missing.sort();
    missing.dedup();
    let made = match &webhook {
        Hook::Made(made) => Some(made.id.clone()),
        Hook::Kept | Hook::None => None,
    };
    let ready = Ready {
        seat,
        account: AccountIdentifier::Kustomer {
            subdomain: account.as_str().to_owned(),
            org_name: identity.org_name.unwrap_or_else(|| account.as_str().to_owned()),
            org_id: identity.org_id.clone(),
            method: by.method.to_owned(),
        },
        external_id: identity.org_id,
        scopes: grant.scopes.clone(),
        missing_scopes: missing,
        grant,
        acting_user_id: Some(identity.user_id),
        subscription: if matches!(webhook, Hook::None) {
            Subscription::Refused
        } else {
            Subscription::Active
        },
        webhook,
        client: by.client,
    };
    let stored = store(app, org, ready).await;
    match (&stored, made) {
        (Ok(_), Some(made)) => hook::tidy(app, account, &token, &id, &made, former.as_deref()).await,
        (Err(_), Some(made)) => {
            if let Err(e) = kustomer.webhook_delete(account, &token, &made).await {
                tracing::warn!(org.id = %org.org(), code = e.code, "a webhook at Kustomer was left behind");
            }
        }
        (_, None) => {}
    }
    stored
}
