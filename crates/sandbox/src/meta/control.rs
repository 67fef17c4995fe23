//! What a test may do to Messenger: write as a customer, read a thread, kill tokens, send Meta's callbacks.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::{From, Message, PAGE_INBOX, send, webhook};
use crate::control::{fail, ok};
use crate::signature::{self, form};
use crate::state::Shared;

/// Adds a message of the customer (a new one may begin) and sends the webhook.
pub(crate) fn write(shared: &Shared, page: &str, psid: &str, text: &str) -> Option<(Message, Option<tokio::sync::oneshot::Receiver<u16>>)> {
    let message = Message { mid: send::mid(), at_ms: shared.now(), from: From::Customer, app_id: String::new(), text: text.to_owned(), metadata: None };
    shared.edit(|s| {
        let customer = s.meta.pages.get_mut(page)?.customers.entry(psid.to_owned()).or_default();
        if customer.first_name.is_empty() {
            customer.first_name = "New".to_owned();
            customer.last_name = "Visitor".to_owned();
        }
        customer.thread.push(message.clone());
        Some(())
    })?;
    let answer = webhook::message(shared, page, psid, &message);
    Some((message, answer))
}

/// `POST /_sandbox/messenger/{page}/customers/{psid}/messages` `{"text"}`.
pub(crate) async fn say(State(shared): State<Shared>, Path((page, psid)): Path<(String, String)>, Json(ask): Json<Value>) -> Response {
    let text = ask["text"].as_str().unwrap_or_default();
    if text.is_empty() || psid.is_empty() || !psid.bytes().all(|b| b.is_ascii_digit()) {
        return fail(400, "text must not be empty and the psid must be digits");
    }
    let Some((message, answer)) = write(&shared, &page, &psid, text) else { return fail(404, "no such page") };
    ok(&json!({"mid": message.mid, "delivered_status": settle(answer).await}))
}

async fn settle(answer: Option<tokio::sync::oneshot::Receiver<u16>>) -> Value {
    match answer {
        Some(answer) => json!(answer.await.unwrap_or(0)),
        None => Value::Null,
    }
}

/// `GET` of the same address: the thread, both directions.
pub(crate) async fn thread(State(shared): State<Shared>, Path((page, psid)): Path<(String, String)>) -> Response {
    let found = shared.read(|s| s.meta.pages.get(&page)?.customers.get(&psid).map(|c| json!({
        "page_id": page, "psid": psid, "first_name": c.first_name, "last_name": c.last_name, "messages": c.thread,
    })));
    match found {
        Some(thread) => ok(&thread),
        None => fail(404, "no such customer of this page"),
    }
}

/// `POST .../inbox-replies` `{"text"}`: a person answers from Meta's page inbox; a foreign echo follows (messenger.md 2.7).
pub(crate) async fn inbox_reply(State(shared): State<Shared>, Path((page, psid)): Path<(String, String)>, Json(ask): Json<Value>) -> Response {
    let text = ask["text"].as_str().unwrap_or_default().to_owned();
    let message = Message { mid: send::mid(), at_ms: shared.now(), from: From::Inbox, app_id: PAGE_INBOX.to_owned(), text, metadata: None };
    let added = shared.edit(|s| {
        s.meta.pages.get_mut(&page)?.customers.get_mut(&psid)?.thread.push(message.clone());
        Some(())
    });
    if added.is_none() {
        return fail(404, "no such customer of this page");
    }
    let answer = webhook::echo(&shared, &page, &psid, &message);
    ok(&json!({"mid": message.mid, "delivered_status": settle(answer).await}))
}

/// `POST .../read`: the customer has read the thread.
pub(crate) async fn read(State(shared): State<Shared>, Path((page, psid)): Path<(String, String)>) -> Response {
    let answer = webhook::read(&shared, &page, &psid);
    ok(&json!({"delivered_status": settle(answer).await}))
}

/// `POST /_sandbox/messenger/webhooks` `{"raw" | "body", "page_id"?, "url"?}`: any body, signed with the app's secret.
pub(crate) async fn raw(State(shared): State<Shared>, Json(ask): Json<Value>) -> Response {
    let body = ask["raw"].as_str().map_or_else(|| signature::meta_json(&ask["body"]), str::to_owned);
    let url = ask["url"].as_str().map(str::to_owned).or_else(|| shared.config.meta.webhook_url.clone());
    let Some(url) = url else { return fail(400, "the app has no webhook_url") };
    let answer = webhook::post(&shared, ask["page_id"].as_str().unwrap_or_default(), "raw", url, body);
    ok(&json!({"delivered_status": answer.await.unwrap_or(0)}))
}

/// `POST /_sandbox/messenger/{page}/invalidate-token` `{"subcode"?: 460}`: the person changed the password.
pub(crate) async fn invalidate(State(shared): State<Shared>, Path(page): Path<String>, body: String) -> Response {
    let ask: Value = serde_json::from_str(&body).unwrap_or_default();
    let subcode = ask["subcode"].as_i64().unwrap_or(460);
    let count = shared.edit(|s| {
        let hit = s.meta.tokens.iter_mut().filter(|t| t.page.as_deref() == Some(&page) && t.dead.is_none());
        hit.map(|t| t.dead = Some(subcode)).count()
    });
    ok(&json!({"invalidated": count}))
}

/// `POST /_sandbox/meta/verify-webhook`: what the dashboard does when a callback is saved (messenger.md 2.1).
pub(crate) async fn verify(State(shared): State<Shared>) -> Response {
    let Some(url) = &shared.config.meta.webhook_url else { return fail(400, "the app has no webhook_url") };
    let challenge = crate::clock::alnum(12);
    let query = form(&[("hub.mode", "subscribe"), ("hub.verify_token", &shared.config.meta.verify_token), ("hub.challenge", &challenge)]);
    match shared.courier.get(&format!("{url}?{query}")).await {
        Ok((status, text)) => ok(&json!({"status": status, "verified": status == 200 && text == challenge})),
        Err(_) => ok(&json!({"status": 0, "verified": false})),
    }
}

/// `POST /_sandbox/meta/deauthorize` `{"user", "url"?}`: the person removed the app; tokens die, the callback is sent.
pub(crate) async fn deauthorize(State(shared): State<Shared>, Json(ask): Json<Value>) -> Response {
    let user = ask["user"].as_str().unwrap_or_default();
    shared.edit(|s| {
        s.meta.grants.remove(user);
        for token in s.meta.tokens.iter_mut().filter(|t| t.person == user) {
            token.dead.get_or_insert(458);
        }
    });
    callback(&shared, &ask, user, "deauthorize").await
}

/// `POST /_sandbox/meta/data-deletion` `{"user", "url"?}`.
pub(crate) async fn data_deletion(State(shared): State<Shared>, Json(ask): Json<Value>) -> Response {
    callback(&shared, &ask, ask["user"].as_str().unwrap_or_default(), "data-deletion").await
}

/// Sends a `signed_request` (messenger.md 1.11) to `url`, by default beside the webhook address.
async fn callback(shared: &Shared, ask: &Value, user: &str, kind: &str) -> Response {
    let beside = || shared.config.meta.webhook_url.as_ref().map(|u| format!("{u}/{kind}"));
    let Some(url) = ask["url"].as_str().map(str::to_owned).or_else(beside) else {
        return fail(400, "the app has no address for this callback");
    };
    let issued = shared.now() / 1000;
    let payload = json!({"algorithm": "HMAC-SHA256", "issued_at": issued, "expires": 0, "user_id": user});
    let payload = signature::base64url(payload.to_string().as_bytes());
    let mac = signature::hmac256(&shared.config.meta.app_secret, payload.as_bytes());
    let signed = format!("{}.{payload}", signature::base64url(&mac));
    match shared.courier.post_form(&url, form(&[("signed_request", &signed)])).await {
        Ok((status, text)) => ok(&json!({"status": status, "body": text})),
        Err(_) => ok(&json!({"status": 0, "body": ""})),
    }
}
