//! Every route, with what it takes to call it. The router is built from this list, and by nothing else: a route
//! without a line here, and so without a declared access, does not exist.

use crate::{Shared, api, asset, body, failure, gate, live, page, security};
use agenstack_core::integration::Provider;
use agenstack_core::policy::Action;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, delete, get, post};
use std::time::Duration;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use tower_http::timeout::TimeoutLayer;

/// What it takes to call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody; with the reason why.
    Public(&'static str),
    /// Anybody; the provider's signature over the body is checked by the route itself.
    Signed(Provider),
    /// Whoever gives the operator's password.
    Operator,
    /// Whoever is signed in.
    SignedIn,
    /// A member of the organization in the path whose role includes the action.
    Org(Action),
    /// The same, with the organization in the query (`organization_id`).
    OrgInQuery(Action),
}

/// One route as others may look at it.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// The path, with `{placeholders}`.
    pub path: &'static str,
    /// What it takes to call it.
    pub access: Access,
}

/// JSON and forms of ours are small.
const FORM_LIMIT: usize = 64 * 1024;
/// How long a request may take, its body included.
const REQUEST_SECS: u64 = 30;

macro_rules! routes {
    ($($method:ident $path:literal $access:expr => $handler:expr;)*) => {
        const ROUTES: &[Route] = &[$(Route { method: stringify!($method), path: $path, access: $access },)*];

        fn handlers(shared: &Shared) -> Vec<(&'static Route, MethodRouter<Shared>)> {
            let list: Vec<MethodRouter<Shared>> = vec![$(routes!(@method $method $handler),)*];
            let gated = ROUTES.iter().zip(list).map(|(route, handler)| match route.access {
                // Nobody is asked who they are: the signature says it.
                Signed(_) => (route, handler),
                access => {
                    let gate = from_fn_with_state((shared.clone(), access), gate::gate);
                    (route, handler.route_layer(gate))
                }
            });
            gated.collect()
        }
    };
    (@method GET $handler:expr) => { get($handler) };
    (@method POST $handler:expr) => { post($handler) };
    (@method DELETE $handler:expr) => { delete($handler) };
}

use Access::{Operator, Org, OrgInQuery, Public, Signed, SignedIn};
use Action::{
    ConversationRead, ConversationWrite, EventManage, EventRead, IntegrationManage, IntegrationRead,
    IntegrationTransfer, OrganizationDelete, OrganizationRead, PrivacyManage,
};

routes! {
    // process
    GET "/healthz" Public("says only that the process answers") => api::health::healthz;
    GET "/readyz" Public("says only whether the database answers") => api::health::readyz;
    GET "/static/{hash}/{name}" Public("style and script of the pages") => asset::serve;
    GET "/api/openapi.json" Public("the description of this API") => crate::openapi::serve;

    // accounts
    POST "/api/auth/signup" Public("a person who has no account yet") => api::account::sign_up;
    POST "/api/auth/login" Public("a person who is not signed in yet") => api::account::log_in;
    POST "/api/auth/logout" SignedIn => api::account::log_out;
    GET "/api/me" SignedIn => api::account::me;
    POST "/api/organizations" SignedIn => api::account::create_organization;
    GET "/api/organizations/{org}" Org(OrganizationRead) => api::account::organization;

    DELETE "/api/organizations/{org}" Org(OrganizationDelete) => api::account::delete_organization;

    // connections
    GET "/api/oauth/{provider}/redirect" OrgInQuery(IntegrationManage) => api::oauth::redirect;
    GET "/api/oauth/{provider}/callback" Public("the state names the flow, and the flow its session") => api::oauth::callback;
    GET "/api/organizations/{org}/integrations" Org(IntegrationRead) => api::integration::list;
    GET "/api/organizations/{org}/integrations/messenger/pages" Org(IntegrationManage) => api::integration::pages;
    POST "/api/organizations/{org}/integrations/messenger/pages" Org(IntegrationManage) => api::integration::choose_page;
    POST "/api/organizations/{org}/integrations/kustomer/api-key" Org(IntegrationManage) => api::integration::api_key;
    POST "/api/organizations/{org}/integrations/kustomer/private-app" Org(IntegrationManage) => api::integration::private_app;
    GET "/api/organizations/{org}/integrations/{id}/history" Org(IntegrationRead) => api::integration::history;
    POST "/api/organizations/{org}/integrations/{id}/transfer" Org(IntegrationTransfer) => api::integration::release;
    DELETE "/api/organizations/{org}/integrations/{id}/transfer" Org(IntegrationTransfer) => api::integration::withdraw;
    GET "/api/organizations/{org}/transfers" Org(IntegrationManage) => api::integration::on_offer;
    DELETE "/api/organizations/{org}/transfers/{id}" Org(IntegrationManage) => api::integration::decline;
    POST "/api/organizations/{org}/integrations/{id}/test" Org(IntegrationManage) => api::integration::test;
    POST "/api/organizations/{org}/integrations/{id}/reconnect" Org(IntegrationManage) => api::integration::reconnect;
    DELETE "/api/organizations/{org}/integrations/{id}" Org(IntegrationManage) => api::integration::disconnect;

    // webhooks
    POST "/api/webhooks/shopify" Signed(Provider::Shopify) => api::webhook::shopify.layer(DefaultBodyLimit::max(agenstack_app::ingest::MAX_BODY));
    GET "/api/webhooks/messenger" Public("Meta's check of the address; answered for the right verify token only") => api::webhook::challenge;
    POST "/api/webhooks/messenger" Signed(Provider::Messenger) => api::webhook::messenger.layer(DefaultBodyLimit::max(agenstack_app::ingest::MAX_BODY));
    POST "/api/webhooks/messenger/deauthorize" Signed(Provider::Messenger) => api::webhook::deauthorize;
    POST "/api/webhooks/messenger/data-deletion" Signed(Provider::Messenger) => api::webhook::data_deletion;
    POST "/api/webhooks/kustomer/{integration}" Signed(Provider::Kustomer) => api::webhook::kustomer.layer(DefaultBodyLimit::max(agenstack_app::ingest::MAX_BODY));

    // the inbox
    GET "/api/organizations/{org}/events" Org(EventRead) => api::event::list;
    GET "/api/organizations/{org}/events/{id}" Org(EventRead) => api::event::get;
    POST "/api/organizations/{org}/events/{id}/replay" Org(EventManage) => api::event::replay;
    GET "/api/organizations/{org}/replays" Org(EventRead) => api::replay::list;
    POST "/api/organizations/{org}/replays" Org(EventManage) => api::replay::begin;
    GET "/api/organizations/{org}/replays/{id}" Org(EventRead) => api::replay::get;
    POST "/api/organizations/{org}/replays/{id}/pause" Org(EventManage) => api::replay::pause;
    POST "/api/organizations/{org}/replays/{id}/resume" Org(EventManage) => api::replay::resume;
    POST "/api/organizations/{org}/replays/{id}/cancel" Org(EventManage) => api::replay::cancel;
    GET "/api/organizations/{org}/conversations" Org(ConversationRead) => api::conversation::list;
    GET "/api/organizations/{org}/conversations/{id}" Org(ConversationRead) => api::conversation::get;
    GET "/api/organizations/{org}/conversations/{id}/messages" Org(ConversationRead) => api::conversation::messages;
    POST "/api/organizations/{org}/conversations/{id}/messages" Org(ConversationWrite) => api::conversation::answer;
    POST "/api/organizations/{org}/conversations/{id}/takeover" Org(ConversationWrite) => api::conversation::take_over;
    POST "/api/organizations/{org}/conversations/{id}/handback" Org(ConversationWrite) => api::conversation::hand_back;

    // privacy requests
    GET "/api/organizations/{org}/privacy" Org(PrivacyManage) => api::privacy::list;
    GET "/api/organizations/{org}/privacy/{id}/export" Org(PrivacyManage) => api::privacy::export;

    // pages
    GET "/" Public("what the product is") => page::account::landing;
    GET "/privacy/deletion/{code}" Public("the code is a mark that only this installation can make") => page::account::deletion;
    GET "/install/shopify" Public("signed by Shopify; it binds nothing, and the person logs in next") => page::install::begin;
    GET "/install/shopify/choose" SignedIn => page::install::choose;
    GET "/operator" Operator => page::operator::overview;
    GET "/operator/live" Operator => live::operator;
    GET "/operator/pulse" Operator => page::operator::pulse;
    GET "/signup" Public("a person who has no account yet") => page::account::sign_up_form;
    POST "/signup" Public("a person who has no account yet") => page::account::sign_up;
    GET "/login" Public("a person who is not signed in yet") => page::account::log_in_form;
    POST "/login" Public("a person who is not signed in yet") => page::account::log_in;
    GET "/forgot" Public("a person who has forgotten the password") => page::reset::ask_form;
    POST "/forgot" Public("a person who has forgotten the password") => page::reset::ask;
    GET "/reset" Public("the token of the link says who it is") => page::reset::choose_form;
    POST "/reset" Public("the token of the link says who it is") => page::reset::choose;
    POST "/logout" SignedIn => page::account::log_out;
    GET "/orgs" SignedIn => page::account::organizations;
    POST "/orgs" SignedIn => page::account::create_organization;
    GET "/orgs/{org}" Org(OrganizationRead) => page::home::home;
    GET "/orgs/{org}/settings" Org(OrganizationRead) => page::settings::settings;
    POST "/orgs/{org}/delete" Org(OrganizationDelete) => page::settings::delete;
    GET "/orgs/{org}/brought" Org(OrganizationRead) => page::brought::list;
    GET "/orgs/{org}/live" Org(OrganizationRead) => live::stream;
    GET "/orgs/{org}/integrations" Org(IntegrationRead) => page::integration::list;
    GET "/orgs/{org}/integrations/{provider}/connect" Org(IntegrationManage) => page::connect::before;
    POST "/orgs/{org}/integrations/kustomer/api-key" Org(IntegrationManage) => page::connect::api_key;
    POST "/orgs/{org}/integrations/kustomer/private-app" Org(IntegrationManage) => page::connect::private_app;
    GET "/orgs/{org}/integrations/messenger/pages" Org(IntegrationManage) => page::connect::pages;
    POST "/orgs/{org}/integrations/messenger/pages" Org(IntegrationManage) => page::connect::choose_page;
    GET "/orgs/{org}/integrations/{id}" Org(IntegrationRead) => page::connection::one;
    POST "/orgs/{org}/integrations/{id}/transfer" Org(IntegrationTransfer) => page::connection::release;
    POST "/orgs/{org}/integrations/{id}/transfer/withdraw" Org(IntegrationTransfer) => page::connection::withdraw;
    POST "/orgs/{org}/transfers/{id}/decline" Org(IntegrationManage) => page::connection::decline;
    POST "/orgs/{org}/integrations/{id}/test" Org(IntegrationManage) => page::integration::test;
    GET "/orgs/{org}/integrations/{id}/reconnect" Org(IntegrationManage) => page::integration::reconnect;
    GET "/orgs/{org}/integrations/{id}/disconnect" Org(IntegrationManage) => page::integration::before_disconnect;
    POST "/orgs/{org}/integrations/{id}/disconnect" Org(IntegrationManage) => page::integration::disconnect;
    GET "/orgs/{org}/inbox" Org(ConversationRead) => page::inbox::list;
    GET "/orgs/{org}/inbox/{id}" Org(ConversationRead) => page::inbox::thread;
    POST "/orgs/{org}/inbox/{id}" Org(ConversationWrite) => page::inbox::answer;
    POST "/orgs/{org}/inbox/{id}/takeover" Org(ConversationWrite) => page::inbox::take_over;
    POST "/orgs/{org}/inbox/{id}/handback" Org(ConversationWrite) => page::inbox::hand_back;
    GET "/orgs/{org}/events" Org(EventRead) => page::event::list;
    GET "/orgs/{org}/events/pulse" Org(EventRead) => page::event::pulse;
    GET "/orgs/{org}/events/{id}" Org(EventRead) => page::event::one;
    POST "/orgs/{org}/events/{id}/replay" Org(EventManage) => page::event::replay;
    POST "/orgs/{org}/replays" Org(EventManage) => page::event::replay_many;
    POST "/orgs/{org}/replays/{id}/pause" Org(EventManage) => page::event::pause;
    POST "/orgs/{org}/replays/{id}/resume" Org(EventManage) => page::event::resume;
    POST "/orgs/{org}/replays/{id}/cancel" Org(EventManage) => page::event::cancel;
    GET "/orgs/{org}/privacy" Org(PrivacyManage) => page::privacy::list;
}

/// All of them.
pub fn routes() -> &'static [Route] {
    ROUTES
}

pub(crate) fn build(shared: Shared) -> Router {
    // Deliveries come by the thousand and are answered in a few bytes: nothing there is worth compressing.
    let (mut pages, mut deliveries) = (Router::new(), Router::new());
    for (route, handler) in handlers(&shared) {
        if route.path.starts_with("/api/webhooks/") {
            deliveries = deliveries.route(route.path, handler);
        } else {
            pages = pages.route(route.path, handler);
        }
    }
    let compress = DefaultPredicate::new().and(NotForContentType::new("text/event-stream"));
    let compress = CompressionLayer::new().compress_when(compress);
    // What every answer carries; then the bounds of every request, and words for what a layer refuses. Each `layer` of the
    // router copies all those below it for every request: a tuple is one of them.
    let outer = || (from_fn_with_state(shared.clone(), security::headers), from_fn(security::no_trace));
    let inner = || {
        let time = TimeoutLayer::with_status_code(
            http::StatusCode::REQUEST_TIMEOUT,
            Duration::from_secs(REQUEST_SECS),
        );
        let room = from_fn_with_state(shared.bodies(), body::bounded);
        (from_fn_with_state(shared.clone(), failure::dress), time, room, DefaultBodyLimit::max(FORM_LIMIT))
    };
    let pages = pages.fallback(failure::nothing_here).layer((outer(), compress, inner()));
    pages.merge(deliveries.layer((outer(), inner()))).with_state(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_public_is_this_and_no_more() {
        let mut open: Vec<String> = ROUTES
            .iter()
            .filter(|r| matches!(r.access, Public(_) | Signed(_)))
            .map(|r| format!("{:4} {}", r.method, r.path))
            .collect();
        open.sort();
        insta::assert_snapshot!(open.join("\n"), @r"
        GET  /
        GET  /api/oauth/{provider}/callback
        GET  /api/openapi.json
        GET  /api/webhooks/messenger
        GET  /forgot
        GET  /healthz
        GET  /install/shopify
        GET  /login
        GET  /privacy/deletion/{code}
        GET  /readyz
        GET  /reset
        GET  /signup
        GET  /static/{hash}/{name}
        POST /api/auth/login
        POST /api/auth/signup
        POST /api/webhooks/kustomer/{integration}
        POST /api/webhooks/messenger
        POST /api/webhooks/messenger/data-deletion
        POST /api/webhooks/messenger/deauthorize
        POST /api/webhooks/shopify
        POST /forgot
        POST /login
        POST /reset
        POST /signup
        ");
    }

    #[test]
    fn whatever_lies_below_an_organization_asks_for_a_permission_there() {
        for r in ROUTES.iter().filter(|r| r.path.contains("{org}")) {
            assert!(matches!(r.access, Org(_)), "{} {}", r.method, r.path);
        }
        for r in ROUTES.iter().filter(|r| matches!(r.access, Org(_))) {
            assert!(r.path.contains("{org}"), "{} {}", r.method, r.path);
        }
    }

    #[test]
    fn what_changes_something_is_never_only_for_looking() {
        use Action::*;
        for r in ROUTES.iter().filter(|r| r.method != "GET") {
            let reading = [OrganizationRead, IntegrationRead, EventRead, ConversationRead];
            assert!(!matches!(r.access, Org(a) if reading.contains(&a)), "{} {}", r.method, r.path);
        }
    }
}
