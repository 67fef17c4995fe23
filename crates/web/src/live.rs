//! Tells an open page that something of its organization changed. Says what kind of thing, never what: the page
//! then asks with its own rights.

use crate::Shared;
use crate::failure::{Failure, Outcome};
use crate::gate::Member;
use agenstack_app::{AppError, account};
use agenstack_core::ctx::Actor;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// A stream ends within this time after its session or membership has ended.
const RECHECK: Duration = Duration::from_secs(4);
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The stream of one tab.
pub(crate) async fn stream(
    State(shared): State<Shared>,
    member: Member,
    cookie: CookieToken,
) -> Outcome<Response> {
    let busy = || Failure(AppError::TooMany { retry_after_secs: 30 });
    let slot = shared.streams().try_acquire_owned().map_err(|_| busy())?;
    let (sender, receiver) = mpsc::channel::<Result<Event, Infallible>>(16);
    let mut changes = shared.app().live().listen();
    let mut closing = shared.web().closing.clone();
    let org = member.org.org().clone();
    tokio::spawn(async move {
        let _slot = slot;
        let mut recheck = tokio::time::interval(RECHECK);
        loop {
            let topic = tokio::select! {
                _ = closing.changed() => break,
                () = sender.closed() => break,
                _ = recheck.tick() => {
                    if still_a_member(&shared, &cookie.0, org.as_str()).await { continue } else { break }
                }
                change = changes.recv() => match change {
                    Ok((of, topic)) if of == org => topic.as_str(),
                    Ok(_) => continue,
                    // Some were missed: the page asks for everything again.
                    Err(RecvError::Lagged(_)) => "inbox",
                    Err(RecvError::Closed) => break,
                },
            };
            if sender.send(Ok(Event::default().event(topic).data("changed"))).await.is_err() {
                break;
            }
        }
    });
    let keep_alive = KeepAlive::new().interval(HEARTBEAT).text("beat");
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(keep_alive).into_response())
}

/// The stream of the operator's page: how it goes, as often as that is said.
pub(crate) async fn operator(State(shared): State<Shared>) -> Outcome<Response> {
    let busy = || Failure(AppError::TooMany { retry_after_secs: 30 });
    let slot = shared.streams().try_acquire_owned().map_err(|_| busy())?;
    let (sender, receiver) = mpsc::channel::<Result<Event, Infallible>>(1);
    let mut closing = shared.web().closing.clone();
    tokio::spawn(async move {
        let _slot = slot;
        let mut said = tokio::time::interval(agenstack_app::pulse::SAID);
        loop {
            tokio::select! {
                _ = closing.changed() => break,
                () = sender.closed() => break,
                _ = said.tick() => {}
            }
            if sender.send(Ok(Event::default().event("pulse").data("changed"))).await.is_err() {
                break;
            }
        }
    });
    let keep_alive = KeepAlive::new().interval(HEARTBEAT).text("beat");
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(keep_alive).into_response())
}

async fn still_a_member(shared: &Shared, token: &str, org: &str) -> bool {
    let app = shared.app();
    let ctx = app.ctx(Actor::Anonymous);
    match account::session(app, &ctx, token).await {
        Ok(Some(session)) => account::org_ctx(app, &ctx, &session, org).await.is_ok(),
        _ => false,
    }
}

/// The cookie's value, for asking again.
pub(crate) struct CookieToken(String);

impl axum::extract::FromRequestParts<Shared> for CookieToken {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut http::request::Parts, shared: &Shared) -> Result<Self, Failure> {
        let token = crate::cookie::session_token(&parts.headers, shared.secure());
        token.map(CookieToken).ok_or(Failure(AppError::Unauthenticated("Log in first.")))
    }
}
