//! The webhook of a Kustomer connection: made with it, and set again when Kustomer has switched it off (`kustomer.md` 3.2).

use crate::App;
use crate::error::AppError;
use crate::token::place;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::IntegrationId;
use agenstack_core::integration::{Integration, Provider, ReplacedSecret, Subdomain, Subscription};
use agenstack_core::sealed::Sealed;
use agenstack_providers::kustomer::{CreatedWebhook, WebhookState};
use agenstack_providers::{Kind, ProviderError};
use secrecy::{ExposeSecret, SecretString};

/// What it is called there, for people who look at the list.
const NAME: &str = "AgenStack";
/// Without it none can be made.
pub(crate) const ROLE: &str = "org.permission.outbound_webhook.create";
/// How long a replaced secret counts: Kustomer repeats a delivery for an hour, by other accounts for eighty minutes.
const PREVIOUS_SECS: i64 = 2 * 3600;

/// Where one connection delivers; its own address, its own secret.
fn url(app: &App, id: &IntegrationId) -> String {
    format!("{}/api/webhooks/kustomer/{id}", app.public_url())
}

/// Makes one. A former one delivers until the new one is stored, unless it has to make room: an account may have five.
pub(super) async fn make(
    app: &App,
    account: &Subdomain,
    token: &SecretString,
    id: &IntegrationId,
) -> Result<CreatedWebhook, ProviderError> {
    let (kustomer, url) = (app.kustomer(), url(app, id));
    let refused = match kustomer.webhook_create(account, token, &url, NAME).await {
        Err(e) if e.code == "webhook_refused" => e,
        other => return other,
    };
    let former = match kustomer.webhooks_at(account, token, &url).await {
        Err(e) if e.kind == Kind::RateLimited => return Err(e),
        listed => listed.unwrap_or_default(),
    };
    if former.is_empty() {
        return Err(refused);
    }
    for id in former {
        kustomer.webhook_delete(account, token, &id).await?;
    }
    kustomer.webhook_create(account, token, &url, NAME).await
}

/// Deletes what delivers to this connection's address, but for `keep`: the former one, and any whose making was
/// answered to nobody. What cannot be deleted is harmless: nothing is signed with a secret that counts.
pub(super) async fn tidy(
    app: &App,
    account: &Subdomain,
    token: &SecretString,
    id: &IntegrationId,
    keep: &str,
    former: Option<&str>,
) {
    let kustomer = app.kustomer();
    // Who may not list them still knows the former one.
    let all = match kustomer.webhooks_at(account, token, &url(app, id)).await {
        Ok(all) => all,
        Err(e) if e.kind == Kind::RateLimited => return,
        Err(_) => former.map(str::to_owned).into_iter().collect(),
    };
    for stale in all.iter().filter(|hook| *hook != keep) {
        if let Err(e) = kustomer.webhook_delete(account, token, stale).await {
            tracing::warn!(integration.id = %id, code = e.code, "a webhook at Kustomer was left behind");
            if e.is_retryable() {
                return;
            }
        }
    }
}

/// The present secret, sealed for the column of the previous one: what was signed with it may arrive late.
pub(super) async fn replaced(
    app: &App,
    org: &OrgCtx,
    id: &IntegrationId,
    present: Option<&Sealed>,
) -> Result<Option<ReplacedSecret>, AppError> {
    let Some(sealed) = present else { return Ok(None) };
    let text = match app.keyring().open_secret(org.org(), place(id, "webhook_secret"), sealed).await {
        Ok(text) => text,
        Err(AppError::Sealed(_)) => return Ok(None),
        Err(e) => return Err(e),
    };
    let key = app.keyring().key(org.org()).await?;
    let at = place(id, "webhook_secret_previous");
    let secret = key.seal(at, text.expose_secret().as_bytes(), app.entropy());
    Ok(Some(ReplacedSecret { secret, until: app.now().plus_secs(PREVIOUS_SECS) }))
}

/// How the webhook was found, and what was done about it.
pub(crate) enum Found {
    /// It delivers.
    On,
    /// It was off, and is on again.
    Enabled,
    /// It was off or gone; this one takes its place once it is stored.
    Made(CreatedWebhook),
    /// It is off or gone, and cannot be set again. The reason, unless there never was one.
    Refused(Option<ProviderError>),
    /// Whether it is on may not be looked at.
    Hidden,
}

/// Looks at the webhook, and sets it again where it is off or gone.
pub(crate) async fn look_after(
    app: &App,
    it: &Integration,
    account: &Subdomain,
    token: &SecretString,
) -> Result<Found, ProviderError> {
    let kustomer = app.kustomer();
    if let Some(id) = &it.webhook_id {
        match kustomer.webhook_state(account, token, id).await {
            Ok(WebhookState::On) => return Ok(Found::On),
            Ok(WebhookState::Off) => {
                match kustomer.webhook_enable(account, token, id, &url(app, &it.id), NAME).await {
                    Ok(true) => return Ok(Found::Enabled),
                    Err(e) if e.is_retryable() || e.kind == Kind::Unauthorized => return Err(e),
                    // It may not be changed, or changes nothing: another takes its place.
                    Ok(false) | Err(_) => {}
                }
            }
            Ok(WebhookState::Gone) => {}
            Err(e) if e.kind == Kind::Forbidden => return Ok(Found::Hidden),
            Err(e) => return Err(e),
        }
    }
    match make(app, account, token, &it.id).await {
        Ok(made) => Ok(Found::Made(made)),
        Err(e) if e.kind == Kind::Forbidden => {
            let mut off = ProviderError::new(Provider::Kustomer, Kind::Forbidden, "webhook_off");
            off.detail = Some(ROLE.to_owned());
            Ok(Found::Refused(it.webhook_id.is_some().then_some(off)))
        }
        Err(e) if e.code == "webhook_refused" => Ok(Found::Refused(Some(e))),
        Err(e) => Err(e),
    }
}

/// Stores a webhook that takes the place of another. `false` if the connection was made anew meanwhile, or has ended.
pub(crate) async fn keep(
    app: &App,
    org: &OrgCtx,
    it: &Integration,
    made: &CreatedWebhook,
) -> Result<bool, AppError> {
    let tokens = app.store().tenant_read(org).await?.integration_tokens(&it.id).await?;
    let previous = replaced(app, org, &it.id, tokens.sealed.webhook_secret.as_ref()).await?;
    let key = app.keyring().key(org.org()).await?;
    let at = place(&it.id, "webhook_secret");
    let secret = key.seal(at, made.secret.expose_secret().as_bytes(), app.entropy());
    let mut tx = app.store().tenant(org).await?;
    let kept = tx.integration_webhook(&it.id, it.generation, &made.id, &secret, previous.as_ref()).await?;
    tx.commit().await?;
    Ok(kept)
}

/// Deletes the others once the new one is stored, or the new one if it could not be.
pub(crate) async fn settle(
    app: &App,
    it: &Integration,
    account: &Subdomain,
    token: &SecretString,
    made: &CreatedWebhook,
    kept: bool,
) {
    if kept {
        tidy(app, account, token, &it.id, &made.id, it.webhook_id.as_deref()).await;
    } else if let Err(e) = app.kustomer().webhook_delete(account, token, &made.id).await {
        tracing::warn!(integration.id = %it.id, code = e.code, "a webhook at Kustomer was left behind");
    }
}

impl Found {
    /// What it says about events reaching us.
    pub(crate) const fn subscription(&self) -> Subscription {
        match self {
            Found::On | Found::Enabled | Found::Made(_) => Subscription::Active,
            Found::Refused(None) | Found::Hidden => Subscription::Refused,
            Found::Refused(Some(_)) => Subscription::Off,
        }
    }
}
