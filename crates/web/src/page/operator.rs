//! The operator's page: how the installation stands, and the mails that did not leave.

use super::chart::{Charts, charts};
use super::{Frame, Page, When, frame};
use crate::Shared;
use crate::api::Query;
use crate::client::ClientAddress;
use crate::failure::{Failure, Outcome};
use agenstack_app::operator::{self, Mail, Overview};
use agenstack_app::{App, AppError};
use agenstack_core::integration::ConnectionStatus;
use askama::Template;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode, header};
use secrecy::ExposeSecret;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Lets in whoever gives the operator's password by HTTP Basic, under any name. Without a password there is no such page.
pub(crate) async fn admit(shared: &Shared, request: Request) -> Result<Request, Response> {
    let Some(password) = &shared.web().operator_password else {
        return Err(Failure(AppError::NotFound).into_response());
    };
    let (mut parts, body) = request.into_parts();
    let Ok(ClientAddress(from)) = ClientAddress::from_request_parts(&mut parts, shared).await;
    let given = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(given);
    let Some(given) = given else { return Err(ask()) };
    // Before the password is looked at: whoever guesses too fast is not let in by a right guess either.
    operator::attempt(shared.app(), from).map_err(|error| Failure(error).into_response())?;
    // Digests are compared, so that neither length nor beginning tells anything.
    let same = Sha256::digest(given).ct_eq(&Sha256::digest(password.expose_secret().as_bytes()));
    if bool::from(same) {
        return Ok(Request::from_parts(parts, body));
    }
    tracing::warn!(%from, "the operator's page was refused");
    Err(ask())
}

/// The password of an `Authorization: Basic`.
fn given(header: &str) -> Option<Vec<u8>> {
    let (scheme, text) = header.split_once(' ')?;
    let pair = STANDARD.decode(text.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = pair.iter().position(|b| *b == b':')?;
    Some(pair[colon + 1..].to_vec())
}

fn ask() -> Response {
    let challenge = HeaderValue::from_static("Basic realm=\"AgenStack operator\", charset=\"UTF-8\"");
    let text =
        "This page is for the operator: any user name, and the password of AGENSTACK_OPERATOR_PASSWORD.";
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], text).into_response()
}

/// A row of the table of connections.
pub(super) struct Row {
    pub title: &'static str,
    pub set_up: bool,
    pub counts: Vec<i64>,
}

/// A mail with its time in words.
pub(super) struct Shown {
    pub mail: Mail,
    pub at: When,
}

#[derive(Template)]
#[template(path = "operator.html")]
pub(super) struct OperatorPage {
    pub frame: Frame,
    pub version: &'static str,
    pub database: &'static str,
    pub waiting: i64,
    pub states: Vec<&'static str>,
    pub rows: Vec<Row>,
    pub pulse: Charts,
    pub mail: bool,
    pub mails: Vec<Shown>,
    pub next: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct From {
    before: Option<String>,
}

/// `GET /operator`
pub(crate) async fn overview(State(shared): State<Shared>, Query(from): Query<From>) -> Outcome<Response> {
    let app = shared.app();
    let seen: Overview = operator::overview(app, from.before.as_deref()).await?;
    let now = app.now();
    let row = |(provider, set_up): &(agenstack_core::integration::Provider, bool)| Row {
        title: provider.title(),
        set_up: *set_up,
        counts: seen.connections.iter().filter(|c| c.0 == *provider).map(|c| c.2).collect(),
    };
    Ok(Page(OperatorPage {
        frame: Frame { live: Some("/operator/live".to_owned()), ..frame(&shared, "Operator") },
        pulse: drawn(app).await?,
        version: env!("CARGO_PKG_VERSION"),
        database: seen.database,
        waiting: seen.waiting,
        states: ConnectionStatus::ALL.iter().map(|s| super::integration::words(*s)).collect(),
        rows: seen.providers.iter().map(row).collect(),
        mail: seen.mail,
        mails: seen.mails.into_iter().map(|mail| Shown { at: When::of(mail.at, now), mail }).collect(),
        next: seen.next,
    })
    .into_response())
}

async fn drawn(app: &App) -> Outcome<Charts> {
    Ok(charts(&agenstack_app::pulse::of_all(app).await?, "/operator/pulse".to_owned(), "pulse", true))
}

/// The charts alone, for a page that is open.
#[derive(Template)]
#[template(path = "pulse.html")]
pub(super) struct PulsePart {
    pub pulse: Charts,
}

/// `GET /operator/pulse`
pub(crate) async fn pulse(State(shared): State<Shared>) -> Outcome<Response> {
    Ok(Page(PulsePart { pulse: drawn(shared.app()).await? }).into_response())
}
