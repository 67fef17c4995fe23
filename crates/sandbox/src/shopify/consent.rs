//! The page on which a merchant installs the app (shopify.md 1.1 to 1.3).

use askama::Template;
use axum::extract::{Path, RawForm, RawQuery, State};
use axum::response::Response;

use super::Code;
use crate::config::redirect_allowed;
use crate::page::{self, Params};
use crate::state::Shared;
use crate::{clock, signature};

const CODE_MS: i64 = 60_000;

struct ScopeRow {
    handle: String,
    sentence: String,
}

#[derive(Template)]
#[template(path = "shopify_consent.html")]
struct Consent<'a> {
    shop: &'a str,
    domain: &'a str,
    client_id: &'a str,
    redirect_uri: &'a str,
    state: &'a str,
    scope: &'a str,
    target: String,
    scopes: Vec<ScopeRow>,
}

/// A plain sentence for a scope.
pub(crate) fn sentence(scope: &str) -> String {
    let (verb, thing) = match scope.split_once('_') {
        Some(("write", rest)) => ("Change", rest),
        Some(("unauthenticated", rest)) => ("Let visitors use", rest),
        Some((_, rest)) => ("See", rest),
        None => ("Use", scope),
    };
    let thing = match thing {
        "orders" => "orders of the last 60 days, with items and tracking".to_owned(),
        "all_orders" => "orders of any age".to_owned(),
        "products" => "products, variants and prices".to_owned(),
        "customers" => "customers with their names and e-mail addresses".to_owned(),
        "inventory" => "stock levels".to_owned(),
        "fulfillments" => "parcels and their tracking".to_owned(),
        "returns" => "returns".to_owned(),
        "legal_policies" => "the shop's policies".to_owned(),
        other => other.replace('_', " "),
    };
    format!("{verb} {thing}")
}

/// Splits and checks a scope list: `read_x`, `write_x` and `unauthenticated_...`.
fn scopes(text: &str) -> Option<Vec<String>> {
    let mut out: Vec<String> = Vec::new();
    for scope in text.split(',').map(str::trim).filter(|s| !s.is_empty()) {
        let known = ["read_", "write_", "unauthenticated_"].iter().any(|p| scope.len() > p.len() && scope.starts_with(p));
        if !known || !scope.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()) {
            return None;
        }
        if !out.iter().any(|s| s == scope) {
            out.push(scope.to_owned());
        }
    }
    // Granted lists come back compressed: no read_x beside write_x (shopify.md 1.9).
    let written: Vec<String> = out.iter().filter_map(|s| s.strip_prefix("write_")).map(|x| format!("read_{x}")).collect();
    out.retain(|s| !written.contains(s));
    (!out.is_empty()).then_some(out)
}

/// What is wrong with an authorize request, in Shopify's words.
fn check(shared: &Shared, params: &Params) -> Result<Vec<String>, &'static str> {
    let app = &shared.config.shopify;
    if params.get("client_id") != app.api_key {
        return Err("Oauth error invalid_request: Could not find Shopify API application with this API key");
    }
    if !redirect_allowed(&app.redirect_uris, params.get("redirect_uri")) {
        return Err("Oauth error invalid_request: The redirect_uri is not whitelisted");
    }
    if params.get("state").is_empty() {
        return Err("Oauth error invalid_request: The sandbox insists on a state, without which the callback cannot be trusted");
    }
    scopes(params.get("scope")).ok_or("Oauth error invalid_scope: The access scope is invalid")
}

/// `GET /shopify/{shop}/admin/oauth/authorize`.
pub(crate) async fn show(State(shared): State<Shared>, Path(domain): Path<String>, RawQuery(query): RawQuery) -> Response {
    let params = Params::parse(query.unwrap_or_default().as_bytes());
    let Some(name) = shared.read(|s| s.shops.get(&domain).map(|s| s.name.clone())) else {
        return page::problem(404, "shopify", "This shop does not exist", &format!("The sandbox has no shop called {domain}."));
    };
    match check(&shared, &params) {
        Err(text) => page::problem(400, "shopify", "This app cannot be installed", text),
        Ok(scopes) => {
            let row = |handle: String| ScopeRow { sentence: sentence(&handle), handle };
            let consent = Consent {
                shop: &name,
                domain: &domain,
                client_id: params.get("client_id"),
                redirect_uri: params.get("redirect_uri"),
                state: params.get("state"),
                scope: params.get("scope"),
                target: page::origin(params.get("redirect_uri")),
                scopes: scopes.into_iter().map(row).collect(),
            };
            page::html_to(&consent, params.get("redirect_uri"))
        }
    }
}

/// `POST` of the same address: `decision` is `install` or `cancel`, `granted` repeats for each ticked scope.
pub(crate) async fn decide(State(shared): State<Shared>, Path(domain): Path<String>, RawForm(body): RawForm) -> Response {
    let params = Params::parse(&body);
    if !shared.read(|s| s.shops.contains_key(&domain)) {
        return page::problem(404, "shopify", "This shop does not exist", &format!("The sandbox has no shop called {domain}."));
    }
    let asked = match check(&shared, &params) {
        Ok(asked) => asked,
        Err(text) => return page::problem(400, "shopify", "This app cannot be installed", text),
    };
    let now = shared.now();
    let store = domain.strip_suffix(".myshopify.com").unwrap_or(&domain);
    let host = signature::base64_unpadded(format!("admin.shopify.com/store/{store}").as_bytes());
    let timestamp = (now / 1000).to_string();
    let mut pairs = vec![("host", host.as_str()), ("shop", &domain), ("state", params.get("state")), ("timestamp", &timestamp)];
    let code = clock::hex32();
    if params.get("decision") == "install" {
        let granted = params.all("granted");
        let scopes: Vec<String> = asked.into_iter().filter(|s| granted.contains(&s.as_str())).collect();
        shared.edit(|s| {
            if let Some(shop) = s.shops.get_mut(&domain) {
                shop.codes.retain(|c| c.expires_ms > now);
                shop.codes.push(Code { code: code.clone(), scopes, expires_ms: now + CODE_MS });
            }
        });
        pairs.push(("code", &code));
    } else {
        pairs.push(("error", "access_denied"));
        pairs.push(("error_description", "The merchant declined the installation"));
    }
    let query = signature::shopify_query(&shared.config.shopify.api_secret, &pairs);
    page::redirect(params.get("redirect_uri"), &query, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_lists_are_checked_and_compressed() {
        assert_eq!(scopes("read_orders, read_products,read_orders").unwrap(), ["read_orders", "read_products"]);
        assert_eq!(scopes("read_orders,write_orders").unwrap(), ["write_orders"]);
        for bad in ["", "orders", "read_", "read_orders read_products", "read_Orders"] {
            assert!(scopes(bad).is_none(), "{bad}");
        }
    }
}
