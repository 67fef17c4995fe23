//! The description of the API, made from the list of routes: each route of the API has a line in [`SAID`], and a
//! test fails when one has not.

mod shape;

use crate::route::{Access, Route, routes};
use axum::Json;
use std::sync::LazyLock;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Ref, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Paths, Required, ResponseBuilder,
};

/// What is said of a route: summary, body, success status, answer, and query parameters.
struct Said {
    key: &'static str,
    summary: &'static str,
    body: Option<&'static str>,
    status: &'static str,
    answer: Option<&'static str>,
    query: &'static [&'static str],
}

const fn said(
    key: &'static str,
    summary: &'static str,
    body: Option<&'static str>,
    status: &'static str,
    answer: Option<&'static str>,
    query: &'static [&'static str],
) -> Said {
    Said { key, summary, body, status, answer, query }
}

const LIST: &[&str] = &["cursor", "limit"];

#[rustfmt::skip]
const SAID: &[Said] = &[
    said("GET /healthz", "The process answers", None, "200", Some("Health"), &[]),
    said("GET /readyz", "The database answers and its schema is this program's", None, "200", Some("Health"), &[]),
    said("GET /api/openapi.json", "This description", None, "200", None, &[]),
    said("POST /api/auth/signup", "Make an account with its organization, and sign in", Some("NewAccount"), "201", Some("SignedUp"), &[]),
    said("POST /api/auth/login", "Sign in", Some("Credentials"), "200", Some("SignedIn"), &[]),
    said("POST /api/auth/logout", "Sign out", None, "204", None, &[]),
    said("GET /api/me", "Who is signed in, and where they are a member", None, "200", Some("Me"), &[]),
    said("POST /api/organizations", "Make another organization", Some("NewOrganization"), "201", Some("OrganizationRef"), &[]),
    said("GET /api/organizations/{org}", "An organization", None, "200", Some("Organization"), &[]),
    said("DELETE /api/organizations/{org}", "Delete the organization for good, by its name (owners only)", Some("NewOrganization"), "204", None, &[]),
    said("GET /api/oauth/{provider}/redirect", "Begin to connect: redirects to the provider", None, "302", None, &["organization_id", "shop", "subdomain"]),
    said("GET /api/oauth/{provider}/callback", "The way back from the provider: redirects to the integrations page", None, "303", None, &["code", "state"]),
    said("GET /api/organizations/{org}/integrations", "The connections", None, "200", Some("IntegrationList"), &[]),
    said("GET /api/organizations/{org}/integrations/messenger/pages", "The pages that the last authorization offered", None, "200", Some("PageList"), &[]),
    said("POST /api/organizations/{org}/integrations/messenger/pages", "Connect one of the offered pages", Some("Choice"), "201", Some("Integration"), &[]),
    said("POST /api/organizations/{org}/integrations/kustomer/api-key", "Connect Kustomer by an API key, checked live", Some("ApiKey"), "201", Some("Integration"), &[]),
    said("GET /api/organizations/{org}/integrations/{id}/history", "How a connection came to be as it is, newest first", None, "200", Some("StateChangeList"), &[]),
    said("POST /api/organizations/{org}/integrations/{id}/transfer", "Release the account to another organization, which takes it by authorizing (owners only)", Some("Release"), "201", Some("Released"), &[]),
    said("DELETE /api/organizations/{org}/integrations/{id}/transfer", "Take a release back (owners only)", None, "204", None, &[]),
    said("GET /api/organizations/{org}/transfers", "Accounts that other organizations have released to this one", None, "200", Some("OnOfferList"), &[]),
    said("DELETE /api/organizations/{org}/transfers/{id}", "Decline a released account", None, "204", None, &[]),
    said("POST /api/organizations/{org}/integrations/kustomer/private-app", "Begin to connect Kustomer through an app of the account's own", Some("PrivateApp"), "200", Some("Location"), &[]),
    said("POST /api/organizations/{org}/integrations/{id}/test", "Call the provider with the connection's token", None, "200", Some("TestReport"), &[]),
    said("POST /api/organizations/{org}/integrations/{id}/reconnect", "Begin to authorize the same account again", None, "200", Some("Location"), &[]),
    said("DELETE /api/organizations/{org}/integrations/{id}", "Disconnect: tell the provider, cancel what waits, erase the tokens", None, "204", None, &[]),
    said("POST /api/webhooks/shopify", "Deliveries of all shops, signed by Shopify", None, "200", Some("Accepted"), &[]),
    said("GET /api/webhooks/messenger", "Meta's check of the address", None, "200", None, &["hub.mode", "hub.verify_token", "hub.challenge"]),
    said("POST /api/webhooks/messenger", "Deliveries of all pages, signed by Meta", None, "200", Some("Accepted"), &[]),
    said("POST /api/webhooks/messenger/deauthorize", "A person removed the app: their connections wait for somebody to reconnect (form with signed_request)", None, "200", Some("Accepted"), &[]),
    said("POST /api/webhooks/messenger/data-deletion", "A person wants their data deleted (form with signed_request)", None, "200", Some("Deletion"), &[]),
    said("POST /api/webhooks/kustomer/{integration}", "Deliveries of one connection, signed with its own secret", None, "200", Some("Accepted"), &[]),
    said("GET /api/organizations/{org}/events", "What providers sent, newest first", None, "200", Some("EventList"), &["provider", "topic", "state", "since", "until", "external_id", "error", "cursor", "limit"]),
    said("GET /api/organizations/{org}/events/{id}", "One event; with its payload for owners and admins", None, "200", Some("EventDetail"), &[]),
    said("POST /api/organizations/{org}/events/{id}/replay", "Handle an ended event again", None, "200", Some("Event"), &[]),
    said("GET /api/organizations/{org}/replays", "Replays of many events, newest first", None, "200", Some("ReplayList"), &[]),
    said("POST /api/organizations/{org}/replays", "Handle the events that a filter names again, at a pace; with `dry_run` only tell how many these are", Some("NewReplay"), "202", Some("Replay"), &[]),
    said("GET /api/organizations/{org}/replays/{id}", "A replay and how far it is", None, "200", Some("Replay"), &[]),
    said("POST /api/organizations/{org}/replays/{id}/pause", "Stop a replay for now", None, "200", Some("Replay"), &[]),
    said("POST /api/organizations/{org}/replays/{id}/resume", "Go on with a paused replay", None, "200", Some("Replay"), &[]),
    said("POST /api/organizations/{org}/replays/{id}/cancel", "End a replay; what it has put back stays there", None, "200", Some("Replay"), &[]),
    said("GET /api/organizations/{org}/conversations", "Conversations, newest activity first", None, "200", Some("ConversationList"), &["owner", "status", "cursor", "limit"]),
    said("GET /api/organizations/{org}/conversations/{id}", "One conversation", None, "200", Some("Conversation"), &[]),
    said("GET /api/organizations/{org}/conversations/{id}/messages", "Its messages, newest first", None, "200", Some("MessageList"), LIST),
    said("POST /api/organizations/{org}/conversations/{id}/messages", "Answer as a person; the bot is silent from then on", Some("Answer"), "201", Some("Message"), &[]),
    said("POST /api/organizations/{org}/conversations/{id}/takeover", "Take the conversation from the bot", None, "200", Some("Conversation"), &[]),
    said("POST /api/organizations/{org}/conversations/{id}/handback", "Give the conversation back to the bot", None, "200", Some("Conversation"), &[]),
    said("GET /api/organizations/{org}/privacy", "What customers of a shop asked for, newest first; for owners and admins", None, "200", Some("PrivacyRequestList"), LIST),
    said("GET /api/organizations/{org}/privacy/{id}/export", "What is held of the customer who asked, as a file; noted in the audit log", None, "200", Some("PrivacyExport"), &[]),
];

/// Whether a route belongs to the API, and not to the pages.
fn is_described(route: &Route) -> bool {
    route.path.starts_with("/api/") || matches!(route.path, "/healthz" | "/readyz")
}

fn key(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn parameter(name: &str, place: ParameterIn, required: Required) -> Parameter {
    ParameterBuilder::new().name(name).parameter_in(place).required(required).schema(Some(text())).build()
}

fn json(schema: &str) -> utoipa::openapi::Content {
    ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build()
}

fn describe() -> OpenApi {
    let mut paths = Paths::new();
    for route in routes().iter().filter(|r| is_described(r)) {
        let Some(said) = SAID.iter().find(|s| s.key == key(route)) else { continue };
        let mut operation = OperationBuilder::new().summary(Some(said.summary));
        for name in route.path.split('/').filter_map(|p| p.strip_prefix('{')?.strip_suffix('}')) {
            operation = operation.parameter(parameter(name, ParameterIn::Path, Required::True));
        }
        for name in said.query {
            operation = operation.parameter(parameter(name, ParameterIn::Query, Required::False));
        }
        if let Some(body) = said.body {
            let body = RequestBodyBuilder::new()
                .content("application/json", json(body))
                .required(Some(Required::True));
            operation = operation.request_body(Some(body.build()));
        }
        let mut ok = ResponseBuilder::new().description(said.summary);
        if let Some(answer) = said.answer {
            ok = ok.content("application/json", json(answer));
        }
        operation = operation.response(said.status, ok.build());
        let failure = |text: &str| {
            ResponseBuilder::new().description(text).content("application/json", json("Failure")).build()
        };
        let mut failures: Vec<(&str, &str)> = match route.access {
            Access::Public(_) => vec![("400", "Not acceptable; the message says what would be")],
            Access::Signed(_) => vec![
                ("401", "The signature is not right"),
                ("413", "Larger than 1 MiB"),
                ("503", "Not stored; deliver it again"),
            ],
            Access::SignedIn | Access::Operator => vec![("401", "Nobody is signed in")],
            Access::Org(_) | Access::OrgInQuery(_) => vec![
                ("400", "Not acceptable; the message says what would be"),
                ("401", "Nobody is signed in"),
                ("403", "The role is too small"),
                ("404", "Not there, or not yours"),
            ],
        };
        if route.path.starts_with("/api/auth/") {
            failures.push(("429", "Too many attempts; wait as Retry-After says"));
        }
        for (status, text) in failures {
            operation = operation.response(status, failure(text));
        }
        if !matches!(route.access, Access::Public(_) | Access::Signed(_)) {
            operation = operation.security(SecurityRequirement::new("session", Vec::<String>::new()));
        }
        let method = match route.method {
            "POST" => HttpMethod::Post,
            "DELETE" => HttpMethod::Delete,
            _ => HttpMethod::Get,
        };
        paths.add_path_operation(route.path, vec![method], operation.build());
    }
    let cookie = ApiKeyValue::with_description(
        "agenstack_session",
        "The cookie that signing in sets; over https its name begins with __Host-",
    );
    let components = shape::all(ComponentsBuilder::new())
        .security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)))
        .build();
    let info = InfoBuilder::new()
        .title("AgenStack")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Organizations, their connections, their inbox and their conversations."))
        .build();
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).build()
}

/// `GET /api/openapi.json`
pub(crate) async fn serve() -> Json<&'static OpenApi> {
    static DESCRIPTION: LazyLock<OpenApi> = LazyLock::new(describe);
    Json(&DESCRIPTION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_route_of_the_api_is_described_and_nothing_else() {
        let routes: BTreeSet<String> = routes().iter().filter(|r| is_described(r)).map(key).collect();
        let told: BTreeSet<String> = SAID.iter().map(|s| s.key.to_owned()).collect();
        assert_eq!(routes, told);
    }

    #[test]
    fn each_shape_that_is_named_is_there() {
        let text = serde_json::to_value(describe()).unwrap();
        let shapes = text["components"]["schemas"].as_object().unwrap();
        for name in SAID.iter().flat_map(|s| [s.body, s.answer]).flatten() {
            assert!(shapes.contains_key(name), "{name}");
        }
        let all = text.to_string();
        for reference in all.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(shapes.contains_key(name), "{name}");
        }
    }
}
