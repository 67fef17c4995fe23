//! The consent page and the token endpoint, with PKCE.

use crate::clock;
use crate::page::{self, Html};
use crate::sign::{challenge, object_id, random_hex};
use crate::state::{Answer, Call, Sandbox};
use crate::world::Code;
use crate::world::desk::Token;
use askama::Template;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;

const ACCESS_SECS: i64 = 86_400;
const CODE_SECS: i64 = 120;

#[derive(Deserialize)]
pub(crate) struct Ask {
    response_type: Option<String>,
    client_id: Option<String>,
    redirect_uri: Option<String>,
    scope: Option<String>,
    state: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

#[derive(Template)]
#[template(path = "consent_kustomer.html")]
struct Consent {
    org: String,
    title: String,
    redirect_uri: String,
    state: String,
    scope: String,
    scopes: Vec<String>,
    code_challenge: String,
    client_id: String,
}

/// The page.
pub(crate) async fn authorize(
    State(sandbox): State<Sandbox>,
    Path(org): Path<String>,
    Query(ask): Query<Ask>,
) -> Response {
    let settings = sandbox.settings();
    let refuse = |text: &str| page::problem(StatusCode::BAD_REQUEST, "Kustomer", text);
    let world = sandbox.world();
    let Some(desk) = world.desks.get(&org) else {
        return page::problem(StatusCode::NOT_FOUND, "Kustomer", "There is no account with this name.");
    };
    let client_id = ask.client_id.unwrap_or_default();
    if desk.secret_of(&client_id, settings).is_none() {
        return refuse("Invalid Client: the app is not installed in this account.");
    }
    let redirect_uri = ask.redirect_uri.unwrap_or_default();
    if !redirect_uri.starts_with(&format!("{}/", settings.product_url)) {
        return refuse("The redirect URI is not registered for this app.");
    }
    if ask.response_type.as_deref() != Some("code") || ask.code_challenge_method.as_deref() != Some("S256") {
        return refuse("The request needs response_type=code and a code challenge (S256).");
    }
    let scope = ask.scope.unwrap_or_default();
    let consent = Consent {
        org,
        title: desk.title.clone(),
        redirect_uri,
        state: ask.state.unwrap_or_default(),
        scopes: scope.split(' ').filter(|s| !s.is_empty()).map(str::to_owned).collect(),
        scope,
        code_challenge: ask.code_challenge.unwrap_or_default(),
        client_id,
    };
    Html(consent).with_forms_to(&settings.product_url)
}

/// What the person decided.
pub(crate) async fn decide(State(sandbox): State<Sandbox>, Path(org): Path<String>, body: Bytes) -> Response {
    let fields: HashMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    let get = |name: &str| fields.get(name).map_or("", String::as_str);
    let redirect_uri = get("redirect_uri");
    if !redirect_uri.starts_with(&format!("{}/", sandbox.settings().product_url)) {
        return page::problem(
            StatusCode::BAD_REQUEST,
            "Kustomer",
            "The redirect URI is not registered for this app.",
        );
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    if get("decision") == "allow" {
        let code = random_hex(20);
        let granted = Code {
            provider: "kustomer",
            account: org,
            redirect_uri: redirect_uri.to_owned(),
            scopes: get("scope").split(' ').filter(|s| !s.is_empty()).map(str::to_owned).collect(),
            pages: Vec::new(),
            client: Some(get("client_id").to_owned()),
            challenge: Some(get("code_challenge").to_owned()),
            expires_at: clock::now() + CODE_SECS,
        };
        sandbox.world().codes.insert(code.clone(), granted);
        query.append_pair("code", &code);
    } else {
        query.append_pair("error", "access_denied");
    }
    query.append_pair("state", get("state"));
    Redirect::to(&format!("{redirect_uri}?{}", query.finish())).into_response()
}

/// The token endpoint: form encoding, as RFC 6749 has it.
pub(crate) async fn token(
    State(sandbox): State<Sandbox>,
    Path(org): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let fields = crate::shopify_fields(&headers, &body);
    let refreshes = fields.get("grant_type").map(String::as_str) == Some("refresh_token");
    let call = Call {
        provider: "kustomer",
        account: org.clone(),
        method: "POST".into(),
        path: "/oauth/token".into(),
        operation: if refreshes { "token.refresh" } else { "token.code" }.into(),
        token_of: fields.get("client_id").map(|id| client_of(&sandbox, id)),
        token_kind: Some("client"),
    };
    sandbox.answer(call, |sandbox| exchange(sandbox, &org, &fields, refreshes)).await
}

/// Whose app a client id is: `app` for the platform's, else the account's name.
fn client_of(sandbox: &Sandbox, client_id: &str) -> String {
    let world = sandbox.world();
    if client_id == sandbox.settings().kustomer_client_id {
        return "app".to_owned();
    }
    let owner = world.desks.values().find(|d| d.own_app.client_id == client_id);
    owner.map_or_else(|| "nobody".to_owned(), |d| d.name.clone())
}

fn exchange(sandbox: &Sandbox, org: &str, fields: &HashMap<String, String>, refreshes: bool) -> Answer {
    let settings = sandbox.settings();
    let get = |name: &str| fields.get(name).map_or("", String::as_str);
    let refuse = |error: &str| Answer::new(400, json!({"error": error}));
    let mut world = sandbox.world();
    let client = get("client_id");
    let Some(desk) = world.desks.get(org) else { return refuse("invalid_grant") };
    match desk.secret_of(client, settings) {
        // Not installed here, as on the consent page.
        None => return refuse("invalid_client"),
        Some(secret) if secret != get("client_secret") => {
            return Answer::new(401, json!({"error": "invalid_client"}));
        }
        Some(_) => {}
    }
    let now = clock::now();
    let (user, roles) = if refreshes {
        let Some(desk) = world.desks.get_mut(org) else { return refuse("invalid_grant") };
        let ours = |t: &Token| t.refresh == get("refresh_token") && t.client == client && !t.revoked;
        let Some(at) = desk.tokens.iter().position(ours) else {
            return refuse("invalid_grant");
        };
        // Rotated: the old pair is gone.
        let old = desk.tokens.swap_remove(at);
        (old.user, old.roles)
    } else {
        let taken = world.take_code("kustomer", get("code"), now);
        let ours = |c: &Code| c.account == org && c.client.as_deref() == Some(client);
        let Some(code) = taken.filter(|c| ours(c) && c.redirect_uri == get("redirect_uri")) else {
            return refuse("invalid_grant");
        };
        if code.challenge.as_deref() != Some(challenge(get("code_verifier")).as_str()) {
            return refuse("invalid_grant");
        }
        (object_id(&format!("{org} admin")), code.scopes)
    };
    let Some(desk) = world.desks.get_mut(org) else { return refuse("invalid_grant") };
    let made = Token {
        access: random_hex(32),
        refresh: random_hex(32),
        client: client.to_owned(),
        expires_at: now + ACCESS_SECS,
        user,
        roles,
        revoked: false,
    };
    let body = json!({
        "access_token": made.access, "refresh_token": made.refresh, "token_type": "Bearer", "expires_in": ACCESS_SECS,
        "scope": made.roles.join(" "),
    });
    desk.tokens.push(made);
    Answer::new(200, body)
}
