//! Shopify, Meta and Kustomer, emulated on this machine, for the demo and for tests.
//!
//! Imports none of our other crates, so that it cannot share their mistakes: what is signed, checked or refused
//! here was written from the protocol sheets alone. It is strict on purpose. Codes work once, refresh tokens rotate,
//! tokens of another shop, page or account are refused, missing roles and proofs too.
//!
//! Look first at [`Settings`] (what it emulates and for whom) and at `world` (which shops, pages and accounts there
//! are). Each provider has a folder. `control` is for tests, `page` for people.

mod clock;
mod control;
mod deliver;
mod graphql;
mod kustomer;
mod meta;
mod page;
mod record;
mod settings;
mod shopify;
mod sign;
mod state;
mod walk;
mod world;

pub use settings::Settings;
use shopify::fields as shopify_fields;
pub use walk::{Walk, WalkError};

use axum::Router;
use std::future::Future;
use tokio::net::TcpListener;

/// All of it, as one router.
pub fn router(settings: Settings) -> Router {
    let state = state::Sandbox::new(settings);
    Router::new()
        .merge(page::routes())
        .nest("/shopify", shopify::routes())
        .nest("/facebook", meta::dialog_routes())
        .nest("/graph", meta::graph_routes())
        .nest("/kustomer", kustomer::web_routes())
        .nest("/kustomer-api", kustomer::api_routes())
        .nest("/control", control::routes())
        .with_state(state)
}

/// Serves until `shutdown` is done.
///
/// # Errors
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(settings)).with_graceful_shutdown(shutdown).await
}
