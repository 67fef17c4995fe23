//! What shops tell the app.

use crate::clock;
use crate::deliver::Webhook;
use crate::sign::{base64_mac, random_hex};
use crate::state::Sandbox;
use crate::world::shop::Shop;
use serde_json::{Value, json};

/// Topics that are set for the whole app and cannot be subscribed to.
pub(crate) fn is_compliance(topic: &str) -> bool {
    matches!(topic, "CUSTOMERS_DATA_REQUEST" | "CUSTOMERS_REDACT" | "SHOP_REDACT")
}

/// A webhook, signed over exactly its bytes.
pub(crate) fn signed(sandbox: &Sandbox, shop: &str, topic: &str, url: &str, body: &Value) -> Webhook {
    let body = body.to_string().replace('/', "\\/").into_bytes();
    let signature = base64_mac(&sandbox.settings().shopify_api_secret, &body);
    Webhook {
        provider: "shopify",
        account: shop.to_owned(),
        topic: topic.to_owned(),
        url: url.to_owned(),
        headers: vec![
            ("content-type", "application/json".into()),
            ("x-shopify-topic", topic.to_owned()),
            ("x-shopify-hmac-sha256", signature),
            ("x-shopify-shop-domain", shop.to_owned()),
            ("x-shopify-api-version", "2026-10".into()),
            ("x-shopify-webhook-id", uuid_like()),
            ("x-shopify-event-id", uuid_like()),
            ("x-shopify-triggered-at", clock::rfc3339(clock::now_ms())),
        ],
        body,
    }
}

fn uuid_like() -> String {
    let hex = random_hex(16);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Tells every subscriber of a topic.
pub(crate) fn tell(sandbox: &Sandbox, shop: &Shop, topic: &str, body: &Value) -> usize {
    let name = topic.to_uppercase().replace('/', "_");
    let urls: Vec<String> = if is_compliance(&name) {
        vec![format!("{}/api/webhooks/shopify", sandbox.settings().product_url)]
    } else {
        shop.webhooks.iter().filter(|s| s.topic == name).map(|s| s.uri.clone()).collect()
    };
    for url in &urls {
        sandbox.deliver(&shop.domain, signed(sandbox, &shop.domain, topic, url, body));
    }
    urls.len()
}

/// Takes the app off a shop: tokens die at once, subscriptions vanish, and the app is told.
pub(crate) fn uninstall(sandbox: &Sandbox, shop: &mut Shop) {
    tell(sandbox, shop, "app/uninstalled", &sample(shop, "app/uninstalled"));
    shop.grant = None;
    shop.permanent.clear();
    shop.webhooks.clear();
}

/// What a topic's body looks like.
pub(crate) fn sample(shop: &Shop, topic: &str) -> Value {
    match topic {
        "app/uninstalled" | "shop/update" => json!({
            "id": shop.id, "name": shop.name, "email": "owner@example.com", "domain": shop.domain,
            "myshopify_domain": shop.domain, "plan_name": if shop.frozen { "frozen" } else { "partner_test" },
        }),
        "app/scopes_update" => {
            let current = shop.grant.as_ref().map(|g| g.scopes.clone()).unwrap_or_default();
            json!({"id": 1, "previous": [], "current": current, "shop_id": shop.id, "updated_at": clock::rfc3339(clock::now_ms())})
        }
        "customers/data_request" => json!({
            "shop_id": shop.id, "shop_domain": shop.domain, "orders_requested": [1001],
            "customer": {"id": 1, "email": "ana@example.com", "phone": null}, "data_request": {"id": 9},
        }),
        "customers/redact" => json!({
            "shop_id": shop.id, "shop_domain": shop.domain, "orders_to_redact": [1001],
            "customer": {"id": 1, "email": "ana@example.com", "phone": null},
        }),
        "shop/redact" => json!({"shop_id": shop.id, "shop_domain": shop.domain}),
        _ => {
            let order = shop.orders.iter().find(|o| o["name"] == "#1001").cloned().unwrap_or_default();
            rest_order(&order)
        }
    }
}

/// An order as webhooks write it.
pub(crate) fn rest_order(order: &Value) -> Value {
    let id: u64 = order["id"].as_str().and_then(|id| id.rsplit('/').next()?.parse().ok()).unwrap_or(0);
    json!({
        "id": id, "admin_graphql_api_id": order["id"], "name": order["name"], "order_number": order["number"],
        "email": order["email"], "financial_status": order["displayFinancialStatus"].as_str().map(str::to_lowercase),
        "fulfillment_status": order["displayFulfillmentStatus"].as_str().map(str::to_lowercase),
        "cancelled_at": order["cancelledAt"], "updated_at": clock::rfc3339(clock::now_ms()),
    })
}
