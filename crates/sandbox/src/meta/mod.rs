//! Meta: the dialog, the Graph endpoints a chatbot uses, and the webhooks of pages.

mod dialog;
mod graph;
mod send;
pub(crate) mod webhook;

use crate::state::Sandbox;
use axum::Router;
use axum::routing::get;

/// Below the dialog's host.
pub(crate) fn dialog_routes() -> Router<Sandbox> {
    Router::new().route("/{version}/dialog/oauth", get(dialog::ask).post(dialog::decide))
}

/// Below the Graph API's host. One handler: its paths are ids as often as words.
pub(crate) fn graph_routes() -> Router<Sandbox> {
    Router::new().route("/{version}/{*path}", get(graph::call).post(graph::call).delete(graph::call))
}
