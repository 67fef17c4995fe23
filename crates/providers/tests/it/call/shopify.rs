//! The Admin API of a shop (`shopify.md` 1.7, 2.8, 3.2 to 3.5).

use super::failed;
use crate::wire::{NOW, Reply, SECRET, TOKEN, Wire, secret, shop, token};
use agenstack_providers::Kind;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

#[tokio::test]
async fn a_status_means_what_the_sheet_says() {
    for (status, kind, code) in [
        (400, Kind::Rejected, "request_refused"),
        (401, Kind::Unauthorized, "token_invalid"),
        (402, Kind::Paused, "shop_frozen"),
        (403, Kind::Forbidden, "permission_missing"),
        (404, Kind::Paused, "shop_not_found"),
        (423, Kind::Paused, "shop_locked"),
        (429, Kind::RateLimited, "rate_limited"),
        (430, Kind::Paused, "security_rejection"),
        (500, Kind::Unavailable, "outage"),
        (503, Kind::Unavailable, "outage"),
        (520, Kind::Unavailable, "outage"),
        (530, Kind::Unavailable, "outage"),
        (540, Kind::Unavailable, "outage"),
    ] {
        let wire = Wire::answering(move |_| {
            Reply::With(status, vec![("retry-after", "2.0".to_owned())], br#"{"errors":"[API] no"}"#.to_vec())
        })
        .await;
        let error = failed(wire.shopify().shop_info(&shop(), &token()).await);
        assert_eq!((error.kind, error.code, error.status), (kind, code, Some(status)));
        assert_eq!(error.retry_after_secs, error.is_retryable().then_some(2), "{status}");
    }
}

#[tokio::test]
async fn an_error_inside_a_success_means_what_its_code_says() {
    let coded = |code: &str| json!([{"message": "m", "extensions": {"code": code}}]);
    for (errors, kind, code) in [
        (coded("THROTTLED"), Kind::RateLimited, "throttled"),
        (coded("ACCESS_DENIED"), Kind::Forbidden, "permission_missing"),
        (coded("MAX_COST_EXCEEDED"), Kind::Rejected, "query_too_large"),
        (coded("SHOP_INACTIVE"), Kind::Paused, "shop_inactive"),
        (coded("INTERNAL_SERVER_ERROR"), Kind::Unavailable, "outage"),
        (coded("SOMETHING_NEW"), Kind::Rejected, "query_refused"),
        (json!([{"message": "Field 'x' doesn't exist"}]), Kind::Rejected, "query_refused"),
        (json!("a plain string"), Kind::Rejected, "query_refused"),
    ] {
        let wire = Wire::with(200, json!({"errors": errors, "data": null})).await;
        let error = failed(wire.shopify().shop_info(&shop(), &token()).await);
        assert_eq!((error.kind, error.code, error.outcome_unknown), (kind, code, false), "{errors}");
        let error = failed(wire.shopify().uninstall(&shop(), &token()).await);
        assert_eq!(error.outcome_unknown, kind == Kind::Unavailable, "a mutation: {errors}");
    }
}

#[tokio::test]
async fn a_throttled_query_waits_until_the_bucket_holds_what_it_costs() {
    let cost = |requested: f64, available: f64, rate: f64| {
        json!({"cost": {"requestedQueryCost": requested, "actualQueryCost": null, "throttleStatus":
            {"maximumAvailable": 2000.0, "currentlyAvailable": available, "restoreRate": rate}}})
    };
    for (extensions, secs) in [
        (cost(502.0, 100.0, 100.0), Some(5)),
        (cost(101.0, 100.0, 100.0), Some(1)),
        (cost(50.0, 100.0, 100.0), Some(1)),
        (cost(500.0, 100.0, 0.0), None),
        (json!({}), None),
        (Value::Null, None),
    ] {
        let wire = Wire::with(
            200,
            json!({"errors": [{"extensions": {"code": "THROTTLED"}}], "extensions": extensions}),
        )
        .await;
        let error = failed(wire.shopify().granted_scopes(&shop(), &token()).await);
        assert_eq!((error.code, error.retry_after_secs), ("throttled", secs), "{extensions}");
    }
}

#[tokio::test]
async fn a_denial_names_the_scope_and_drops_the_sentence() {
    let denied = |access: &str| {
        json!({"errors": [{"message": "Access denied for orders field.", "path": ["orders"],
            "extensions": {"code": "ACCESS_DENIED", "requiredAccess": access}}], "data": null})
    };
    for (access, detail) in [
        ("`read_orders` access scope.", Some("read_orders")),
        ("`unauthenticated_read_content` access scope.", Some("unauthenticated_read_content")),
        ("Ask the merchant.", None),
    ] {
        let wire = Wire::with(200, denied(access)).await;
        let error = failed(wire.shopify().order_by_number(&shop(), &token(), "1001").await);
        assert_eq!((error.kind, error.detail.as_deref()), (Kind::Forbidden, detail), "{access}");
    }
}

#[tokio::test]
async fn a_field_that_approval_does_not_cover_leaves_the_rest_of_an_order() {
    let wire = Wire::with(
        200,
        json!({"errors": [{"path": ["orders", "nodes", 0, "email"], "extensions": {"code": "ACCESS_DENIED"}}],
            "data": {"orders": {"nodes": [{"id": "gid://shopify/Order/1", "name": "#1001", "email": null,
                "fulfillments": null, "lineItems": {"nodes": [{"title": "Mug", "quantity": 2}, null]}}]}}}),
    )
    .await;
    let order = wire.shopify().order_by_number(&shop(), &token(), "1001").await.unwrap().unwrap();
    assert_eq!((order.name.as_str(), order.email, order.items.len()), ("#1001", None, 1));
    assert_eq!(wire.asked()[0].header("x-shopify-access-token"), TOKEN);
}

#[tokio::test]
async fn the_search_of_an_order_is_quoted_and_only_the_very_number_is_a_hit() {
    let wire = Wire::with(200, json!({"data": {"orders": {"nodes": [{"id": "o", "name": "#10010"}]}}})).await;
    assert_eq!(wire.shopify().order_by_number(&shop(), &token(), "x\" OR status:any").await, Ok(None));
    let queries: Vec<Value> = wire.asked().iter().map(|a| a.json()["variables"]["q"].clone()).collect();
    assert_eq!(queries, [json!("name:\"#x\\\" OR status:any\""), json!("name:\"x\\\" OR status:any\"")]);
    assert_eq!(wire.shopify().order_by_number(&shop(), &token(), "1001").await, Ok(None));
    assert_eq!(wire.shopify().order_by_number(&shop(), &token(), " # ").await, Ok(None));
    assert_eq!(wire.asked().len(), 4, "no number, no question");
}

#[tokio::test]
async fn a_refused_token_request_ends_the_grant_only_when_it_says_so() {
    for (status, body, refresh, kind, code) in [
        (400, r#"{"error":"invalid_grant"}"#, true, Kind::GrantRejected, "grant_refused"),
        (401, r#"{"error":"invalid_request"}"#, true, Kind::GrantRejected, "grant_refused"),
        (400, "<html>", true, Kind::Rejected, "request_refused"),
        (400, "<html>", false, Kind::GrantRejected, "grant_refused"),
        (401, r#"{"error":"invalid_client"}"#, true, Kind::Rejected, "app_credentials_refused"),
        (400, r#"{"error":"application_cannot_be_found"}"#, false, Kind::Rejected, "app_credentials_refused"),
        (429, "{}", true, Kind::RateLimited, "rate_limited"),
        (500, r#"{"error":"invalid_grant"}"#, true, Kind::Unavailable, "outage"),
        (520, "<html>", true, Kind::Unavailable, "outage"),
    ] {
        let wire = Wire::answering(move |_| Reply::With(status, Vec::new(), body.as_bytes().to_vec())).await;
        let outcome = if refresh {
            wire.shopify().refresh(&shop(), &secret("r"), NOW).await
        } else {
            wire.shopify().exchange_code(&shop(), &secret("c"), NOW).await
        };
        let error = failed(outcome);
        assert_eq!((error.kind, error.code), (kind, code), "{status} {body}");
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_refused_and_one_without_an_end_gets_an_hour() {
    let wire = Wire::with(200, json!({"access_token": "a", "scope": "read_orders"})).await;
    let error = failed(wire.shopify().exchange_code(&shop(), &secret("c"), NOW).await);
    assert_eq!(error.code, "no_refresh_token");
    let wire = Wire::with(200, json!({"access_token": "a", "refresh_token": "r"})).await;
    let grant = wire.shopify().refresh(&shop(), &secret("old"), NOW).await.unwrap();
    assert_eq!(grant.access_token.expose_secret(), "a");
    assert_eq!(grant.expires_at, Some(NOW.plus_secs(3600)));
    let body = wire.asked()[0].json();
    assert_eq!((&body["client_secret"], &body["refresh_token"]), (&json!(SECRET), &json!("old")));
}

/// A shop that keeps subscriptions, two on a page.
fn subscriptions(start: &[(&str, &str)]) -> impl Fn(&crate::wire::Asked) -> Reply + Send + Sync + 'static {
    let list: Vec<(String, String)> = start.iter().map(|(t, u)| ((*t).to_owned(), (*u).to_owned())).collect();
    let list = Arc::new(Mutex::new(list));
    move |asked| {
        let (body, mut list) = (asked.json(), list.lock().unwrap());
        let (query, variables) = (body["query"].as_str().unwrap(), &body["variables"]);
        if query.contains("webhookSubscriptionCreate(") {
            let made = (
                variables["topic"].as_str().unwrap(),
                variables["webhookSubscription"]["uri"].as_str().unwrap(),
            );
            if list.iter().any(|(t, u)| (t.as_str(), u.as_str()) == made) || made.0 == "NO_SUCH_TOPIC" {
                let error =
                    json!([{"field": ["topic"], "message": "Address for this topic has already been taken"}]);
                return Reply::Of(200, json!({"data": {"webhookSubscriptionCreate": {"userErrors": error}}}));
            }
            list.push((made.0.to_owned(), made.1.to_owned()));
            return Reply::Of(200, json!({"data": {"webhookSubscriptionCreate": {"userErrors": []}}}));
        }
        if query.contains("webhookSubscriptionDelete(") {
            return Reply::Of(200, json!({"data": {"webhookSubscriptionDelete": {"userErrors": []}}}));
        }
        let from: usize = variables["after"].as_str().map_or(0, |a| a.parse().unwrap());
        let nodes: Vec<Value> = list
            .iter()
            .enumerate()
            .skip(from)
            .take(2)
            .map(|(i, (topic, uri))| json!({"id": format!("gid://s/{i}"), "topic": topic, "uri": uri}))
            .collect();
        let info = json!({"hasNextPage": from + 2 < list.len(), "endCursor": (from + 2).to_string()});
        Reply::Of(200, json!({"data": {"webhookSubscriptions": {"nodes": nodes, "pageInfo": info}}}))
    }
}

#[tokio::test]
async fn only_missing_webhooks_are_made_and_all_pages_are_looked_at() {
    let ours = "https://a.example/w";
    let start = [
        ("ORDERS_CREATE", "https://b.example/w"),
        ("ORDERS_UPDATED", "https://b.example/w"),
        ("ORDERS_UPDATED", ours),
    ];
    let wire = Wire::answering(subscriptions(&start)).await;
    let topics = ["orders/updated", "orders/create", "ORDERS_CREATE"];
    let made = wire.shopify().webhooks_ensure(&shop(), &token(), ours, &topics).await.unwrap();
    assert_eq!(made, ["ORDERS_CREATE"]);
    let again = wire.shopify().webhooks_ensure(&shop(), &token(), ours, &topics).await.unwrap();
    assert!(again.is_empty(), "{again:?}");

    let error = failed(wire.shopify().webhooks_ensure(&shop(), &token(), ours, &["no_such/topic"]).await);
    assert_eq!((error.code, error.detail.as_deref()), ("webhook_not_created", Some("NO_SUCH_TOPIC")));

    assert_eq!(wire.shopify().webhooks_remove(&shop(), &token(), ours).await, Ok(2));
    let deleted: Vec<Value> =
        wire.asked().iter().map(|a| a.json()["variables"]["id"].clone()).filter(|i| !i.is_null()).collect();
    assert_eq!(deleted, [json!("gid://s/2"), json!("gid://s/3")], "none of somebody else's");
}
