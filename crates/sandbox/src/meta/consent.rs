//! The login dialog (messenger.md 1.2, 1.3): who, which permissions, which pages.

use askama::Template;
use axum::extract::{Path, RawForm, RawQuery, State};
use axum::response::Response;

use super::{Code, Grant, Network, Person};
use crate::config::redirect_allowed;
use crate::page::{self, Params};
use crate::signature::form;
use crate::state::Shared;
use crate::clock;

const CODE_MS: i64 = 600_000;

struct ScopeRow {
    handle: String,
    sentence: &'static str,
}

struct PageRow {
    id: String,
    name: String,
    initial: String,
    note: String,
}

#[derive(Template)]
#[template(path = "meta_consent.html")]
struct Consent<'a> {
    version: &'a str,
    client_id: &'a str,
    redirect_uri: &'a str,
    state: &'a str,
    scope: &'a str,
    target: String,
    people: Vec<Person>,
    person: Person,
    scopes: Vec<ScopeRow>,
    pages: Vec<PageRow>,
    /// The same dialog for another person.
    others: Vec<(String, String)>,
}

fn sentence(scope: &str) -> &'static str {
    match scope {
        "pages_show_list" => "Show a list of the pages you manage",
        "pages_manage_metadata" => "Subscribe to webhooks of your pages and change their settings",
        "pages_messaging" => "Read and answer messages of your pages",
        "pages_read_engagement" => "Read the name, picture and content of your pages",
        "business_management" => "Manage your business portfolio",
        "public_profile" => "See your name and picture",
        _ => "Use this permission",
    }
}

fn scopes(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for scope in text.split([',', ' ']).map(str::trim).filter(|s| !s.is_empty()) {
        if !out.iter().any(|s| s == scope) {
            out.push(scope.to_owned());
        }
    }
    out
}

fn check(shared: &Shared, params: &Params) -> Result<(), &'static str> {
    let app = &shared.config.meta;
    if params.get("client_id") != app.app_id {
        return Err("Invalid App ID: the provided app ID does not look like a valid app ID.");
    }
    if !redirect_allowed(&app.redirect_uris, params.get("redirect_uri")) {
        return Err("URL blocked: this redirect failed because the redirect URI is not white-listed in the app's client OAuth settings.");
    }
    if params.get("state").is_empty() {
        return Err("The parameter state is required.");
    }
    match params.get("response_type") {
        "" | "code" | "code,granted_scopes" => Ok(()),
        _ => Err("The sandbox knows only response_type=code."),
    }
}

/// `GET /facebook/{version}/dialog/oauth`; `person` chooses who is logged in.
pub(crate) async fn show(State(shared): State<Shared>, Path(version): Path<String>, RawQuery(query): RawQuery) -> Response {
    let params = Params::parse(query.unwrap_or_default().as_bytes());
    if let Err(text) = check(&shared, &params) {
        return page::problem(400, "meta", "Something is wrong with this login", text);
    }
    shared.read(|s| {
        let chosen = s.meta.people.iter().find(|p| p.id == params.get("person")).or(s.meta.people.first());
        let Some(person) = chosen.cloned() else {
            return page::problem(500, "meta", "Nobody is here", "The sandbox's network has no people.");
        };
        let mut kept = vec![];
        for name in ["client_id", "redirect_uri", "state", "scope", "response_type"] {
            kept.push((name, params.get(name)));
        }
        let others = s.meta.people.iter().filter(|p| p.id != person.id).map(|p| {
            let pairs: Vec<(&str, &str)> = kept.iter().copied().chain([("person", p.id.as_str())]).collect();
            (format!("/facebook/{version}/dialog/oauth?{}", form(&pairs)), p.name.clone())
        });
        let consent = Consent {
            version: &version,
            client_id: params.get("client_id"),
            redirect_uri: params.get("redirect_uri"),
            state: params.get("state"),
            scope: params.get("scope"),
            target: page::origin(params.get("redirect_uri")),
            others: others.collect(),
            scopes: scopes(params.get("scope")).into_iter().map(|h| ScopeRow { sentence: sentence(&h), handle: h }).collect(),
            pages: rows(&s.meta, &person.id),
            people: s.meta.people.clone(),
            person,
        };
        page::html_to(&consent, params.get("redirect_uri"))
    })
}

fn rows(meta: &Network, person: &str) -> Vec<PageRow> {
    let missing = |tasks: &[String]| {
        ["MESSAGING", "MODERATE"].iter().find(|t| !tasks.iter().any(|x| x == *t)).map(|t| format!("you do not have the task {t} here"))
    };
    let row = |p: &super::Page| PageRow {
        id: p.id.clone(),
        name: p.name.clone(),
        initial: p.name.chars().take(1).collect(),
        note: missing(&p.tasks).unwrap_or_else(|| p.category.clone()),
    };
    meta.pages.values().filter(|p| p.person == person).map(row).collect()
}

/// `POST` of the same address: `decision` `continue` or `cancel`, `person`, `granted` and `page` repeat.
pub(crate) async fn decide(State(shared): State<Shared>, Path(_version): Path<String>, RawForm(body): RawForm) -> Response {
    let params = Params::parse(&body);
    if let Err(text) = check(&shared, &params) {
        return page::problem(400, "meta", "Something is wrong with this login", text);
    }
    let (state, uri) = (params.get("state"), params.get("redirect_uri"));
    if params.get("decision") != "continue" {
        let query = form(&[("error", "access_denied"), ("error_code", "200"), ("error_description", "Permissions error."), ("error_reason", "user_denied"), ("state", state)]);
        return page::redirect(uri, &query, "#_=_");
    }
    let (granted, chosen) = (params.all("granted"), params.all("page"));
    let code = format!("AQ{}", clock::alnum(120));
    let now = shared.now();
    let known = shared.edit(|s| {
        let person = s.meta.people.iter().find(|p| p.id == params.get("person"))?.id.clone();
        let scopes = scopes(params.get("scope")).into_iter().chain(["public_profile".to_owned()]);
        let scopes: Vec<String> = scopes.filter(|x| x == "public_profile" || granted.contains(&x.as_str())).collect();
        let own = s.meta.pages.values().filter(|p| p.person == person && chosen.contains(&p.id.as_str()));
        let pages: Vec<String> = own.map(|p| p.id.clone()).collect();
        // A page that is unticked now is lost for good, for every connection of this person (messenger.md 4, 1).
        for token in s.meta.tokens.iter_mut().filter(|t| t.person == person) {
            if token.page.as_ref().is_some_and(|p| !pages.contains(p)) {
                token.dead.get_or_insert(492);
            }
        }
        s.meta.grants.insert(person.clone(), Grant { scopes, pages, issued_ms: now });
        s.meta.codes.retain(|c| c.expires_ms > now);
        s.meta.codes.push(Code { code: code.clone(), person, redirect_uri: uri.to_owned(), expires_ms: now + CODE_MS });
        Some(())
    });
    if known.is_none() {
        return page::problem(400, "meta", "Something is wrong with this login", "Nobody by this id is logged in.");
    }
    let mut pairs = vec![("code", code.as_str()), ("state", state)];
    let list = granted.join(",");
    if params.get("response_type") == "code,granted_scopes" {
        pairs.push(("granted_scopes", &list));
    }
    page::redirect(uri, &form(&pairs), "#_=_")
}
