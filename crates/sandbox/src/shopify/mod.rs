//! Shopify: consent page, token endpoint, Admin GraphQL, webhooks.

mod admin;
mod oauth;
pub(crate) mod webhook;

pub(crate) use oauth::fields;

use crate::state::Sandbox;
use axum::Router;
use axum::routing::{get, post};

/// Everything below one shop's host.
pub(crate) fn routes() -> Router<Sandbox> {
    Router::new()
        .route("/{shop}/admin/oauth/authorize", get(oauth::authorize).post(oauth::decide))
        .route("/{shop}/admin/oauth/access_token", post(oauth::access_token))
        .route("/{shop}/admin/oauth/access_scopes.json", get(admin::access_scopes))
        .route("/{shop}/admin/api/{version}/graphql.json", post(admin::graphql))
}
