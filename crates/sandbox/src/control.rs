//! For tests: what a person or a provider would do, as JSON.

use crate::deliver::Webhook;
use crate::meta::webhook as meta;
use crate::record::{Delivery, Fault, Received};
use crate::sign::{random_hex, signed_request};
use crate::state::Sandbox;
use crate::{clock, kustomer, shopify};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

/// Below `/control`.
pub(crate) fn routes() -> Router<Sandbox> {
    Router::new()
        .route("/messages", post(message))
        .route("/chats/{page}/{psid}", get(chat))
        .route("/messenger/raw", post(raw))
        .route("/messenger/{page}/revoke", post(revoke_page))
        .route("/messenger/{page}/lapse", post(lapse))
        .route("/messenger/{page}/unsubscribe", post(unsubscribe))
        .route("/messenger/signed-request/{person}", get(signed))
        .route("/shopify/{shop}/webhook", post(shop_webhook))
        .route("/shopify/{shop}/scopes", post(scopes))
        .route("/shopify/{shop}/{deed}", post(shop_deed))
        .route("/kustomer/{org}/revoke", post(revoke_desk))
        .route("/kustomer/{org}/keys", get(keys))
        .route("/kustomer/{org}/private-app", get(own_app))
        .route("/kustomer/{org}/private-app/{deed}", post(own_app_deed))
        .route("/kustomer/{org}/webhooks", get(webhooks))
        .route("/kustomer/{org}/webhooks/{deed}", post(webhook_deed))
        .route("/kustomer/{org}/late", post(late))
        .route("/kustomer/{org}/conversations", get(conversations))
        .route("/kustomer/{org}/conversations/{id}/{deed}", post(desk_deed))
        .route("/received", get(received).delete(forget_received))
        .route("/deliveries", get(deliveries))
        .route("/tokens", get(tokens))
        .route("/settle", post(settle))
        .route("/faults", post(add_fault).delete(forget_faults))
}

fn absent() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"error": "there is no such thing in the sandbox"}))).into_response()
}

fn done() -> Response {
    Json(json!({"done": true})).into_response()
}

#[derive(Deserialize)]
struct Message {
    page_id: String,
    from: String,
    text: String,
}

async fn message(State(sandbox): State<Sandbox>, Json(m): Json<Message>) -> Response {
    match meta::customer_writes(&sandbox, &m.page_id, &m.from, &m.text) {
        Some((psid, mid)) => Json(json!({"psid": psid, "mid": mid})).into_response(),
        None => absent(),
    }
}

async fn chat(State(sandbox): State<Sandbox>, Path((page, psid)): Path<(String, String)>) -> Response {
    let world = sandbox.world();
    match world.pages.get(&page).and_then(|p| p.chats.get(&psid)) {
        Some(chat) => Json(json!({"messages": chat.messages})).into_response(),
        None => Json(json!({"messages": []})).into_response(),
    }
}

#[derive(Deserialize)]
struct Raw {
    body: String,
    /// `right` (default), `none`, `wrong` or `sha1`.
    signature: Option<String>,
}

/// Sends any body and answers with the product's status.
async fn raw(State(sandbox): State<Sandbox>, Json(raw): Json<Raw>) -> Response {
    let mut webhook: Webhook = meta::signed(&sandbox, "-", "raw", raw.body);
    match raw.signature.as_deref() {
        Some("none") => webhook.headers.retain(|(name, _)| !name.starts_with("x-hub")),
        Some("sha1") => webhook.headers.retain(|(name, _)| *name != "x-hub-signature-256"),
        Some("wrong") => {
            webhook.headers.retain(|(name, _)| *name != "x-hub-signature-256");
            webhook.headers.push(("x-hub-signature-256", format!("sha256={}", "0".repeat(64))));
        }
        _ => {}
    }
    Json(json!({"status": sandbox.post(&webhook).await})).into_response()
}

async fn revoke_page(State(sandbox): State<Sandbox>, Path(page): Path<String>) -> Response {
    for token in sandbox.world().meta_tokens.values_mut() {
        token.dead |= token.page.as_deref() == Some(page.as_str());
    }
    done()
}

/// Meta drops a subscription without a word.
async fn unsubscribe(State(sandbox): State<Sandbox>, Path(page): Path<String>) -> Response {
    let mut world = sandbox.world();
    let Some(page) = world.pages.get_mut(&page) else { return absent() };
    page.subscribed.clear();
    done()
}

/// The 24-hour window of every customer of a page closes.
async fn lapse(State(sandbox): State<Sandbox>, Path(page): Path<String>) -> Response {
    let mut world = sandbox.world();
    let Some(page) = world.pages.get_mut(&page) else { return absent() };
    for chat in page.chats.values_mut() {
        chat.last_customer_ms -= 2 * 86_400_000;
    }
    done()
}

/// What Meta would send to the deauthorize and data deletion callbacks.
async fn signed(State(sandbox): State<Sandbox>, Path(person): Path<String>) -> Response {
    let world = sandbox.world();
    let Some(person) = world.persons.get(&person) else { return absent() };
    let payload =
        json!({"algorithm": "HMAC-SHA256", "issued_at": clock::now(), "expires": 0, "user_id": person.id});
    Json(json!({"signed_request": signed_request(&sandbox.settings().meta_app_secret, &payload)}))
        .into_response()
}

/// Every token, key and webhook secret that an answer of a provider carries now, so that a test can look for them where
/// they must not be.
async fn tokens(State(sandbox): State<Sandbox>) -> Response {
    let world = sandbox.world();
    let mut all: Vec<String> = Vec::new();
    for shop in world.shops.values() {
        all.extend(shop.permanent.iter().map(|(token, _)| token.clone()));
        if let Some(grant) = &shop.grant {
            all.extend([grant.access.clone(), grant.refresh.clone()]);
            all.extend(grant.previous.iter().flat_map(|(access, refresh)| [access.clone(), refresh.clone()]));
        }
    }
    all.extend(world.meta_tokens.keys().cloned());
    for desk in world.desks.values() {
        all.extend(desk.keys.iter().map(|k| k.text.clone()));
        all.extend(desk.tokens.iter().flat_map(|t| [t.access.clone(), t.refresh.clone()]));
        all.extend(desk.webhooks.iter().map(|w| w.token.clone()));
    }
    all.retain(|token| !token.is_empty());
    Json(all).into_response()
}

#[derive(Deserialize)]
struct ShopWebhook {
    topic: String,
    body: Option<Value>,
    /// Another shop in the header than the one that sends.
    header_shop: Option<String>,
    /// Send once and answer with the product's status.
    #[serde(default)]
    now: bool,
    webhook_id: Option<String>,
    /// RFC 3339; another time than now.
    triggered_at: Option<String>,
}

async fn shop_webhook(
    State(sandbox): State<Sandbox>,
    Path(shop): Path<String>,
    Json(ask): Json<ShopWebhook>,
) -> Response {
    let mut webhook = {
        let world = sandbox.world();
        let Some(shop) = world.shops.get(&shop) else { return absent() };
        let body = ask.body.unwrap_or_else(|| shopify::webhook::sample(shop, &ask.topic));
        if !ask.now {
            let told = shopify::webhook::tell(&sandbox, shop, &ask.topic, &body);
            return Json(json!({"deliveries": told})).into_response();
        }
        let url = format!("{}/api/webhooks/shopify", sandbox.settings().product_url);
        shopify::webhook::signed(&sandbox, &shop.domain, &ask.topic, &url, &body)
    };
    for (name, value) in &mut webhook.headers {
        let other = match *name {
            "x-shopify-shop-domain" => &ask.header_shop,
            "x-shopify-webhook-id" => &ask.webhook_id,
            "x-shopify-triggered-at" => &ask.triggered_at,
            _ => &None,
        };
        if let Some(other) = other {
            value.clone_from(other);
        }
    }
    Json(json!({"status": sandbox.post(&webhook).await})).into_response()
}

async fn shop_deed(State(sandbox): State<Sandbox>, Path((shop, deed)): Path<(String, String)>) -> Response {
    let mut world = sandbox.world();
    let Some(shop) = world.shops.get_mut(&shop) else { return absent() };
    match deed.as_str() {
        "expire-tokens" => {
            if let Some(grant) = &mut shop.grant {
                grant.access_expires_at = 0;
            }
        }
        "revoke-tokens" => shop.grant = None,
        // As if the installation were from before tokens expired.
        "make-permanent" => {
            if let Some(grant) = shop.grant.take() {
                shop.permanent.push((grant.access, grant.scopes));
            }
        }
        // As if nobody had asked for a while.
        "refill" => shop.bucket.0 = f64::MAX,
        "freeze" => shop.frozen = true,
        "thaw" => shop.frozen = false,
        "uninstall" => shopify::webhook::uninstall(&sandbox, shop),
        _ => return absent(),
    }
    done()
}

/// The merchant takes permissions away, and the shop tells of it.
async fn scopes(
    State(sandbox): State<Sandbox>,
    Path(shop): Path<String>,
    Json(left): Json<Vec<String>>,
) -> Response {
    let mut world = sandbox.world();
    let Some(shop) = world.shops.get_mut(&shop) else { return absent() };
    let Some(grant) = &mut shop.grant else { return absent() };
    grant.scopes = left;
    let body = shopify::webhook::sample(shop, "app/scopes_update");
    shopify::webhook::tell(&sandbox, shop, "app/scopes_update", &body);
    done()
}

async fn revoke_desk(State(sandbox): State<Sandbox>, Path(org): Path<String>) -> Response {
    let mut world = sandbox.world();
    let Some(desk) = world.desks.get_mut(&org) else { return absent() };
    desk.keys.iter_mut().for_each(|k| k.revoked = true);
    desk.tokens.iter_mut().for_each(|t| t.revoked = true);
    done()
}

async fn keys(State(sandbox): State<Sandbox>, Path(org): Path<String>) -> Response {
    let world = sandbox.world();
    let Some(desk) = world.desks.get(&org) else { return absent() };
    let keys: serde_json::Map<String, Value> =
        desk.keys.iter().map(|k| (k.kind.to_owned(), json!(k.text))).collect();
    Json(Value::Object(keys)).into_response()
}

/// The app that the account registered for itself.
async fn own_app(State(sandbox): State<Sandbox>, Path(org): Path<String>) -> Response {
    let world = sandbox.world();
    let Some(desk) = world.desks.get(&org) else { return absent() };
    let app = &desk.own_app;
    Json(json!({"client_id": app.client_id, "client_secret": app.client_secret, "installed": app.installed}))
        .into_response()
}

async fn own_app_deed(State(sandbox): State<Sandbox>, Path((org, deed)): Path<(String, String)>) -> Response {
    let mut world = sandbox.world();
    let Some(desk) = world.desks.get_mut(&org) else { return absent() };
    match deed.as_str() {
        "install" => desk.own_app.installed = true,
        "uninstall" => desk.own_app.installed = false,
        "new-secret" => desk.own_app.client_secret = random_hex(24),
        _ => return absent(),
    }
    done()
}

/// The account's webhooks, without their secrets.
async fn webhooks(State(sandbox): State<Sandbox>, Path(org): Path<String>) -> Response {
    let world = sandbox.world();
    let Some(desk) = world.desks.get(&org) else { return absent() };
    let list = desk.webhooks.iter().map(|h| json!({"id": h.id, "url": h.url, "enabled": h.enabled}));
    Json(list.collect::<Vec<_>>()).into_response()
}

/// Kustomer switches webhooks off that fail; somebody deletes one by hand, or makes as many as there may be.
async fn webhook_deed(State(sandbox): State<Sandbox>, Path((org, deed)): Path<(String, String)>) -> Response {
    let mut world = sandbox.world();
    let Some(desk) = world.desks.get_mut(&org) else { return absent() };
    match deed.as_str() {
        "off" => desk.webhooks.iter_mut().for_each(|h| h.enabled = false),
        "forget" => desk.webhooks.clear(),
        "fill" => kustomer::webhook::fill(desk),
        _ => return absent(),
    }
    done()
}

#[derive(Deserialize)]
struct Late {
    /// The webhook that was there when it happened.
    url: String,
    secret_of: String,
}

/// A delivery that was signed by a webhook which may be gone by now; answers with the product's status.
async fn late(State(sandbox): State<Sandbox>, Path(org): Path<String>, Json(ask): Json<Late>) -> Response {
    let webhook = {
        let world = sandbox.world();
        let Some(desk) = world.desks.get(&org) else { return absent() };
        match kustomer::webhook::late(desk, &ask.url, &ask.secret_of) {
            Some(webhook) => webhook,
            None => return absent(),
        }
    };
    Json(json!({"status": sandbox.post(&webhook).await})).into_response()
}

async fn conversations(State(sandbox): State<Sandbox>, Path(org): Path<String>) -> Response {
    let world = sandbox.world();
    let Some(desk) = world.desks.get(&org) else { return absent() };
    let of = |items: &[Value], id: &Value| -> Vec<Value> {
        items.iter().filter(|i| i["relationships"]["conversation"]["data"]["id"] == *id).cloned().collect()
    };
    let list: Vec<Value> = desk
        .conversations
        .iter()
        .map(|c| {
            let customer = &c["relationships"]["customer"]["data"]["id"];
            let customer = desk.customers.iter().find(|p| p["id"] == *customer);
            json!({"conversation": c, "customer": customer, "messages": of(&desk.messages, &c["id"]), "notes": of(&desk.notes, &c["id"])})
        })
        .collect();
    Json(list).into_response()
}

#[derive(Deserialize, Default)]
struct DeskDeed {
    #[serde(default)]
    text: String,
}

async fn desk_deed(
    State(sandbox): State<Sandbox>,
    Path((org, id, deed)): Path<(String, String, String)>,
    Json(ask): Json<DeskDeed>,
) -> Response {
    let mut world = sandbox.world();
    let Some(desk) = world.desks.get_mut(&org) else { return absent() };
    let ok = match deed.as_str() {
        "answer" => kustomer::webhook::agent_answers(&sandbox, desk, &id, &ask.text),
        "done" => kustomer::webhook::agent_closes(&sandbox, desk, &id),
        _ => false,
    };
    if ok { done() } else { absent() }
}

#[derive(Deserialize)]
struct Narrow {
    provider: Option<String>,
    account: Option<String>,
}

async fn received(State(sandbox): State<Sandbox>, Query(narrow): Query<Narrow>) -> Json<Vec<Received>> {
    let fits = |r: &&Received| {
        narrow.provider.as_deref().is_none_or(|p| p == r.provider)
            && narrow.account.as_deref().is_none_or(|a| a == r.account)
    };
    Json(sandbox.record().received.iter().filter(fits).cloned().collect())
}

async fn forget_received(State(sandbox): State<Sandbox>) -> Response {
    sandbox.record().received.clear();
    done()
}

async fn deliveries(State(sandbox): State<Sandbox>) -> Json<Vec<Delivery>> {
    Json(sandbox.record().deliveries.clone())
}

/// Answers when every webhook has been delivered or given up.
async fn settle(State(sandbox): State<Sandbox>) -> Response {
    sandbox.settled().await;
    done()
}

async fn add_fault(State(sandbox): State<Sandbox>, Json(fault): Json<Fault>) -> Response {
    sandbox.record().faults.push(fault);
    done()
}

async fn forget_faults(State(sandbox): State<Sandbox>) -> Response {
    sandbox.record().faults.clear();
    done()
}
