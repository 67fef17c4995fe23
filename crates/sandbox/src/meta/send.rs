//! The Send API.

use super::graph::error;
use super::webhook;
use crate::clock;
use crate::sign::random_hex;
use crate::state::{Answer, Sandbox};
use crate::world::World;
use crate::world::people::ChatMessage;
use serde_json::{Value, json};

const WINDOW_MS: i64 = 86_400_000;
const MOST_CHARS: usize = 2000;

/// Sends a message, or shows that somebody is typing.
pub(super) fn send(sandbox: &Sandbox, world: &mut World, page_id: &str, body: &Value) -> Answer {
    let psid = body.pointer("/recipient/id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(page) = world.pages.get_mut(page_id) else {
        return error(100, Some(33), "Object does not exist");
    };
    // A customer's id is good for one page: the one of another page is nobody here.
    let Some(chat) = page.chats.get_mut(&psid) else {
        return error(100, Some(2_018_001), "(#100) No matching user found");
    };
    if body.get("sender_action").is_some() {
        return Answer::new(200, json!({"recipient_id": psid}));
    }
    if chat.blocked {
        return error(551, Some(1_545_041), "(#551) This person isn't available right now.");
    }
    let now = clock::now_ms();
    if now - chat.last_customer_ms > WINDOW_MS {
        return error(10, Some(2_018_278), "(#10) This message is sent outside of allowed window.");
    }
    if !matches!(body.get("messaging_type").and_then(Value::as_str), Some("RESPONSE" | "UPDATE")) {
        return error(
            100,
            None,
            "(#100) Param messaging_type must be one of {RESPONSE, UPDATE, MESSAGE_TAG, UTILITY}",
        );
    }
    let text = body.pointer("/message/text").and_then(Value::as_str).unwrap_or_default().to_owned();
    if text.trim().is_empty() {
        return error(
            100,
            Some(2_018_034),
            "(#100) Message cannot be empty, must provide valid attachment or text",
        );
    }
    if text.chars().count() >= MOST_CHARS {
        return error(
            100,
            Some(2_018_109),
            "(#100) Length of param message[text] must be less than or equal to 2000",
        );
    }
    let mid = format!("m_{}", random_hex(20));
    chat.messages.push(ChatMessage {
        from: "page",
        text: text.clone(),
        mid: mid.clone(),
        at: clock::rfc3339(now),
        at_ms: now,
    });
    let mut echo = json!({"mid": mid, "is_echo": true, "app_id": sandbox.settings().meta_app_id.parse::<u64>().unwrap_or(0), "text": text});
    if let Some(metadata) = body.pointer("/message/metadata") {
        echo["metadata"] = metadata.clone();
    }
    let subscribed = page.subscribed.clone();
    let has = |field: &str| subscribed.iter().any(|f| f == field);
    if has("message_echoes") {
        let event =
            json!({"sender": {"id": page_id}, "recipient": {"id": psid}, "timestamp": now, "message": echo});
        webhook::deliver(sandbox, page_id, &psid, "echo", event);
    }
    for (field, kind) in [("message_deliveries", "delivery"), ("message_reads", "read")] {
        if has(field) {
            let mut what = json!({"watermark": now + 1});
            if kind == "delivery" {
                what["mids"] = json!([mid]);
            }
            let event = json!({"sender": {"id": psid}, "recipient": {"id": page_id}, "timestamp": now + 1, kind: what});
            webhook::deliver(sandbox, page_id, &psid, kind, event);
        }
    }
    Answer::new(200, json!({"recipient_id": psid, "message_id": mid}))
}
