//! What accounts tell the app, and what their people do on the desk's page.

use super::rest;
use crate::clock;
use crate::deliver::Webhook;
use crate::sign::{hex_mac, object_id, random_hex};
use crate::state::Sandbox;
use crate::world::desk::{Desk, Hook};
use serde_json::{Value, json};

/// What can be subscribed to.
pub(crate) const EVENTS: [&str; 12] = [
    "kustomer.customer.create",
    "kustomer.customer.update",
    "kustomer.conversation.create",
    "kustomer.conversation.update",
    "kustomer.message.create",
    "kustomer.message.update",
    "kustomer.user.create",
    "kustomer.user.update",
    "kustomer.team.create",
    "kustomer.team.update",
    "kustomer.tag.create",
    "kustomer.tag.update",
];

/// Tells every webhook that lists the event.
pub(crate) fn tell(sandbox: &Sandbox, desk: &Desk, name: &str, data: &Value, changes: Option<Value>) {
    let event = json!({
        "id": object_id(&random_hex(12)), "name": name, "org": desk.id, "partition": desk.id, "data": data,
        "changes": changes, "createdAt": clock::rfc3339(clock::now_ms()), "persist": true, "dataId": data["id"],
    });
    let body = event.to_string().into_bytes();
    let lane =
        data["relationships"]["conversation"]["data"]["id"].as_str().or(data["id"].as_str()).unwrap_or("-");
    for hook in desk.webhooks.iter().filter(|h| h.enabled && h.events.iter().any(|e| e == name)) {
        let webhook = Webhook {
            provider: "kustomer",
            account: desk.name.clone(),
            topic: name.to_owned(),
            url: hook.url.clone(),
            headers: vec![
                ("content-type", "application/json".into()),
                ("x-kustomer-webhook-event", name.to_owned()),
                ("x-kustomer-webhook-signature", hex_mac(&hook.token, &body)),
            ],
            body: body.clone(),
        };
        sandbox.deliver(&format!("{} {lane}", desk.name), webhook);
    }
}

/// A delivery signed by a webhook, also by one that was deleted since, of an event of the present.
pub(crate) fn late(desk: &Desk, url: &str, id: &str) -> Option<Webhook> {
    let secret = desk.hook_secrets.get(id)?;
    let about = object_id(&random_hex(12));
    let data = json!({"type": "message", "id": about, "attributes": {}, "relationships": {}});
    let event = json!({
        "id": object_id(&random_hex(12)), "name": "kustomer.message.create", "org": desk.id, "data": data, "dataId": about,
    });
    let body = event.to_string().into_bytes();
    Some(Webhook {
        provider: "kustomer",
        account: desk.name.clone(),
        topic: "kustomer.message.create".into(),
        url: url.to_owned(),
        headers: vec![
            ("content-type", "application/json".into()),
            ("x-kustomer-webhook-event", "kustomer.message.create".into()),
            ("x-kustomer-webhook-signature", hex_mac(secret, &body)),
        ],
        body,
    })
}

/// Makes as many webhooks of others as the account may have.
pub(crate) fn fill(desk: &mut Desk) {
    while desk.webhooks.len() < rest::MOST_HOOKS {
        let id = desk.new_id();
        let url = format!("https://other.example/{id}");
        let events = vec![EVENTS[0].to_owned()];
        desk.webhooks.push(Hook {
            id,
            name: "Other".into(),
            url,
            events,
            token: random_hex(32),
            enabled: true,
        });
    }
}

/// Changes a conversation and tells of it.
pub(crate) fn change_conversation(
    sandbox: &Sandbox,
    desk: &mut Desk,
    id: &str,
    changes: &Value,
    user: &str,
) -> Option<Value> {
    let conversation = desk.conversation(id)?;
    let mut told = json!({});
    for (name, after) in changes.as_object().into_iter().flatten() {
        let before = std::mem::replace(&mut conversation["attributes"][name], after.clone());
        told[name] = json!({"op": "replace", "before": before, "after": after});
    }
    conversation["relationships"]["modifiedBy"]["data"]["id"] = json!(user);
    let changed = conversation.clone();
    tell(sandbox, desk, "kustomer.conversation.update", &changed, Some(json!({"attributes": told})));
    Some(changed)
}

/// A person of the team answers on the desk's page.
pub(crate) fn agent_answers(sandbox: &Sandbox, desk: &mut Desk, conversation: &str, text: &str) -> bool {
    let agent = object_id(&format!("{} agent", desk.name));
    let body = json!({"channel": "chat", "app": "chat", "direction": "out", "preview": text});
    rest::create_message(sandbox, desk, &agent, conversation, &body).status == 201
}

/// A person of the team is done with it.
pub(crate) fn agent_closes(sandbox: &Sandbox, desk: &mut Desk, conversation: &str) -> bool {
    let agent = object_id(&format!("{} agent", desk.name));
    change_conversation(sandbox, desk, conversation, &json!({"status": "done"}), &agent).is_some()
}
