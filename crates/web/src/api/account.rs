//! Signing up, in and out; who one is; organizations.

use super::Body;
use crate::client::ClientAddress;
use crate::failure::{Asked, Outcome};
use crate::gate::{Member, SignedIn};
use crate::{Shared, cookie};
use agenstack_app::account::{self, SignUp, SignedIn as Entered};
use agenstack_core::org::{Organization, User};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

/// What signing up takes.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct NewAccount {
    email: String,
    /// At least twelve characters.
    #[schema(value_type = String, format = Password)]
    password: SecretText,
    name: String,
    organization_name: String,
}

/// What logging in takes.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct Credentials {
    email: String,
    #[schema(value_type = String, format = Password)]
    password: SecretText,
}

/// The name of a new organization.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct NewOrganization {
    name: String,
}

/// Text that is wiped and never printed.
pub(crate) struct SecretText(pub SecretString);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self(SecretString::from(String::deserialize(d)?)))
    }
}

pub(crate) fn user(user: &User) -> Value {
    json!({"id": user.id, "email": user.email, "name": user.name})
}

pub(crate) fn organization_of(org: &Organization) -> Value {
    json!({"id": org.id, "name": org.name})
}

pub(crate) fn entered(shared: &Shared, status: StatusCode, entered: &Entered, body: Value) -> Response {
    let cookie = cookie::sign_in(shared.secure(), &entered.token, shared.app().now(), entered.expires_at);
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

/// `POST /api/auth/signup`
pub(crate) async fn sign_up(
    State(shared): State<Shared>,
    ClientAddress(from): ClientAddress,
    Asked(ctx): Asked,
    Body(new): Body<NewAccount>,
) -> Outcome<Response> {
    let form = SignUp {
        email: new.email,
        password: new.password.0,
        name: new.name,
        organization_name: new.organization_name,
    };
    let made = account::sign_up(shared.app(), &ctx, from, form).await?;
    let body =
        json!({"user": user(&made.user), "organization": made.organization.as_ref().map(organization_of)});
    Ok(entered(&shared, StatusCode::CREATED, &made, body))
}

/// `POST /api/auth/login`
pub(crate) async fn log_in(
    State(shared): State<Shared>,
    ClientAddress(from): ClientAddress,
    Asked(ctx): Asked,
    Body(given): Body<Credentials>,
) -> Outcome<Response> {
    let made = account::log_in(shared.app(), &ctx, from, &given.email, given.password.0).await?;
    let body = json!({"user": user(&made.user)});
    Ok(entered(&shared, StatusCode::OK, &made, body))
}

/// `POST /api/auth/logout`
pub(crate) async fn log_out(State(shared): State<Shared>, SignedIn(session): SignedIn) -> Outcome<Response> {
    account::log_out(shared.app(), &session).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie::sign_out(shared.secure()))]).into_response())
}

/// `GET /api/me`
pub(crate) async fn me(State(shared): State<Shared>, SignedIn(session): SignedIn) -> Outcome<Json<Value>> {
    let memberships = account::memberships(shared.app(), &session).await?;
    let list: Vec<Value> = memberships
        .iter()
        .map(|m| json!({"id": m.organization.id, "name": m.organization.name, "role": m.role}))
        .collect();
    Ok(Json(json!({"user": user(&session.user), "organizations": list})))
}

/// `POST /api/organizations`
pub(crate) async fn create_organization(
    State(shared): State<Shared>,
    Asked(ctx): Asked,
    SignedIn(session): SignedIn,
    Body(new): Body<NewOrganization>,
) -> Outcome<Response> {
    let made = account::create_organization(shared.app(), &ctx, &session, &new.name).await?;
    Ok((StatusCode::CREATED, Json(organization_of(&made))).into_response())
}

/// `DELETE /api/organizations/{org}`
pub(crate) async fn delete_organization(
    State(shared): State<Shared>,
    member: Member,
    Body(given): Body<NewOrganization>,
) -> Outcome<StatusCode> {
    account::delete_organization(shared.app(), &member.org, &member.membership, &given.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/organizations/{org}`
pub(crate) async fn organization(member: Member) -> Json<Value> {
    let org = &member.membership.organization;
    Json(
        json!({"id": org.id, "name": org.name, "role": member.membership.role, "created_at": org.created_at}),
    )
}
