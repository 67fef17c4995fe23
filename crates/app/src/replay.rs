//! Replays of many events: those that a filter names are put back into the queue, oldest first, so many in a second.
//!
//! Each second is a queued deed that moves the replay on and queues the next one in the same transaction, so that a crash
//! neither loses nor repeats a step. Handling an event again does nothing twice; see [`crate::handle`].

use crate::error::AppError;
use crate::event::Query;
use crate::job::{self, Job};
use crate::live::Topic;
use crate::{App, new_id};
use agenstack_core::ctx::OrgCtx;
use agenstack_core::event::{EventState, REPLAY_PACE, REPLAY_PACE_MOST, Replay, ReplayStatus};
use agenstack_core::id::{EventId, ReplayId};
use agenstack_core::policy::Action;
use agenstack_store::TenantTx;

/// Replays that may run at once in an organization.
const AT_ONCE: usize = 3;
/// How many the list gives.
const LISTED: i64 = 50;

fn replay_id(text: &str) -> Result<ReplayId, AppError> {
    ReplayId::parse(text).ok_or(AppError::NotFound)
}

/// Newest first.
///
/// # Errors
/// If the role is too small.
pub async fn list(app: &App, org: &OrgCtx) -> Result<Vec<Replay>, AppError> {
    org.require(Action::EventRead)?;
    Ok(app.store().tenant_read(org).await?.replay_list(LISTED).await?)
}

/// One replay with how far it is.
///
/// # Errors
/// [`AppError::NotFound`] alike for another organization's and for text that is no id.
pub async fn get(app: &App, org: &OrgCtx, id: &str) -> Result<Replay, AppError> {
    org.require(Action::EventRead)?;
    let id = replay_id(id)?;
    app.store().tenant_read(org).await?.replay_find(&id).await?.ok_or(AppError::NotFound)
}

/// What a replay would mean, without beginning it.
///
/// # Errors
/// As [`begin`].
pub async fn plan(
    app: &App,
    org: &OrgCtx,
    query: &Query,
    per_second: Option<i64>,
) -> Result<Replay, AppError> {
    org.require(Action::EventManage)?;
    let now = org.now();
    let state = query.state.unwrap_or(EventState::Dead);
    if !matches!(state, EventState::Dead | EventState::Failed | EventState::Done) {
        return Err(AppError::invalid(
            "state",
            "Only events that are dead, failed or done can be handled again.",
        ));
    }
    if query.is_search() {
        return Err(AppError::invalid(
            "filter",
            "A replay is narrowed by provider, topic, state and time, and by nothing else.",
        ));
    }
    let per_second = per_second.unwrap_or(REPLAY_PACE);
    if !(1..=REPLAY_PACE_MOST).contains(&per_second) {
        return Err(AppError::invalid("per_second", "The pace must be between 1 and 1000 events a second."));
    }
    let mut planned = Replay {
        id: new_id!(app, ReplayId, now),
        provider: query.provider,
        topic: query.topic.clone().filter(|t| !t.is_empty()),
        state,
        since: query.since,
        // What comes in later is not meant, so that there is an end.
        until: query.until.map_or(now, |until| until.min(now)),
        per_second,
        status: ReplayStatus::Running,
        total: 0,
        done: 0,
        position: None,
        created_at: now,
        ended_at: None,
    };
    if planned.since.is_some_and(|since| since >= planned.until) {
        return Err(AppError::invalid("since", "The time range is empty: `since` must be before `until`."));
    }
    planned.total = app.store().tenant_read(org).await?.replay_count(&planned).await?;
    Ok(planned)
}

/// Begins to put the events back into the queue.
///
/// # Errors
/// If the role is too small, the filter cannot be used, or it matches nothing.
pub async fn begin(
    app: &App,
    org: &OrgCtx,
    query: &Query,
    per_second: Option<i64>,
) -> Result<Replay, AppError> {
    let replay = plan(app, org, query, per_second).await?;
    if replay.total == 0 {
        return Err(AppError::conflict("nothing_matches", "No event matches this filter."));
    }
    let mut tx = app.store().tenant(org).await?;
    let running = tx.replay_list(LISTED).await?;
    if running.iter().filter(|r| r.ended_at.is_none()).count() >= AT_ONCE {
        return Err(AppError::conflict(
            "too_many_replays",
            "Three replays are under way already. Wait for one to end, or cancel one.",
        ));
    }
    tx.replay_add(&replay).await?;
    next_step(app, &mut tx, org, &replay, 0).await?;
    crate::connect::audit(app, org, &mut tx, "replay.begin", replay.id.as_str(), org.now()).await?;
    tx.commit().await?;
    app.wake();
    app.live().changed(org.org(), Topic::Events);
    Ok(replay)
}

/// Pauses, resumes or cancels a replay.
///
/// # Errors
/// [`AppError::Conflict`] if it has ended, or is in that state already.
pub async fn turn(app: &App, org: &OrgCtx, id: &str, to: ReplayStatus) -> Result<Replay, AppError> {
    org.require(Action::EventManage)?;
    let id = replay_id(id)?;
    let now = org.now();
    let mut tx = app.store().tenant(org).await?;
    let found = tx.replay_find(&id).await?.ok_or(AppError::NotFound)?;
    let (turned, action) = match (found.status, to) {
        (ReplayStatus::Running, ReplayStatus::Paused) => {
            (tx.replay_turn(&id, ReplayStatus::Running, to, None).await?, "replay.pause")
        }
        (ReplayStatus::Paused, ReplayStatus::Running) => {
            next_step(app, &mut tx, org, &found, 0).await?;
            (tx.replay_turn(&id, ReplayStatus::Paused, to, None).await?, "replay.resume")
        }
        (from @ (ReplayStatus::Running | ReplayStatus::Paused), ReplayStatus::Cancelled) => {
            (tx.replay_turn(&id, from, to, Some(now)).await?, "replay.cancel")
        }
        _ => (false, ""),
    };
    if !turned {
        return Err(AppError::conflict(
            "replay_state",
            "This replay is not in a state where that can be done.",
        ));
    }
    crate::connect::audit(app, org, &mut tx, action, id.as_str(), now).await?;
    let replay = tx.replay_find(&id).await?.ok_or(AppError::NotFound)?;
    tx.commit().await?;
    app.wake();
    app.live().changed(org.org(), Topic::Events);
    Ok(replay)
}

async fn next_step(
    app: &App,
    tx: &mut TenantTx,
    org: &OrgCtx,
    replay: &Replay,
    secs: i64,
) -> Result<(), AppError> {
    let step = Job::Replay { replay: replay.id.clone(), after: replay.position.clone() };
    job::add_later(app, tx, &step, replay.id.as_str(), org.now(), secs).await
}

/// One second of a replay, in the transaction of the deed that asks for it; it queues the next one.
pub(crate) async fn step(
    app: &App,
    org: &OrgCtx,
    tx: &mut TenantTx,
    id: &ReplayId,
    after: Option<&EventId>,
) -> Result<(), AppError> {
    let found = tx.replay_find(id).await?;
    // Whoever resumes a paused one queues a step; of two steps from one place the first has moved on.
    let current = |r: &Replay| r.status == ReplayStatus::Running && r.position.as_ref() == after;
    let Some(replay) = found.filter(current) else { return Ok(()) };
    let org = org.at(app.now());
    if tx.replay_step(&replay, replay.per_second, org.now()).await? < replay.per_second {
        tx.replay_turn(id, ReplayStatus::Running, ReplayStatus::Done, Some(org.now())).await?;
        return Ok(());
    }
    let moved = tx.replay_find(id).await?.ok_or(AppError::NotFound)?;
    next_step(app, tx, &org, &moved, 1).await
}
