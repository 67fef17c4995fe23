//! Reading a delivery of Messenger (`messenger.md` 2.2, 2.5 to 2.7).

use crate::json;
use agenstack_core::clock::Timestamp;
use agenstack_core::integration::PageId;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A number below this is seconds, not milliseconds (2.2: samples show both): 1973 in one, 5138 in the other.
const LEAST_MILLIS: i64 = 100_000_000_000;

/// One event of one Page.
#[derive(Clone, Debug, PartialEq)]
pub struct MessagingEvent {
    /// The Page: the only tenant key.
    pub page_id: PageId,
    /// `message.text`, `echo`, `postback`, `delivery` and so on; `unknown` for what we do not know.
    pub kind: String,
    /// `messaging`, or `standby` for threads that another app owns.
    pub channel: &'static str,
    /// Who caused it: the customer, or the Page in an echo.
    pub sender: Option<String>,
    /// The customer.
    pub psid: Option<String>,
    /// Whether `psid` is a plugin's reference, which is not answered by id.
    pub is_user_ref: bool,
    /// The message concerned.
    pub mid: Option<String>,
    /// The messages a delivery receipt names.
    pub mids: Vec<String>,
    /// Input of a customer that a bot may answer: never an echo, never in standby (2.7).
    pub answer: bool,
    /// What was written. May be there with an attachment.
    pub text: Option<String>,
    /// What the tapped quick reply stands for.
    pub quick_reply_payload: Option<String>,
    /// What the tapped button stands for.
    pub postback_payload: Option<String>,
    /// What the tapped button reads.
    pub postback_title: Option<String>,
    /// What we gave along when sending; comes back in the echo.
    pub metadata: Option<String>,
    /// Which app sent an echo, or took the thread.
    pub app_id: Option<String>,
    /// Everything up to here was delivered or read.
    pub watermark: Option<Timestamp>,
    /// When it happened; of the entry if the event does not say.
    pub timestamp: Option<Timestamp>,
    /// Equal for repeats of one event, different otherwise (2.5). Holds the Page.
    pub dedup_key: String,
    /// Just this event, as it came.
    pub raw: Value,
}

/// Flattens a delivery. Items that are no objects and entries of no Page are left out; nothing spoils the rest.
pub(super) fn read(body: &Value) -> Vec<MessagingEvent> {
    if body.get("object").and_then(Value::as_str) != Some("page") {
        return Vec::new();
    }
    let mut events = Vec::new();
    for entry in body.get("entry").and_then(Value::as_array).into_iter().flatten() {
        let Some(page) = json::text(entry, "/id").and_then(|id| PageId::parse(&id)) else { continue };
        for channel in ["messaging", "standby"] {
            let items = entry.get(channel).and_then(Value::as_array).into_iter().flatten();
            events.extend(items.filter(|i| i.is_object()).map(|item| event(&page, channel, entry, item)));
        }
    }
    events
}

/// The keys that name an event, beside `message` and `postback` (2.6).
const KEYS: [&str; 16] = [
    "message_edit",
    "delivery",
    "read",
    "reaction",
    "referral",
    "optin",
    "pass_thread_control",
    "take_thread_control",
    "request_thread_control",
    "app_roles",
    "account_linking",
    "policy_enforcement",
    "response_feedback",
    "order",
    "template",
    "game_play",
];

fn event(page: &PageId, channel: &'static str, entry: &Value, item: &Value) -> MessagingEvent {
    let user_ref = json::id(item, "/sender/user_ref");
    let sender_id = json::id(item, "/sender/id");
    let is_user_ref = sender_id.is_none() && user_ref.is_some();
    let sender = sender_id.or(user_ref);
    // Some echoes are known only by who sent them (2.7 no. 2).
    let by_page = sender.as_deref() == Some(page.as_str());
    let (kind, of) = kind(item, by_page);
    let is_echo = kind == "echo";
    let psid = if is_echo || by_page { json::id(item, "/recipient/id") } else { sender.clone() };
    let of = of.unwrap_or(&Value::Null);
    let is_input = matches!(kind, "message.text" | "message.quick_reply" | "message.attachment" | "postback");
    let timestamp = instant(item.get("timestamp")).or_else(|| instant(entry.get("time")));
    let mid = json::id(of, "/mid");
    let postback = |name: &str| if kind == "postback" { json::text(of, name) } else { None };
    MessagingEvent {
        page_id: page.clone(),
        kind: kind.to_owned(),
        channel,
        answer: is_input && channel == "messaging" && !by_page && psid.is_some(),
        mids: if kind == "delivery" { json::strings(of, "/mids") } else { Vec::new() },
        text: of.get("text").and_then(Value::as_str).map(str::to_owned),
        quick_reply_payload: json::text(of, "/quick_reply/payload"),
        postback_payload: postback("/payload"),
        postback_title: postback("/title"),
        metadata: json::text(of, "/metadata"),
        app_id: json::text(of, "/app_id").or_else(|| json::text(of, "/new_owner_app_id")),
        watermark: instant(of.get("watermark")),
        dedup_key: dedup_key(page, kind, psid.as_deref(), mid.as_deref(), timestamp, item),
        sender,
        psid,
        is_user_ref,
        mid,
        timestamp,
        raw: item.clone(),
    }
}

/// What an event is, and the member that tells. Echo is asked before "has text" (2.7 no. 5).
fn kind(item: &Value, by_page: bool) -> (&'static str, Option<&Value>) {
    let member = |name: &str| item.get(name).filter(|m| m.is_object());
    if let Some(message) = member("message") {
        let yes = |name: &str| super::graph::is_true(message.get(name));
        let filled = |name: &str| message.get(name).and_then(Value::as_str).is_some_and(|t| !t.is_empty());
        let kind = if yes("is_echo") || by_page {
            "echo"
        } else if yes("is_deleted") {
            "message.deleted"
        } else if message.get("admin_text").is_some_and(|t| !t.is_null()) {
            "message.admin_text"
        } else if yes("is_unsupported") {
            "message.unsupported"
        } else if message.get("quick_reply").is_some_and(Value::is_object) {
            "message.quick_reply"
        } else if filled("text") {
            "message.text"
        } else if message.get("attachments").and_then(Value::as_array).is_some_and(|a| !a.is_empty()) {
            "message.attachment"
        } else {
            "message.unsupported"
        };
        return (kind, Some(message));
    }
    if let Some(postback) = member("postback") {
        return ("postback", Some(postback));
    }
    match KEYS.into_iter().find(|key| member(key).is_some()) {
        Some(key) => (key, item.get(key)),
        None => ("unknown", None),
    }
}

/// Milliseconds or seconds since 1970, as a number or as text (2.2).
fn instant(value: Option<&Value>) -> Option<Timestamp> {
    let number = json::integer(value?).filter(|n| *n > 0)?;
    Some(if number < LEAST_MILLIS { Timestamp::from_secs(number) } else { Timestamp::from_millis(number) })
}

/// By `mid` where an event owns one; edits and reactions reuse that of another message, and the rest has none, so
/// they are known by Page, customer, kind, time and content (2.5). The content is hashed from the parsed value,
/// whose keys are in order, so that a repeat in another order of keys is still one.
fn dedup_key(
    page: &PageId,
    kind: &str,
    psid: Option<&str>,
    mid: Option<&str>,
    at: Option<Timestamp>,
    item: &Value,
) -> String {
    let owns_mid = matches!(kind, "echo" | "postback") || kind.starts_with("message.");
    // Deleting a message names the message's own id.
    if let (Some(mid), true) = (mid.filter(|_| kind != "message.deleted"), owns_mid) {
        return format!("{page}:{mid}");
    }
    let content = hex::encode(&Sha256::digest(item.to_string())[..16]);
    let at = at.map_or(0, Timestamp::millis);
    let psid = psid.filter(|p| p.len() <= 64).unwrap_or("-");
    format!("{page}:{kind}:{psid}:{at}:{content}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(item: Value) -> MessagingEvent {
        let body = json!({"object": "page", "entry": [{"id": "1", "time": 1_795_518_000_009_i64,
            "messaging": [item]}]});
        read(&body).remove(0)
    }

    #[test]
    fn one_bad_item_never_spoils_the_others() {
        let good = json!({"sender": {"id": "7"}, "timestamp": 1_795_518_000_000_i64,
            "message": {"mid": "m", "text": "hi"}});
        let body = json!({"object": "page", "entry": [
            7, null, {"messaging": [good]}, {"id": "not a page", "messaging": [good]},
            {"id": "0", "time": "1795518000", "changes": [{"field": "feed"}]},
            {"id": 1, "messaging": [null, "x", {}, {"message": "text"}, good], "standby": {"no": "list"}},
        ]});
        let kinds: Vec<String> = read(&body).into_iter().map(|e| e.kind).collect();
        assert_eq!(kinds, ["unknown", "unknown", "message.text"]);
        assert!(
            read(&json!({"object": "instagram", "entry": [{"id": "1", "messaging": [good]}]})).is_empty()
        );
        assert!(read(&json!([])).is_empty());
    }

    #[test]
    fn what_the_page_itself_sent_is_never_answered() {
        let by_page = one(json!({"sender": {"id": "1"}, "recipient": {"id": "7"},
            "message": {"mid": "m", "text": "hi"}}));
        assert_eq!(
            (by_page.kind.as_str(), by_page.answer, by_page.psid.as_deref()),
            ("echo", false, Some("7"))
        );
        for message in [
            json!({"mid": "m", "is_deleted": true}),
            json!({"admin_text": "x", "text": "x"}),
            json!({"mid": "m", "is_unsupported": true, "text": "x"}),
            json!({"mid": "m"}),
        ] {
            assert!(!one(json!({"sender": {"id": "7"}, "message": message})).answer, "{message}");
        }
    }

    #[test]
    fn repeats_have_one_key_and_different_events_have_different_ones() {
        let read_at = |ms: i64| json!({"sender": {"id": "7"}, "timestamp": ms, "read": {"watermark": ms}});
        let reaction = |action: &str| {
            json!({"sender": {"id": "7"}, "timestamp": 5,
            "reaction": {"mid": "m", "action": action}})
        };
        let edit = |n: &str| json!({"sender": {"id": "7"}, "message_edit": {"mid": "m", "num_edit": n}});
        let message = json!({"sender": {"id": "7"}, "message": {"mid": "m", "text": "x"}});
        let all =
            [read_at(1), read_at(2), reaction("react"), reaction("unreact"), edit("1"), edit("2"), message];
        let keys: std::collections::BTreeSet<String> = all.iter().map(|e| one(e.clone()).dedup_key).collect();
        assert_eq!(keys.len(), all.len());
        for event in all {
            assert_eq!(one(event.clone()).dedup_key, one(event).dedup_key);
        }
        assert_eq!(one(json!({"message": {"mid": "m", "text": "x"}})).dedup_key, "1:m");
    }

    #[test]
    fn a_time_is_read_in_every_form_that_was_seen() {
        for (written, secs) in [
            (json!(1_795_518_000_000_i64), 1_795_518_000),
            (json!(1_795_518_000), 1_795_518_000),
            (json!("1795518000000"), 1_795_518_000),
            (json!("soon"), 1_795_518_000),
            (Value::Null, 1_795_518_000),
        ] {
            let at = one(json!({"timestamp": written, "read": {}})).timestamp;
            assert_eq!(at.map(Timestamp::secs), Some(secs), "{written}");
        }
    }

    #[test]
    fn ids_written_as_numbers_are_read() {
        let event = one(json!({"sender": {"id": 7100000000000001_u64},
            "message": {"mid": "m", "is_echo": "true", "app_id": 734512098811204_u64}, "recipient": {"id": 8}}));
        assert_eq!(event.kind, "echo");
        assert_eq!(event.app_id.as_deref(), Some("734512098811204"));
        assert_eq!(event.sender.as_deref(), Some("7100000000000001"));
        assert_eq!(event.psid.as_deref(), Some("8"));
    }
}
