//! Connections.

use super::Body;
use super::account::SecretText;
use crate::Shared;
use crate::failure::Outcome;
use crate::gate::Member;
use agenstack_app::connect::{self, PageChoice};
use agenstack_app::integration::{self, TestReport};
use agenstack_app::transfer::{self, Released};
use agenstack_core::integration::Integration;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

/// `GET …/integrations`
pub(crate) async fn list(State(shared): State<Shared>, member: Member) -> Outcome<Json<Value>> {
    let items = integration::list(shared.app(), &member.org).await?;
    Ok(Json(json!({"items": items, "next_cursor": null})))
}

/// The organization that an account is released to.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct Release {
    organization_id: String,
}

/// `POST …/integrations/{id}/transfer`
pub(crate) async fn release(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
    Body(to): Body<Release>,
) -> Outcome<(StatusCode, Json<Released>)> {
    let made = transfer::offer(shared.app(), &member.org, &id, &to.organization_id).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// `DELETE …/integrations/{id}/transfer`
pub(crate) async fn withdraw(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
) -> Outcome<StatusCode> {
    transfer::withdraw(shared.app(), &member.org, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET …/transfers`
pub(crate) async fn on_offer(State(shared): State<Shared>, member: Member) -> Outcome<Json<Value>> {
    let items = transfer::on_offer(shared.app(), &member.org).await?;
    Ok(Json(json!({"items": items, "next_cursor": null})))
}

/// `DELETE …/transfers/{id}`
pub(crate) async fn decline(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
) -> Outcome<StatusCode> {
    transfer::decline(shared.app(), &member.org, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET …/integrations/{id}/history`
pub(crate) async fn history(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
) -> Outcome<Json<Value>> {
    let items = integration::history(shared.app(), &member.org, &id).await?;
    Ok(Json(json!({"items": items, "next_cursor": null})))
}

/// `GET …/integrations/messenger/pages`
pub(crate) async fn pages(State(shared): State<Shared>, member: Member) -> Outcome<Json<Value>> {
    let items: Vec<PageChoice> = connect::pages(shared.app(), &member.org).await?;
    Ok(Json(json!({"items": items, "next_cursor": null})))
}

/// The page to connect.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct Choice {
    page_id: String,
}

/// `POST …/integrations/messenger/pages`
pub(crate) async fn choose_page(
    State(shared): State<Shared>,
    member: Member,
    Body(choice): Body<Choice>,
) -> Outcome<(StatusCode, Json<Integration>)> {
    let made = connect::choose_page(shared.app(), &member.org, &choice.page_id).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// A Kustomer account and a key to it.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct ApiKey {
    subdomain: String,
    #[schema(value_type = String, format = Password)]
    api_key: SecretText,
}

/// `POST …/integrations/kustomer/api-key`
pub(crate) async fn api_key(
    State(shared): State<Shared>,
    member: Member,
    Body(given): Body<ApiKey>,
) -> Outcome<(StatusCode, Json<Integration>)> {
    let made =
        connect::kustomer_api_key(shared.app(), &member.org, &given.subdomain, given.api_key.0).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// An app that a Kustomer account registered for itself.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct PrivateApp {
    subdomain: String,
    client_id: String,
    #[schema(value_type = String, format = Password)]
    client_secret: SecretText,
}

/// `POST …/integrations/kustomer/private-app`
pub(crate) async fn private_app(
    State(shared): State<Shared>,
    member: Member,
    Body(given): Body<PrivateApp>,
) -> Outcome<Json<Value>> {
    let PrivateApp { subdomain, client_id, client_secret } = given;
    let (app, org, session) = (shared.app(), &member.org, &member.session);
    let location =
        connect::kustomer_private_app(app, org, session, &subdomain, &client_id, client_secret.0).await?;
    Ok(Json(json!({"location": location})))
}

/// `POST …/integrations/{id}/test`
pub(crate) async fn test(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
) -> Outcome<Json<TestReport>> {
    Ok(Json(integration::test(shared.app(), &member.org, &id).await?))
}

/// `POST …/integrations/{id}/reconnect`
pub(crate) async fn reconnect(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
) -> Outcome<Json<Value>> {
    let location = connect::reconnect(shared.app(), &member.org, &member.session, &id).await?;
    Ok(Json(json!({"location": location})))
}

/// `DELETE …/integrations/{id}`
pub(crate) async fn disconnect(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
) -> Outcome<Response> {
    integration::disconnect(shared.app(), &member.org, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
