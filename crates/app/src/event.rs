//! The inbox of an organization, as its people see it.

use crate::error::AppError;
use crate::timeline::{self, Moment};
use crate::{App, Page, page_size};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::event::{Event, EventHistory, EventState, EventStep};
use agenstack_core::id::EventId;
use agenstack_core::integration::Provider;
use agenstack_core::policy::Action;
use agenstack_core::privacy::PrivacyKind;
use agenstack_providers::json;
use agenstack_store::tenant::event::EventFilter;
use serde::Serialize;
use serde_json::Value;

/// What a list is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Only this provider.
    pub provider: Option<Provider>,
    /// Only this topic.
    pub topic: Option<String>,
    /// Only in this state.
    pub state: Option<EventState>,
    /// Received at or after.
    pub since: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
    /// Only what the provider calls so: the id of a delivery or message.
    pub external_id: Option<String>,
    /// Only where this stands in the reason of the last failure.
    pub error: Option<String>,
}

impl Query {
    /// Whether it asks for what a replay cannot be narrowed to.
    pub(crate) fn is_search(&self) -> bool {
        [&self.external_id, &self.error].into_iter().flatten().any(|text| !text.is_empty())
    }
}

/// One event with what it carried.
#[derive(Debug, Serialize)]
pub struct Detail {
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    /// What became of it, step by step.
    pub timeline: Vec<Moment>,
    /// What it carried, for admins and owners; JSON, or the text if it was none.
    pub payload: Option<Value>,
}

fn event_id(text: &str) -> Result<EventId, AppError> {
    EventId::parse(text).ok_or(AppError::NotFound)
}

/// Newest first.
///
/// # Errors
/// If the role is too small, or the cursor or limit is not acceptable.
pub async fn list(
    app: &App,
    org: &OrgCtx,
    query: &Query,
    cursor: Option<&str>,
    limit: Option<i64>,
) -> Result<Page<Event>, AppError> {
    org.require(Action::EventRead)?;
    let limit = page_size(limit)?;
    let before = cursor
        .map(|c| {
            EventId::parse(c)
                .ok_or_else(|| AppError::invalid("cursor", "This cursor is not one that a list gave."))
        })
        .transpose()?;
    let filter = EventFilter {
        integration: None,
        provider: query.provider,
        topic: query.topic.clone().filter(|t| !t.is_empty()),
        state: query.state,
        since: query.since,
        until: query.until,
        external_id: query.external_id.clone().filter(|t| !t.is_empty()),
        error: query.error.clone().filter(|t| !t.is_empty()),
    };
    let found = app.store().tenant_read(org).await?.event_search(&filter, before.as_ref(), limit + 1).await?;
    let mut items = found.events;
    let more = items.len() as i64 > limit;
    items.truncate(limit as usize);
    let last = if more { items.last().map(|e| e.id.clone()) } else { found.searched_to };
    let next_cursor = last.map(|id| id.as_str().to_owned());
    Ok(Page { items, next_cursor })
}

/// One event; its payload only for those who may manage events.
///
/// # Errors
/// [`AppError::NotFound`] alike for another organization's and for text that is no id.
pub async fn get(app: &App, org: &OrgCtx, id: &str) -> Result<Detail, AppError> {
    org.require(Action::EventRead)?;
    let id = event_id(id)?;
    let mut tx = app.store().tenant_read(org).await?;
    let event = tx.event_find(&id).await?.ok_or(AppError::NotFound)?;
    let timeline = timeline::of(&event, tx.event_history_list(&id).await?);
    if org.require(Action::EventManage).is_err() {
        return Ok(Detail { event, timeline, payload: None });
    }
    // It names a customer, of a shop that this organization may have no more; soon it is emptied anyway.
    if PrivacyKind::parse(&event.topic).is_some() {
        return Ok(Detail { event, timeline, payload: Some(Value::Object(serde_json::Map::new())) });
    }
    let sealed = tx.event_payload(&id).await?;
    drop(tx);
    let bytes = app.keyring().open(org.org(), crate::ingest::payload_place(&id), &sealed).await?;
    let payload =
        json::parse(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Ok(Detail { event, timeline, payload: Some(payload) })
}

/// Puts an ended event back into the queue. What it did before is not done twice.
///
/// # Errors
/// [`AppError::Conflict`] if it is queued or running already.
pub async fn replay(app: &App, org: &OrgCtx, id: &str) -> Result<Event, AppError> {
    org.require(Action::EventManage)?;
    let id = event_id(id)?;
    let now = app.now();
    let mut tx = app.store().tenant(org).await?;
    tx.event_find(&id).await?.ok_or(AppError::NotFound)?;
    tx.event_history_keep(&id).await?;
    if !tx.event_replay(&id, now).await? {
        return Err(AppError::conflict("event_not_ended", "This event is waiting or being handled already."));
    }
    let actor = Some(crate::connect::actor(org));
    let step = EventHistory { step: EventStep::Replayed, begun_at: None, at: now, reason: None, actor };
    tx.event_history_add(&id, &step).await?;
    crate::connect::audit(app, org, &mut tx, "event.replay", id.as_str(), now).await?;
    let event = tx.event_find(&id).await?.ok_or(AppError::NotFound)?;
    tx.commit().await?;
    app.wake();
    app.live().changed(org.org(), crate::live::Topic::Events);
    Ok(event)
}
