//! Privacy requests, and what they export.

use super::{Paging, Query};
use crate::Shared;
use crate::failure::Outcome;
use crate::gate::Member;
use agenstack_app::Page;
use agenstack_app::compliance::{self, Request};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header;

/// `GET …/privacy`
pub(crate) async fn list(
    State(shared): State<Shared>,
    member: Member,
    Query(paging): Query<Paging>,
) -> Outcome<Json<Page<Request>>> {
    Ok(Json(compliance::list(shared.app(), &member.org, paging.cursor(), paging.limit).await?))
}

/// `GET …/privacy/{id}/export`
pub(crate) async fn export(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
) -> Outcome<Response> {
    let export = compliance::fetch_export(shared.app(), &member.org, &id).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        // An id that was found is letters and digits.
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.json\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, export.to_vec()).into_response())
}
