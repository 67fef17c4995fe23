//! What pages tell the app.

use crate::clock;
use crate::deliver::Webhook;
use crate::sign::{hex_mac, hex_mac_sha1, meta_json, random_hex};
use crate::state::Sandbox;
use crate::world::people::{Chat, ChatMessage, psid};
use serde_json::{Value, json};

/// What a page can be subscribed to.
pub(crate) const FIELDS: [&str; 15] = [
    "messages",
    "messaging_postbacks",
    "messaging_referrals",
    "messaging_optins",
    "message_deliveries",
    "message_reads",
    "message_echoes",
    "message_reactions",
    "message_edits",
    "messaging_handovers",
    "standby",
    "messaging_policy_enforcement",
    "messaging_account_linking",
    "feed",
    "message_context",
];

/// A delivery, signed over exactly its bytes.
pub(crate) fn signed(sandbox: &Sandbox, account: &str, topic: &str, body: String) -> Webhook {
    let settings = sandbox.settings();
    let secret = &settings.meta_app_secret;
    Webhook {
        provider: "meta",
        account: account.to_owned(),
        topic: topic.to_owned(),
        url: format!("{}/api/webhooks/messenger", settings.product_url),
        headers: vec![
            ("content-type", "application/json".into()),
            ("facebook-api-version", "v26.0".into()),
            ("x-hub-signature", format!("sha1={}", hex_mac_sha1(secret, body.as_bytes()))),
            ("x-hub-signature-256", format!("sha256={}", hex_mac(secret, body.as_bytes()))),
        ],
        body: body.into_bytes(),
    }
}

/// Tells the app of one event.
pub(crate) fn deliver(sandbox: &Sandbox, page: &str, psid: &str, topic: &str, event: Value) {
    let entry = json!({"id": page, "time": clock::now_ms(), "messaging": [event]});
    let body = meta_json(&json!({"object": "page", "entry": [entry]}));
    sandbox.deliver(&format!("{page}:{psid}"), signed(sandbox, page, topic, body));
}

/// A customer writes. `None` if there is no such page.
pub(crate) fn customer_writes(
    sandbox: &Sandbox,
    page_id: &str,
    name: &str,
    text: &str,
) -> Option<(String, String)> {
    let psid = psid(page_id, name);
    let now = clock::now_ms();
    let mid = format!("m_{}", random_hex(20));
    let subscribed = {
        let mut world = sandbox.world();
        let page = world.pages.get_mut(page_id)?;
        let chat = page.chats.entry(psid.clone()).or_insert_with(|| Chat {
            psid: psid.clone(),
            name: name.to_owned(),
            messages: Vec::new(),
            last_customer_ms: now,
            blocked: false,
        });
        chat.last_customer_ms = now;
        chat.messages.push(ChatMessage {
            from: "customer",
            text: text.to_owned(),
            mid: mid.clone(),
            at: clock::rfc3339(now),
            at_ms: now,
        });
        page.subscribed.iter().any(|f| f == "messages")
    };
    // A page that is not subscribed tells nobody; the real one neither.
    if subscribed {
        let message = json!({"mid": mid, "text": text});
        let event = json!({"sender": {"id": psid}, "recipient": {"id": page_id}, "timestamp": now, "message": message});
        deliver(sandbox, page_id, &psid, "message", event);
    }
    Some((psid, mid))
}
