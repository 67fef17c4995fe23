//! Bots' settings and knowledge that were brought along from a former platform.

use super::{Frame, Page, org_frame};
use crate::Shared;
use crate::api::{Paging, Query};
use crate::failure::Outcome;
use crate::gate::Member;
use agenstack_app::import::brought::{self as deed, Brought};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

#[derive(Template)]
#[template(path = "brought.html")]
pub(super) struct BroughtPage {
    pub frame: Frame,
    pub org: String,
    pub items: Vec<Brought>,
    pub next: Option<String>,
}

/// `GET /orgs/{org}/brought`
pub(crate) async fn list(
    State(shared): State<Shared>,
    member: Member,
    Query(paging): Query<Paging>,
) -> Outcome<Response> {
    let (items, next) = deed::list(shared.app(), &member.org, paging.cursor()).await?;
    let frame = org_frame(&member, "From your former platform", "settings");
    let org = member.org.org().as_str().to_owned();
    Ok(Page(BroughtPage { frame, org, items, next }).into_response())
}
