//! A new password: asking for a link, and choosing one by it. What is answered never tells who has an account.

use super::{Form, Frame, Page, Wrong, frame, page};
use crate::Shared;
use crate::api::Query;
use crate::client::ClientAddress;
use crate::failure::{Asked, Outcome};
use agenstack_app::AppError;
use agenstack_app::reset as deed;
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "forgot.html")]
pub(super) struct Forgot {
    pub frame: Frame,
    pub wrong: Option<Wrong>,
    pub email: String,
    /// Somebody has asked.
    pub asked: bool,
}

/// `GET /forgot`
pub(crate) async fn ask_form(State(shared): State<Shared>) -> Response {
    let frame = frame(&shared, "Forgot your password?");
    Page(Forgot { frame, wrong: None, email: String::new(), asked: false }).into_response()
}

#[derive(Deserialize)]
pub(crate) struct Address {
    #[serde(default)]
    email: String,
}

/// `POST /forgot`
pub(crate) async fn ask(
    State(shared): State<Shared>,
    ClientAddress(from): ClientAddress,
    Asked(ctx): Asked,
    Form(given): Form<Address>,
) -> Outcome<Response> {
    let shown = |wrong, asked| Forgot {
        frame: frame(&shared, "Forgot your password?"),
        wrong,
        email: given.email.clone(),
        asked,
    };
    match deed::ask(shared.app(), &ctx, from, &given.email) {
        Ok(()) => Ok(Page(shown(None, true)).into_response()),
        Err(error) => {
            let (status, wrong) = Wrong::of(error)?;
            Ok(page(status, shown(Some(wrong), false)))
        }
    }
}

#[derive(Template)]
#[template(path = "reset.html")]
pub(super) struct Reset {
    pub frame: Frame,
    pub wrong: Option<Wrong>,
    /// What the form carries on; empty if the link leads nowhere any more.
    pub token: String,
    /// It is done.
    pub chosen: bool,
}

#[derive(Deserialize)]
pub(crate) struct Link {
    #[serde(default)]
    token: String,
}

fn shown(shared: &Shared, wrong: Option<Wrong>, token: String, chosen: bool) -> Reset {
    Reset { frame: frame(shared, "Choose a password"), wrong, token, chosen }
}

/// Whether it is the link that is wrong, and not what was typed.
fn is_link(error: &AppError) -> bool {
    matches!(error, AppError::Invalid { field: "token", .. })
}

/// `GET /reset?token=…`
pub(crate) async fn choose_form(
    State(shared): State<Shared>,
    Asked(ctx): Asked,
    Query(link): Query<Link>,
) -> Outcome<Response> {
    match deed::look(shared.app(), &ctx, &link.token).await {
        Ok(()) => Ok(Page(shown(&shared, None, link.token, false)).into_response()),
        Err(error) => {
            let (status, wrong) = Wrong::of(error)?;
            Ok(page(
                status,
                shown(&shared, Some(Wrong { field: String::new(), ..wrong }), String::new(), false),
            ))
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Chosen {
    #[serde(default)]
    token: String,
    #[serde(default)]
    password: String,
}

/// `POST /reset`
pub(crate) async fn choose(
    State(shared): State<Shared>,
    ClientAddress(from): ClientAddress,
    Asked(ctx): Asked,
    Form(given): Form<Chosen>,
) -> Outcome<Response> {
    let token = SecretString::from(given.token.clone());
    let password = SecretString::from(given.password);
    match deed::choose(shared.app(), &ctx, from, &token, password).await {
        Ok(()) => Ok(page(StatusCode::OK, shown(&shared, None, String::new(), true))),
        Err(error) => {
            let ended = is_link(&error);
            let (status, wrong) = Wrong::of(error)?;
            let (wrong, token) = match ended {
                true => (Wrong { field: String::new(), ..wrong }, String::new()),
                false => (wrong, given.token),
            };
            Ok(page(status, shown(&shared, Some(wrong), token, false)))
        }
    }
}
