//! The first page, signing up and in, and choosing an organization.

use super::{Form, Frame, Page, Wrong, frame, go, page, signed_frame};
use crate::api::Query;
use crate::client::ClientAddress;
use crate::failure::{Asked, Outcome};
use crate::gate::{SignedIn, Visitor};
use crate::{Shared, cookie};
use agenstack_app::account::{self, SignUp, SignedIn as Entered};
use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use secrecy::SecretString;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "landing.html")]
pub(super) struct Landing {
    pub frame: Frame,
}

/// `GET /`
pub(crate) async fn landing(
    State(shared): State<Shared>,
    Visitor(session): Visitor,
    RawQuery(query): RawQuery,
) -> Response {
    // An operator may have given Shopify this address as the app's.
    if let Some(query) = query.filter(|q| super::install::is_from_shopify(q)) {
        return super::install::from_shopify(&shared, session.is_some(), &query);
    }
    let mut frame = frame(&shared, "Support for your shop's customers, answered");
    frame.signed_in = session.is_some();
    Page(Landing { frame }).into_response()
}

#[derive(Template)]
#[template(path = "deletion.html")]
pub(super) struct DeletionPage {
    pub frame: Frame,
    pub done: super::When,
}

/// `GET /privacy/deletion/{code}`: how a request that came through Meta stands.
pub(crate) async fn deletion(State(shared): State<Shared>, Path(code): Path<String>) -> Outcome<Response> {
    let app = shared.app();
    let done = agenstack_app::privacy::deletion_done(app, &code);
    let at = done.ok_or(crate::failure::Failure(agenstack_app::AppError::NotFound))?;
    let done = super::When::of(at, app.now());
    Ok(Page(DeletionPage { frame: frame(&shared, "Deletion of your data"), done }).into_response())
}

#[derive(Template)]
#[template(path = "signup.html")]
pub(super) struct SignUpPage {
    pub frame: Frame,
    pub wrong: Option<Wrong>,
    pub email: String,
    pub name: String,
    pub organization_name: String,
    pub next: String,
}

/// `GET /signup`
pub(crate) async fn sign_up_form(
    State(shared): State<Shared>,
    Visitor(session): Visitor,
    Query(next): Query<Next>,
) -> Response {
    let next = safe_next(next.next.as_deref());
    if session.is_some() {
        return go(&next);
    }
    let (email, name, organization_name) = Default::default();
    let frame = frame(&shared, "Sign up");
    Page(SignUpPage { frame, wrong: None, email, name, organization_name, next }).into_response()
}

#[derive(Deserialize)]
pub(crate) struct NewAccount {
    email: String,
    password: String,
    name: String,
    organization_name: String,
    next: Option<String>,
}

fn entered(shared: &Shared, entered: &Entered, path: &str) -> Response {
    let cookie = cookie::sign_in(shared.secure(), &entered.token, shared.app().now(), entered.expires_at);
    let mut response = go(path);
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

/// `POST /signup`
pub(crate) async fn sign_up(
    State(shared): State<Shared>,
    ClientAddress(from): ClientAddress,
    Asked(ctx): Asked,
    Form(new): Form<NewAccount>,
) -> Outcome<Response> {
    let form = SignUp {
        email: new.email.clone(),
        password: SecretString::from(new.password),
        name: new.name.clone(),
        organization_name: new.organization_name.clone(),
    };
    let next = safe_next(new.next.as_deref());
    match account::sign_up(shared.app(), &ctx, from, form).await {
        Ok(made) => {
            // Whoever was on the way somewhere goes on; everybody else to their new organization.
            let path = match &made.organization {
                Some(org) if next == "/orgs" => format!("/orgs/{}", org.id),
                _ => next,
            };
            Ok(entered(&shared, &made, &path))
        }
        Err(error) => {
            let (status, wrong) = Wrong::of(error)?;
            let frame = frame(&shared, "Sign up");
            let (email, name, organization_name) = (new.email, new.name, new.organization_name);
            Ok(page(status, SignUpPage { frame, wrong: Some(wrong), email, name, organization_name, next }))
        }
    }
}

#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct LogInPage {
    pub frame: Frame,
    pub wrong: Option<Wrong>,
    pub email: String,
    pub next: String,
}

#[derive(Deserialize)]
pub(crate) struct Next {
    next: Option<String>,
}

/// A place of ours to go to after logging in; anything else becomes the list of organizations.
pub(super) fn safe_next(next: Option<&str>) -> String {
    let is_ours = |n: &&str| {
        let mut bytes = n.bytes();
        bytes.next() == Some(b'/')
            && !matches!(bytes.next(), Some(b'/' | b'\\'))
            && n.len() <= 512
            && n.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
            && !n.starts_with("/api")
            && !n.starts_with("/log")
    };
    next.filter(is_ours).unwrap_or("/orgs").to_owned()
}

/// `GET /login`
pub(crate) async fn log_in_form(
    State(shared): State<Shared>,
    Visitor(session): Visitor,
    Query(next): Query<Next>,
) -> Response {
    let next = safe_next(next.next.as_deref());
    if session.is_some() {
        return go(&next);
    }
    Page(LogInPage { frame: frame(&shared, "Log in"), wrong: None, email: String::new(), next })
        .into_response()
}

#[derive(Deserialize)]
pub(crate) struct Credentials {
    email: String,
    password: String,
    next: Option<String>,
}

/// `POST /login`
pub(crate) async fn log_in(
    State(shared): State<Shared>,
    ClientAddress(from): ClientAddress,
    Asked(ctx): Asked,
    Form(given): Form<Credentials>,
) -> Outcome<Response> {
    let next = safe_next(given.next.as_deref());
    match account::log_in(shared.app(), &ctx, from, &given.email, SecretString::from(given.password)).await {
        Ok(made) => Ok(entered(&shared, &made, &next)),
        Err(error) => {
            let (status, wrong) = Wrong::of(error)?;
            let page_of =
                LogInPage { frame: frame(&shared, "Log in"), wrong: Some(wrong), email: given.email, next };
            Ok(page(status, page_of))
        }
    }
}

/// `POST /logout`
pub(crate) async fn log_out(State(shared): State<Shared>, SignedIn(session): SignedIn) -> Outcome<Response> {
    account::log_out(shared.app(), &session).await?;
    let mut response = go("/");
    let headers = response.headers_mut();
    headers.append(header::SET_COOKIE, cookie::sign_out(shared.secure()));
    // What the browser kept of the pages goes with the session.
    headers.insert("clear-site-data", http::HeaderValue::from_static("\"cache\", \"storage\""));
    Ok(response)
}

pub(super) struct OrgRow {
    pub id: String,
    pub name: String,
    pub role: String,
}

#[derive(Template)]
#[template(path = "orgs.html")]
pub(super) struct Orgs {
    pub frame: Frame,
    pub user: String,
    pub orgs: Vec<OrgRow>,
    pub wrong: Option<Wrong>,
    pub name: String,
}

async fn orgs(shared: &Shared, session: &account::Session) -> Outcome<Orgs> {
    let memberships = account::memberships(shared.app(), session).await?;
    let row = |m: &agenstack_core::org::Membership| OrgRow {
        id: m.organization.id.as_str().to_owned(),
        name: m.organization.name.clone(),
        role: m.role.as_str().to_owned(),
    };
    Ok(Orgs {
        frame: signed_frame(shared, "Your organizations"),
        user: session.user.name.clone(),
        orgs: memberships.iter().map(row).collect(),
        wrong: None,
        name: String::new(),
    })
}

/// `GET /orgs`
pub(crate) async fn organizations(
    State(shared): State<Shared>,
    SignedIn(session): SignedIn,
) -> Outcome<Response> {
    Ok(Page(orgs(&shared, &session).await?).into_response())
}

#[derive(Deserialize)]
pub(crate) struct NewOrganization {
    name: String,
}

/// `POST /orgs`
pub(crate) async fn create_organization(
    State(shared): State<Shared>,
    Asked(ctx): Asked,
    SignedIn(session): SignedIn,
    Form(new): Form<NewOrganization>,
) -> Outcome<Response> {
    match account::create_organization(shared.app(), &ctx, &session, &new.name).await {
        Ok(made) => Ok(go(&format!("/orgs/{}", made.id))),
        Err(error) => {
            let (_, wrong) = Wrong::of(error)?;
            let shown = Orgs { wrong: Some(wrong), name: new.name, ..orgs(&shared, &session).await? };
            Ok(page(StatusCode::BAD_REQUEST, shown))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_place_of_ours_is_gone_to_after_logging_in() {
        for good in ["/orgs/org_1/inbox", "/orgs/org_1/events?state=dead", "/"] {
            assert_eq!(safe_next(Some(good)), good);
        }
        for bad in [
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/a\\b",
            "/a b",
            "/\t/evil.example",
            "/orgs\r\nSet-Cookie: x=y",
            "",
            "orgs",
            "/api/me",
            "/logout",
            &format!("/{}", "a".repeat(600)),
        ] {
            assert_eq!(safe_next(Some(bad)), "/orgs", "{bad:?}");
        }
        assert_eq!(safe_next(None), "/orgs");
    }
}
