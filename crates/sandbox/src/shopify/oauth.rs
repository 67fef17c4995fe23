//! The consent page and the token endpoint.

use crate::clock;
use crate::page::{self, Html};
use crate::sign::{random_hex, shopify_query_mac};
use crate::state::{Answer, Call, Sandbox};
use crate::world::Code;
use crate::world::shop::{Grant, Shop};
use askama::Template;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;

/// An hour, and ninety days.
const ACCESS_SECS: i64 = 3600;
const REFRESH_SECS: i64 = 7_776_000;
const CODE_SECS: i64 = 60;

#[derive(Deserialize)]
pub(crate) struct Ask {
    client_id: Option<String>,
    scope: Option<String>,
    redirect_uri: Option<String>,
    state: Option<String>,
}

#[derive(Template)]
#[template(path = "consent_shopify.html")]
struct Consent {
    shop: String,
    name: String,
    redirect_uri: String,
    state: String,
    scopes: Vec<String>,
}

/// The page on which a merchant installs the app.
pub(crate) async fn authorize(
    State(sandbox): State<Sandbox>,
    Path(shop): Path<String>,
    Query(ask): Query<Ask>,
) -> Response {
    let settings = sandbox.settings();
    let (Some(redirect_uri), Some(state)) = (ask.redirect_uri, ask.state) else {
        return page::problem(
            StatusCode::BAD_REQUEST,
            "Shopify",
            "The request names no redirect_uri or no state.",
        );
    };
    if ask.client_id.as_deref() != Some(settings.shopify_api_key.as_str()) {
        return page::problem(StatusCode::BAD_REQUEST, "Shopify", "There is no app with this client id.");
    }
    if !redirect_uri.starts_with(&format!("{}/", settings.product_url)) {
        return page::problem(
            StatusCode::BAD_REQUEST,
            "Shopify",
            "The redirect_uri is not on the app's list.",
        );
    }
    let Some(name) = sandbox.world().shops.get(&shop).map(|s| s.name.clone()) else {
        return page::problem(StatusCode::NOT_FOUND, "Shopify", "There is no shop with this name.");
    };
    let scopes = split(ask.scope.as_deref().unwrap_or_default());
    Html(Consent { shop, name, redirect_uri, state, scopes }).with_forms_to(&settings.product_url)
}

fn split(scopes: &str) -> Vec<String> {
    scopes.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

/// What the merchant decided.
pub(crate) async fn decide(
    State(sandbox): State<Sandbox>,
    Path(shop): Path<String>,
    body: Bytes,
) -> Response {
    let fields: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    let one = |name: &str| fields.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
    let settings = sandbox.settings();
    let redirect_uri = one("redirect_uri").to_owned();
    if !redirect_uri.starts_with(&format!("{}/", settings.product_url)) {
        return page::problem(
            StatusCode::BAD_REQUEST,
            "Shopify",
            "The redirect_uri is not on the app's list.",
        );
    }
    let timestamp = clock::now().to_string();
    let label = shop.split('.').next().unwrap_or_default();
    let host = STANDARD_NO_PAD.encode(format!("admin.shopify.com/store/{label}"));
    let mut pairs =
        vec![("host", host.as_str()), ("shop", &shop), ("state", one("state")), ("timestamp", &timestamp)];
    let code = random_hex(16);
    if one("decision") == "install" {
        let scopes = fields.iter().filter(|(n, _)| n == "scope").map(|(_, v)| v.clone()).collect();
        let granted = Code {
            provider: "shopify",
            account: shop.clone(),
            redirect_uri: redirect_uri.clone(),
            scopes,
            pages: Vec::new(),
            client: None,
            challenge: None,
            expires_at: clock::now() + CODE_SECS,
        };
        sandbox.world().codes.insert(code.clone(), granted);
        pairs.push(("code", &code));
    } else {
        pairs.push(("error", "access_denied"));
    }
    let hmac = shopify_query_mac(&settings.shopify_api_secret, &pairs);
    pairs.push(("hmac", &hmac));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    Redirect::to(&format!("{redirect_uri}?{query}")).into_response()
}

/// Body as JSON or as a form, as a flat map.
pub(crate) fn fields(headers: &HeaderMap, body: &[u8]) -> HashMap<String, String> {
    let is_json = headers.get("content-type").is_some_and(|t| t.as_bytes().starts_with(b"application/json"));
    if !is_json {
        return form_urlencoded::parse(body).into_owned().collect();
    }
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let object = parsed.as_object().cloned().unwrap_or_default();
    object
        .into_iter()
        .map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect()
}

/// The token endpoint of one shop.
pub(crate) async fn access_token(
    State(sandbox): State<Sandbox>,
    Path(shop): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let fields = fields(&headers, &body);
    let is_refresh = fields.get("grant_type").map(String::as_str) == Some("refresh_token");
    let call = Call {
        provider: "shopify",
        account: shop.clone(),
        method: "POST".into(),
        path: "/admin/oauth/access_token".into(),
        operation: match fields.get("grant_type").map(String::as_str) {
            Some("refresh_token") => "token.refresh",
            Some(_) => "token.exchange",
            None => "token.code",
        }
        .into(),
        token_of: None,
        token_kind: None,
    };
    sandbox.answer(call, |sandbox| exchange(sandbox, &shop, &fields, is_refresh)).await
}

fn exchange(sandbox: &Sandbox, shop: &str, fields: &HashMap<String, String>, is_refresh: bool) -> Answer {
    let settings = sandbox.settings();
    let get = |name: &str| fields.get(name).map_or("", String::as_str);
    let is_migration = get("grant_type") == "urn:ietf:params:oauth:grant-type:token-exchange";
    if get("client_id") != settings.shopify_api_key || get("client_secret") != settings.shopify_api_secret {
        return Answer::new(401, json!({"error": "invalid_client"}));
    }
    let mut world = sandbox.world();
    let now = clock::now();
    if is_migration {
        let Some(shop) = world.shops.get_mut(shop) else {
            return Answer::new(404, json!({"errors": "Not Found"}));
        };
        return migrate(shop, get("subject_token"), now);
    }
    if is_refresh {
        let Some(shop) = world.shops.get_mut(shop) else {
            return Answer::new(404, json!({"errors": "Not Found"}));
        };
        let dead = || {
            Answer::new(
                401,
                json!({"error": "invalid_request",
                "error_description": "This request requires an active refresh_token"}),
            )
        };
        let given = get("refresh_token");
        let Some(grant) = shop.grant.as_mut() else { return dead() };
        if grant.refresh == given && grant.refresh_expires_at > now {
            let next = new_grant(grant.scopes.clone(), now);
            let old = std::mem::replace(grant, next);
            grant.previous = Some((old.access, old.refresh));
        } else if grant.used || grant.previous.as_ref().is_none_or(|(_, refresh)| refresh != given) {
            // An old one is good again only until the new pair is used: then a lost answer is no longer the reason.
            return dead();
        }
        return Answer::new(200, reply(grant, now));
    }
    let taken = world.take_code("shopify", get("code"), now).filter(|c| c.account == shop);
    let (Some(code), Some(shop)) = (taken, world.shops.get_mut(shop)) else {
        return Answer::new(
            400,
            json!({"error": "invalid_request", "error_description": "The authorization code was not found or was already used"}),
        );
    };
    if get("expiring") == "1" {
        // One grant for each app and shop: what was given before is dead.
        let grant = new_grant(code.scopes, now);
        let body = reply(&grant, now);
        shop.grant = Some(grant);
        shop.permanent.clear();
        Answer::new(200, body)
    } else {
        let token = format!("shpat_{}", random_hex(16));
        shop.permanent.push((token.clone(), code.scopes.clone()));
        Answer::new(200, json!({"access_token": token, "scope": code.scopes.join(",")}))
    }
}

/// A permanent token for an expiring pair; the same exchange again gives the same pair until that was renewed.
fn migrate(shop: &mut Shop, permanent: &str, now: i64) -> Answer {
    let again = shop.grant.as_ref().filter(|g| g.previous.as_ref().is_some_and(|(old, _)| old == permanent));
    if let Some(grant) = again {
        return Answer::new(200, reply(grant, now));
    }
    let Some((_, scopes)) = shop.permanent.iter().find(|(t, _)| t == permanent) else {
        return Answer::new(400, json!({"error": "invalid_subject_token"}));
    };
    let previous = Some((permanent.to_owned(), String::new()));
    let grant = Grant { previous, ..new_grant(scopes.clone(), now) };
    let body = reply(&grant, now);
    shop.grant = Some(grant);
    shop.permanent.clear();
    Answer::new(200, body)
}

fn new_grant(scopes: Vec<String>, now: i64) -> Grant {
    Grant {
        access: format!("shpat_{}", random_hex(16)),
        access_expires_at: now + ACCESS_SECS,
        refresh: format!("shprt_{}", random_hex(16)),
        refresh_expires_at: now + REFRESH_SECS,
        scopes,
        used: false,
        previous: None,
    }
}

fn reply(grant: &Grant, now: i64) -> Value {
    json!({
        "access_token": grant.access, "scope": grant.scopes.join(","), "expires_in": grant.access_expires_at - now,
        "refresh_token": grant.refresh, "refresh_token_expires_in": grant.refresh_expires_at - now,
    })
}
