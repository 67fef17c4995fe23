//! A Kustomer account, by the platform's OAuth app or by an API key (`kustomer.md` 1.6, modes B and A).

use super::{Ready, Refusal, as_error, seat_for, store, subdomain, verifier_place};
use crate::App;
use crate::error::AppError;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::IntegrationId;
use agenstack_core::integration::{AccountIdentifier, Integration, Provider, Subdomain, Subscription};
use agenstack_core::policy::Action;
use agenstack_providers::kustomer::check_key_claims;
use agenstack_providers::{Kind, TokenGrant};
use agenstack_store::global::flow::Flow;
use secrecy::SecretString;

/// `account_identifier.method` of a connection that lives by a key.
pub(crate) const API_KEY: &str = "api_key";
const OAUTH: &str = "oauth";

/// Where one connection delivers; its own address, its own secret.
fn webhook_url(app: &App, id: &IntegrationId) -> String {
    format!("{}/api/webhooks/kustomer/{id}", app.public_url())
}

pub(super) async fn finish(app: &App, org: &OrgCtx, flow: &Flow, raw_query: &str) -> Result<(), Refusal> {
    let kustomer = app.kustomer();
    let returned = kustomer.parse_callback(raw_query).map_err(|e| Refusal::because(e.code()))?;
    // The host comes from the flow, never from what came back.
    let account = Subdomain::parse(&flow.account).ok_or(AppError::NotFound)?;
    let sealed = flow.verifier.as_ref().ok_or(AppError::NotFound)?;
    let verifier = app.keyring().open_secret(org.org(), verifier_place(&flow.id), sealed).await?;
    let redirect_uri = app.redirect_uri(Provider::Kustomer);
    let grant = kustomer.exchange_code(&account, &returned.code, &redirect_uri, &verifier, app.now()).await?;
    finish_with(app, org, &account, grant, OAUTH, None, flow.reconnects.as_ref()).await.map(drop)
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
    let connected = finish_with(app, org, &account, grant, API_KEY, Some(&claims.org_id), None).await;
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

async fn finish_with(
    app: &App,
    org: &OrgCtx,
    account: &Subdomain,
    grant: TokenGrant,
    method: &str,
    claimed_org: Option<&str>,
    reconnects: Option<&IntegrationId>,
) -> Result<Integration, Refusal> {
    let kustomer = app.kustomer();
    let token = grant.access_token.clone();
    kustomer.verify_token(account, &token).await?;
    let identity = kustomer.identity(account, &token).await?;
    if claimed_org.is_some_and(|claimed| claimed != identity.org_id) {
        return Err(Refusal::because("other_account"));
    }
    let seat = seat_for(app, org, Provider::Kustomer, &identity.org_id, reconnects).await?;
    let former = app.store().tenant_read(org).await?.integration_find(&seat.id).await?;
    let mut missing = kustomer.missing_roles(account, &token).await?;
    let webhook =
        match kustomer.webhook_create(account, &token, &webhook_url(app, &seat.id), "AgenStack").await {
            Ok(made) => Some((made.id, made.secret)),
            // Without it people's answers in Kustomer do not reach the customer; the connection says so.
            Err(e) if e.kind == Kind::Forbidden => {
                missing.push("org.permission.outbound_webhook.create".to_owned());
                None
            }
            Err(e) => return Err(e.into()),
        };
    missing.sort();
    missing.dedup();
    let made = webhook.as_ref().map(|(id, _)| id.clone());
    let ready = Ready {
        seat,
        account: AccountIdentifier::Kustomer {
            subdomain: account.as_str().to_owned(),
            org_name: identity.org_name.unwrap_or_else(|| account.as_str().to_owned()),
            org_id: identity.org_id.clone(),
            method: method.to_owned(),
        },
        external_id: identity.org_id,
        scopes: grant.scopes.clone(),
        missing_scopes: missing,
        grant,
        acting_user_id: Some(identity.user_id),
        subscription: if webhook.is_some() { Subscription::Active } else { Subscription::Refused },
        webhook,
    };
    let stored = store(app, org, ready).await;
    // Of two webhooks one is not needed any more: the new one if it could not be stored, else the former one.
    let stale = if stored.is_ok() { former.and_then(|f| f.webhook_id) } else { made };
    if let Some(stale) = stale
        && let Err(e) = kustomer.webhook_delete(account, &token, &stale).await
    {
        tracing::warn!(org.id = %org.org(), code = e.code, "a webhook at Kustomer was left behind");
    }
    stored
}
