//! Conversations with their messages, notes and tags (kustomer.md 2.2, 2.3). Nothing written here reaches the customer.

use serde_json::{Map, Value, json};

use super::record::Record;
use super::{Actor, Org, error, hook, listed, require};
use crate::call::{Answer, Incoming};
use crate::clock;
use crate::state::Shared;

fn none() -> Answer {
    error(404, "not_found", "Not Found")
}

fn bad(text: &str) -> Answer {
    error(400, "bad_request", &format!("Bad Request: {text}"))
}

fn with_org<R>(shared: &Shared, org: &str, look: impl FnOnce(&Org) -> Option<R>) -> Result<R, Answer> {
    shared.read(|s| s.orgs.get(org).and_then(look)).ok_or_else(none)
}

fn list(org: &Org, kind: &str, keep: impl Fn(&Record) -> bool) -> Answer {
    listed(&format!("{kind}s"), org.all(kind).filter(|r| keep(r)).map(|r| r.shown(&org.id)).collect())
}

/// `/v1/customers/{id}/...`.
pub(super) fn of_customer(shared: &Shared, call: &Incoming, org: &str, actor: &Actor, customer: &str, rest: &[&str]) -> Result<Answer, Answer> {
    match (call.method.as_str(), rest) {
        ("GET", ["conversations"]) => {
            require(actor, "org.permission.conversation.read")?;
            with_org(shared, org, |o| Some(list(o, "conversation", |r| r.relates("customer", customer))))
        }
        ("POST", ["conversations"]) => create(shared, call, org, actor, customer),
        ("POST", ["messages"]) => message(shared, call, org, actor, Some(customer), None),
        _ => Err(none()),
    }
}

/// `/v1/conversations...`, `/v1/messages...`, `/v1/notes`.
pub(super) fn answer(shared: &Shared, call: &Incoming, org: &str, actor: &Actor, rest: &[&str]) -> Result<Answer, Answer> {
    let field = |name: &str| call.fields.get(name).and_then(Value::as_str).map(str::to_owned);
    match (call.method.as_str(), rest) {
        ("GET", ["conversations"]) => {
            require(actor, "org.permission.conversation.read")?;
            with_org(shared, org, |o| Some(list(o, "conversation", |_| true)))
        }
        ("GET", ["conversations", id]) => {
            require(actor, "org.permission.conversation.read")?;
            let found = |o: &Org| match id.split_once('=') {
                Some(("externalId", value)) => o.all("conversation").find(|r| r.text("externalId") == value).map(|r| r.shown(&o.id)),
                _ => o.find("conversation", id).map(|r| r.shown(&o.id)),
            };
            with_org(shared, org, found).map(|data| Answer::json(200, &json!({"data": data})))
        }
        ("POST", ["conversations"]) => {
            let customer = field("customer").ok_or_else(|| bad("customer is required"))?;
            create(shared, call, org, actor, &customer)
        }
        ("PUT" | "PATCH", ["conversations", id]) => {
            require(actor, "org.permission.conversation.update")?;
            update(shared, org, &actor.user, id, &call.fields, "api").map(|data| Answer::json(200, &json!({"data": data})))
        }
        ("GET", ["conversations", id, "messages"]) => {
            require(actor, "org.permission.message.read")?;
            with_org(shared, org, |o| o.find("conversation", id).map(|_| list(o, "message", |r| r.relates("conversation", id))))
        }
        ("POST", ["conversations", id, "messages"]) => message(shared, call, org, actor, None, Some(id)),
        ("GET", ["messages", id]) => {
            require(actor, "org.permission.message.read")?;
            with_org(shared, org, |o| o.find("message", id).map(|r| Answer::json(200, &json!({"data": r.shown(&o.id)}))))
        }
        ("POST", ["messages"]) => {
            message(shared, call, org, actor, field("customer").as_deref(), field("conversation").as_deref())
        }
        ("POST", ["conversations", id, "notes"]) => note(shared, call, org, actor, id),
        ("POST", ["notes"]) => note(shared, call, org, actor, &field("conversation").ok_or_else(|| bad("conversation is required"))?),
        ("POST" | "DELETE", ["conversations", id, "tags"]) => tags(shared, call, org, actor, id),
        _ => Err(none()),
    }
}

fn create(shared: &Shared, call: &Incoming, org: &str, actor: &Actor, customer: &str) -> Result<Answer, Answer> {
    require(actor, "org.permission.conversation.create")?;
    with_org(shared, org, |o| o.find("customer", customer).map(|_| ())).map_err(|_| bad("customer does not exist"))?;
    let mut attributes = call.fields.clone();
    attributes.remove("customer");
    match attributes.get("status").and_then(Value::as_str).unwrap_or("open") {
        "open" | "done" => {}
        _ => return Err(bad("status must be open or done")),
    }
    Ok(Answer::json(201, &json!({"data": open(shared, org, &actor.user, customer, attributes)?})))
}

/// Adds a conversation and tells the webhooks.
fn open(shared: &Shared, org: &str, author: &str, customer: &str, mut attributes: Map<String, Value>) -> Result<Value, Answer> {
    for (name, value) in [("name", json!("")), ("status", json!("open")), ("priority", json!(3)), ("direction", json!("in")),
        ("channels", json!([])), ("assignedUsers", json!([])), ("assignedTeams", json!([])), ("tags", json!([])), ("messageCount", json!(0))] {
        attributes.entry(name).or_insert(value);
    }
    let record = Record::new("conversation", attributes, author, shared.now()).with("customer", customer);
    let id = record.id.clone();
    let shown = shared.edit(|s| {
        let o = s.orgs.get_mut(org)?;
        let shown = record.shown(&o.id);
        o.records.push(record);
        Some(shown)
    });
    hook::fire(shared, org, "kustomer.conversation.create", "conversation", &id, Value::Null, "api");
    shown.ok_or_else(none)
}

/// Changes a conversation and tells the webhooks.
pub(super) fn update(shared: &Shared, org: &str, author: &str, id: &str, new: &Map<String, Value>, client: &str) -> Result<Value, Answer> {
    let status = new.get("status").and_then(Value::as_str);
    if status.is_some_and(|s| !matches!(s, "open" | "snoozed" | "done")) {
        return Err(bad("status must be open, snoozed or done"));
    }
    for name in ["assignedUsers", "assignedTeams"] {
        if new.get(name).and_then(Value::as_array).is_some_and(|list| list.len() > 10) {
            return Err(bad("at most 10 assignees"));
        }
    }
    let now = shared.now();
    let changed = shared.edit(|s| {
        let o = s.orgs.get_mut(org)?;
        let org_id = o.id.clone();
        let record = o.records.iter_mut().find(|r| r.kind == "conversation" && r.id == id)?;
        let changes = record.change(new, author, now);
        Some((record.shown(&org_id), changes))
    });
    let (shown, changes) = changed.ok_or_else(none)?;
    hook::fire(shared, org, "kustomer.conversation.update", "conversation", id, changes, client);
    Ok(shown)
}

fn message(shared: &Shared, call: &Incoming, org: &str, actor: &Actor, customer: Option<&str>, conversation: Option<&str>) -> Result<Answer, Answer> {
    require(actor, "org.permission.message.create")?;
    let mut attributes = call.fields.clone();
    attributes.remove("customer");
    attributes.remove("conversation");
    if !attributes.get("preview").is_some_and(|p| p.is_string()) && !attributes.contains_key("meta") {
        return Err(bad("preview is required"));
    }
    if !matches!(attributes.get("direction").and_then(Value::as_str), Some("in" | "out")) {
        return Err(bad("direction must be in or out"));
    }
    let conversation = match (conversation, customer) {
        (Some(id), _) => id.to_owned(),
        (None, Some(customer)) => {
            // No conversation given: a new one is opened.
            with_org(shared, org, |o| o.find("customer", customer).map(|_| ())).map_err(|_| bad("customer does not exist"))?;
            let opened = open(shared, org, &actor.user, customer, Map::new())?;
            opened["id"].as_str().unwrap_or_default().to_owned()
        }
        (None, None) => return Err(bad("conversation or customer is required")),
    };
    let (shown, _) = post(shared, org, &actor.user, &conversation, attributes, "api")?;
    Ok(Answer::json(201, &json!({"data": shown})))
}

/// Adds a message to a conversation; an incoming one reopens it. The second value waits for the webhooks.
pub(super) fn post(shared: &Shared, org: &str, author: &str, conversation: &str, mut attributes: Map<String, Value>, client: &str) -> Result<(Value, hook::Waiting), Answer> {
    let now = shared.now();
    let text = attributes.get("preview").and_then(Value::as_str).unwrap_or_default().to_owned();
    let incoming = attributes.get("direction").and_then(Value::as_str) == Some("in");
    let kind = if incoming { "followup-in" } else { "response-out" };
    for (name, value) in [("channel", json!("chat")), ("app", json!("chat")), ("size", json!(text.len())), ("directionType", json!(kind)),
        ("auto", json!(false)), ("status", json!(if incoming { "received" } else { "sent" })), ("sentAt", json!(clock::iso_millis(now)))] {
        attributes.entry(name).or_insert(value);
    }
    let record = shared.edit(|s| {
        let o = s.orgs.get_mut(org)?;
        let at = o.records.iter().position(|r| r.kind == "conversation" && r.id == conversation)?;
        let customer = o.records[at].relations.get("customer").cloned().unwrap_or_default();
        let count = o.records[at].attributes.get("messageCount").and_then(Value::as_u64).unwrap_or(0);
        o.records[at].attributes.insert("messageCount".to_owned(), json!(count + 1));
        o.records[at].attributes.insert("preview".to_owned(), json!(text));
        let reopen = incoming && o.records[at].text("status") != "open";
        let record = Record::new("message", attributes, author, now).with("customer", &customer).with("conversation", conversation);
        o.records.push(record.clone());
        Some((record.shown(&o.id), record.id, reopen))
    });
    let (shown, id, reopen) = record.ok_or_else(none)?;
    let waiting = hook::fire(shared, org, "kustomer.message.create", "message", &id, Value::Null, client);
    if reopen {
        let open = Map::from_iter([("status".to_owned(), json!("open"))]);
        update(shared, org, author, conversation, &open, client)?;
    }
    Ok((shown, waiting))
}

fn note(shared: &Shared, call: &Incoming, org: &str, actor: &Actor, conversation: &str) -> Result<Answer, Answer> {
    require(actor, "org.permission.note.create")?;
    if call.fields.get("body").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(bad("body is required"));
    }
    let mut attributes = call.fields.clone();
    attributes.remove("conversation");
    attributes.remove("customer");
    let now = shared.now();
    let shown = shared.edit(|s| {
        let o = s.orgs.get_mut(org)?;
        let customer = o.find("conversation", conversation)?.relations.get("customer").cloned().unwrap_or_default();
        let record = Record::new("note", attributes, &actor.user, now).with("conversation", conversation).with("customer", &customer);
        let shown = record.shown(&o.id);
        o.records.push(record);
        Some(shown)
    });
    shown.map(|data| Answer::json(201, &json!({"data": data}))).ok_or_else(none)
}

fn tags(shared: &Shared, call: &Incoming, org: &str, actor: &Actor, id: &str) -> Result<Answer, Answer> {
    let remove = call.method == http::Method::DELETE;
    require(actor, if remove { "org.permission.conversation.delete" } else { "org.permission.conversation.update" })?;
    let names: Vec<String> = call.fields.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let list = shared.edit(|s| {
        let o = s.orgs.get_mut(org)?;
        let mut ids: Vec<String> = o.find("conversation", id)?.attributes.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        for name in names {
            let known = o.tags.iter().find(|(tag, n)| *tag == name || *n == name).map(|(tag, _)| tag.clone());
            let tag = known.unwrap_or_else(|| {
                o.tags.push((clock::hex24(), name));
                o.tags.last().map(|t| t.0.clone()).unwrap_or_default()
            });
            ids.retain(|t| *t != tag);
            if !remove {
                ids.push(tag);
            }
        }
        Some(ids)
    });
    let new = Map::from_iter([("tags".to_owned(), json!(list.ok_or_else(none)?))]);
    update(shared, org, &actor.user, id, &new, "api").map(|data| Answer::json(if remove { 200 } else { 201 }, &json!({"data": data})))
}
