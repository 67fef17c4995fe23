//! A webhook arrives: proven over its exact bytes, split, given to the owner of the account that the signed body
//! names, and committed before it is acknowledged.
//!
//! The order is the same for every provider: signature, then parse, then owner, then one transaction. Nothing is
//! looked up for a request that is not signed, but the one row that a Kustomer address names.

use crate::commit::{Delivery, NotCommitted};
use crate::error::AppError;
use crate::lookup::Unknown;
use crate::reach::SUSPICIOUS;
use crate::trace::Arrival;
use crate::{App, handle, new_id};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::{Ctx, Route};
use agenstack_core::id::{EventId, IntegrationId};
use agenstack_core::integration::Provider;
use agenstack_core::privacy::PrivacyKind;
use agenstack_core::sealed::Place;
use agenstack_providers::messenger::MessagingEvent;
use agenstack_providers::shopify::shop_in_body;
use agenstack_providers::{SignatureError, json};
use agenstack_store::global::inbox::{Addressed, Body, Incoming, key_in_time};
use agenstack_store::global::routing::Owned;
use agenstack_store::{GlobalTx, StoreError};
use agenstack_vault::DataKey;
use http::HeaderMap;
use serde_json::{Value, json as value};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The largest delivery that is read, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;
/// How long a verified event of an account that nobody owns is kept.
pub(crate) const UNROUTED_SECS: i64 = 86_400;

/// What became of a delivery's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// New, committed.
    pub stored: usize,
    /// There already.
    pub duplicates: usize,
    /// Verified, but nobody has the account connected.
    pub unrouted: usize,
    /// Privacy requests of a shop that nobody ever held: there is nothing to do, and nothing of them is kept.
    pub dropped: usize,
}

/// Why a delivery is not acknowledged. The sender learns nothing beyond this.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not signed by the provider, or for another address. Unknown addresses are answered the same.
    #[error("the delivery is not signed by the provider")]
    Signature,
    /// Signed, but a header that every delivery has is missing.
    #[error("the delivery is not complete")]
    Malformed,
    /// The operator has not set the provider up.
    #[error("the provider is not set up")]
    NotSetUp,
    /// The database cannot be reached; the provider shall come again.
    #[error("the database cannot be reached")]
    Away,
    /// Too much waits to be committed; the provider shall come again.
    #[error("too many deliveries wait")]
    Busy,
    /// It could not be committed; the provider shall come again.
    #[error("the delivery could not be committed")]
    Unavailable(#[source] AppError),
    /// The same, for a transaction that several deliveries shared.
    #[error("the delivery could not be committed")]
    NotCommitted(#[source] Arc<StoreError>),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<AppError> for Refused {
    fn from(error: AppError) -> Self {
        Self::Unavailable(error)
    }
}

fn unsigned(provider: Provider, why: &SignatureError) -> Refused {
    // One line for each refusal would let a stranger fill the disk; the web layer's limits come before it.
    tracing::info!(%provider, reason = why.code(), "a delivery was refused");
    Refused::Signature
}

/// One event before it is sealed for somebody.
struct Part<'a> {
    account: String,
    topic: String,
    external_id: String,
    dedup_key: String,
    order_key: String,
    payload: Cow<'a, [u8]>,
    triggered_at: Option<Timestamp>,
    /// Whether all that is signed is the payload, and not the provider's id of the delivery.
    digested: bool,
    /// When that happened which the payload tells of, as it says itself, if that is worth looking for.
    told_at: Option<Timestamp>,
    /// Nothing is to be done about it but to keep it in the log.
    log_only: bool,
}

/// A delivery of Shopify, of whichever shop.
///
/// # Errors
/// [`Refused`] says what to answer.
pub async fn shopify(app: &App, ctx: &Ctx, headers: &HeaderMap, body: &[u8]) -> Result<Accepted, Refused> {
    app.metrics().delivered(Provider::Shopify, in_time(app, from_shopify(app, ctx, headers, body)).await)
}

async fn from_shopify(app: &App, ctx: &Ctx, headers: &HeaderMap, body: &[u8]) -> Result<Accepted, Refused> {
    let mut arrival = Arrival::begin();
    let shopify = app.shopify().map_err(|_| Refused::NotSetUp)?;
    shopify.verify(headers, body).map_err(|e| unsigned(Provider::Shopify, &e))?;
    arrival.verified();
    let delivery = shopify.delivery(headers, body).map_err(|_| Refused::Malformed)?;
    // A body that is no JSON was signed all the same: it is kept, and its handling fails alone.
    let (parsed, readable) = match json::outline(body) {
        Ok(value) => (value, true),
        Err(_) => (Value::Null, false),
    };
    if !delivery.agrees_with(&parsed) || !delivery.is_timely(ctx.now) {
        // A signed body under another shop's name, or from another time, is somebody's replay (`shopify.md` 2.3).
        tracing::warn!(provider = "shopify", "a delivery whose headers contradict its body was refused");
        return Err(Refused::Signature);
    }
    let shop = shop_in_body(&delivery.topic, &parsed).unwrap_or(delivery.shop_header);
    let part = Part {
        account: shop.as_str().to_owned(),
        // The same delivery again carries the same id (`shopify.md` 2.1).
        dedup_key: format!("{}:{}", shop, delivery.webhook_id),
        order_key: order_key(&delivery.topic, &parsed, shop.as_str()),
        log_only: readable && !handle::acts_on_topic(&delivery.topic),
        topic: delivery.topic,
        external_id: delivery.webhook_id,
        payload: body.into(),
        triggered_at: delivery.triggered_at,
        digested: true,
        told_at: told_at(&parsed),
    };
    accept(app, ctx, Provider::Shopify, vec![part], arrival).await
}

/// Events about one order are handled one after the other; what concerns the shop itself is one line.
fn order_key(topic: &str, body: &Value, shop: &str) -> String {
    let about = topic.split('/').next().unwrap_or_default();
    match (about, body.get("id").and_then(Value::as_u64)) {
        // A request may take long, or wait for the shop: nothing else waits for it.
        _ if PrivacyKind::parse(topic).is_some() => format!("{shop}:privacy"),
        ("orders", Some(id)) => format!("{shop}:order:{id}"),
        ("orders", None) | ("products" | "fulfillments" | "refunds", _) => format!("{shop}:{about}"),
        _ => shop.to_owned(),
    }
}

/// A delivery of Messenger: events of several pages, each to its own owner, all in one transaction.
///
/// # Errors
/// [`Refused`] says what to answer.
pub async fn messenger(app: &App, ctx: &Ctx, headers: &HeaderMap, body: &[u8]) -> Result<Accepted, Refused> {
    app.metrics().delivered(Provider::Messenger, in_time(app, from_messenger(app, ctx, headers, body)).await)
}

async fn from_messenger(app: &App, ctx: &Ctx, headers: &HeaderMap, body: &[u8]) -> Result<Accepted, Refused> {
    let mut arrival = Arrival::begin();
    let messenger = app.messenger().map_err(|_| Refused::NotSetUp)?;
    messenger.verify(headers, body).map_err(|e| unsigned(Provider::Messenger, &e))?;
    arrival.verified();
    // A signed body that cannot be read has no page to belong to; refusing it would only bring it back.
    let Ok(events) = messenger.parse(body) else {
        tracing::warn!(provider = "messenger", bytes = body.len(), "a signed delivery could not be read");
        return Ok(Accepted::default());
    };
    let parts = events.into_iter().map(|e| Part {
        account: e.page_id.as_str().to_owned(),
        topic: if e.channel == "standby" { format!("standby.{}", e.kind) } else { e.kind.clone() },
        external_id: e.mid.clone().unwrap_or_else(|| e.dedup_key.clone()),
        dedup_key: e.dedup_key.clone(),
        order_key: conversation_key(e.page_id.as_str(), e.psid.as_deref()),
        payload: single(&e).into(),
        triggered_at: e.timestamp,
        digested: false,
        told_at: None,
        log_only: false,
    });
    accept(app, ctx, Provider::Messenger, parts.collect(), arrival).await
}

/// Events and deeds with this key are done one after the other.
pub(crate) fn conversation_key(page: &str, psid: Option<&str>) -> String {
    format!("{page}:{}", psid.unwrap_or("-"))
}

/// One event as a delivery of its own, so that it is read again by the same reader.
fn single(e: &MessagingEvent) -> Vec<u8> {
    let entry =
        value!({"id": e.page_id.as_str(), "time": e.timestamp.map(|t| t.millis()), e.channel: [e.raw]});
    serde_json::to_vec(&value!({"object": "page", "entry": [entry]}))
        .expect("a JSON value is always JSON text")
}

/// A delivery of Kustomer to the address of one connection, signed with that connection's own secret.
///
/// # Errors
/// [`Refused`] says what to answer.
pub async fn kustomer(
    app: &App,
    ctx: &Ctx,
    integration: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Accepted, Refused> {
    app.metrics().delivered(
        Provider::Kustomer,
        in_time(app, from_kustomer(app, ctx, integration, headers, body)).await,
    )
}

async fn from_kustomer(
    app: &App,
    ctx: &Ctx,
    integration: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Accepted, Refused> {
    let mut arrival = Arrival::begin();
    let Some(id) = IntegrationId::parse(integration) else { return Err(Refused::Signature) };
    let owned = app.store().global_read().await?.route_by_id(Provider::Kustomer, &id).await?;
    let Some(owned) = owned else { return Err(Refused::Signature) };
    let mut verdict = Err(Refused::Signature);
    for secret in crate::integration::webhook_secrets(app, &owned).await? {
        verdict = app.kustomer().verify(headers, body, &secret).map_err(|e| unsigned(Provider::Kustomer, &e));
        if verdict.is_ok() {
            break;
        }
    }
    verdict?;
    arrival.verified();
    let parsed = json::parse(body).unwrap_or_default();
    let Some(event) = app.kustomer().parse_event(&parsed) else {
        // Signed and of no use to us; refusing it would get the webhook switched off (`kustomer.md` 3.3 no. 6).
        return Ok(Accepted::default());
    };
    // The secret proves the connection; the body has to name the same account.
    if event.org != owned.external_id {
        tracing::warn!(integration.id = %id, "a signed delivery of another Kustomer account was refused");
        return Err(Refused::Signature);
    }
    let part = Part {
        account: owned.external_id,
        topic: event.name.clone(),
        external_id: event.id.clone(),
        dedup_key: format!("{id}:{}", event.id),
        order_key: format!("{id}:{}", event.conversation_id.as_deref().unwrap_or("-")),
        payload: body.into(),
        triggered_at: None,
        digested: false,
        told_at: None,
        log_only: false,
    };
    accept(app, ctx, Provider::Kustomer, vec![part], arrival).await
}

/// The challenge to answer when Meta verifies the address; `None` if the token is not ours.
///
/// # Errors
/// [`Refused::NotSetUp`].
pub fn messenger_challenge(app: &App, raw_query: &str) -> Result<Option<String>, Refused> {
    Ok(app.messenger().map_err(|_| Refused::NotSetUp)?.challenge(raw_query).ok())
}

/// How often a part is routed anew whose connection changed between the look-up and the commit.
const TRIES: usize = 3;
/// How long a delivery waits for its commit, and for what is looked up before: the providers hang up after five seconds.
const PATIENCE: Duration = Duration::from_secs(4);
/// A signed body that tells no time is known again for this long, and for up to twice as long (`shopify.md` 2.3).
const WINDOW_SECS: i64 = 86_400;

/// What is not done in time comes again; what is committed after that was committed, and is there already then. While the
/// database is away nobody waits for it; a signature that can be checked without it is checked first all the same.
async fn in_time(
    app: &App,
    accepting: impl Future<Output = Result<Accepted, Refused>>,
) -> Result<Accepted, Refused> {
    let reach = app.reach();
    let away = async {
        tokio::select! {
            () = reach.away() => {}
            () = async {
                loop {
                    tokio::time::sleep(SUSPICIOUS).await;
                    reach.suspect();
                }
            } => {}
        }
    };
    let outcome = tokio::select! {
        biased;
        outcome = tokio::time::timeout(PATIENCE, accepting) => outcome.unwrap_or(Err(Refused::Busy)),
        () = away => Err(Refused::Away),
    };
    if matches!(outcome, Err(Refused::Unavailable(_) | Refused::NotCommitted(_))) {
        reach.suspect();
    }
    outcome
}

/// Commits the parts, each for the owner of its account, and wakes the worker. All or nothing.
async fn accept(
    app: &App,
    ctx: &Ctx,
    provider: Provider,
    parts: Vec<Part<'_>>,
    mut arrival: Arrival,
) -> Result<Accepted, Refused> {
    let mut accepted = Accepted::default();
    let mut waiting = parts;
    let mut owners = BTreeSet::new();
    let for_the_log = waiting.iter().all(|part| part.log_only);
    for attempt in 0..TRIES {
        if waiting.is_empty() {
            break;
        }
        // Keys are fetched and payloads sealed before the writing transaction: in SQLite it holds up everybody else.
        let mut delivery = Delivery::default();
        let mut sent = Vec::new();
        for part in std::mem::take(&mut waiting) {
            if provider == Provider::Shopify && PrivacyKind::parse(&part.topic).is_some() {
                // It concerns everybody who may still hold something of the shop, each for themselves.
                let all = Box::pin(held(app, provider, &part.account)).await?;
                if all.is_empty() {
                    accepted.dropped += 1;
                    tracing::info!("a privacy request of a shop that nobody ever held was dropped");
                }
                for to in all.into_iter().map(|o| o.route) {
                    let event = seal(app, ctx, provider, &part, Some(&to)).await?;
                    sent.push((event.id.clone(), to.clone(), None));
                    delivery.owned.push(Addressed { to, held: true, event });
                }
                continue;
            }
            match route(app, provider, &part.account, attempt > 0).await? {
                Some(to) => {
                    let event = seal(app, ctx, provider, &part, Some(&to)).await?;
                    sent.push((event.id.clone(), to.clone(), Some(part)));
                    delivery.owned.push(Addressed { to, held: false, event });
                }
                None => {
                    let event = seal(app, ctx, provider, &part, None).await?;
                    delivery.unrouted.push((part.account, event));
                }
            }
        }
        if delivery.owned.is_empty() && delivery.unrouted.is_empty() {
            break;
        }
        let unrouted = delivery.unrouted.len();
        arrival.routed();
        if app.reach().is_away() {
            // It would only lie there: whoever brought it is told to come again.
            return Err(Refused::Away);
        }
        let committed = app.committer().commit(delivery).await.map_err(|e| match e {
            NotCommitted::Full => Refused::Busy,
            NotCommitted::Store(error) => Refused::NotCommitted(error),
        })?;
        accepted.unrouted += unrouted;
        accepted.duplicates += unrouted - committed.unrouted;
        for (id, to, part) in sent {
            if committed.owned.contains(&id) {
                accepted.stored += 1;
                arrival.committed(app, &id, &to.org, provider);
                owners.insert(to.org);
                continue;
            }
            // What goes to whoever held the account is there already.
            let Some(part) = part else {
                accepted.duplicates += 1;
                continue;
            };
            // There already, or the connection is another than it was: only a fresh look tells.
            match fresh(app, provider, &part.account).await? {
                Some(now) if now.generation == to.generation && now.integration == to.integration => {
                    accepted.duplicates += 1;
                }
                _ => waiting.push(part),
            }
        }
    }
    if !waiting.is_empty() {
        // An account that changes hands faster than it can be looked up: the provider comes again.
        return Err(Refused::Busy);
    }
    if accepted.stored > 0 {
        if !for_the_log {
            app.wake();
        }
        for org in &owners {
            app.live().changed(org, crate::live::Topic::Events);
        }
    }
    Ok(accepted)
}

/// Everybody who has, or had, an account.
async fn held(app: &App, provider: Provider, account: &str) -> Result<Vec<Owned>, StoreError> {
    app.store().global_read().await?.routes_held(provider, account).await
}

/// The owner of an account, as it is remembered or, `anew`, as it is. Whose key is not at hand is looked up with it, so that
/// deliveries that arrive together share the question: a key is kept for minutes, and an owner for as long as there is room.
async fn route(app: &App, provider: Provider, account: &str, anew: bool) -> Result<Option<Route>, Refused> {
    let at_hand = |route: &Option<Route>| route.as_ref().is_none_or(|r| app.keyring().remembers(&r.org));
    match app.routes().get(provider, account) {
        Some(remembered) if !anew && at_hand(&remembered) => Ok(remembered),
        _ => fresh(app, provider, account).await,
    }
}

async fn fresh(app: &App, provider: Provider, account: &str) -> Result<Option<Route>, Refused> {
    app.lookup().owner(provider, account).await.map_err(|e| match e {
        Unknown::Full => Refused::Busy,
        Unknown::Store(error) => Refused::NotCommitted(error),
    })
}

async fn seal(
    app: &App,
    ctx: &Ctx,
    provider: Provider,
    part: &Part<'_>,
    to: Option<&Route>,
) -> Result<Incoming, AppError> {
    let id = new_id!(app, EventId, ctx.now);
    let (payload, body) = match to {
        Some(to) => {
            let key = app.keyring().key(&to.org).await?;
            let body =
                part.digested.then(|| body(&key, to, &part.topic, &part.payload, part.told_at, ctx.now));
            (key.seal(payload_place(&id), &part.payload, app.entropy()), body)
        }
        None => {
            let vault = app.keyring().vault();
            (vault.seal_platform(unrouted_place(&id), &part.payload, app.entropy()), None)
        }
    };
    Ok(Incoming {
        id,
        provider,
        topic: bounded(part.topic.clone()),
        external_id: bounded(part.external_id.clone()),
        dedup_key: part.dedup_key.clone(),
        order_key: part.order_key.clone(),
        payload,
        received_at: ctx.now,
        triggered_at: part.triggered_at,
        told_at: part.told_at,
        rank: match to {
            Some(to) if !part.log_only => app.shares().turn(&to.org, ctx.now),
            _ => ctx.now,
        },
        log_only: part.log_only,
        body,
    })
}

/// When what a signed body tells of was changed last, as it says itself.
fn told_at(body: &Value) -> Option<Timestamp> {
    let told = body.get("updated_at").or_else(|| body.get("created_at"))?;
    Timestamp::parse_rfc3339(told.as_str()?)
}

/// What a signed body is known again by: for good if it tells its own time, else by the day in which it came.
fn body(
    key: &DataKey,
    to: &Route,
    topic: &str,
    payload: &[u8],
    told_at: Option<Timestamp>,
    now: Timestamp,
) -> Body {
    let payload = Sha256::digest(payload);
    // A shop that was connected anew may end in the same words as before: the time in them is that of its last change. Whoever repeats
    // the former end meets a question to the shop.
    let generation = if handle::acts_on_topic(topic) { to.generation } else { 0 };
    let digest = |at: Timestamp| {
        let numbers = [at.secs().to_be_bytes(), generation.to_be_bytes()].concat();
        let said = [&numbers[..], topic.as_bytes(), b"\0", payload.as_slice()].concat();
        key_in_time(Some(at), &key.digest("delivery", &said))
    };
    if let Some(at) = told_at {
        return Body { digest: digest(at), former: None };
    }
    let day = now.secs().div_euclid(WINDOW_SECS);
    let of = |day: i64| digest(Timestamp::from_secs(day * WINDOW_SECS));
    Body { digest: of(day), former: Some(of(day - 1)) }
}

/// Provider words that only people read are cut to a length that a list can show.
fn bounded(text: String) -> String {
    if text.len() <= 256 { text } else { text.chars().take(200).collect() }
}

pub(crate) fn payload_place(id: &EventId) -> Place<'_> {
    Place { table: "events", row: id.as_str(), column: "payload" }
}

fn unrouted_place(id: &EventId) -> Place<'_> {
    Place { table: "unrouted_events", row: id.as_str(), column: "payload" }
}

/// Gives a newly connected account the events that came while it was being connected. Repeating it does nothing.
pub(crate) async fn adopt(
    app: &App,
    ctx: &Ctx,
    route: &Route,
    provider: Provider,
    account: &str,
) -> Result<usize, AppError> {
    let key = app.keyring().key(&route.org).await?;
    let mut tx: GlobalTx = app.store().global().await?;
    let waiting = tx.unrouted_take(provider, account, ctx.now.plus_secs(-UNROUTED_SECS)).await?;
    let mut adopted = 0;
    for mut incoming in waiting {
        let opened = app.keyring().vault().open_platform(unrouted_place(&incoming.id), &incoming.payload);
        match opened {
            Ok(bytes) => {
                if provider == Provider::Shopify {
                    incoming.told_at = json::outline(&bytes).ok().and_then(|parsed| told_at(&parsed));
                    let came = incoming.received_at;
                    incoming.body = Some(body(&key, route, &incoming.topic, &bytes, incoming.told_at, came));
                }
                incoming.payload = key.seal(payload_place(&incoming.id), &bytes, app.entropy());
                // Their turn comes now: rows are not looked for before those that wait (`Fronts`).
                incoming.rank = ctx.now;
                adopted += usize::from(tx.event_accept(route, &incoming).await?);
            }
            // One unreadable row must not keep the others from their owner.
            Err(error) => {
                tracing::warn!(%error, event.id = %incoming.id, "an unrouted event could not be opened")
            }
        }
    }
    tx.commit().await?;
    Ok(adopted)
}

/// Gives what was kept for nobody to whoever owns its account by now: an event whose commit passed the adoption by an
/// instant must not wait for good. Gives how many found their owner.
pub(crate) async fn adopt_owned(app: &App, ctx: &Ctx) -> Result<usize, AppError> {
    let owned = app.store().global_read().await?.unrouted_owned(100).await?;
    let mut adopted = 0;
    for (provider, account, route) in owned {
        adopted += adopt(app, ctx, &route, provider, &account).await?;
    }
    if adopted > 0 {
        app.wake();
    }
    Ok(adopted)
}
