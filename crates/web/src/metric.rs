//! `/metrics`, on an address of its own: a listener that is not meant for the world, and a router with nothing else.

use agenstack_app::{App, metric};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};

/// Serves `GET /metrics` and nothing else.
pub fn metrics(app: App) -> Router {
    let nothing = || async { StatusCode::NOT_FOUND };
    Router::new()
        .route("/metrics", get(render))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .with_state(app)
}

async fn render(State(app): State<App>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, metric::render(&app).await).into_response()
}
