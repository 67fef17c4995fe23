//! The inbox.

use super::{Paging, Query, time, word};
use crate::Shared;
use crate::failure::Outcome;
use crate::gate::Member;
use agenstack_app::event::{self, Detail};
use agenstack_app::{AppError, Page};
use agenstack_core::event::{Event, EventState};
use agenstack_core::integration::Provider;
use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;

/// What a list is narrowed to, as its address says it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Narrow {
    pub provider: Option<String>,
    pub topic: Option<String>,
    pub state: Option<String>,
    pub since: Option<String>,
    pub until: Option<String>,
    pub external_id: Option<String>,
    pub error: Option<String>,
    pub cursor: Option<String>,
    pub limit: Option<String>,
}

impl Narrow {
    pub(crate) fn query(&self) -> Result<event::Query, AppError> {
        let states = "pending, running, done, failed, dead";
        Ok(event::Query {
            provider: word(
                self.provider.as_deref(),
                "provider",
                Provider::parse,
                "shopify, messenger, kustomer",
            )?,
            topic: self.topic.clone(),
            state: word(self.state.as_deref(), "state", EventState::parse, states)?,
            since: time(self.since.as_deref(), "since")?,
            until: time(self.until.as_deref(), "until")?,
            external_id: self.external_id.clone(),
            error: self.error.clone(),
        })
    }
    pub(crate) fn paging(&self) -> Result<Paging, AppError> {
        let wrong = |_| AppError::invalid("limit", "The limit must be between 1 and 200.");
        let limit =
            self.limit.as_deref().filter(|l| !l.is_empty()).map(str::parse).transpose().map_err(wrong)?;
        Ok(Paging { cursor: self.cursor.clone(), limit })
    }
}

/// `GET …/events`
pub(crate) async fn list(
    State(shared): State<Shared>,
    member: Member,
    Query(narrow): Query<Narrow>,
) -> Outcome<Json<Page<Event>>> {
    let paging = narrow.paging()?;
    Ok(Json(event::list(shared.app(), &member.org, &narrow.query()?, paging.cursor(), paging.limit).await?))
}

/// `GET …/events/{id}`
pub(crate) async fn get(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
) -> Outcome<Json<Detail>> {
    Ok(Json(event::get(shared.app(), &member.org, &id).await?))
}

/// `POST …/events/{id}/replay`
pub(crate) async fn replay(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
) -> Outcome<Json<Event>> {
    Ok(Json(event::replay(shared.app(), &member.org, &id).await?))
}
