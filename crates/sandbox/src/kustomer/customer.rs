//! Customers: look-ups, creation, change (kustomer.md 2.2, 2.3).

use serde_json::{Map, Value, json};

use super::record::Record;
use super::{Actor, Org, conversation, error, hook, listed, require};
use crate::call::{Answer, Incoming};
use crate::state::Shared;

/// E-mails, phones and external ids of a customer, each of which is unique in the org.
fn contacts(attributes: &Map<String, Value>) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    for (list, member) in [("emails", "email"), ("phones", "phone")] {
        for entry in attributes.get(list).and_then(Value::as_array).into_iter().flatten() {
            if let Some(value) = entry[member].as_str() {
                out.push((member, value.to_lowercase()));
            }
        }
    }
    if let Some(id) = attributes.get("externalId").and_then(Value::as_str) {
        out.push(("externalId", id.to_lowercase()));
    }
    out
}

fn find<'a>(org: &'a Org, name: &str, value: &str) -> Option<&'a Record> {
    let wanted = value.to_lowercase();
    org.all("customer").find(|c| contacts(&c.attributes).iter().any(|(n, v)| *n == name && *v == wanted))
}

fn taken(org: &Org, attributes: &Map<String, Value>, but: &str) -> Option<&'static str> {
    contacts(attributes).into_iter().find(|(n, v)| find(org, n, v).is_some_and(|c| c.id != but)).map(|(n, _)| n)
}

fn conflict(what: &str) -> Answer {
    error(409, "conflict", &format!("Conflict: a customer with this {what} already exists"))
}

pub(super) fn answer(shared: &Shared, call: &Incoming, org: &str, actor: &Actor, rest: &[&str]) -> Result<Answer, Answer> {
    let none = || error(404, "not_found", "Not Found");
    match (call.method.as_str(), rest) {
        ("GET", ["customers"]) => {
            require(actor, "org.permission.customer.read")?;
            shared.read(|s| s.orgs.get(org).map(|o| listed("customers", o.all("customer").map(|c| c.shown(&o.id)).collect()))).ok_or_else(none)
        }
        ("GET", ["customers", key]) => {
            require(actor, "org.permission.customer.read")?;
            shared.read(|s| {
                let o = s.orgs.get(org).ok_or_else(none)?;
                let found = match key.split_once('=') {
                    Some((name, value)) => find(o, name, value),
                    None => o.find("customer", key),
                };
                found.map(|c| Answer::json(200, &json!({"data": c.shown(&o.id)}))).ok_or_else(none)
            })
        }
        ("POST", ["customers"]) => {
            require(actor, "org.permission.customer.create")?;
            create(shared, call, org, actor)
        }
        ("PUT" | "PATCH", ["customers", id]) => {
            require(actor, "org.permission.customer.update")?;
            update(shared, call, org, actor, id)
        }
        (_, ["customers", id, rest @ ..]) => {
            shared.read(|s| s.orgs.get(org)?.find("customer", id).map(|_| ())).ok_or_else(none)?;
            conversation::of_customer(shared, call, org, actor, id, rest)
        }
        _ => Err(none()),
    }
}

fn create(shared: &Shared, call: &Incoming, org: &str, actor: &Actor) -> Result<Answer, Answer> {
    let now = shared.now();
    let mut attributes = call.fields.clone();
    if attributes.contains_key("data") {
        return Err(error(400, "bad_request", "Bad Request: attributes are flat, not wrapped in data"));
    }
    let name = attributes.get("name").and_then(Value::as_str).unwrap_or("Unknown").to_owned();
    attributes.insert("name".to_owned(), json!(name));
    attributes.insert("displayName".to_owned(), json!(name));
    for list in ["emails", "phones", "tags", "socials", "whatsapps"] {
        attributes.entry(list).or_insert_with(|| json!([]));
    }
    let record = Record::new("customer", attributes, &actor.user, now);
    let (shown, id) = shared.edit(|s| {
        let o = s.orgs.get_mut(org).ok_or_else(|| error(404, "not_found", "Not Found"))?;
        if let Some(what) = taken(o, &record.attributes, "") {
            return Err(conflict(what));
        }
        o.records.push(record.clone());
        Ok((record.shown(&o.id), record.id.clone()))
    })?;
    hook::fire(shared, org, "kustomer.customer.create", "customer", &id, Value::Null, "api");
    Ok(Answer::json(201, &json!({"data": shown})))
}

fn update(shared: &Shared, call: &Incoming, org: &str, actor: &Actor, id: &str) -> Result<Answer, Answer> {
    let now = shared.now();
    let (shown, changes) = shared.edit(|s| {
        let o = s.orgs.get_mut(org).ok_or_else(|| error(404, "not_found", "Not Found"))?;
        if let Some(what) = taken(o, &call.fields, id) {
            return Err(conflict(what));
        }
        let org_id = o.id.clone();
        let found = o.records.iter_mut().find(|r| r.kind == "customer" && r.id == id);
        let record = found.ok_or_else(|| error(404, "not_found", "Not Found"))?;
        let changes = record.change(&call.fields, &actor.user, now);
        Ok((record.shown(&org_id), changes))
    })?;
    hook::fire(shared, org, "kustomer.customer.update", "customer", id, changes, "api");
    Ok(Answer::json(200, &json!({"data": shown})))
}
