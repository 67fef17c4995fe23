//! The REST API, with roles.

use super::webhook;
use crate::clock;
use crate::sign::{object_id, random_hex};
use crate::state::{Answer, Call, Sandbox};
use crate::world::desk::{Desk, Hook};
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::collections::HashMap;

/// What one account may ask in a minute.
const BUDGET: u32 = 1000;
/// How many webhooks an account may have.
pub(super) const MOST_HOOKS: usize = 5;

/// Who asks, and what they may.
#[derive(Clone)]
pub(super) struct Caller {
    pub user: String,
    roles: Vec<String>,
}

impl Caller {
    /// A role covers what lies below it.
    fn may(&self, role: &str) -> bool {
        self.roles
            .iter()
            .any(|r| role == r || role.strip_prefix(r.as_str()).is_some_and(|rest| rest.starts_with('.')))
    }
}

fn refuse(status: u16, code: &str, message: &str) -> Answer {
    Answer::new(status, json!({"errors": [{"code": code, "message": message, "meta": {}}]}))
}

/// Any call.
pub(crate) async fn call(
    State(sandbox): State<Sandbox>,
    Path((org, path)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let bearer =
        headers.get("authorization").and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    let token = bearer.unwrap_or_default().to_owned();
    let (token_of, token_kind) = owner(&sandbox, &token);
    let parts: Vec<String> =
        path.split('/').map(|p| percent_decode_str(p).decode_utf8_lossy().into_owned()).collect();
    // What was asked for, without ids and addresses.
    let shape: Vec<&str> = parts
        .iter()
        .map(|p| match p.split_once('=') {
            Some((name, _)) => name,
            None if p.len() == 24 && p.bytes().all(|b| b.is_ascii_hexdigit()) => "{id}",
            None => p,
        })
        .collect();
    let call = Call {
        provider: "kustomer",
        account: org.clone(),
        method: method.to_string(),
        operation: format!("{} {}", method.as_str(), shape.join("/")),
        path: format!("/v1/{}", shape.join("/")),
        token_of,
        token_kind,
    };
    let query: HashMap<String, String> =
        form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    sandbox.answer(call, |sandbox| answer(sandbox, &org, &method, &parts, &query, &token, &body)).await
}

fn owner(sandbox: &Sandbox, token: &str) -> (Option<String>, Option<&'static str>) {
    let world = sandbox.world();
    for desk in world.desks.values() {
        if desk.keys.iter().any(|k| k.text == token) {
            return (Some(desk.name.clone()), Some("key"));
        }
        if desk.tokens.iter().any(|t| t.access == token) {
            return (Some(desk.name.clone()), Some("oauth"));
        }
    }
    (None, None)
}

fn caller(desk: &Desk, token: &str, now: i64) -> Option<Caller> {
    let key =
        desk.keys.iter().find(|k| k.text == token && !k.revoked && k.expires_at.is_none_or(|at| at > now));
    if let Some(key) = key {
        return Some(Caller { user: key.user.clone(), roles: key.roles.clone() });
    }
    let token = desk.tokens.iter().find(|t| t.access == token && !t.revoked && t.expires_at > now)?;
    Some(Caller { user: token.user.clone(), roles: token.roles.clone() })
}

fn answer(
    sandbox: &Sandbox,
    org: &str,
    method: &Method,
    parts: &[String],
    query: &HashMap<String, String>,
    token: &str,
    body: &Value,
) -> Answer {
    let mut world = sandbox.world();
    let now = clock::now();
    let foreign = world.desks.values().any(|d| d.name != org && caller(d, token, now).is_some());
    let Some(desk) = world.desks.get_mut(org) else {
        return refuse(404, "not_found", "No such organization");
    };
    if desk.keys.iter().any(|k| k.kind == "other_region" && k.text == token) {
        return refuse(403, "forbidden", "Token belongs to pod prod2, but prod1 handled the request");
    }
    let Some(caller) = caller(desk, token, now) else {
        return if foreign {
            refuse(401, "unauthorized", "Token belongs to another organization")
        } else {
            refuse(401, "unauthorized", "Invalid or expired token")
        };
    };
    if desk.used.1 != now / 60 {
        desk.used = (0, now / 60);
    }
    desk.used.0 += 1;
    let left = BUDGET.saturating_sub(desk.used.0);
    let mut answer = if left == 0 {
        refuse(429, "too_many_requests", "Rate limit exceeded")
    } else {
        route(sandbox, desk, &caller, method, parts, query, body)
    };
    answer.headers.extend([
        ("x-ratelimit-limit".into(), BUDGET.to_string()),
        ("x-ratelimit-remaining".into(), left.to_string()),
        ("x-ratelimit-reset".into(), ((now / 60 + 1) * 60).to_string()),
    ]);
    answer
}

fn one(object: &Value) -> Answer {
    Answer::new(200, json!({"data": object}))
}

fn found(object: Option<&Value>) -> Answer {
    object.map_or_else(|| refuse(404, "not_found", "Not found"), one)
}

fn list(items: Vec<Value>, query: &HashMap<String, String>) -> Answer {
    let number =
        |name: &str, default: usize| query.get(name).and_then(|n| n.parse().ok()).unwrap_or(default).max(1);
    let (page, size) = (number("page", 1), number("pageSize", 25).min(100));
    let total = items.len();
    let part: Vec<Value> = items.into_iter().skip((page - 1) * size).take(size).collect();
    let next =
        if page * size < total { json!(format!("?page={}&pageSize={size}", page + 1)) } else { Value::Null };
    Answer::new(
        200,
        json!({"data": part, "meta": {"page": page, "pageSize": size, "total": total}, "links": {"next": next}}),
    )
}

/// An object as the API gives it.
pub(super) fn resource(
    desk: &mut Desk,
    kind: &str,
    user: &str,
    attributes: Value,
    relations: &[(&str, &str)],
) -> Value {
    let id = desk.new_id();
    let mut relationships = json!({
        "org": {"data": {"type": "org", "id": desk.id}}, "createdBy": {"data": {"type": "user", "id": user}},
        "modifiedBy": {"data": {"type": "user", "id": user}},
    });
    for (name, to) in relations {
        relationships[*name] = json!({"data": {"type": name, "id": to}});
    }
    let mut attributes = attributes;
    attributes["createdAt"] = json!(clock::rfc3339(clock::now_ms()));
    attributes["updatedAt"] = attributes["createdAt"].clone();
    attributes["rev"] = json!(1);
    json!({"type": kind, "links": {"self": format!("/v1/{kind}s/{id}")}, "id": id, "attributes": attributes, "relationships": relationships})
}

/// What may be written of an object, taken from a flat body.
fn pick(body: &Value, names: &[&str]) -> Value {
    let mut out = json!({});
    for name in names {
        if let Some(value) = body.get(*name) {
            out[*name] = value.clone();
        }
    }
    out
}

fn by<'a>(items: &'a [Value], attribute: &str, wanted: &str) -> Option<&'a Value> {
    items.iter().find(|i| i["attributes"][attribute] == wanted)
}

fn has_contact(customer: &Value, list: &str, field: &str, wanted: &str) -> bool {
    let entries = customer["attributes"][list].as_array();
    entries
        .is_some_and(|l| l.iter().any(|e| e[field].as_str().is_some_and(|v| v.eq_ignore_ascii_case(wanted))))
}

fn route(
    sandbox: &Sandbox,
    desk: &mut Desk,
    caller: &Caller,
    method: &Method,
    parts: &[String],
    query: &HashMap<String, String>,
    body: &Value,
) -> Answer {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let needs = |role: &str| format!("org.permission.{role}");
    let needed = match (method.as_str(), parts.as_slice()) {
        (_, ["auth", "tokens", "current"] | ["users", "current"]) => None,
        ("GET", ["orgs", _]) => None,
        ("GET", ["customers", _, "conversations"]) => Some(needs("conversation.read")),
        ("GET", ["customers", ..]) => Some(needs("customer.read")),
        ("POST", ["customers"]) => Some(needs("customer.create")),
        ("PUT" | "PATCH", ["customers", _]) => Some(needs("customer.update")),
        ("GET", ["conversations", _, "messages"] | ["messages", _]) => Some(needs("message.read")),
        ("GET", ["conversations", ..]) => Some(needs("conversation.read")),
        ("POST", ["conversations", _, "messages"] | ["messages"]) => Some(needs("message.create")),
        ("POST", ["conversations", _, "notes"] | ["notes"]) => Some(needs("note.create")),
        ("POST", ["conversations", _, "tags"]) | ("PUT" | "PATCH", ["conversations", _]) => {
            Some(needs("conversation.update"))
        }
        ("POST", ["conversations"]) => Some(needs("conversation.create")),
        ("GET", ["users"]) => Some(needs("user.read")),
        ("GET", ["teams"]) => Some(needs("team.read")),
        ("GET", ["tags"]) => Some(needs("tag.read")),
        ("GET", ["routing", "queues"]) => Some(needs("routing.read")),
        ("POST", ["outbound-webhooks"]) => Some(needs("outbound_webhook.create")),
        ("GET", ["outbound-webhooks", ..]) => Some(needs("outbound_webhook.read")),
        ("PUT", ["outbound-webhooks", _]) => Some(needs("outbound_webhook.update")),
        ("DELETE", ["outbound-webhooks", _]) => Some(needs("outbound_webhook.delete")),
        _ => return refuse(404, "not_found", "No such endpoint"),
    };
    if let Some(role) = needed
        && !caller.may(&role)
    {
        return refuse(403, "forbidden", &format!("Missing role {role}"));
    }
    match (method.as_str(), parts.as_slice()) {
        ("GET", ["auth", "tokens", "current"]) => one(
            &json!({"type": "token", "id": object_id(&caller.user), "attributes": {"roles": caller.roles, "name": "AgenStack"}}),
        ),
        ("GET", ["users", "current"]) => one(&json!({
            "type": "user", "id": caller.user, "attributes": {"displayName": "AgenStack", "userType": "machine", "roles": caller.roles},
            "relationships": {"org": {"data": {"type": "org", "id": desk.id}}},
        })),
        ("GET", ["orgs", id]) if *id == desk.id => one(
            &json!({"type": "org", "id": desk.id, "attributes": {"name": desk.name, "displayName": desk.title}}),
        ),
        ("GET", ["customers", key]) => {
            let customer = match key.split_once('=') {
                Some(("email", v)) => desk.customers.iter().find(|c| has_contact(c, "emails", "email", v)),
                Some(("phone", v)) => desk.customers.iter().find(|c| has_contact(c, "phones", "phone", v)),
                Some(("externalId", v)) => by(&desk.customers, "externalId", v),
                _ => desk.customers.iter().find(|c| c["id"] == *key),
            };
            found(customer)
        }
        ("GET", ["customers", id, "conversations"]) => {
            let theirs = |c: &&Value| c["relationships"]["customer"]["data"]["id"] == *id;
            list(desk.conversations.iter().filter(theirs).cloned().collect(), query)
        }
        ("POST", ["customers"]) => create_customer(sandbox, desk, caller, body),
        ("PUT" | "PATCH", ["customers", id]) => {
            let Some(customer) = desk.customers.iter_mut().find(|c| c["id"] == *id) else {
                return refuse(404, "not_found", "Not found");
            };
            for (name, value) in
                pick(body, &["name", "emails", "phones", "tags", "custom"]).as_object().into_iter().flatten()
            {
                customer["attributes"][name] = value.clone();
            }
            one(customer)
        }
        ("GET", ["conversations"]) => list(desk.conversations.clone(), query),
        ("GET", ["conversations", key]) => found(match key.split_once('=') {
            Some(("externalId", v)) => by(&desk.conversations, "externalId", v),
            _ => desk.conversations.iter().find(|c| c["id"] == *key),
        }),
        ("POST", ["conversations"]) => {
            let customer = body["customer"].as_str().unwrap_or_default().to_owned();
            if !desk.customers.iter().any(|c| c["id"] == customer) {
                return refuse(400, "bad_request", "customer is required and must exist");
            }
            let mut attributes =
                pick(body, &["name", "externalId", "direction", "status", "priority", "tags"]);
            if attributes.get("status").is_none() {
                attributes["status"] = json!("open");
            }
            let made = resource(desk, "conversation", &caller.user, attributes, &[("customer", &customer)]);
            desk.conversations.push(made.clone());
            webhook::tell(sandbox, desk, "kustomer.conversation.create", &made, None);
            Answer::new(201, json!({"data": made}))
        }
        ("PUT" | "PATCH", ["conversations", id]) => {
            let changes = pick(body, &["name", "status", "priority", "tags", "custom"]);
            match webhook::change_conversation(sandbox, desk, id, &changes, &caller.user) {
                Some(changed) => one(&changed),
                None => refuse(404, "not_found", "Not found"),
            }
        }
        ("POST", ["conversations", id, "tags"]) => {
            let Some(conversation) = desk.conversation(id) else {
                return refuse(404, "not_found", "Not found");
            };
            let mut tags = conversation["attributes"]["tags"].as_array().cloned().unwrap_or_default();
            for tag in body["tags"].as_array().into_iter().flatten() {
                if !tags.contains(tag) {
                    tags.push(tag.clone());
                }
            }
            conversation["attributes"]["tags"] = Value::Array(tags);
            one(conversation)
        }
        ("GET", ["conversations", id, "messages"]) => {
            let there = |m: &&Value| m["relationships"]["conversation"]["data"]["id"] == *id;
            list(desk.messages.iter().filter(there).cloned().collect(), query)
        }
        ("GET", ["messages", id]) => found(desk.messages.iter().find(|m| m["id"] == *id)),
        ("POST", ["conversations", id, "messages"]) => create_message(sandbox, desk, &caller.user, id, body),
        ("POST", ["messages"]) => {
            let id = body["conversation"].as_str().unwrap_or_default().to_owned();
            create_message(sandbox, desk, &caller.user, &id, body)
        }
        ("POST", ["conversations", id, "notes"]) => {
            if desk.conversation(id).is_none() {
                return refuse(404, "not_found", "Not found");
            }
            let made = resource(desk, "note", &caller.user, pick(body, &["body"]), &[("conversation", id)]);
            desk.notes.push(made.clone());
            Answer::new(201, json!({"data": made}))
        }
        ("GET", ["users" | "teams" | "tags"] | ["routing", "queues"]) => list(Vec::new(), query),
        ("POST", ["outbound-webhooks"]) => create_hook(desk, body),
        ("GET", ["outbound-webhooks"]) => list(desk.webhooks.iter().map(hook).collect(), query),
        ("GET", ["outbound-webhooks", id]) => {
            found(desk.webhooks.iter().find(|h| h.id == *id).map(hook).as_ref())
        }
        ("PUT", ["outbound-webhooks", id]) => {
            let Some(known) = desk.webhooks.iter_mut().find(|h| h.id == *id) else {
                return refuse(404, "not_found", "Not found");
            };
            known.enabled = body["enabled"].as_bool().unwrap_or(known.enabled);
            one(&hook(known))
        }
        ("DELETE", ["outbound-webhooks", id]) => {
            let before = desk.webhooks.len();
            desk.webhooks.retain(|h| h.id != *id);
            if desk.webhooks.len() < before {
                Answer::new(204, Value::Null)
            } else {
                refuse(404, "not_found", "Not found")
            }
        }
        _ => refuse(404, "not_found", "Not found"),
    }
}

fn create_customer(sandbox: &Sandbox, desk: &mut Desk, caller: &Caller, body: &Value) -> Answer {
    let taken_id =
        body["externalId"].as_str().is_some_and(|v| by(&desk.customers, "externalId", v).is_some());
    let emails = body["emails"].as_array().cloned().unwrap_or_default();
    let taken_email = emails
        .iter()
        .filter_map(|e| e["email"].as_str())
        .any(|v| desk.customers.iter().any(|c| has_contact(c, "emails", "email", v)));
    if taken_id || taken_email {
        return refuse(409, "conflict", "A customer with this email, phone or externalId exists");
    }
    let attributes = pick(body, &["name", "externalId", "emails", "phones", "tags", "custom"]);
    let made = resource(desk, "customer", &caller.user, attributes, &[]);
    desk.customers.push(made.clone());
    webhook::tell(sandbox, desk, "kustomer.customer.create", &made, None);
    Answer::new(201, json!({"data": made}))
}

/// Writes a message; also what the desk's own page does for an agent.
pub(super) fn create_message(
    sandbox: &Sandbox,
    desk: &mut Desk,
    user: &str,
    id: &str,
    body: &Value,
) -> Answer {
    let Some(conversation) = desk.conversation(id) else { return refuse(404, "not_found", "Not found") };
    let customer =
        conversation["relationships"]["customer"]["data"]["id"].as_str().unwrap_or_default().to_owned();
    let incoming = body["direction"] == "in";
    // What a customer writes opens the conversation again.
    if incoming && conversation["attributes"]["status"] != "open" {
        conversation["attributes"]["status"] = json!("open");
    }
    let mut attributes =
        pick(body, &["channel", "app", "direction", "externalId", "preview", "sentAt", "meta"]);
    attributes["status"] = json!(if incoming { "received" } else { "sent" });
    let made = resource(desk, "message", user, attributes, &[("conversation", id), ("customer", &customer)]);
    desk.messages.push(made.clone());
    webhook::tell(sandbox, desk, "kustomer.message.create", &made, None);
    Answer::new(201, json!({"data": made}))
}

fn hook(h: &Hook) -> Value {
    json!({"type": "outbound-webhook", "id": h.id, "attributes":
        {"name": h.name, "url": h.url, "events": h.events, "token": h.token, "enabled": h.enabled}})
}

fn create_hook(desk: &mut Desk, body: &Value) -> Answer {
    let url = body["url"].as_str().unwrap_or_default();
    let local = url.starts_with("http://127.0.0.1:") || url.starts_with("http://localhost:");
    if !(url.starts_with("https://") || local) || url.len() > 255 {
        return refuse(400, "bad_request", "url must be https");
    }
    let events: Vec<String> = body["events"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if events.is_empty() || events.iter().any(|e| !webhook::EVENTS.contains(&e.as_str())) {
        return refuse(400, "bad_request", "unknown event");
    }
    if desk.webhooks.len() >= MOST_HOOKS {
        return refuse(400, "bad_request", "An organization may have 5 outbound webhooks");
    }
    let made = Hook {
        id: desk.new_id(),
        name: body["name"].as_str().unwrap_or_default().to_owned(),
        url: url.to_owned(),
        events,
        token: random_hex(32),
        enabled: true,
    };
    let answer = Answer::new(201, json!({"data": hook(&made)}));
    desk.hook_secrets.insert(made.id.clone(), made.token.clone());
    desk.webhooks.push(made);
    answer
}
