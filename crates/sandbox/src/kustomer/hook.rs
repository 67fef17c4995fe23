//! Outbound webhooks: their register and their signed deliveries (kustomer.md 3.2).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Actor, error, listed, record, require};
use crate::call::{Answer, Incoming};
use crate::clock::{hex24, hex32, iso_millis};
use crate::config::safe_target;
use crate::courier::{self, Parcel};
use crate::signature;
use crate::state::Shared;

const MOST_HOOKS: usize = 5;
const MOST_EVENTS: usize = 12;
/// An endpoint that fails this often in a row is switched off.
const MOST_FAILURES: u32 = 8;

/// Receivers of the first answers of a fired event.
pub(crate) type Waiting = Vec<oneshot::Receiver<u16>>;

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Hook {
    pub id: String,
    pub name: String,
    pub url: String,
    pub events: Vec<String>,
    pub headers: Vec<(String, String)>,
    /// HMAC key.
    pub token: String,
    pub enabled: bool,
    pub failures: u32,
    pub created_ms: i64,
}

fn known(event: &str) -> bool {
    let mut parts = event.split('.');
    parts.next() == Some("kustomer")
        && parts.next().is_some_and(|x| matches!(x, "customer" | "conversation" | "message" | "user" | "team" | "tag"))
        && parts.next().is_some_and(|x| matches!(x, "create" | "update"))
        && parts.next().is_none()
}

fn shown(hook: &Hook, org_id: &str) -> Value {
    let headers: Vec<Value> = hook.headers.iter().map(|(n, v)| json!({"name": n, "value": v})).collect();
    json!({"type": "outbound_webhook", "id": hook.id, "attributes": {
        "name": hook.name, "url": hook.url, "events": hook.events, "headers": headers, "token": hook.token,
        "enabled": hook.enabled, "createdAt": iso_millis(hook.created_ms), "updatedAt": iso_millis(hook.created_ms)},
        "relationships": {"org": record::relation("org", org_id)}, "links": {"self": format!("/v1/outbound-webhooks/{}", hook.id)}})
}

pub(super) fn answer(shared: &Shared, call: &Incoming, org: &str, actor: &Actor, rest: &[&str]) -> Result<Answer, Answer> {
    let none = || error(404, "not_found", "Not Found");
    let deed = match call.method.as_str() {
        "GET" => "read",
        "POST" => "create",
        "DELETE" => "delete",
        _ => "update",
    };
    require(actor, &format!("org.permission.outbound_webhook.{deed}"))?;
    let new = if deed == "create" { Some(read(call, shared.now())?) } else { None };
    shared.edit(|s| {
        let o = s.orgs.get_mut(org).ok_or_else(none)?;
        let place = rest.get(1).and_then(|id| o.hooks.iter().position(|h| h.id == *id));
        match (deed, new, rest.get(1), place) {
            ("create", Some(_), None, _) if o.hooks.len() >= MOST_HOOKS => {
                Err(error(400, "bad_request", "Bad Request: an org can have at most 5 outbound webhooks"))
            }
            ("create", Some(hook), None, _) => {
                let data = shown(&hook, &o.id);
                o.hooks.push(hook);
                Ok(Answer::json(201, &json!({"data": data})))
            }
            ("read", _, None, _) => Ok(listed("outbound-webhooks", o.hooks.iter().map(|h| shown(h, &o.id)).collect())),
            ("read", _, _, Some(at)) => Ok(Answer::json(200, &json!({"data": shown(&o.hooks[at], &o.id)}))),
            ("update", _, _, Some(at)) => {
                if let Some(enabled) = call.fields.get("enabled").and_then(Value::as_bool) {
                    o.hooks[at].enabled = enabled;
                    o.hooks[at].failures = 0;
                }
                Ok(Answer::json(200, &json!({"data": shown(&o.hooks[at], &o.id)})))
            }
            ("delete", _, _, Some(at)) => {
                o.hooks.remove(at);
                Ok(Answer::empty(204))
            }
            _ => Err(none()),
        }
    })
}

fn read(call: &Incoming, now: i64) -> Result<Hook, Answer> {
    let bad = |text: &str| error(400, "bad_request", &format!("Bad Request: {text}"));
    let text = |name: &str| call.fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let events: Vec<String> = call.fields.get("events").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let (name, url) = (text("name"), text("url"));
    if name.is_empty() || name.len() > 255 {
        return Err(bad("name must have 1 to 255 characters"));
    }
    if url.len() > 255 || !safe_target(&url) {
        return Err(bad("url must be https and at most 255 characters"));
    }
    if events.is_empty() || events.len() > MOST_EVENTS || !events.iter().all(|e| known(e)) {
        return Err(bad("events must name 1 to 12 known events"));
    }
    let mut headers = Vec::new();
    for header in call.fields.get("headers").and_then(Value::as_array).into_iter().flatten() {
        let (name, value) = (header["name"].as_str().unwrap_or_default(), header["value"].as_str().unwrap_or_default());
        if http::HeaderName::try_from(name).is_err() || http::HeaderValue::try_from(value).is_err() {
            return Err(bad("headers must have valid names and values"));
        }
        headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(Hook { id: hex24(), name, url, events, headers, token: hex32(), enabled: true, failures: 0, created_ms: now })
}

/// Sends an event about a record to every webhook that wants it.
pub(crate) fn fire(shared: &Shared, org: &str, event: &str, kind: &str, id: &str, changes: Value, client: &str) -> Waiting {
    let now = shared.now();
    let prepared = shared.read(|s| {
        let o = s.orgs.get(org)?;
        let data = o.find(kind, id)?.shown(&o.id);
        let body = json!({
            "id": hex24(), "name": event, "org": o.id, "partition": o.id, "data": data, "changes": changes,
            "createdAt": iso_millis(now), "persist": true, "dataId": id, "client": client,
        });
        let wanted = |h: &&super::hook::Hook| h.enabled && h.events.iter().any(|e| e == event);
        Some((body.to_string(), o.hooks.iter().filter(wanted).cloned().collect::<Vec<_>>()))
    });
    let Some((body, hooks)) = prepared else { return Vec::new() };
    let deliver = |hook: Hook| {
        let mut headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("x-kustomer-webhook-event".to_owned(), event.to_owned()),
            ("x-kustomer-webhook-signature".to_owned(), signature::hmac256_hex(&hook.token, body.as_bytes())),
        ];
        headers.extend(hook.headers);
        let (account, topic, body) = (org.to_owned(), event.to_owned(), body.clone());
        courier::send(shared, Parcel { provider: "kustomer", account, topic, url: hook.url, headers, body })
    };
    hooks.into_iter().map(deliver).collect()
}

/// Counts a delivery that failed for good, and switches a webhook off that keeps failing.
pub(crate) fn delivery_failed(shared: &Shared, org: &str, url: &str) {
    shared.edit(|s| {
        for hook in s.orgs.get_mut(org).into_iter().flat_map(|o| &mut o.hooks).filter(|h| h.url == url) {
            hook.failures += 1;
            hook.enabled &= hook.failures < MOST_FAILURES;
        }
    });
}
