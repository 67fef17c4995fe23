//! What Shopify asks for on behalf of a shop's customers, and once a shop is gone (`shopify.md` 2.6): an export for the
//! organization, or the erasure of what is held, each with a signed receipt.
//!
//! Such a request comes to every organization that holds or ever held the shop, after the connection has ended, too.
//! Everything that could name a customer is sealed, so that no query finds it: it is read and opened in batches, outside
//! of any long transaction. What is erased is erased step by step; each step can be done again, and finds nothing then.

mod erase;
mod export;
mod receipt;
mod subject;

pub use receipt::{Counts, Outcome, Receipt, verify};

use crate::connect::{actor, audit};
use crate::error::AppError;
use crate::handle::{Lease, UNINSTALLED, done, unreadable};
use crate::ingest::payload_place;
use crate::live::Topic;
use crate::{App, Page, new_id, page_size};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::event::{Event, EventState};
use agenstack_core::id::{EventId, IntegrationId, OrgId, PrivacyRequestId};
use agenstack_core::integration::{ConnectionStatus, Integration, Provider};
use agenstack_core::policy::Action;
use agenstack_core::privacy::{EXPORT_KEPT_SECS, PRIVACY_DUE_SECS, PrivacyKind, PrivacyRequest};
use agenstack_core::sealed::Place;
use agenstack_providers::json;
use agenstack_store::tenant::event::StoredEvent;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use subject::Subject;
use zeroize::Zeroizing;

/// Rows read at once; a payload has up to a megabyte.
const BATCH: i64 = 25;
/// What stands in the place of an erased payload.
const NOTHING: &[u8] = b"{}";

fn export_place(id: &PrivacyRequestId) -> Place<'_> {
    Place { table: "privacy_requests", row: id.as_str(), column: "export" }
}

/// Does what a leased event asks for. When this returns, its effects are committed and the event is done.
pub(crate) async fn perform(
    app: &App,
    org: &OrgCtx,
    lease: &Lease<'_>,
    event: &Event,
    it: &Integration,
    kind: PrivacyKind,
    payload: &[u8],
) -> Result<(), AppError> {
    let fresh = PrivacyRequest {
        id: new_id!(app, PrivacyRequestId, app.now()),
        integration_id: it.id.clone(),
        event_id: event.id.clone(),
        kind,
        external_ref: event.external_id.clone(),
        received_at: event.received_at,
        done_at: None,
        expires_at: None,
        receipt: None,
    };
    // Noted before it is done: people see that it is there, and when it has to be done.
    let mut tx = app.store().tenant(org).await?;
    let request = tx.privacy_open(&fresh).await?;
    tx.commit().await?;
    if request.done_at.is_some() {
        return finish(app, org, lease).await;
    }
    let body = json::parse(payload).map_err(|_| unreadable())?;
    let subject = Subject::of(&body);
    let mut export = None;
    let (outcome, counts) = match kind {
        PrivacyKind::DataRequest => {
            let (made, outcome, counts) = export::make(app, org, it, &request, &subject).await?;
            // Whoever held the shop once and knows nothing of this customer does not learn here who it is.
            export = (!is_former(it) || counts != Counts::default()).then_some(made);
            (outcome, counts)
        }
        PrivacyKind::CustomerRedact => (Outcome::Erased, erase::customer(app, org, it, &subject).await?),
        PrivacyKind::ShopRedact if is_installed(app, org, it, event.received_at).await? => {
            (Outcome::KeptConnected, Counts::default())
        }
        PrivacyKind::ShopRedact => (Outcome::Erased, erase::shop(app, org, it).await?),
    };

    let key = app.keyring().key(org.org()).await?;
    let now = app.now();
    let receipt = Receipt {
        request: request.id.clone(),
        topic: kind,
        shop: it.external_id.clone(),
        outcome,
        counts,
        customer: (kind != PrivacyKind::ShopRedact).then(|| subject.digest(&key)),
        received_at: request.received_at,
        done_at: now,
    };
    let receipt = receipt::sign(&key, receipt);
    let sealed = export.map(|bytes| key.seal(export_place(&request.id), &bytes, app.entropy()));
    let kept = sealed.as_ref().map(|sealed| (sealed, now.plus_secs(EXPORT_KEPT_SECS)));
    // The request itself names the customer, and is done.
    let nothing = key.seal(payload_place(lease.id), NOTHING, app.entropy());
    let action = match kind {
        PrivacyKind::DataRequest => "privacy.data_request",
        PrivacyKind::CustomerRedact => "privacy.customer_redact",
        PrivacyKind::ShopRedact => "privacy.shop_redact",
    };
    let mut tx = app.store().tenant(org).await?;
    if tx.privacy_done(&request.id, now, &receipt, kept).await? {
        let (id, by) = (new_id!(app, AuditId, now), (&*actor(org), action));
        tx.audit_receipt_add(&id, by, request.id.as_str(), now, &receipt).await?;
    }
    tx.event_erase(lease.id, &nothing).await?;
    if outcome == Outcome::Erased {
        tx.erased(now).await?;
    }
    tx.commit().await?;
    app.scrub_wanted().notify_one();
    tracing::info!(org.id = %org.org(), request = %request.id, topic = kind.as_str(), "a privacy request is done");
    finish(app, org, lease).await
}

/// Ends the event of a request that is done.
async fn finish(app: &App, org: &OrgCtx, lease: &Lease<'_>) -> Result<(), AppError> {
    done(app, org, lease).await?;
    app.live().changed(org.org(), Topic::Events);
    app.live().changed(org.org(), Topic::Inbox);
    Ok(())
}

/// Whether the organization has the shop no more: somebody else may have it now, and its customers are theirs.
fn is_former(it: &Integration) -> bool {
    it.status == ConnectionStatus::Disconnected
}

/// Whether the shop has the app now, so that the uninstallation which caused the request is over (`shopify.md` 2.6).
async fn is_installed(
    app: &App,
    org: &OrgCtx,
    it: &Integration,
    received_at: Timestamp,
) -> Result<bool, AppError> {
    use agenstack_providers::Kind::{GrantRejected, Unauthorized};
    // Shopify sends it two days after the uninstallation; an hour is left for clocks.
    const AFTER_SECS: i64 = 47 * 3_600;
    if is_former(it) {
        return Ok(false);
    }
    if it.connected_at > received_at.plus_secs(-AFTER_SECS) {
        return Ok(true);
    }
    // Connected for longer than that: either it is no news of this installation, or we were never told that it ended.
    match crate::integration::probe(app, org, it).await {
        Err(AppError::Provider(e)) if matches!(e.kind, Unauthorized | GrantRejected) => {}
        Err(AppError::Conflict { code: "needs_reconnect" | "not_connected", .. }) => {}
        // Frozen, but there.
        Err(AppError::Conflict { code: "paused", .. }) => return Ok(true),
        Err(e) if e.is_retryable() => return Err(e),
        _ => return Ok(true),
    }
    let current = app.store().tenant_read(org).await?.integration_find(&it.id).await?;
    let current = current.ok_or(AppError::NotFound)?;
    crate::integration::end(app, org, &current, &UNINSTALLED, false).await?;
    Ok(false)
}

/// Forgets exports that were kept long enough.
pub(crate) async fn sweep(app: &App) -> Result<(), AppError> {
    let mut tx = app.store().global().await?;
    let swept = tx.export_sweep(app.now()).await?;
    if swept > 0 {
        tx.erased(app.now()).await?;
    }
    tx.commit().await?;
    if swept > 0 {
        app.scrub_wanted().notify_one();
        tracing::info!(swept, "exports of privacy requests were kept long enough");
    }
    Ok(())
}

/// Goes through all events of a provider, a batch at a time, so that no transaction is open meanwhile.
struct Events<'a> {
    app: &'a App,
    org: &'a OrgCtx,
    provider: Provider,
    after: Option<EventId>,
}

impl<'a> Events<'a> {
    fn of(app: &'a App, org: &'a OrgCtx, provider: Provider) -> Self {
        Self { app, org, provider, after: None }
    }

    /// The next batch; empty at the end.
    async fn next(&mut self) -> Result<Vec<StoredEvent>, AppError> {
        let mut tx = self.app.store().tenant_read(self.org).await?;
        let batch = tx.event_scan(self.provider, self.after.as_ref(), BATCH).await?;
        self.after = batch.last().map(|e| e.event.id.clone()).or(self.after.take());
        Ok(batch)
    }
}

/// What an event carried. One row that does not open keeps nobody from their right, and tells nobody anything.
async fn opened(app: &App, org: &OrgId, e: &StoredEvent) -> Option<Zeroizing<Vec<u8>>> {
    match app.keyring().open(org, payload_place(&e.event.id), &e.payload).await {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            tracing::warn!(%error, event.id = %e.event.id, "a stored event could not be opened");
            None
        }
    }
}

/// A payload as JSON, or as the text it is.
fn readable(bytes: &[u8]) -> Value {
    json::parse(bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}

/// Whether the event is a privacy request that still has to be done, and so is not touched by another one.
fn is_open_request(e: &Event) -> bool {
    PrivacyKind::parse(&e.topic).is_some() && e.state != EventState::Done
}

/// Whether the event's effects are there: a message that waits is not taken from under its handler.
fn is_ended(e: &Event) -> bool {
    matches!(e.state, EventState::Done | EventState::Dead)
}

// --- For people -----------------------------------------------------------------------------------------------------

/// A request as an organization's admins see it. Names no customer.
#[derive(Debug, Serialize)]
pub struct Request {
    /// Its id.
    pub id: PrivacyRequestId,
    /// Whose it is.
    pub organization_id: OrgId,
    /// The connection to the shop, ended or not.
    pub integration_id: IntegrationId,
    /// The shop that asks.
    pub shop: String,
    /// What is asked.
    pub kind: PrivacyKind,
    /// The event it came in by.
    pub event_id: EventId,
    /// Shopify's id of the delivery.
    pub external_ref: String,
    /// `open` or `done`.
    pub state: &'static str,
    /// When it came.
    pub received_at: Timestamp,
    /// Until when it has to be done.
    pub due_at: Timestamp,
    /// When it was done.
    pub done_at: Option<Timestamp>,
    /// What was done, if the receipt is genuine.
    pub outcome: Option<Outcome>,
    /// What was found or erased, if the receipt is genuine.
    pub counts: Option<Counts>,
    /// Until when the export can be fetched; none if there is none, or no more.
    pub export_until: Option<Timestamp>,
    /// The signed receipt, for keeping.
    pub receipt: Option<String>,
    /// Whether the receipt is genuine and this request's.
    pub receipt_verified: Option<bool>,
}

async fn shown(app: &App, org: &OrgCtx, r: PrivacyRequest, shop: String) -> Result<Request, AppError> {
    let genuine = match &r.receipt {
        Some(text) => verify(app, org.org(), text).await?.filter(|receipt| receipt.request == r.id),
        None => None,
    };
    Ok(Request {
        organization_id: org.org().clone(),
        shop,
        state: if r.done_at.is_some() { "done" } else { "open" },
        due_at: r.received_at.plus_secs(PRIVACY_DUE_SECS),
        outcome: genuine.as_ref().map(|g| g.outcome),
        counts: genuine.as_ref().map(|g| g.counts),
        export_until: r.expires_at.filter(|until| *until > app.now()),
        receipt_verified: r.receipt.as_ref().map(|_| genuine.is_some()),
        id: r.id,
        integration_id: r.integration_id,
        kind: r.kind,
        event_id: r.event_id,
        external_ref: r.external_ref,
        received_at: r.received_at,
        done_at: r.done_at,
        receipt: r.receipt,
    })
}

fn request_id(text: &str) -> Option<PrivacyRequestId> {
    PrivacyRequestId::parse(text)
}

/// Newest first.
///
/// # Errors
/// If the role is too small, or the cursor or limit is not acceptable.
pub async fn list(
    app: &App,
    org: &OrgCtx,
    cursor: Option<&str>,
    limit: Option<i64>,
) -> Result<Page<Request>, AppError> {
    org.require(Action::PrivacyManage)?;
    let limit = page_size(limit)?;
    let wrong = || AppError::invalid("cursor", "This cursor is not one that a list gave.");
    let before = cursor.map(|c| request_id(c).ok_or_else(wrong)).transpose()?;
    let mut tx = app.store().tenant_read(org).await?;
    let mut rows = tx.privacy_list(before.as_ref(), limit + 1).await?;
    let more = rows.len() as i64 > limit;
    rows.truncate(limit as usize);
    let mut shops: BTreeMap<IntegrationId, String> = BTreeMap::new();
    for r in &rows {
        if !shops.contains_key(&r.integration_id) {
            let it = tx.integration_find(&r.integration_id).await?;
            shops.insert(r.integration_id.clone(), it.map(|it| it.external_id).unwrap_or_default());
        }
    }
    drop(tx);
    let next_cursor = rows.last().filter(|_| more).map(|r| r.id.as_str().to_owned());
    let mut items = Vec::with_capacity(rows.len());
    for r in rows {
        let shop = shops.get(&r.integration_id).cloned().unwrap_or_default();
        items.push(shown(app, org, r, shop).await?);
    }
    Ok(Page { items, next_cursor })
}

/// The export of a request, as JSON. That it was fetched, and by whom, is in the audit log before it is given out.
///
/// # Errors
/// [`AppError::NotFound`] alike for another organization's and for text that is no id; [`AppError::Conflict`] if this
/// request has no export, or none any more.
pub async fn fetch_export(app: &App, org: &OrgCtx, id: &str) -> Result<Zeroizing<Vec<u8>>, AppError> {
    org.require(Action::PrivacyManage)?;
    let id = request_id(id).ok_or(AppError::NotFound)?;
    let now = app.now();
    let mut tx = app.store().tenant_read(org).await?;
    let request = tx.privacy_find(&id).await?.ok_or(AppError::NotFound)?;
    let sealed = tx.privacy_export(&id).await?.filter(|_| request.expires_at.is_some_and(|at| at > now));
    drop(tx);
    let sealed = sealed.ok_or_else(|| {
        AppError::conflict("no_export", "There is no export of this request, or it is not kept any longer.")
    })?;
    let export = app.keyring().open(org.org(), export_place(&id), &sealed).await?;
    let mut tx = app.store().tenant(org).await?;
    audit(app, org, &mut tx, "privacy.export_fetch", id.as_str(), now).await?;
    tx.commit().await?;
    Ok(export)
}
