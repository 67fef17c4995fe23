//! Kustomer: consent page, token endpoint, the REST API a hand-over uses, outbound webhooks.

mod oauth;
mod rest;
pub(crate) mod webhook;

use crate::state::Sandbox;
use axum::Router;
use axum::routing::{get, post};

/// Below an account's own host.
pub(crate) fn web_routes() -> Router<Sandbox> {
    Router::new().route("/{org}/oauth/authorize", get(oauth::authorize).post(oauth::decide))
}

/// Below an account's API host.
pub(crate) fn api_routes() -> Router<Sandbox> {
    Router::new().route("/{org}/oauth/token", post(oauth::token)).route(
        "/{org}/v1/{*path}",
        get(rest::call).post(rest::call).put(rest::call).patch(rest::call).delete(rest::call),
    )
}
