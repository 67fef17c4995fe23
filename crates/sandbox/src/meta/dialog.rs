//! The dialog: who one is, which pages and which permissions.

use crate::clock;
use crate::page::{self, Html};
use crate::sign::random_hex;
use crate::state::Sandbox;
use crate::world::Code;
use askama::Template;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;

const CODE_SECS: i64 = 300;

#[derive(Deserialize)]
pub(crate) struct Ask {
    client_id: Option<String>,
    redirect_uri: Option<String>,
    state: Option<String>,
    scope: Option<String>,
    /// Whom to show as chosen; the page's own choice of a person comes back as this.
    person: Option<String>,
}

struct Choice {
    id: String,
    name: String,
}

#[derive(Template)]
#[template(path = "consent_meta.html")]
struct Consent {
    action: String,
    client_id: String,
    redirect_uri: String,
    state: String,
    scope: String,
    person: String,
    person_name: String,
    persons: Vec<Choice>,
    pages: Vec<Choice>,
    permissions: Vec<String>,
}

fn is_ours(sandbox: &Sandbox, redirect_uri: &str) -> bool {
    redirect_uri.starts_with(&format!("{}/", sandbox.settings().product_url))
}

/// The page.
pub(crate) async fn ask(
    State(sandbox): State<Sandbox>,
    Path(version): Path<String>,
    Query(ask): Query<Ask>,
) -> Response {
    let client_id = ask.client_id.unwrap_or_default();
    if client_id != sandbox.settings().meta_app_id {
        return page::problem(
            StatusCode::BAD_REQUEST,
            "Facebook",
            "Invalid App ID: there is no app with this id.",
        );
    }
    let redirect_uri = ask.redirect_uri.unwrap_or_default();
    if !is_ours(&sandbox, &redirect_uri) {
        return page::problem(
            StatusCode::BAD_REQUEST,
            "Facebook",
            "URL blocked: this redirect URI is not on the app's list.",
        );
    }
    let world = sandbox.world();
    let wanted = ask.person.unwrap_or_else(|| "lena".into());
    let Some(person) = world.persons.get(&wanted) else {
        return page::problem(StatusCode::NOT_FOUND, "Facebook", "There is nobody with this name.");
    };
    let choice = |id: &str, name: &str| Choice { id: id.to_owned(), name: name.to_owned() };
    let scope = ask.scope.unwrap_or_default();
    let consent = Consent {
        action: format!("/facebook/{version}/dialog/oauth"),
        client_id,
        redirect_uri,
        state: ask.state.unwrap_or_default(),
        permissions: scope.split([',', ' ']).filter(|s| !s.is_empty()).map(str::to_owned).collect(),
        scope,
        person: person.key.clone(),
        person_name: person.name.clone(),
        persons: world.persons.values().map(|p| choice(&p.key, &p.name)).collect(),
        pages: person.pages.iter().map(|r| choice(&r.page, &world.pages[&r.page].name)).collect(),
    };
    Html(consent).with_forms_to(&sandbox.settings().product_url)
}

/// What the person decided.
pub(crate) async fn decide(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    let fields: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    let one = |name: &str| fields.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
    let many = |name: &str| -> Vec<String> {
        fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect()
    };
    let redirect_uri = one("redirect_uri");
    if !is_ours(&sandbox, redirect_uri) {
        return page::problem(
            StatusCode::BAD_REQUEST,
            "Facebook",
            "URL blocked: this redirect URI is not on the app's list.",
        );
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    if one("decision") == "continue" {
        let mut world = sandbox.world();
        let (person, ticked) = (one("person").to_owned(), many("page"));
        // What is not ticked this time is taken away, also from whoever got it before.
        for token in world.meta_tokens.values_mut().filter(|t| t.person == person) {
            token.granted.retain(|page| ticked.contains(page));
        }
        let code = random_hex(24);
        let granted = Code {
            provider: "meta",
            account: person,
            redirect_uri: redirect_uri.to_owned(),
            scopes: many("permission"),
            pages: ticked,
            client: None,
            challenge: None,
            expires_at: clock::now() + CODE_SECS,
        };
        world.codes.insert(code.clone(), granted);
        query.append_pair("code", &code);
    } else {
        query
            .append_pair("error", "access_denied")
            .append_pair("error_code", "200")
            .append_pair("error_reason", "user_denied")
            .append_pair("error_description", "Permissions error.");
    }
    query.append_pair("state", one("state"));
    Redirect::to(&format!("{redirect_uri}?{}#_=_", query.finish())).into_response()
}
