//! For whoever watches the process.

use crate::Shared;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// The process answers.
pub(crate) async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// The database answers and its schema is ours.
pub(crate) async fn readyz(State(shared): State<Shared>) -> Response {
    match shared.app().ready().await {
        Ok(()) => Json(json!({"status": "ready"})).into_response(),
        Err(error) => {
            tracing::warn!(code = error.code(), error = ?error, "not ready");
            let mut response =
                (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "not ready"}))).into_response();
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(5));
            response
        }
    }
}
