//! The log of what providers sent.

use super::{Frame, Page, When, go, may, org_frame};
use crate::Shared;
use crate::api::Query;
use crate::api::event::Narrow;
use crate::failure::Outcome;
use crate::gate::Member;
use agenstack_app::event as deed;
use agenstack_core::clock::Timestamp;
use agenstack_core::event::Event;
use agenstack_core::policy::Action;
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};

/// An event in words.
pub(super) struct Row {
    pub id: String,
    pub provider: &'static str,
    pub topic: String,
    pub external_id: String,
    pub state: &'static str,
    pub attempts: i64,
    pub received: When,
    pub done: Option<When>,
    pub error: Option<String>,
}

fn row(e: &Event, now: Timestamp) -> Row {
    Row {
        id: e.id.as_str().to_owned(),
        provider: e.provider.as_str(),
        topic: e.topic.clone(),
        external_id: e.external_id.clone(),
        state: e.state.as_str(),
        attempts: e.attempts,
        received: When::of(e.received_at, now),
        done: e.done_at.map(|at| When::of(at, now)),
        error: e.last_error.clone(),
    }
}

#[derive(Template)]
#[template(path = "events.html")]
pub(super) struct Events {
    pub frame: Frame,
    pub org: String,
    pub rows: Vec<Row>,
    pub provider: String,
    pub state: String,
    pub topic: String,
    pub next: Option<String>,
}

/// `GET /orgs/{org}/events`
pub(crate) async fn list(
    State(shared): State<Shared>,
    member: Member,
    Query(narrow): Query<Narrow>,
) -> Outcome<Response> {
    let paging = narrow.paging()?;
    let found =
        deed::list(shared.app(), &member.org, &narrow.query()?, paging.cursor(), paging.limit.or(Some(30)))
            .await?;
    let now = shared.app().now();
    Ok(Page(Events {
        frame: org_frame(&member, "Events", "events"),
        org: member.org.org().as_str().to_owned(),
        rows: found.items.iter().map(|e| row(e, now)).collect(),
        provider: narrow.provider.unwrap_or_default(),
        state: narrow.state.unwrap_or_default(),
        topic: narrow.topic.unwrap_or_default(),
        next: found.next_cursor,
    })
    .into_response())
}

#[derive(Template)]
#[template(path = "event.html")]
pub(super) struct One {
    pub frame: Frame,
    pub org: String,
    pub row: Row,
    pub payload: Option<String>,
    pub may_replay: bool,
}

/// `GET /orgs/{org}/events/{id}`
pub(crate) async fn one(
    State(shared): State<Shared>,
    member: Member,
    Path((org, id)): Path<(String, String)>,
) -> Outcome<Response> {
    let found = deed::get(shared.app(), &member.org, &id).await?;
    let ended = matches!(found.event.state.as_str(), "done" | "dead" | "failed");
    Ok(Page(One {
        frame: org_frame(&member, "Event", "events"),
        org,
        row: row(&found.event, shared.app().now()),
        payload: found.payload.as_ref().map(|p| serde_json::to_string_pretty(p).unwrap_or_default()),
        may_replay: ended && may(&member, Action::EventManage),
    })
    .into_response())
}

/// `POST /orgs/{org}/events/{id}/replay`
pub(crate) async fn replay(
    State(shared): State<Shared>,
    member: Member,
    Path((org, id)): Path<(String, String)>,
) -> Outcome<Response> {
    deed::replay(shared.app(), &member.org, &id).await?;
    Ok(go(&format!("/orgs/{org}/events/{id}")))
}
