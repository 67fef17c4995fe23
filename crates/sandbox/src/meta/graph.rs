//! The Graph endpoints: every call with a token needs the proof of just that token.

use super::{send, webhook};
use crate::clock;
use crate::sign::{hex_mac, random_hex};
use crate::state::{Answer, Call, Sandbox};
use crate::world::{MetaToken, World};
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Long-lived user tokens: sixty days. Short ones: an hour and a half.
const LONG_SECS: i64 = 5_183_944;
const SHORT_SECS: i64 = 5_400;
/// Fewer than the real one gives, so that whoever does not follow the pages of a list is found out.
const LIST_SIZE: usize = 5;
const UNTICKED: &str = "Any of the pages_read_engagement, pages_manage_metadata permissions must be granted before impersonating a user's page.";

pub(super) type Fields = HashMap<String, String>;

/// An error as Graph writes it; the status is 400 whatever the cause.
pub(super) fn error(code: i64, sub: Option<i64>, message: &str) -> Answer {
    let mut error =
        json!({"message": message, "type": "OAuthException", "code": code, "fbtrace_id": random_hex(8)});
    if let Some(sub) = sub {
        error["error_subcode"] = json!(sub);
    }
    Answer::new(400, json!({"error": error}))
}

/// Any call.
pub(crate) async fn call(
    State(sandbox): State<Sandbox>,
    Path((_version, path)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut fields: Fields =
        form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    fields.extend(crate::shopify_fields(&headers, &body));
    let bearer =
        headers.get("authorization").and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    let token = bearer.map(str::to_owned).or_else(|| fields.get("access_token").cloned()).unwrap_or_default();
    let json_body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    let account = match parts.as_slice() {
        ["me" | "oauth" | "debug_token", ..] => "-".to_owned(),
        [id, ..] => (*id).to_owned(),
        [] => "-".to_owned(),
    };
    let (token_of, token_kind) = owner(&sandbox, &token);
    let about = match parts.as_slice() {
        [id, rest @ ..] if id.bytes().all(|b| b.is_ascii_digit()) => {
            if rest.is_empty() {
                "object".to_owned()
            } else {
                rest.join("/")
            }
        }
        other => other.join("/"),
    };
    let call = Call {
        provider: "meta",
        account,
        method: method.to_string(),
        path: format!("/{path}"),
        operation: format!("{} {about}", method.as_str()),
        token_of,
        token_kind,
    };
    sandbox.answer(call, |sandbox| route(sandbox, &method, &parts, &fields, &token, &json_body)).await
}

fn owner(sandbox: &Sandbox, token: &str) -> (Option<String>, Option<&'static str>) {
    let settings = sandbox.settings();
    if token == format!("{}|{}", settings.meta_app_id, settings.meta_app_secret) {
        return (Some("app".into()), Some("app"));
    }
    match sandbox.world().meta_tokens.get(token) {
        Some(MetaToken { page: Some(page), .. }) => (Some(page.clone()), Some("page")),
        Some(t) => (Some(format!("user:{}", t.person)), Some("user")),
        None => (None, None),
    }
}

fn route(
    sandbox: &Sandbox,
    method: &Method,
    parts: &[&str],
    fields: &Fields,
    token: &str,
    body: &Value,
) -> Answer {
    let get = |name: &str| fields.get(name).map_or("", String::as_str);
    if parts == ["oauth", "access_token"] {
        return access_token(sandbox, fields);
    }
    let settings = sandbox.settings();
    let app_token = format!("{}|{}", settings.meta_app_id, settings.meta_app_secret);
    if parts == ["debug_token"] {
        return if token == app_token {
            debug_token(sandbox, get("input_token"))
        } else {
            error(190, None, "Invalid OAuth access token")
        };
    }
    if get("appsecret_proof") != hex_mac(&settings.meta_app_secret, token.as_bytes()) {
        return error(100, None, "API calls from the server require an appsecret_proof argument");
    }
    let is_app = token == app_token;
    let mut world = sandbox.world();
    let known = world.meta_tokens.get(token).cloned();
    let live = match known {
        Some(t) if t.dead => return error(190, Some(460), "The session has been invalidated"),
        Some(t) if t.is_unticked() => return error(190, None, UNTICKED),
        Some(t) if t.expires_at != 0 && t.expires_at <= clock::now() => {
            return error(190, Some(463), "Session has expired");
        }
        Some(t) => Some(t),
        None if is_app => None,
        None => return error(190, None, "Invalid OAuth access token - Cannot parse access token"),
    };
    match (method.as_str(), parts, live) {
        ("GET", ["me"], Some(t)) => {
            let person = &world.persons[&t.person];
            Answer::new(200, json!({"id": person.id, "name": person.name}))
        }
        ("GET", ["me", "accounts"], Some(t)) if t.page.is_none() => accounts(&mut world, &t, get("after")),
        (_, [page, "subscribed_apps"], t)
            if is_app || t.as_ref().is_some_and(|t| t.page.as_deref() == Some(*page)) =>
        {
            subscribed_apps(sandbox, &mut world, method, page, get("subscribed_fields"))
        }
        ("POST", [page, "messages"], Some(t)) => {
            let page = if *page == "me" { t.page.clone().unwrap_or_default() } else { (*page).to_owned() };
            if t.page.as_deref() != Some(page.as_str()) {
                return error(190, None, "This method must be called with a Page Access Token of this page");
            }
            send::send(sandbox, &mut world, &page, body)
        }
        ("GET", [page, "conversations"], Some(t)) if t.page.as_deref() == Some(*page) => {
            let chats = world.pages[*page].chats.values();
            let list: Vec<Value> = chats.map(|c| json!({"id": format!("t_{}", c.psid), "participants": {"data": [{"id": c.psid, "name": c.name}]}})).collect();
            Answer::new(200, json!({"data": list}))
        }
        ("GET", [id], Some(t)) => object(&mut world, &t, id),
        _ => error(
            100,
            Some(33),
            "Unsupported request. Object does not exist or cannot be loaded due to missing permissions",
        ),
    }
}

fn access_token(sandbox: &Sandbox, fields: &Fields) -> Answer {
    let settings = sandbox.settings();
    let get = |name: &str| fields.get(name).map_or("", String::as_str);
    if get("client_id") != settings.meta_app_id || get("client_secret") != settings.meta_app_secret {
        return error(1, None, "Error validating client secret.");
    }
    let now = clock::now();
    let mut world = sandbox.world();
    let token = random_hex(48);
    let token = format!("EAA{token}");
    if get("grant_type") == "fb_exchange_token" {
        let Some(short) = world.meta_tokens.get(get("fb_exchange_token")).cloned() else {
            return error(190, None, "Invalid OAuth access token");
        };
        if short.dead || short.expires_at <= now {
            return error(190, Some(463), "Session has expired");
        }
        world
            .meta_tokens
            .insert(token.clone(), MetaToken { long_lived: true, expires_at: now + LONG_SECS, ..short });
        return Answer::new(
            200,
            json!({"access_token": token, "token_type": "bearer", "expires_in": LONG_SECS}),
        );
    }
    let Some(code) = world.take_code("meta", get("code"), now) else {
        return error(100, None, "This authorization code has been used or has expired.");
    };
    if code.redirect_uri != get("redirect_uri") {
        return error(
            100,
            None,
            "Error validating verification code. Please make sure your redirect_uri is identical",
        );
    }
    let short = MetaToken {
        person: code.account,
        page: None,
        long_lived: false,
        permissions: code.scopes,
        granted: code.pages,
        expires_at: now + SHORT_SECS,
        dead: false,
    };
    world.meta_tokens.insert(token.clone(), short);
    Answer::new(200, json!({"access_token": token, "token_type": "bearer", "expires_in": SHORT_SECS}))
}

fn debug_token(sandbox: &Sandbox, token: &str) -> Answer {
    let world = sandbox.world();
    let Some(t) = world.meta_tokens.get(token) else {
        return Answer::new(
            200,
            json!({"data": {"is_valid": false, "error": {"code": 190, "message": "Invalid OAuth access token"}}}),
        );
    };
    let granular: Vec<Value> = t
        .permissions
        .iter()
        .map(|p| {
            if p.starts_with("pages_") {
                json!({"scope": p, "target_ids": t.granted})
            } else {
                json!({"scope": p})
            }
        })
        .collect();
    let valid = !t.dead && !t.is_unticked() && (t.expires_at == 0 || t.expires_at > clock::now());
    let mut data = json!({
        "app_id": sandbox.settings().meta_app_id, "type": if t.page.is_some() { "PAGE" } else { "USER" },
        "application": "AgenStack", "is_valid": valid, "issued_at": 0, "expires_at": t.expires_at,
        "data_access_expires_at": 0, "scopes": t.permissions, "granular_scopes": granular,
        "user_id": world.persons[&t.person].id,
    });
    if let Some(page) = &t.page {
        data["profile_id"] = json!(page);
    }
    Answer::new(200, json!({"data": data}))
}

/// A page's token: one for each person, page and kind, as long as nothing takes it away.
fn page_token(world: &mut World, user: &MetaToken, page: &str) -> String {
    let same = |t: &MetaToken| {
        !t.dead && !t.is_unticked() && t.person == user.person && t.page.as_deref() == Some(page)
    };
    if let Some((token, _)) =
        world.meta_tokens.iter().find(|(_, t)| same(t) && (t.expires_at == 0) == user.long_lived)
    {
        return token.clone();
    }
    let token = format!("EAA{}", random_hex(48));
    // With a long-lived user token it has no end; with a short one it ends with it.
    let expires_at = if user.long_lived { 0 } else { user.expires_at };
    let page = Some(page.to_owned());
    world.meta_tokens.insert(token.clone(), MetaToken { page, expires_at, ..user.clone() });
    token
}

fn accounts(world: &mut World, user: &MetaToken, after: &str) -> Answer {
    if !user.permissions.iter().any(|p| p == "pages_show_list") {
        return Answer::new(200, json!({"data": []}));
    }
    let roles: Vec<(String, Vec<&'static str>, bool)> = world.persons[&user.person]
        .pages
        .iter()
        .filter(|r| user.granted.contains(&r.page))
        .map(|r| (r.page.clone(), r.tasks.clone(), r.has_token))
        .collect();
    let start = after.parse::<usize>().unwrap_or(0);
    let mut data = Vec::new();
    for (page, tasks, has_token) in roles.iter().skip(start).take(LIST_SIZE) {
        let mut item = json!({"id": page, "name": world.pages[page].name, "tasks": tasks, "category": "Shopping & Retail"});
        if *has_token {
            item["access_token"] = json!(page_token(world, user, page));
        }
        data.push(item);
    }
    let end = start + data.len();
    let mut body =
        json!({"data": data, "paging": {"cursors": {"before": start.to_string(), "after": end.to_string()}}});
    if end < roles.len() {
        body["paging"]["next"] = json!(format!("https://graph.facebook.com/me/accounts?after={end}"));
    }
    Answer::new(200, body)
}

fn object(world: &mut World, t: &MetaToken, id: &str) -> Answer {
    if let Some(page) = world.pages.get(id) {
        let name = page.name.clone();
        // With a user token only pages the person has and ticked; with a page token only that page.
        let allowed = match &t.page {
            Some(own) => own == id,
            None => t.granted.iter().any(|p| p == id),
        };
        if !allowed {
            return error(190, None, UNTICKED);
        }
        let mut body = json!({"id": id, "name": name});
        if t.page.is_none() && world.persons[&t.person].pages.iter().any(|r| r.page == id && r.has_token) {
            body["access_token"] = json!(page_token(world, t, id));
        }
        return Answer::new(200, body);
    }
    let chat = t.page.as_ref().and_then(|page| world.pages[page].chats.get(id));
    match chat {
        Some(chat) => {
            let (first, last) = chat.name.split_once(' ').unwrap_or((&chat.name, ""));
            let mut body = json!({"id": id, "first_name": first});
            if !last.is_empty() {
                body["last_name"] = json!(last);
            }
            Answer::new(200, body)
        }
        None => error(100, Some(33), "Unsupported get request. Object does not exist"),
    }
}

fn subscribed_apps(
    sandbox: &Sandbox,
    world: &mut World,
    method: &Method,
    page: &str,
    fields: &str,
) -> Answer {
    let Some(page) = world.pages.get_mut(page) else { return error(100, Some(33), "Object does not exist") };
    match method.as_str() {
        "GET" => {
            let app = json!({"id": sandbox.settings().meta_app_id, "name": "AgenStack", "subscribed_fields": page.subscribed});
            let data = if page.subscribed.is_empty() { json!([]) } else { json!([app]) };
            Answer::new(200, json!({"data": data}))
        }
        "POST" => {
            let asked: Vec<String> =
                fields.split(',').map(str::trim).filter(|f| !f.is_empty()).map(str::to_owned).collect();
            if asked.is_empty() || asked.iter().any(|f| !webhook::FIELDS.contains(&f.as_str())) {
                return error(100, None, "Param subscribed_fields must be a valid list of fields");
            }
            page.subscribed = asked;
            Answer::new(200, json!({"success": true}))
        }
        _ => {
            page.subscribed.clear();
            Answer::new(200, json!({"success": true}))
        }
    }
}
