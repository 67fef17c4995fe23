//! The log of what providers sent.

use super::chart::{Charts, charts};
use super::operator::PulsePart;
use super::{Form, Frame, Page, When, go, may, org_frame};
use crate::Shared;
use crate::api::Query;
use crate::api::event::Narrow;
use crate::failure::Outcome;
use crate::gate::Member;
use agenstack_app::event as deed;
use agenstack_app::timeline::Moment;
use agenstack_core::clock::Timestamp;
use agenstack_core::event::{Event, EventState, Replay, ReplayStatus};
use agenstack_core::policy::Action;
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde::Deserialize;

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
    /// Nothing if the list alone is asked for again.
    pub pulse: Option<Charts>,
    pub rows: Vec<Row>,
    pub provider: String,
    pub state: String,
    pub topic: String,
    pub since: String,
    pub until: String,
    pub external_id: String,
    pub error: String,
    pub next: Option<String>,
    pub replays: Vec<Progress>,
    /// What can be handled again: the filter names ended events, and the person may.
    pub again: bool,
}

/// A replay in words.
pub(super) struct Progress {
    pub id: String,
    pub what: String,
    pub status: &'static str,
    pub done: i64,
    pub total: i64,
    pub per_second: i64,
    pub begun: When,
    pub pausable: bool,
    pub resumable: bool,
}

fn progress(r: &Replay, now: Timestamp) -> Progress {
    let kind = match (r.provider, &r.topic) {
        (_, Some(topic)) => topic.clone(),
        (Some(provider), None) => provider.title().to_owned(),
        (None, None) => "all topics".to_owned(),
    };
    Progress {
        id: r.id.as_str().to_owned(),
        what: match r.state {
            EventState::Done => format!("Events that were done, {kind}"),
            EventState::Failed => format!("Events that failed, {kind}"),
            _ => format!("Dead events, {kind}"),
        },
        status: r.status.as_str(),
        done: r.done,
        total: r.total,
        per_second: r.per_second,
        begun: When::of(r.created_at, now),
        pausable: r.status == ReplayStatus::Running,
        resumable: r.status == ReplayStatus::Paused,
    }
}

/// How long an ended replay is shown.
const SHOWN_SECS: i64 = 3_600;

/// `GET /orgs/{org}/events`
pub(crate) async fn list(
    State(shared): State<Shared>,
    member: Member,
    Query(narrow): Query<Narrow>,
    headers: HeaderMap,
) -> Outcome<Response> {
    let part = headers.get("hx-target").is_some_and(|target| target == "events");
    let pulse = if part { None } else { Some(drawn(&shared, &member).await?) };
    let paging = narrow.paging()?;
    let found =
        deed::list(shared.app(), &member.org, &narrow.query()?, paging.cursor(), paging.limit.or(Some(30)))
            .await?;
    let now = shared.app().now();
    let manages = may(&member, Action::EventManage);
    let mut replays =
        if manages { agenstack_app::replay::list(shared.app(), &member.org).await? } else { Vec::new() };
    replays.retain(|r| r.ended_at.is_none_or(|at| at.plus_secs(SHOWN_SECS) > now));
    let searches = [&narrow.external_id, &narrow.error].into_iter().flatten().any(|text| !text.is_empty());
    let ended = matches!(narrow.state.as_deref(), Some("dead" | "failed" | "done"));
    Ok(Page(Events {
        replays: replays.iter().map(|r| progress(r, now)).collect(),
        // A replay is not narrowed by these.
        again: manages && ended && !found.items.is_empty() && !searches,
        since: narrow.since.unwrap_or_default(),
        until: narrow.until.unwrap_or_default(),
        external_id: narrow.external_id.unwrap_or_default(),
        error: narrow.error.unwrap_or_default(),
        frame: org_frame(&member, "Events", "events"),
        org: member.org.org().as_str().to_owned(),
        pulse,
        rows: found.items.iter().map(|e| row(e, now)).collect(),
        provider: narrow.provider.unwrap_or_default(),
        state: narrow.state.unwrap_or_default(),
        topic: narrow.topic.unwrap_or_default(),
        next: found.next_cursor,
    })
    .into_response())
}

async fn drawn(shared: &Shared, member: &Member) -> Outcome<Charts> {
    let source = format!("/orgs/{}/events/pulse", member.org.org());
    Ok(charts(
        &agenstack_app::pulse::of_organization(shared.app(), &member.org).await?,
        source,
        "events",
        false,
    ))
}

/// `GET /orgs/{org}/events/pulse`
pub(crate) async fn pulse(State(shared): State<Shared>, member: Member) -> Outcome<Response> {
    Ok(Page(PulsePart { pulse: drawn(&shared, &member).await? }).into_response())
}

/// A step of an event in words.
pub(super) struct Step {
    pub words: &'static str,
    pub class: &'static str,
    /// To the millisecond: people compare steps.
    pub at: Option<String>,
    /// In the place of a time that is not known.
    pub when: &'static str,
    pub took: Option<String>,
    pub reason: Option<String>,
}

fn step(m: Moment, me: &str) -> Step {
    let (words, class, when) = match m.step {
        "received" => ("received", "", ""),
        "committed" => ("committed", "", "before the provider was answered"),
        "done" => ("done", "state-done", ""),
        "failed" => ("attempt failed", "state-failed", ""),
        "dead" => ("given up", "state-dead", ""),
        "cancelled" => ("given up with its connection", "state-dead", ""),
        "replayed" => ("handled again", "", ""),
        "running" => ("being worked on", "", "now"),
        _ => ("waits, due", "", ""),
    };
    let took = m.begun_at.zip(m.duration_ms);
    let took = took.map(|(begun, ms)| format!("a worker took it at {}; {ms} ms", begun.rfc3339()));
    let asked = m.actor.as_deref().map(|actor| match actor {
        a if a.starts_with("rpl_") => "asked for by a replay of many".to_owned(),
        a => format!("asked for by {}", super::connection::by(a, me)),
    });
    Step { words, class, at: m.at.map(Timestamp::rfc3339), when, took: took.or(asked), reason: m.reason }
}

#[derive(Template)]
#[template(path = "event.html")]
pub(super) struct One {
    pub frame: Frame,
    pub org: String,
    pub row: Row,
    pub steps: Vec<Step>,
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
        steps: found.timeline.into_iter().map(|m| step(m, member.session.user.id.as_str())).collect(),
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

/// What the form on the list of events says.
#[derive(Debug, Deserialize)]
pub(crate) struct Again {
    #[serde(flatten)]
    narrow: Narrow,
}

/// `POST /orgs/{org}/replays`
pub(crate) async fn replay_many(
    State(shared): State<Shared>,
    member: Member,
    Path(org): Path<String>,
    Form(again): Form<Again>,
) -> Outcome<Response> {
    agenstack_app::replay::begin(shared.app(), &member.org, &again.narrow.query()?, None).await?;
    Ok(go(&format!("/orgs/{org}/events")))
}

async fn turn(shared: &Shared, member: &Member, org: &str, id: &str, to: ReplayStatus) -> Outcome<Response> {
    agenstack_app::replay::turn(shared.app(), &member.org, id, to).await?;
    Ok(go(&format!("/orgs/{org}/events")))
}

/// `POST /orgs/{org}/replays/{id}/pause`
pub(crate) async fn pause(
    State(shared): State<Shared>,
    member: Member,
    Path((org, id)): Path<(String, String)>,
) -> Outcome<Response> {
    turn(&shared, &member, &org, &id, ReplayStatus::Paused).await
}

/// `POST /orgs/{org}/replays/{id}/resume`
pub(crate) async fn resume(
    State(shared): State<Shared>,
    member: Member,
    Path((org, id)): Path<(String, String)>,
) -> Outcome<Response> {
    turn(&shared, &member, &org, &id, ReplayStatus::Running).await
}

/// `POST /orgs/{org}/replays/{id}/cancel`
pub(crate) async fn cancel(
    State(shared): State<Shared>,
    member: Member,
    Path((org, id)): Path<(String, String)>,
) -> Outcome<Response> {
    turn(&shared, &member, &org, &id, ReplayStatus::Cancelled).await
}
