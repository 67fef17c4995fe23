//! Code, long-lived token, inspection (messenger.md 1.4, 1.5, 1.7).

use serde_json::{Value, json};

use super::{Caller, Network, Token, error};
use crate::call::{Answer, Incoming};
use crate::clock;
use crate::state::Shared;

const SHORT_MS: i64 = 5_400_000;
const LONG_MS: i64 = 5_183_944_000;
const DATA_ACCESS_MS: i64 = 90 * 86_400_000;

fn credentials(shared: &Shared, call: &Incoming) -> Result<(), Answer> {
    let app = &shared.config.meta;
    if call.param("client_id").as_deref() != Some(app.app_id.as_str()) {
        return Err(error(101, 0, "Error validating application. Cannot get application info due to a system error."));
    }
    if call.param("client_secret").as_deref() != Some(app.app_secret.as_str()) {
        return Err(error(1, 0, "Error validating client secret."));
    }
    Ok(())
}

fn issue(meta: &mut Network, person: &str, long: bool, now: i64) -> Answer {
    let life = if long { LONG_MS } else { SHORT_MS };
    let token = Token {
        token: format!("EAAB{}", clock::alnum(if long { 180 } else { 150 })),
        person: person.to_owned(),
        page: None,
        issued_ms: now,
        expires_ms: Some(now + life),
        long,
        dead: None,
    };
    let body = json!({"access_token": token.token, "token_type": "bearer", "expires_in": life / 1000});
    meta.tokens.push(token);
    Answer::json(200, &body)
}

pub(super) fn exchange(shared: &Shared, call: &Incoming) -> Answer {
    if let Err(refusal) = credentials(shared, call) {
        return refusal;
    }
    let now = shared.now();
    let code = call.param("code").unwrap_or_default();
    let redirect_uri = call.param("redirect_uri").unwrap_or_default();
    shared.edit(|s| {
        let Some(at) = s.meta.codes.iter().position(|c| c.code == code && c.expires_ms > now) else {
            return error(100, 36009, "This authorization code has been used or is no longer valid.");
        };
        if s.meta.codes[at].redirect_uri != redirect_uri {
            return error(100, 36008, "Error validating verification code. Please make sure your redirect_uri is identical to the one you used in the OAuth dialog request");
        }
        let code = s.meta.codes.remove(at);
        issue(&mut s.meta, &code.person, false, now)
    })
}

pub(super) fn long_lived(shared: &Shared, call: &Incoming) -> Answer {
    if let Err(refusal) = credentials(shared, call) {
        return refusal;
    }
    let now = shared.now();
    let short = call.param("fb_exchange_token").unwrap_or_default();
    shared.edit(|s| {
        let alive = |t: &&Token| t.token == short && t.page.is_none() && t.dead.is_none();
        let Some(found) = s.meta.tokens.iter().find(alive).cloned() else {
            return error(190, 0, "Invalid OAuth access token - Cannot parse access token");
        };
        match found.expires_ms {
            Some(end) if end <= now => error(190, 463, "Error validating access token: Session has expired."),
            // Exchanging a long-lived token again buys no fresh days.
            Some(end) if found.long => {
                Answer::json(200, &json!({"access_token": found.token, "token_type": "bearer", "expires_in": (end - now) / 1000}))
            }
            _ => issue(&mut s.meta, &found.person, true, now),
        }
    })
}

pub(super) fn debug(shared: &Shared, call: &Incoming, caller: &Caller) -> Answer {
    if !matches!(caller, Caller::App) {
        return error(100, 0, "(#100) You must provide an app access token, or a user access token that is an owner or developer of the app");
    }
    let input = call.param("input_token").unwrap_or_default();
    let now = shared.now();
    let app_id = &shared.config.meta.app_id;
    shared.read(|s| {
        let Some(t) = s.meta.tokens.iter().find(|t| t.token == input) else {
            let error = json!({"code": 190, "message": "Invalid OAuth access token."});
            return Answer::json(200, &json!({"data": {"error": error, "is_valid": false, "scopes": []}}));
        };
        let expired = t.expires_ms.is_some_and(|end| end <= now);
        let grant = s.meta.grants.get(&t.person).cloned().unwrap_or_default();
        let granular: Vec<Value> = grant
            .scopes
            .iter()
            .map(|scope| match scope.starts_with("pages_") {
                true => json!({"scope": scope, "target_ids": grant.pages}),
                false => json!({"scope": scope}),
            })
            .collect();
        let mut data = json!({
            "app_id": app_id, "type": if t.page.is_some() { "PAGE" } else { "USER" }, "application": "AgenStack",
            "data_access_expires_at": (t.issued_ms + DATA_ACCESS_MS) / 1000, "expires_at": t.expires_ms.map_or(0, |e| e / 1000),
            "issued_at": t.issued_ms / 1000, "is_valid": !expired && t.dead.is_none(), "scopes": grant.scopes,
            "granular_scopes": granular, "user_id": t.person,
        });
        if let Some(page) = &t.page {
            data["profile_id"] = json!(page);
        }
        if let Some(subcode) = t.dead.or(expired.then_some(463)) {
            data["error"] = json!({"code": 190, "message": "Error validating access token", "subcode": subcode});
        }
        Answer::json(200, &json!({"data": data}))
    })
}

/// The page's token under this user token: the same one as long as it lives (messenger.md 1.6).
pub(super) fn of_page(meta: &mut Network, user: &Token, page: &str, now: i64) -> String {
    let same = |t: &&Token| {
        let alive = t.dead.is_none() && t.expires_ms.is_none_or(|end| end > now);
        t.person == user.person && t.page.as_deref() == Some(page) && t.long == user.long && alive
    };
    if let Some(found) = meta.tokens.iter().find(same) {
        return found.token.clone();
    }
    let token = format!("EAAP{}", clock::alnum(170));
    meta.tokens.push(Token {
        token: token.clone(),
        person: user.person.clone(),
        page: Some(page.to_owned()),
        issued_ms: now,
        // Obtained with a long-lived token it has no end; with a short one it dies with that.
        expires_ms: if user.long { None } else { user.expires_ms },
        long: user.long,
        dead: None,
    });
    token
}
