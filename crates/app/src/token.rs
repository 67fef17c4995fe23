//! The only way to a provider token: [`call`] takes the organization's proof and one of its connections, opens the
//! token, hands it to one call and forgets it. It renews a token that is about to end, and tells the truth about
//! the connection afterwards.

use crate::App;
use crate::error::AppError;
use crate::live::Topic;
use crate::metric::Refresh;
use crate::outgoing::PUT_OFF_SECS;
use crate::state::Change;
use crate::trace;
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::entropy::bytes;
use agenstack_core::event::backoff_millis;
use agenstack_core::id::IntegrationId;
use agenstack_core::integration::{
    AccountIdentifier, ConnectionStatus, Integration, LastError, Provider, ShopDomain, Subdomain,
};
use agenstack_core::sealed::{Place, Sealed};
use agenstack_providers::kustomer::Client;
use agenstack_providers::pace::paced;
use agenstack_providers::{Kind, KustomerApp, ProviderError, TokenGrant};
use agenstack_store::tenant::integration::{RefreshedTokens, Tokens};
use quick_cache::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// A token with less than this left is renewed before it is used (`shopify.md` 1.7).
const AHEAD_SECS: i64 = 5 * 60;
/// A Shopify token lives an hour, a Kustomer token a day: renewed off the path of requests with this much left, or up to
/// half as much more, so that what was connected at once is not renewed at once (`shopify.md` 1.7, `kustomer.md` 1.6).
const SHOPIFY_EARLY_SECS: i64 = 10 * 60;
const KUSTOMER_EARLY_SECS: i64 = 5 * 3600;
/// A renewal that fails is tried again after 2 seconds, doubling to this, or when the provider says.
const LONGEST_PAUSE_SECS: i64 = 10 * 60;
/// How long the right to renew is held: twice as long as a provider call may take. If its holder was killed, the next
/// round of care that begins or still waits after this renews instead, at the latest 20 seconds later.
const LEASE_SECS: i64 = 30;
/// How often, and how many times, a caller looks whether another node has renewed it: for ten seconds in all.
const PAUSE: Duration = Duration::from_millis(100);
const PATIENCE: usize = 100;

/// One lock for each connection that is being renewed here, so that callers of one process wait and adopt instead
/// of asking twice. Between processes the lease in the database decides.
pub struct Refreshing(Cache<IntegrationId, Arc<tokio::sync::Mutex<()>>>);

/// Locks that are kept, at most.
const LOCKS: usize = 10_000;

impl Refreshing {
    pub(crate) fn new() -> Self {
        Self(Cache::new(LOCKS))
    }

    fn lock(&self, id: &IntegrationId) -> Arc<tokio::sync::Mutex<()>> {
        let Ok(lock) = self.0.get_or_insert_with(id, || Ok::<_, Infallible>(Arc::default()));
        lock
    }
}

/// Where a connection's sealed column lives.
pub(crate) fn place<'a>(id: &'a IntegrationId, column: &'a str) -> Place<'a> {
    Place { table: "integrations", row: id.as_str(), column }
}

/// The organization's connection to a provider that can be used now. For Messenger, where there may be several,
/// name the one.
///
/// # Errors
/// [`AppError::Conflict`] with the code `not_connected`, `needs_reconnect` or `paused`.
pub async fn connection(
    app: &App,
    org: &OrgCtx,
    provider: Provider,
    which: Option<&IntegrationId>,
) -> Result<Integration, AppError> {
    let mut tx = app.store().tenant_read(org).await?;
    let found = match which {
        Some(id) => tx.integration_find(id).await?.filter(|it| it.provider == provider),
        None => tx.integration_list().await?.into_iter().find(|it| it.provider == provider),
    };
    let who = provider.title();
    let it = found.filter(|it| it.status != ConnectionStatus::Disconnected).ok_or_else(|| {
        AppError::conflict("not_connected", format!("{who} is not connected. Connect it first."))
    })?;
    match it.status {
        ConnectionStatus::NeedsReconnect => Err(AppError::conflict(
            "needs_reconnect",
            format!("The connection to {who} has to be authorized again. Reconnect it."),
        )),
        _ => Ok(it),
    }
}

/// Hands the connection's token to `f`. A token that ends soon is renewed first; one that the provider refuses
/// before its time is renewed once and tried again. What the outcome says about the connection is recorded.
///
/// Few are let in at once, none while the provider does not answer, and each call that `f` makes waits for its turn
/// (`crate::outgoing`).
///
/// # Errors
/// What `f` met, why there is no token, or that the provider is not asked now ([`ProviderError::not_asked`]).
pub async fn call<T, F, Fut>(app: &App, org: &OrgCtx, it: &Integration, f: F) -> Result<T, AppError>
where
    F: Fn(SecretString) -> Fut,
    Fut: Future<Output = Result<T, ProviderError>>,
{
    // On the heap: many wait within it, each with a copy of what it waits for.
    let outcome = trace::called(app, it.provider, Box::pin(in_turn(app, org, it, f))).await;
    if let Err(AppError::Provider(e)) = &outcome
        && e.not_asked
    {
        app.metrics().put_off(it.provider, e.code);
    }
    outcome
}

async fn in_turn<T, F, Fut>(app: &App, org: &OrgCtx, it: &Integration, f: F) -> Result<T, AppError>
where
    F: Fn(SecretString) -> Fut,
    Fut: Future<Output = Result<T, ProviderError>>,
{
    let line = app.outgoing().line(it);
    let deed = line.clone().enter().await?;
    let first = current(app, org, it, Wanted::Good).await?;
    let outcome = match paced(deed.clone(), f(first.token)).await {
        Err(e) if e.kind == Kind::Unauthorized && first.renewable => {
            let again = current(app, org, it, Wanted::InsteadOf(first.expires_at)).await?;
            paced(deed, f(again.token)).await
        }
        other => other,
    };
    if line.has_recovered() {
        wake(app, org).await;
    }
    match outcome {
        Ok(value) => {
            succeeded(app, org, it).await;
            Ok(value)
        }
        Err(e) if e.not_asked => Err(e.into()),
        Err(e) => {
            failed(app, org, it, &e).await?;
            // Nobody else of this account asks before, either. A renewal keeps a time of its own.
            if e.kind == Kind::RateLimited
                && let Some(secs) = e.retry_after_secs.and_then(|secs| i64::try_from(secs).ok())
            {
                let mut tx = app.store().tenant(org).await?;
                tx.integration_wait(&it.id, it.generation, app.now().plus_secs(secs)).await?;
                tx.commit().await?;
            }
            Err(e.into())
        }
    }
}

/// A connection is called again after it was not. What found that out too early, again and again, waits for hours by now.
async fn wake(app: &App, org: &OrgCtx) {
    let woken = async {
        let (now, beyond) = (app.now(), app.now().plus_secs(PUT_OFF_SECS));
        let mut tx = app.store().tenant(org).await?;
        let woken = tx.event_wake(now, beyond).await? + tx.job_wake(now, beyond).await?;
        tx.commit().await?;
        Ok::<_, AppError>(woken)
    };
    match woken.await {
        Ok(0) => {}
        Ok(woken) => tracing::info!(org.id = %org.org(), woken, "what waited for a provider goes on"),
        Err(error) => {
            tracing::warn!(org.id = %org.org(), %error, "what waits for a provider goes on at its own time")
        }
    }
}

/// Whether the connection's provider may be asked now, for who has something to write down before.
///
/// # Errors
/// [`ProviderError::not_asked`].
pub(crate) fn may_ask(app: &App, it: &Integration) -> Result<(), AppError> {
    Ok(app.outgoing().line(it).look()?)
}

/// Renews a connection's token before anybody waits for it. One that cannot be renewed is left.
pub(crate) async fn renew(app: &App, org: &OrgCtx, id: &IntegrationId) -> Result<(), AppError> {
    let found = app.store().tenant_read(org).await?.integration_find(id).await?;
    let cared =
        |it: &Integration| matches!(it.status, ConnectionStatus::Connected | ConnectionStatus::Paused);
    let Some(it) = found.filter(cared) else { return Ok(()) };
    let tokens = read(app, org, &it).await?;
    if is_renewable(&it, &tokens) {
        current(app, org, &it, Wanted::Newer(tokens.expires_at)).await?;
    }
    Ok(())
}

struct Opened {
    token: SecretString,
    expires_at: Option<Timestamp>,
    renewable: bool,
}

/// Whether a new token can be had without a person: by a refresh token, or, for a permanent one of an older installation
/// of a shop, by exchanging it (`shopify.md` 1.7).
fn is_renewable(it: &Integration, t: &Tokens) -> bool {
    let permanent = it.provider == Provider::Shopify && t.sealed.access_token.is_some();
    t.sealed.refresh_token.is_some() || permanent
}

/// Which token is asked for. Tokens are told apart by their ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// One that lives a while.
    Good,
    /// Another than this, which the provider has just refused.
    InsteadOf(Option<Timestamp>),
    /// A newer one than this, which is good and due for renewal: nobody waits for it.
    Newer(Option<Timestamp>),
}

/// The token to use now.
async fn current(app: &App, org: &OrgCtx, it: &Integration, wanted: Wanted) -> Result<Opened, AppError> {
    let good = |t: &Tokens, now: Timestamp| {
        let other = !matches!(wanted, Wanted::InsteadOf(old) | Wanted::Newer(old) if old == t.expires_at);
        other && t.expires_at.is_none_or(|at| at > now.plus_secs(AHEAD_SECS))
    };
    // Who renews what is due has claimed it, which is what stands in `renew_at`.
    let pausing = |t: &Tokens, now: Timestamp| {
        let claimed = matches!(wanted, Wanted::Newer(_));
        t.renew_at.filter(|at| t.renew_failures > 0 && *at > now && !claimed)
    };
    let tokens = read(app, org, it).await?;
    if wanted == Wanted::Good
        && let Some(e) = asked_to_wait(app, it, &tokens)
    {
        return Err(e.into());
    }
    if good(&tokens, app.now()) || !is_renewable(it, &tokens) {
        return open(app, org, it, &tokens).await;
    }
    if let Some(until) = pausing(&tokens, app.now()) {
        return waiting(app, org, it, &tokens, until).await;
    }
    let lock = app.refreshing().lock(&it.id);
    let _alone = lock.lock().await;
    for _ in 0..PATIENCE {
        // Somebody may have renewed it while we waited.
        let tokens = read(app, org, it).await?;
        if good(&tokens, app.now()) {
            app.metrics().refreshed(it.provider, Refresh::Adopted);
            return open(app, org, it, &tokens).await;
        }
        if !is_renewable(it, &tokens) {
            return open(app, org, it, &tokens).await;
        }
        let now = app.now();
        if let Some(until) = pausing(&tokens, now) {
            return waiting(app, org, it, &tokens, until).await;
        }
        let until = now.plus_secs(LEASE_SECS);
        let mut tx = app.store().tenant(org).await?;
        let ours = tx.integration_refresh_lease(&it.id, &tokens, now, until).await?;
        tx.commit().await?;
        if ours {
            let error = match refresh(app, org, it, &tokens, until).await {
                Ok(opened) => {
                    app.metrics().refreshed(it.provider, Refresh::Renewed);
                    return Ok(opened);
                }
                Err(error) => error,
            };
            let (how, retryable) = match &error {
                e if e.is_lease_lost() => (Refresh::LeaseLost, false),
                AppError::Provider(e)
                    if meaning(e.kind) == Meaning::Moved(ConnectionStatus::NeedsReconnect) =>
                {
                    (Refresh::Refused, false)
                }
                AppError::Provider(e) => (Refresh::Failed, e.is_retryable()),
                _ => (Refresh::Failed, false),
            };
            app.metrics().refreshed(it.provider, how);
            if how == Refresh::LeaseLost {
                // Whoever took it over has renewed, or is about to.
                continue;
            }
            // While the present token lives, a provider that does not answer is no reason to stop.
            let alive = tokens.expires_at.is_some_and(|at| at > app.now().plus_secs(30));
            return if retryable && alive { open(app, org, it, &tokens).await } else { Err(error) };
        }
        // Another node renews it. The present one may still live for a few minutes; otherwise its result is adopted.
        if !matches!(wanted, Wanted::InsteadOf(_))
            && tokens.expires_at.is_some_and(|at| at > now.plus_secs(30))
        {
            return open(app, org, it, &tokens).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
    app.metrics().refreshed(it.provider, Refresh::GaveUp);
    Err(AppError::conflict("refreshing", "The connection is just being renewed. Try again in a moment."))
}

/// The provider asked not to be called before a time that is still to come: what it said then, said again without asking.
fn asked_to_wait(app: &App, it: &Integration, tokens: &Tokens) -> Option<ProviderError> {
    let left = tokens.wait_until?.millis() - app.now().millis();
    let secs = u64::try_from(left).ok().filter(|left| *left > 0)?.div_ceil(1000);
    Some(ProviderError::not_asked(it.provider, Kind::RateLimited, "rate_limited", secs))
}

/// The provider did not renew it a moment ago, and is not asked again before `until`: what lives may be used meanwhile.
async fn waiting(
    app: &App,
    org: &OrgCtx,
    it: &Integration,
    tokens: &Tokens,
    until: Timestamp,
) -> Result<Opened, AppError> {
    if tokens.expires_at.is_some_and(|at| at > app.now().plus_secs(30)) {
        return open(app, org, it, tokens).await;
    }
    let secs = (until.millis() - app.now().millis()) / 1000 + 1;
    let who = it.provider.title();
    let text =
        format!("{who} did not renew the authorization just now. It is tried again in {secs} seconds.");
    Err(AppError::conflict("refreshing", text))
}

/// When what was granted is to be renewed; `None` if it cannot be or need not be.
pub(crate) fn renew_at(
    app: &App,
    provider: Provider,
    grant: &TokenGrant,
    now: Timestamp,
) -> Option<Timestamp> {
    let early = match provider {
        Provider::Shopify => SHOPIFY_EARLY_SECS,
        Provider::Kustomer => KUSTOMER_EARLY_SECS,
        Provider::Messenger => return None,
    };
    match (&grant.refresh_token, grant.expires_at) {
        (Some(_), Some(at)) => {
            let spread = early * 1000 * i64::from(bytes::<1>(app.entropy())[0]) / 512;
            Some(at.plus_millis(-early * 1000 - spread).max(now))
        }
        _ => None,
    }
}

/// When a renewal that failed is tried again: later each time, and never before the provider said.
fn again_at(app: &App, failures: i64, e: &ProviderError) -> Timestamp {
    let backoff = backoff_millis(failures + 1, bytes::<1>(app.entropy())[0]).min(LONGEST_PAUSE_SECS * 1000);
    let asked = i64::try_from(e.retry_after_secs.unwrap_or(0)).unwrap_or(0).saturating_mul(1000);
    app.now().plus_millis(backoff.max(asked))
}

async fn refresh(
    app: &App,
    org: &OrgCtx,
    it: &Integration,
    old: &Tokens,
    lease: Timestamp,
) -> Result<Opened, AppError> {
    let (column, sealed) = match (&old.sealed.refresh_token, &old.sealed.access_token) {
        (Some(refresh), _) => ("refresh_token", refresh),
        (None, Some(permanent)) => ("access_token", permanent),
        (None, None) => return Err(AppError::NotFound),
    };
    let secret = match app.keyring().open_secret(org.org(), place(&it.id, column), sealed).await {
        Err(e @ AppError::Sealed(_)) => return unreadable(app, org, it, e).await,
        other => other?,
    };
    let own = match own_client(app, org, it, old).await {
        Err(e @ AppError::Sealed(_)) => return unreadable(app, org, it, e).await,
        other => other?,
    };
    let now = app.now();
    let answer = match &it.account_identifier {
        AccountIdentifier::Shopify { shop, .. } => {
            let shop = ShopDomain::parse(shop).ok_or(AppError::NotFound)?;
            match column {
                "refresh_token" => app.shopify()?.refresh(&shop, &secret, now).await,
                _ => app.shopify()?.migrate(&shop, &secret, now).await,
            }
        }
        AccountIdentifier::Kustomer { subdomain, .. } => {
            let subdomain = Subdomain::parse(subdomain).ok_or(AppError::NotFound)?;
            let client = own.as_ref().map_or(Client::Platform, Client::Own);
            app.kustomer().refresh(client, &subdomain, &secret, now).await
        }
        // A page token has no refresh token (`messenger.md` 1.5); there is nothing to renew.
        AccountIdentifier::Messenger { .. } => return Err(AppError::NotFound),
    };
    match answer {
        Ok(grant) => {
            let stored = seal_grant(app, org, it, &grant, old).await?;
            let mut tx = app.store().tenant(org).await?;
            tx.integration_refreshed(&it.id, old.generation, lease, &stored).await?;
            // Committed before it is used: after a crash the pair is either stored, or the old refresh token is
            // still good because the new access token was never used (`shopify.md` 1.7).
            tx.commit().await?;
            tracing::info!(org.id = %org.org(), integration.id = %it.id, "a token was renewed");
            Ok(Opened { token: grant.access_token, expires_at: grant.expires_at, renewable: false })
        }
        Err(e) => {
            // Who took the right over may have renewed, and the old refresh token is refused because of that: such a failure says
            // nothing about the connection.
            let mut tx = app.store().tenant(org).await?;
            tx.integration_refresh_failed(&it.id, lease, again_at(app, old.renew_failures, &e)).await?;
            tx.commit().await?;
            failed(app, org, it, &e).await?;
            Err(e.into())
        }
    }
}

async fn seal_grant(
    app: &App,
    org: &OrgCtx,
    it: &Integration,
    grant: &TokenGrant,
    old: &Tokens,
) -> Result<RefreshedTokens, AppError> {
    let key = app.keyring().key(org.org()).await?;
    let seal = |column, secret: &SecretString| -> Sealed {
        key.seal(place(&it.id, column), secret.expose_secret().as_bytes(), app.entropy())
    };
    Ok(RefreshedTokens {
        access_token: seal("access_token", &grant.access_token),
        // A provider that gives no new one goes on with the old one (`kustomer.md` 1.2).
        refresh_token: match &grant.refresh_token {
            Some(new) => Some(seal("refresh_token", new)),
            None => old.sealed.refresh_token.clone(),
        },
        expires_at: grant.expires_at,
        refresh_expires_at: grant.refresh_expires_at,
        renew_at: renew_at(app, it.provider, grant, app.now()),
    })
}

async fn read(app: &App, org: &OrgCtx, it: &Integration) -> Result<Tokens, AppError> {
    Ok(app.store().tenant_read(org).await?.integration_tokens(&it.id).await?)
}

async fn open(app: &App, org: &OrgCtx, it: &Integration, tokens: &Tokens) -> Result<Opened, AppError> {
    let Some(sealed) = &tokens.sealed.access_token else {
        return Err(AppError::conflict("not_connected", "This connection has ended. Connect it again."));
    };
    match app.keyring().open_secret(org.org(), place(&it.id, "access_token"), sealed).await {
        Ok(token) => Ok(Opened { token, expires_at: tokens.expires_at, renewable: is_renewable(it, tokens) }),
        Err(e @ AppError::Sealed(_)) => unreadable(app, org, it, e).await,
        Err(e) => Err(e),
    }
}

/// Plain text or another row's ciphertext in a column is never used; only a new authorization mends it.
async fn unreadable<T>(app: &App, org: &OrgCtx, it: &Integration, e: AppError) -> Result<T, AppError> {
    let message = "The saved authorization could not be opened. Reconnect the account.";
    record(app, org, it, Some(ConnectionStatus::NeedsReconnect), "token_unreadable", message.into()).await?;
    Err(e)
}

/// The merchant's own app that the connection lives by, opened; `None` if it lives by something else.
pub(crate) async fn own_client(
    app: &App,
    org: &OrgCtx,
    it: &Integration,
    tokens: &Tokens,
) -> Result<Option<KustomerApp>, AppError> {
    let (Some(id), Some(sealed)) = (&it.client_id, &tokens.sealed.client_secret) else { return Ok(None) };
    let client_secret = app.keyring().open_secret(org.org(), place(&it.id, "client_secret"), sealed).await?;
    Ok(Some(KustomerApp { client_id: id.clone(), client_secret }))
}

async fn succeeded(app: &App, org: &OrgCtx, it: &Integration) {
    // A minute's precision is enough for people; more would be a write for each message.
    let fresh = it.last_success_at.is_some_and(|at| at > app.now().plus_secs(-60));
    if fresh && it.last_error.is_none() && it.status == ConnectionStatus::Connected {
        return;
    }
    let outcome = async {
        let mut tx = app.store().tenant(org).await?;
        let at = app.now();
        if tx.integration_succeeded(&it.id, it.generation, at).await? {
            let message = format!("{} answers again.", it.provider.title());
            let (code, message) = ("resumed", message.as_str());
            let status = ConnectionStatus::Connected;
            let change = Change { generation: it.generation, status, code, message, at };
            crate::state::changed(app, org, &mut tx, &it.id, change).await?;
        }
        Ok::<_, AppError>(tx.commit().await?)
    };
    match outcome.await {
        Ok(()) => app.live().changed(org.org(), Topic::Integrations),
        // The call itself worked; that it could not be noted must not undo it.
        Err(error) => tracing::warn!(%error, integration.id = %it.id, "a success was not recorded"),
    }
}

/// Records what a failed call says about the connection. Failures that lie in the request say nothing about it.
async fn failed(app: &App, org: &OrgCtx, it: &Integration, e: &ProviderError) -> Result<(), AppError> {
    tracing::warn!(
        org.id = %org.org(), integration.id = %it.id, provider = %it.provider, kind = e.kind.as_str(), code = e.code,
        status = e.status, "a provider call failed"
    );
    match meaning(e.kind) {
        Meaning::Moved(status) => record(app, org, it, Some(status), e.code, e.plain()).await,
        Meaning::Noted => record(app, org, it, None, e.code, e.plain()).await,
        Meaning::Nothing => Ok(()),
    }
}

/// Notes at a connection that works what does not work about it.
pub(crate) async fn note(
    app: &App,
    org: &OrgCtx,
    it: &Integration,
    e: &ProviderError,
) -> Result<(), AppError> {
    record(app, org, it, None, e.code, e.plain()).await
}

/// What a failed call says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// It is in this state from now on.
    Moved(ConnectionStatus),
    /// It is as it was; the failure is shown beside it.
    Noted,
    /// Nothing: the failure lies in the request.
    Nothing,
}

/// The table in `docs/connections.md` is compared with this by a test.
const fn meaning(kind: Kind) -> Meaning {
    match kind {
        Kind::Unauthorized | Kind::GrantRejected => Meaning::Moved(ConnectionStatus::NeedsReconnect),
        Kind::Paused => Meaning::Moved(ConnectionStatus::Paused),
        Kind::Forbidden | Kind::RateLimited | Kind::Unavailable | Kind::Malformed => Meaning::Noted,
        Kind::Rejected | Kind::NotFound | Kind::WindowClosed | Kind::PersonUnavailable => Meaning::Nothing,
    }
}

async fn record(
    app: &App,
    org: &OrgCtx,
    it: &Integration,
    status: Option<ConnectionStatus>,
    code: &str,
    message: String,
) -> Result<(), AppError> {
    let error = LastError { code: code.to_owned(), message, at: app.now() };
    let mut tx = app.store().tenant(org).await?;
    if tx.integration_failed(&it.id, it.generation, status, &error).await?
        && let Some(status) = status
    {
        let (code, message, at) = (code, error.message.as_str(), error.at);
        let change = Change { generation: it.generation, status, code, message, at };
        crate::state::changed(app, org, &mut tx, &it.id, change).await?;
    }
    tx.commit().await?;
    app.live().changed(org.org(), Topic::Integrations);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_about_connections_tells_what_each_failure_leads_to() {
        let page = include_str!("../../../docs/connections.md");
        let (_, section) = page.split_once("\n## What a failed call means\n").expect("the section is there");
        let rows: Vec<Vec<&str>> = section
            .split("\n## ")
            .next()
            .expect("a split has a first part")
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        assert_eq!(rows.len(), Kind::ALL.len(), "the table has one row for each kind of failure");
        for kind in Kind::ALL {
            let word = format!("`{}`", kind.as_str());
            let row = rows.iter().find(|r| r[1] == word).unwrap_or_else(|| panic!("no row for {word}"));
            let state = match meaning(kind) {
                Meaning::Moved(status) => status.as_str(),
                Meaning::Noted => "unchanged, noted as the last error",
                Meaning::Nothing => "unchanged",
            };
            assert_eq!(row[3], state, "{word}");
            let again = ProviderError::new(Provider::Shopify, kind, "x").is_retryable();
            assert_eq!(row[4] == "yes, by itself", again, "{word}");
        }
    }
}
