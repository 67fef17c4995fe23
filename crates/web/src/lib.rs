//! HTTP: the API, the dashboard, the webhook routes.
//!
//! Asks `app` and nothing below it; may import `app` and `core`. Look first at [`route`]: every route stands there
//! on one page, with what it takes to call it, and the router is built from that list. [`gate`] lets in whom the list
//! says; [`failure`] is the one place where an error becomes an answer.

mod api;
pub mod asset;
mod body;
pub mod client;
pub mod cookie;
pub mod failure;
pub mod gate;
mod live;
mod metric;
mod openapi;
pub mod origin;
mod page;
pub mod route;
mod security;
pub mod server;

pub use metric::metrics;
pub use route::{Access, Route, routes};

use agenstack_app::App;
use axum::Router;
use ipnet::IpNet;
use secrecy::SecretString;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// Live streams that may be open at once in one process; past that a page asks again by itself.
const MOST_STREAMS: usize = 2_000;

/// What the pages and routes need beside the application.
pub struct Web {
    /// The application.
    pub app: App,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What the operator's page asks for; `None`: there is no such page.
    pub operator_password: Option<SecretString>,
    /// Becomes `true` when the server is about to stop: live streams end then.
    pub closing: watch::Receiver<bool>,
}

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Inner>);

struct Inner {
    web: Web,
    streams: Arc<Semaphore>,
    bodies: body::Bodies,
    secure: bool,
}

impl Shared {
    pub(crate) fn app(&self) -> &App {
        &self.0.web.app
    }
    pub(crate) fn web(&self) -> &Web {
        &self.0.web
    }
    pub(crate) fn streams(&self) -> Arc<Semaphore> {
        self.0.streams.clone()
    }
    pub(crate) fn bodies(&self) -> body::Bodies {
        self.0.bodies.clone()
    }
    /// Whether browsers reach us over https, so that cookies may be bound to it.
    pub(crate) fn secure(&self) -> bool {
        self.0.secure
    }
}

/// The whole of it. Serve it with the peer's address: `into_make_service_with_connect_info::<SocketAddr>()`.
pub fn router(web: Web) -> Router {
    let secure = web.app.public_url().starts_with("https://");
    let streams = Arc::new(Semaphore::new(MOST_STREAMS));
    let shared = Shared(Arc::new(Inner { web, streams, bodies: body::Bodies::new(), secure }));
    route::build(shared)
}
