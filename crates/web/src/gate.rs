//! Lets in whom the list of routes says. Runs before the handler; the handler finds the proof in its arguments.

use crate::failure::Failure;
use crate::{Access, Shared, cookie, origin};
use agenstack_app::AppError;
use agenstack_app::account::{self, Session};
use agenstack_app::integration::Trouble;
use agenstack_core::ctx::{Actor, Ctx, OrgCtx};
use agenstack_core::org::Membership;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::Method;
use http::request::Parts;
use std::convert::Infallible;

/// A signed-in person.
pub(crate) struct SignedIn(pub Session);

/// A member of the organization that the request is about, with the proof that opens its rows.
pub(crate) struct Member {
    pub org: OrgCtx,
    pub membership: Membership,
    pub session: Session,
    /// What the banner tells; only looked up for pages.
    pub troubles: Vec<Trouble>,
}

/// Who is signed in, if anybody.
pub(crate) struct Visitor(pub Option<Session>);

#[derive(Clone)]
struct Place {
    org: OrgCtx,
    membership: Membership,
    troubles: Vec<Trouble>,
}

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts.extensions.get::<Session>().cloned().map(SignedIn).ok_or_else(stranger)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Member {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let session = parts.extensions.get::<Session>().cloned().ok_or_else(stranger)?;
        let place = parts.extensions.get::<Place>().cloned().ok_or(Failure(AppError::NotFound))?;
        Ok(Self { org: place.org, membership: place.membership, session, troubles: place.troubles })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<Session>().cloned()))
    }
}

fn stranger() -> Failure {
    Failure(AppError::Unauthenticated("Log in first."))
}

/// Stands before one route.
pub(crate) async fn gate(
    State((shared, access)): State<(Shared, Access)>,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    if access == Access::Operator {
        return match Box::pin(crate::page::operator::admit(&shared, request)).await {
            Ok(request) => next.run(request).await,
            Err(refused) => refused,
        };
    }
    let is_page = !request.uri().path().starts_with("/api/");
    match Box::pin(admit(&shared, access, &params, &mut request)).await {
        Ok(()) => next.run(request).await,
        // A person who opens a page is asked to log in; a program is told.
        Err(Failure(AppError::Unauthenticated(_)))
            if is_page && request.method() == Method::GET && !request.uri().path().ends_with("/live") =>
        {
            let here = request.uri().path_and_query().map_or("/", |p| p.as_str());
            let next: String = url::form_urlencoded::byte_serialize(here.as_bytes()).collect();
            Redirect::to(&format!("/login?next={next}")).into_response()
        }
        Err(failure) => failure.into_response(),
    }
}

async fn admit(
    shared: &Shared,
    access: Access,
    params: &RawPathParams,
    request: &mut Request,
) -> Result<(), Failure> {
    let app = shared.app();
    if !request.method().is_safe() && !origin::is_ours(request.headers(), app.public_url()) {
        tracing::info!(path = request.uri().path(), "a request from another site was refused");
        return Err(Failure(AppError::CrossOrigin));
    }
    let Some(mut ctx) = request.extensions().get::<Ctx>().cloned() else {
        return Err(Failure(AppError::Internal("a request without its operation".into())));
    };
    let session = match cookie::session_token(request.headers(), shared.secure()) {
        Some(token) => account::session(app, &ctx, &token).await?,
        None => None,
    };
    if let Some(session) = session {
        ctx.actor = Actor::User(session.user.id.clone());
        request.extensions_mut().insert(ctx.clone());
        request.extensions_mut().insert(session.clone());
        let (org, action) = match access {
            Access::Org(action) => {
                (params.iter().find(|(name, _)| *name == "org").map(|(_, v)| v.to_owned()), action)
            }
            Access::OrgInQuery(action) => (in_query(request.uri().query().unwrap_or_default()), action),
            _ => return Ok(()),
        };
        // Without one it is nobody's, not somebody's.
        let org = org.ok_or_else(|| {
            AppError::invalid("organization_id", "Say which organization: organization_id=org_…")
        })?;
        let (org, membership) = account::org_ctx(app, &ctx, &session, &org).await?;
        org.require(action).map_err(AppError::from)?;
        // Every page of an organization says what stands still there; a program asks for the connections.
        let is_page = !request.uri().path().starts_with("/api/") && !request.uri().path().ends_with("/live");
        let troubles =
            if is_page { agenstack_app::integration::troubles(app, &org).await? } else { Vec::new() };
        request.extensions_mut().insert(Place { org, membership, troubles });
        return Ok(());
    }
    match access {
        Access::Public(_) => Ok(()),
        // Let in elsewhere, or not at all.
        Access::Operator | Access::Signed(_) => Err(Failure(AppError::NotFound)),
        Access::SignedIn | Access::Org(_) | Access::OrgInQuery(_) => Err(stranger()),
    }
}

/// The organization of a query; none if it stands there twice.
fn in_query(query: &str) -> Option<String> {
    let mut found =
        url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "organization_id");
    let (_, value) = found.next()?;
    found.next().is_none().then(|| value.into_owned())
}
