//! What a test may do to a shop: send webhooks, uninstall, expire, freeze.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::webhook::{self, Sent};
use crate::control::{fail, ok};
use crate::state::Shared;

async fn settle(sent: Vec<Sent>) -> Value {
    let mut out = Vec::new();
    for one in sent {
        let status = one.answer.await.unwrap_or(0);
        out.push(json!({"webhook_id": one.webhook_id, "uri": one.uri, "status": status}));
    }
    Value::Array(out)
}

/// JSON as Shopify writes it: `/` and `&` escaped, so that re-serialising never matches (shopify.md 2.2).
pub(crate) fn escape(body: &Value) -> String {
    body.to_string().replace('/', "\\/").replace('&', "\\u0026")
}

/// `POST /_sandbox/shopify/{shop}/webhooks` `{"topic", "body" | "raw" | "order": 1001, "uri"?}`.
pub(crate) async fn webhooks(State(shared): State<Shared>, Path(domain): Path<String>, Json(ask): Json<Value>) -> Response {
    let topic = ask["topic"].as_str().unwrap_or_default();
    let number = ask["order"].as_u64();
    let known = shared.read(|s| {
        let shop = s.shops.get(&domain)?;
        let order = shop.orders.iter().find(|o| Some(u64::from(o.number)) == number);
        Some(match order {
            Some(order) => super::shape::rest_order(shop, order),
            None if topic.ends_with("/redact") || topic == "customers/data_request" => {
                json!({"shop_id": shop.id, "shop_domain": shop.domain})
            }
            None => super::shape::rest_shop(shop),
        })
    });
    let Some(usual) = known else { return fail(404, "no such shop") };
    let body = match (ask["raw"].as_str(), ask.get("body")) {
        (Some(raw), _) => raw.to_owned(),
        (None, Some(body)) => escape(body),
        (None, None) => escape(&usual),
    };
    let uris = match ask["uri"].as_str() {
        Some(uri) => vec![uri.to_owned()],
        None => webhook::addresses(&shared, &domain, topic),
    };
    let sent = webhook::send(&shared, &domain, topic, &body, uris);
    ok(&json!({"sent": settle(sent).await}))
}

/// `POST /_sandbox/shopify/{shop}/uninstall`.
pub(crate) async fn uninstall(State(shared): State<Shared>, Path(domain): Path<String>) -> Response {
    if !shared.read(|s| s.shops.contains_key(&domain)) {
        return fail(404, "no such shop");
    }
    ok(&json!({"sent": settle(webhook::uninstall(&shared, &domain)).await}))
}

/// `POST /_sandbox/shopify/{shop}/expire-tokens` `{"refresh"?: true}`: access tokens end now, on request refresh tokens too.
pub(crate) async fn expire(State(shared): State<Shared>, Path(domain): Path<String>, body: String) -> Response {
    let ask: Value = serde_json::from_str(&body).unwrap_or_default();
    let now = shared.now();
    let count = shared.edit(|s| {
        let pairs = &mut s.shops.get_mut(&domain)?.grant.as_mut()?.pairs;
        for pair in pairs.iter_mut() {
            pair.access_expires_ms = pair.access_expires_ms.map(|end| end.min(now));
            if ask["refresh"] == true {
                pair.refresh_expires_ms = pair.refresh_expires_ms.min(now);
            }
        }
        Some(pairs.len())
    });
    ok(&json!({"expired": count.unwrap_or(0)}))
}

/// `POST /_sandbox/shopify/{shop}/freeze` `{"frozen": true}`.
pub(crate) async fn freeze(State(shared): State<Shared>, Path(domain): Path<String>, Json(ask): Json<Value>) -> Response {
    let frozen = ask["frozen"].as_bool().unwrap_or(true);
    let found = shared.edit(|s| s.shops.get_mut(&domain).map(|shop| shop.frozen = frozen));
    if found.is_none() {
        return fail(404, "no such shop");
    }
    ok(&json!({"frozen": frozen}))
}
