//! Conversations.

use super::{Body, Paging, Query, word};
use crate::Shared;
use crate::failure::Outcome;
use crate::gate::Member;
use agenstack_app::conversation::{self, Filter, Summary};
use agenstack_app::{AppError, Page};
use agenstack_core::conversation::{Message, Owner, Status};
use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;

/// What a list is narrowed to, as its address says it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Narrow {
    pub owner: Option<String>,
    pub status: Option<String>,
    pub cursor: Option<String>,
    pub limit: Option<i64>,
}

impl Narrow {
    pub(crate) fn filter(&self) -> Result<Filter, AppError> {
        Ok(Filter {
            owner: word(self.owner.as_deref(), "owner", Owner::parse, "bot, person, paused")?,
            status: word(self.status.as_deref(), "status", Status::parse, "open, closed")?,
        })
    }
}

/// `GET …/conversations`
pub(crate) async fn list(
    State(shared): State<Shared>,
    member: Member,
    Query(narrow): Query<Narrow>,
) -> Outcome<Json<Page<Summary>>> {
    let cursor = narrow.cursor.as_deref().filter(|c| !c.is_empty());
    Ok(Json(conversation::list(shared.app(), &member.org, &narrow.filter()?, cursor, narrow.limit).await?))
}

/// `GET …/conversations/{id}`
pub(crate) async fn get(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
) -> Outcome<Json<Summary>> {
    Ok(Json(conversation::get(shared.app(), &member.org, &id).await?))
}

/// `GET …/conversations/{id}/messages`
pub(crate) async fn messages(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
    Query(paging): Query<Paging>,
) -> Outcome<Json<Page<Message>>> {
    Ok(Json(conversation::messages(shared.app(), &member.org, &id, paging.cursor(), paging.limit).await?))
}

/// What a person answers.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct Answer {
    text: String,
}

/// `POST …/conversations/{id}/messages`
pub(crate) async fn answer(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
    Body(answer): Body<Answer>,
) -> Outcome<(StatusCode, Json<Message>)> {
    let made = conversation::answer(shared.app(), &member.org, &id, &answer.text).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// `POST …/conversations/{id}/takeover`
pub(crate) async fn take_over(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
) -> Outcome<Json<Summary>> {
    Ok(Json(conversation::take_over(shared.app(), &member.org, &id).await?))
}

/// `POST …/conversations/{id}/handback`
pub(crate) async fn hand_back(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
) -> Outcome<Json<Summary>> {
    Ok(Json(conversation::hand_back(shared.app(), &member.org, &id).await?))
}
