//! The one place where an error becomes an answer: JSON below `/api`, a page elsewhere, both with the request's id.
//! It is logged once, with its causes; the answer holds nothing of the inside.

use crate::Shared;
use crate::page::{self, Frame};
use agenstack_app::AppError;
use agenstack_core::ctx::{Actor, Ctx};
use askama::Template;
use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use std::sync::Arc;

/// A use case that failed, on its way to `dress`, which makes an answer of it.
#[derive(Debug)]
pub struct Failure(pub AppError);

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        Self(error)
    }
}

/// Carried by the undressed answer.
#[derive(Clone)]
struct Cause(Arc<AppError>);

/// What a handler gives.
pub(crate) type Outcome<T> = Result<T, Failure>;

fn status(error: &AppError) -> StatusCode {
    match error {
        AppError::Invalid { .. } => StatusCode::BAD_REQUEST,
        AppError::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        AppError::Forbidden(_) | AppError::CrossOrigin => StatusCode::FORBIDDEN,
        AppError::NotFound => StatusCode::NOT_FOUND,
        AppError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        AppError::Conflict { .. } => StatusCode::CONFLICT,
        AppError::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
        AppError::Provider(e) if e.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
        AppError::Provider(_) => StatusCode::BAD_GATEWAY,
        AppError::NotSetUp(_) | AppError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        AppError::Sealed(_) | AppError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn retry_after(error: &AppError) -> Option<u64> {
    match error {
        AppError::TooMany { retry_after_secs } => Some(*retry_after_secs),
        AppError::Provider(e) if e.is_retryable() => Some(e.retry_after_secs.unwrap_or(30)),
        // The operator has to do something; asking every few seconds would not help.
        AppError::NotSetUp(_) => Some(3600),
        AppError::Unavailable(_) => Some(5),
        _ => None,
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = status(&self.0).into_response();
        if let Some(secs) = retry_after(&self.0) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        response.extensions_mut().insert(Cause(Arc::new(self.0)));
        response
    }
}

/// A path that is not in the list of routes.
pub(crate) async fn nothing_here() -> Failure {
    Failure(AppError::NotFound)
}

/// The operation of this request, made by [`dress`].
pub(crate) struct Asked(pub Ctx);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Ctx>().cloned().map(Asked).ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    status: u16,
    title: &'a str,
    text: &'a str,
    request: &'a str,
}

/// Makes the operation, and dresses its failure.
pub(crate) async fn dress(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let ctx = shared.app().ctx(Actor::Anonymous);
    let id = ctx.request.as_str().to_owned();
    let path = request.uri().path().to_owned();
    request.extensions_mut().insert(ctx);
    let mut response = next.run(request).await;
    let cause = response.extensions_mut().remove::<Cause>();
    let status = response.status();
    // A handler that answered in its own words (a form that is shown again) stays as it is.
    let bare =
        response.headers().get(header::CONTENT_TYPE).is_none() || status == StatusCode::PAYLOAD_TOO_LARGE;
    if cause.is_none() && !((status.is_client_error() || status.is_server_error()) && bare) {
        return response;
    }
    let (code, text, field) = match &cause {
        Some(Cause(error)) => {
            log(error, status, &id, &path);
            let field = match error.as_ref() {
                AppError::Invalid { field, .. } => Some(*field),
                _ => None,
            };
            (error.code(), error.to_string(), field)
        }
        None => {
            let (code, text) = by_status(status);
            (code, text.to_owned(), None)
        }
    };
    let mut dressed = if path.starts_with("/api/") || matches!(path.as_str(), "/healthz" | "/readyz") {
        let mut error = json!({"code": code, "message": text, "request_id": id});
        if let Some(field) = field {
            error["field"] = json!(field);
        }
        (status, Json(json!({"error": error}))).into_response()
    } else {
        page_of(&shared, status, &text, &id)
    };
    for name in [header::RETRY_AFTER, header::ALLOW] {
        if let Some(value) = response.headers().get(&name) {
            dressed.headers_mut().insert(name, value.clone());
        }
    }
    dressed
}

fn page_of(shared: &Shared, status: StatusCode, text: &str, request: &str) -> Response {
    let title = match status {
        StatusCode::NOT_FOUND => "Nothing here",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::TOO_MANY_REQUESTS => "Too many attempts",
        StatusCode::SERVICE_UNAVAILABLE => "Not available just now",
        s if s.is_client_error() => "That did not work",
        _ => "Something went wrong",
    };
    let frame = page::frame(shared, title);
    let page = ErrorPage { frame, status: status.as_u16(), title, text, request };
    page.render().map_or_else(|_| status.into_response(), |text| (status, Html(text)).into_response())
}

fn by_status(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "This method is not offered here."),
        StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "The request's body is too large."),
        StatusCode::REQUEST_TIMEOUT => ("timed_out", "The request took too long."),
        StatusCode::SERVICE_UNAVAILABLE => ("busy", "Too much is coming in; try it again."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            ("unsupported_media_type", "Send JSON, with Content-Type: application/json.")
        }
        s if s.is_client_error() => ("invalid", "The request could not be understood."),
        _ => ("internal", "Something went wrong on our side."),
    }
}

/// Once, with the whole chain of causes for what is our fault, and shortly for what is the caller's.
fn log(error: &AppError, status: StatusCode, request: &str, path: &str) {
    let code = error.code();
    if status.is_server_error() {
        let mut causes = String::new();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            causes += &format!(": {cause}");
            source = cause.source();
        }
        tracing::error!(
            request.id = request,
            status = status.as_u16(),
            code,
            path,
            "a request failed{causes}"
        );
    } else if matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
    ) {
        tracing::info!(request.id = request, status = status.as_u16(), code, path, "a request was refused");
    }
}
