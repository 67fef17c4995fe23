//! Replays of many events.

use super::Body;
use super::event::Narrow;
use crate::Shared;
use crate::failure::Outcome;
use crate::gate::Member;
use agenstack_app::{Page, replay};
use agenstack_core::event::{Replay, ReplayStatus};
use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

/// Which events, and how fast.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReplay {
    /// Only of this provider.
    provider: Option<String>,
    /// Only of this topic.
    topic: Option<String>,
    /// `dead` (if nothing is said), `failed` or `done`.
    state: Option<String>,
    /// Received at or after.
    since: Option<String>,
    /// Received before.
    until: Option<String>,
    /// Events a second, at most; 50 if nothing is said.
    per_second: Option<i64>,
    /// Only tell how many it would be.
    #[serde(default)]
    dry_run: bool,
}

/// `GET …/replays`
pub(crate) async fn list(State(shared): State<Shared>, member: Member) -> Outcome<Json<Page<Replay>>> {
    let items = replay::list(shared.app(), &member.org).await?;
    Ok(Json(Page { items, next_cursor: None }))
}

/// `POST …/replays`
pub(crate) async fn begin(
    State(shared): State<Shared>,
    member: Member,
    Body(asked): Body<NewReplay>,
) -> Outcome<(StatusCode, Json<Replay>)> {
    let NewReplay { provider, topic, state, since, until, per_second: pace, dry_run } = asked;
    let query = Narrow { provider, topic, state, since, until, ..Narrow::default() }.query()?;
    if dry_run {
        return Ok((StatusCode::OK, Json(replay::plan(shared.app(), &member.org, &query, pace).await?)));
    }
    Ok((StatusCode::ACCEPTED, Json(replay::begin(shared.app(), &member.org, &query, pace).await?)))
}

/// `GET …/replays/{id}`
pub(crate) async fn get(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
) -> Outcome<Json<Replay>> {
    Ok(Json(replay::get(shared.app(), &member.org, &id).await?))
}

/// `POST …/replays/{id}/pause`
pub(crate) async fn pause(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
) -> Outcome<Json<Replay>> {
    Ok(Json(replay::turn(shared.app(), &member.org, &id, ReplayStatus::Paused).await?))
}

/// `POST …/replays/{id}/resume`
pub(crate) async fn resume(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
) -> Outcome<Json<Replay>> {
    Ok(Json(replay::turn(shared.app(), &member.org, &id, ReplayStatus::Running).await?))
}

/// `POST …/replays/{id}/cancel`
pub(crate) async fn cancel(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
) -> Outcome<Json<Replay>> {
    Ok(Json(replay::turn(shared.app(), &member.org, &id, ReplayStatus::Cancelled).await?))
}
