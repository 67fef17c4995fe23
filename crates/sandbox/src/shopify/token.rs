//! The token endpoint: authorization code and refresh with rotation (shopify.md 1.6, 1.7).

use serde_json::{Value, json};

use super::{Grant, Pair, Shop};
use crate::call::{Answer, Incoming};
use crate::clock;
use crate::state::Shared;

const REFRESH_SECS: i64 = 7_776_000;
/// How long a traded refresh token may be presented again while its replacement is unused.
const GRACE_MS: i64 = 30 * 86_400_000;

/// Operation and presented secret.
pub(super) fn trace(call: &Incoming) -> (String, String) {
    match call.param("refresh_token") {
        Some(token) => ("token.refresh".to_owned(), token),
        None => ("token.exchange".to_owned(), call.param("code").unwrap_or_default()),
    }
}

fn error(status: u16, code: &str, text: &str) -> Answer {
    Answer::json(status, &json!({"error": code, "error_description": text})).note(text)
}

pub(super) fn answer(shared: &Shared, call: &Incoming, shop: &str) -> Answer {
    let app = &shared.config.shopify;
    let param = |name: &str| call.param(name).unwrap_or_default();
    if !call.readable {
        return error(400, "invalid_request", "The request body could not be read");
    }
    if param("client_id") != app.api_key || param("client_secret") != app.api_secret {
        return error(401, "invalid_client", "Client authentication failed");
    }
    let now = shared.now();
    let life = i64::try_from(app.access_token_secs).unwrap_or(3600);
    shared.edit(|s| {
        let Some(shop) = s.shops.get_mut(shop) else { return Answer::empty(404) };
        match param("grant_type").as_str() {
            "" | "authorization_code" => exchange(shop, &param("code"), param("expiring") == "1", life, now),
            "refresh_token" => refresh(shop, &param("refresh_token"), life, now),
            _ => error(400, "unsupported_grant_type", "The grant type is not supported by the sandbox"),
        }
    })
}

fn exchange(shop: &mut Shop, code: &str, expiring: bool, life: i64, now: i64) -> Answer {
    let Some(at) = shop.codes.iter().position(|c| c.code == code) else {
        return error(400, "invalid_request", "The authorization code was not found or was already used");
    };
    let code = shop.codes.remove(at);
    if code.expires_ms <= now {
        return error(400, "invalid_request", "The authorization code was not found or was already used");
    }
    // One active expiring token for each app and shop: a new grant revokes the earlier ones.
    shop.revoke();
    let pair = if expiring {
        fresh(life, now)
    } else {
        Pair { access_expires_ms: None, refresh: String::new(), ..fresh(life, now) }
    };
    let body = answer_body(&pair, &code.scopes, now);
    shop.grant = Some(Grant { scopes: code.scopes, granted_ms: now, pairs: vec![pair] });
    Answer::json(200, &body)
}

fn refresh(shop: &mut Shop, token: &str, life: i64, now: i64) -> Answer {
    let dead = || error(401, "invalid_request", "This request requires an active refresh_token");
    let Some(grant) = shop.grant.as_mut() else { return dead() };
    let held = |p: &Pair| !token.is_empty() && p.refresh == token && p.refresh_expires_ms > now;
    let Some(at) = grant.pairs.iter().position(held) else { return dead() };
    match grant.pairs[at].traded_ms {
        Some(traded) if now - traded > GRACE_MS => return dead(),
        // A retry after a lost answer: the same replacement again.
        Some(_) => {}
        None => {
            // First use of this refresh token also retires the pairs before it.
            shop.dead_tokens.extend(grant.pairs.drain(..at).map(|p| p.access));
            grant.pairs[0].traded_ms = Some(now);
            grant.pairs.push(fresh(life, now));
        }
    }
    match grant.pairs.last() {
        Some(pair) => Answer::json(200, &answer_body(pair, &grant.scopes, now)),
        None => dead(),
    }
}

fn fresh(life: i64, now: i64) -> Pair {
    Pair {
        access: format!("shpat_{}", clock::hex32()),
        access_expires_ms: Some(now + life * 1000),
        refresh: format!("shprt_{}", clock::hex32()),
        refresh_expires_ms: now + REFRESH_SECS * 1000,
        traded_ms: None,
    }
}

fn answer_body(pair: &Pair, scopes: &[String], now: i64) -> Value {
    let scope = scopes.join(",");
    match pair.access_expires_ms {
        None => json!({"access_token": pair.access, "scope": scope}),
        Some(end) => json!({
            "access_token": pair.access,
            "scope": scope,
            "expires_in": (end - now).max(0) / 1000,
            "refresh_token": pair.refresh,
            "refresh_token_expires_in": (pair.refresh_expires_ms - now).max(0) / 1000,
        }),
    }
}
