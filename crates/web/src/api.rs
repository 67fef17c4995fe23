//! The API: JSON in and out. A file for each noun.

pub(crate) mod account;
pub(crate) mod conversation;
pub(crate) mod event;
pub(crate) mod health;
pub(crate) mod integration;
pub(crate) mod oauth;
pub(crate) mod privacy;
pub(crate) mod replay;
pub(crate) mod webhook;

use crate::failure::Failure;
use agenstack_app::AppError;
use agenstack_core::clock::Timestamp;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::StatusCode;
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A JSON body. What is wrong with it is told by the field's name, never by repeating its value.
pub(crate) struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        use axum::extract::rejection::JsonRejection as R;
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Failure(AppError::TooLarge))
            }
            Err(rejection) => {
                let message = match &rejection {
                    R::MissingJsonContentType(_) => {
                        "Send JSON, with Content-Type: application/json.".to_owned()
                    }
                    R::JsonDataError(e) => missing_field(&e.body_text()).map_or_else(
                        || "A field has the wrong type; see /api/openapi.json.".to_owned(),
                        |field| format!("The field {field} is missing."),
                    ),
                    _ => "The body is not JSON, or too large.".to_owned(),
                };
                Err(Failure(AppError::invalid("body", message)))
            }
        }
    }
}

/// The name of a missing field, if that is what the reader's text is about.
fn missing_field(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("missing field `")?;
    let (name, _) = rest.split_once('`')?;
    (name.len() <= 40 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')).then(|| name.to_owned())
}

/// A query string as a known shape.
pub(crate) struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let read = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        let wrong =
            |_| Failure(AppError::invalid("query", "A parameter of the address has the wrong shape."));
        Ok(Self(read.map_err(wrong)?.0))
    }
}

/// Where a list goes on, and how long its stretch is.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Paging {
    pub cursor: Option<String>,
    pub limit: Option<i64>,
}

impl Paging {
    /// An empty cursor is none.
    pub(crate) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref().filter(|c| !c.is_empty())
    }
}

/// A word of a known list; an empty one is none.
pub(crate) fn word<T>(
    text: Option<&str>,
    field: &'static str,
    parse: impl Fn(&str) -> Option<T>,
    all: &str,
) -> Result<Option<T>, AppError> {
    match text.filter(|t| !t.is_empty()) {
        None => Ok(None),
        Some(text) => {
            parse(text).map(Some).ok_or_else(|| AppError::invalid(field, format!("Use one of: {all}.")))
        }
    }
}

/// A time of a query.
pub(crate) fn time(text: Option<&str>, field: &'static str) -> Result<Option<Timestamp>, AppError> {
    match text.filter(|t| !t.is_empty()) {
        None => Ok(None),
        Some(text) => Timestamp::parse_rfc3339(text)
            .map(Some)
            .ok_or_else(|| AppError::invalid(field, "Write the time as 2026-11-24T12:00:00Z.")),
    }
}
