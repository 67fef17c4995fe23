//! The pages. Each has a template beside it; a file for each noun.

pub(crate) mod account;
pub(crate) mod brought;
pub(crate) mod chart;
pub(crate) mod connect;
pub(crate) mod connection;
pub(crate) mod event;
pub(crate) mod home;
pub(crate) mod inbox;
pub(crate) mod install;
pub(crate) mod integration;
pub(crate) mod operator;
pub(crate) mod privacy;
pub(crate) mod reset;
pub(crate) mod settings;
mod words;

pub(crate) use words::When;

use crate::failure::Failure;
use crate::gate::Member;
use crate::{Shared, asset};
use agenstack_app::AppError;
use agenstack_app::integration::Trouble;
use agenstack_core::integration::ConnectionStatus;
use agenstack_core::policy::Action;
use askama::Template;
use axum::extract::{FromRequest, Request};
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::de::DeserializeOwned;

/// What stands around every page.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub title: String,
    /// The folder of style and script.
    pub assets: String,
    /// Below an organization.
    pub place: Option<Place>,
    /// Where the page hears of changes.
    pub live: Option<String>,
    /// Somebody is signed in.
    pub signed_in: bool,
}

/// The organization a page is about.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub org: String,
    pub org_name: String,
    pub user: String,
    pub role: String,
    /// Whether the navigation leads to privacy requests.
    pub sees_privacy: bool,
    /// Which entry of the navigation this is.
    pub active: &'static str,
    /// Connections that stand still, the first few.
    pub troubles: Vec<Banner>,
    /// How many more there are.
    pub more_troubles: usize,
}

/// A connection that stands still, as every page of the organization says it.
#[derive(Clone, Debug)]
pub(crate) struct Banner {
    pub title: String,
    pub status: &'static str,
    pub text: String,
    pub since: Option<When>,
    pub waiting: String,
    /// Where to mend it, for those who may.
    pub mend: Option<String>,
}

/// Banners that a page shows at once.
const BANNERS: usize = 3;

fn banner(member: &Member, trouble: &Trouble) -> Banner {
    let it = &trouble.integration;
    let org = member.org.org().as_str();
    let broken = it.status == ConnectionStatus::NeedsReconnect;
    let mend = || integration::mend(org, it.provider, &it.id, &it.account_identifier, false);
    Banner {
        title: format!("{}: {}", it.provider.title(), it.account_identifier.label()),
        status: it.status.as_str(),
        text: match &it.last_error {
            Some(error) => error.message.clone(),
            None if broken => "It has to be authorized again.".to_owned(),
            None => "The provider has stopped it for now.".to_owned(),
        },
        since: trouble.since.map(|at| When::of(at, member.org.now())),
        waiting: match trouble.waiting {
            0 => String::new(),
            1 => "1 message waits.".to_owned(),
            n => format!("{n} messages wait."),
        },
        mend: (broken && may(member, Action::IntegrationManage)).then(mend),
    }
}

/// A frame for a page that belongs to no organization.
pub(crate) fn frame(_shared: &Shared, title: &str) -> Frame {
    Frame { title: title.to_owned(), assets: asset::folder(), place: None, live: None, signed_in: false }
}

/// A frame for somebody who is signed in and at no organization.
pub(crate) fn signed_frame(shared: &Shared, title: &str) -> Frame {
    Frame { signed_in: true, ..frame(shared, title) }
}

/// A frame for a page of an organization.
pub(crate) fn org_frame(member: &Member, title: &str, active: &'static str) -> Frame {
    Frame {
        title: title.to_owned(),
        assets: asset::folder(),
        place: Some(Place {
            org: member.org.org().as_str().to_owned(),
            org_name: member.membership.organization.name.clone(),
            user: member.session.user.name.clone(),
            role: member.membership.role.as_str().to_owned(),
            sees_privacy: may(member, Action::PrivacyManage),
            active,
            troubles: member.troubles.iter().take(BANNERS).map(|t| banner(member, t)).collect(),
            more_troubles: member.troubles.len().saturating_sub(BANNERS),
        }),
        live: Some(format!("/orgs/{}/live", member.org.org())),
        signed_in: true,
    }
}

/// A page as an answer.
pub(crate) struct Page<T>(pub T);

impl<T: Template> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        match self.0.render() {
            Ok(text) => Html(text).into_response(),
            Err(error) => Failure(AppError::Internal(Box::new(error))).into_response(),
        }
    }
}

/// A page with another status than 200.
pub(crate) fn page<T: Template>(status: StatusCode, template: T) -> Response {
    let mut response = Page(template).into_response();
    if response.status() == StatusCode::OK {
        *response.status_mut() = status;
    }
    response
}

/// The browser goes on to a page of ours.
pub(crate) fn go(path: &str) -> Response {
    Redirect::to(path).into_response()
}

/// A form's fields.
pub(crate) struct Form<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let wrong =
            |_| Failure(AppError::invalid("form", "The form could not be read. Go back and send it again."));
        let read = axum::extract::Form::<T>::from_request(request, state).await;
        Ok(Self(read.map_err(wrong)?.0))
    }
}

/// What is wrong with a form, shown above it.
#[derive(Clone, Debug)]
pub(crate) struct Wrong {
    pub field: String,
    pub text: String,
}

impl Wrong {
    /// What a person can mend by filling the form in differently; everything else is no matter of the form.
    pub(crate) fn of(error: AppError) -> Result<(StatusCode, Self), Failure> {
        let (status, field) = match &error {
            AppError::Invalid { field, .. } => (StatusCode::BAD_REQUEST, (*field).to_owned()),
            AppError::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, String::new()),
            AppError::Conflict { .. } => (StatusCode::CONFLICT, String::new()),
            AppError::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, String::new()),
            AppError::Provider(_) => (StatusCode::BAD_GATEWAY, String::new()),
            _ => return Err(Failure(error)),
        };
        Ok((status, Self { field, text: error.to_string() }))
    }
}

/// Whether a member may do something; pages do not show what they may not.
pub(crate) fn may(member: &Member, action: Action) -> bool {
    member.org.require(action).is_ok()
}

#[cfg(test)]
mod tests;
