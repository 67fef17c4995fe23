//! The token endpoint (kustomer.md 1.2) and the verify-the-key call (1.3).

use serde_json::json;

use super::{Session, error};
use crate::call::{Answer, Incoming, Trace};
use crate::clock::{alnum, hex24, iso_millis};
use crate::signature::pkce_challenge;
use crate::state::Shared;

const LIFE_MS: i64 = 86_400_000;

pub(super) fn trace(call: &Incoming) -> (String, String) {
    match call.param("refresh_token") {
        Some(token) => ("token.refresh".to_owned(), token),
        None => ("token.exchange".to_owned(), call.param("code").unwrap_or_default()),
    }
}

fn refuse(status: u16, code: &str, text: &str) -> Answer {
    Answer::json(status, &json!({"error": code, "error_description": text})).note(text)
}

pub(super) fn answer(shared: &Shared, call: &Incoming, org: &str) -> Answer {
    let app = &shared.config.kustomer;
    let param = |name: &str| call.param(name).unwrap_or_default();
    if call.method != http::Method::POST || !call.readable {
        return refuse(400, "invalid_request", "The token endpoint takes a form");
    }
    if param("client_id") != app.client_id || param("client_secret") != app.client_secret {
        return refuse(401, "invalid_client", "Client authentication failed");
    }
    let now = shared.now();
    shared.edit(|s| {
        let Some(org) = s.orgs.get_mut(org) else { return Answer::empty(404) };
        let session = match param("grant_type").as_str() {
            "authorization_code" => {
                let Some(at) = org.codes.iter().position(|c| c.code == param("code") && c.expires_ms > now) else {
                    return refuse(400, "invalid_grant", "The authorization code is invalid, used or expired");
                };
                let code = org.codes.remove(at);
                if code.redirect_uri != param("redirect_uri") {
                    return refuse(400, "invalid_grant", "The redirect_uri is not the one of the authorization request");
                }
                if pkce_challenge(&param("code_verifier")) != code.challenge {
                    return refuse(400, "invalid_grant", "The code_verifier does not match");
                }
                let offline = code.roles.iter().any(|r| r == "offline_access");
                org.sessions.push(Session {
                    id: hex24(),
                    access: String::new(),
                    refresh: offline.then(String::new),
                    user: code.user,
                    roles: code.roles,
                    expires_ms: 0,
                    former: Vec::new(),
                });
                org.sessions.last_mut().expect("a session was just added")
            }
            "refresh_token" => {
                let token = param("refresh_token");
                let held = |x: &&mut Session| !token.is_empty() && x.refresh.as_deref() == Some(token.as_str());
                match org.sessions.iter_mut().find(held) {
                    Some(session) => session,
                    None => return refuse(400, "invalid_grant", "The refresh token is invalid, used or expired"),
                }
            }
            _ => return refuse(400, "unsupported_grant_type", "authorization_code or refresh_token"),
        };
        // Every answer carries a new pair; the old refresh token is dead from here on.
        let old = std::mem::replace(&mut session.access, alnum(96));
        session.former.extend([old].into_iter().chain(session.refresh.take()).filter(|t| !t.is_empty()));
        session.expires_ms = now + LIFE_MS;
        let mut body = json!({"access_token": session.access, "token_type": "Bearer", "expires_in": LIFE_MS / 1000, "scope": session.roles.join(" ")});
        if session.roles.iter().any(|r| r == "offline_access") {
            let refresh = alnum(96);
            body["refresh_token"] = json!(refresh);
            session.refresh = Some(refresh);
        }
        Answer::json(200, &body)
    })
}

/// `GET` shows the token in use whatever its roles; `DELETE` ends it.
pub(super) fn current(shared: &Shared, call: &Incoming, trace: &Trace) -> Answer {
    let delete = call.method == http::Method::DELETE;
    shared.edit(|s| {
        let Some(org) = s.orgs.get_mut(&trace.account) else { return Answer::empty(404) };
        let last: String = trace.token.chars().rev().take(4).collect::<Vec<_>>().into_iter().rev().collect();
        if let Some(key) = org.keys.iter_mut().find(|k| k.token == trace.token) {
            key.deleted |= delete;
            let attributes = json!({"name": key.label, "roles": key.roles, "lastTokenChars": last, "expiresAt": key.expires_ms.map(iso_millis)});
            return if delete { Answer::empty(204) } else { shown(&key.id, &key.user, &org.id, attributes) };
        }
        let Some(at) = org.sessions.iter().position(|x| x.access == trace.token) else {
            return error(401, "unauthorized", "Unauthorized");
        };
        if delete {
            org.sessions[at].expires_ms = 0;
            org.sessions[at].refresh = None;
            return Answer::empty(204);
        }
        let session = &org.sessions[at];
        let attributes = json!({"name": "OAuth", "roles": session.roles, "lastTokenChars": last, "expiresAt": iso_millis(session.expires_ms)});
        shown(&session.id, &session.user, &org.id, attributes)
    })
}

fn shown(id: &str, user: &str, org: &str, attributes: serde_json::Value) -> Answer {
    let relationships = json!({"org": super::record::relation("org", org), "user": super::record::relation("user", user)});
    Answer::json(200, &json!({"data": {"type": "token", "id": id, "attributes": attributes, "relationships": relationships}}))
}
