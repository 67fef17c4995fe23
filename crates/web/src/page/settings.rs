//! The organization itself: what it is called, and its end.

use super::{Form, Frame, Page, When, Wrong, go, may, org_frame, page};
use crate::Shared;
use crate::failure::Outcome;
use crate::gate::Member;
use agenstack_app::account;
use agenstack_core::policy::Action;
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

#[derive(Template)]
#[template(path = "settings.html")]
pub(super) struct Settings {
    pub frame: Frame,
    pub org: String,
    pub name: String,
    pub role: String,
    pub made: When,
    pub may_delete: bool,
    /// Something came from a former platform.
    pub brought: bool,
    pub wrong: Option<Wrong>,
}

async fn shown(shared: &Shared, member: &Member, wrong: Option<Wrong>) -> Outcome<Settings> {
    let organization = &member.membership.organization;
    let brought = agenstack_app::import::brought::any(shared.app(), &member.org).await?;
    Ok(Settings {
        brought,
        frame: org_frame(member, "Settings", "settings"),
        org: organization.id.as_str().to_owned(),
        name: organization.name.clone(),
        role: member.membership.role.as_str().to_owned(),
        made: When::of(organization.created_at, shared.app().now()),
        may_delete: may(member, Action::OrganizationDelete),
        wrong,
    })
}

/// `GET /orgs/{org}/settings`
pub(crate) async fn settings(State(shared): State<Shared>, member: Member) -> Outcome<Response> {
    Ok(Page(shown(&shared, &member, None).await?).into_response())
}

#[derive(Deserialize)]
pub(crate) struct Named {
    #[serde(default)]
    name: String,
}

/// `POST /orgs/{org}/delete`
pub(crate) async fn delete(
    State(shared): State<Shared>,
    member: Member,
    Form(given): Form<Named>,
) -> Outcome<Response> {
    let deleted = account::delete_organization(shared.app(), &member.org, &member.membership, &given.name);
    match deleted.await {
        Ok(()) => Ok(go("/orgs")),
        Err(error) => {
            let (status, wrong) = Wrong::of(error)?;
            Ok(page(status, shown(&shared, &member, Some(wrong)).await?))
        }
    }
}
