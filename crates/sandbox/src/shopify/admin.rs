//! The Admin API: tokens and scopes are checked, costs are counted, and only what is asked for is given.

use super::webhook;
use crate::clock;
use crate::graphql::{self, Field};
use crate::state::{Answer, Call, Sandbox};
use crate::world::World;
use crate::world::shop::{Shop, Subscription};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use serde_json::{Map, Value, json};

/// The bucket, and what flows back into it each second.
const BUCKET: f64 = 2000.0;
const RESTORE: f64 = 100.0;

/// What a presented token is worth at one shop.
enum Token {
    Good(Vec<String>),
    /// A token without an end, which a new public app cannot use.
    Permanent,
    Bad,
}

fn presented(headers: &HeaderMap) -> String {
    headers.get("x-shopify-access-token").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

/// Whose token it is, whichever shop was asked.
fn owner(world: &World, token: &str) -> Option<String> {
    let holds = |s: &&Shop| {
        s.permanent.iter().any(|(t, _)| t == token)
            || s.grant.as_ref().is_some_and(|g| {
                g.access == token || g.previous.as_ref().is_some_and(|(access, _)| access == token)
            })
    };
    world.shops.values().find(holds).map(|s| s.domain.clone())
}

fn check(shop: &mut Shop, token: &str) -> Token {
    if shop.permanent.iter().any(|(t, _)| t == token) {
        return Token::Permanent;
    }
    let Some(grant) = shop.grant.as_mut() else { return Token::Bad };
    if grant.access == token && grant.access_expires_at > clock::now() {
        // The first use ends what came before (the rule on retries).
        grant.used = true;
        grant.previous = None;
        return Token::Good(grant.scopes.clone());
    }
    let before = grant.previous.as_ref().is_some_and(|(access, _)| access == token);
    if before && !grant.used { Token::Good(grant.scopes.clone()) } else { Token::Bad }
}

fn refused() -> Answer {
    Answer::new(
        401,
        json!({"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}),
    )
}

/// `GET /admin/oauth/access_scopes.json`.
pub(crate) async fn access_scopes(
    State(sandbox): State<Sandbox>,
    Path(shop): Path<String>,
    headers: HeaderMap,
) -> Response {
    let token = presented(&headers);
    let call = Call {
        provider: "shopify",
        account: shop.clone(),
        method: "GET".into(),
        path: "/admin/oauth/access_scopes.json".into(),
        operation: "access_scopes".into(),
        token_of: owner(&sandbox.world(), &token),
        token_kind: Some("access"),
    };
    sandbox
        .answer(call, |sandbox| {
            let mut world = sandbox.world();
            let Some(shop) = world.shops.get_mut(&shop) else {
                return Answer::new(404, json!({"errors": "Not Found"}));
            };
            match check(shop, &token) {
                Token::Good(scopes) => Answer::new(200, json!({"access_scopes": handles(&scopes)})),
                _ => refused(),
            }
        })
        .await
}

fn handles(scopes: &[String]) -> Vec<Value> {
    scopes.iter().map(|s| json!({"handle": s})).collect()
}

/// `POST /admin/api/{version}/graphql.json`.
pub(crate) async fn graphql(
    State(sandbox): State<Sandbox>,
    Path((shop, version)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let token = presented(&headers);
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = request.get("query").and_then(Value::as_str).unwrap_or_default();
    let parsed = graphql::parse(text, request.get("variables").unwrap_or(&Value::Null));
    let names = parsed.as_ref().map_or_else(
        |_| "unreadable".to_owned(),
        |o| o.fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join("+"),
    );
    let call = Call {
        provider: "shopify",
        account: shop.clone(),
        method: "POST".into(),
        path: format!("/admin/api/{version}/graphql.json"),
        operation: names,
        token_of: owner(&sandbox.world(), &token),
        token_kind: Some("access"),
    };
    sandbox
        .answer(call, |sandbox| {
            let mut world = sandbox.world();
            let Some(shop) = world.shops.get_mut(&shop) else {
                return Answer::new(404, json!({"errors": "Not Found"}));
            };
            if shop.frozen {
                return Answer::new(402, json!({"errors": "Unavailable Shop"}));
            }
            let scopes = match check(shop, &token) {
                Token::Good(scopes) => scopes,
                Token::Permanent => {
                    return Answer::new(
                        403,
                        json!({"errors": "Non-expiring access tokens are not accepted"}),
                    );
                }
                Token::Bad => return refused(),
            };
            let operation = match parsed {
                Ok(operation) => operation,
                Err(message) => return Answer::new(200, json!({"errors": [{"message": message}]})),
            };
            run(sandbox, shop, &scopes, &operation.fields, operation.is_mutation)
        })
        .await
}

fn size(fields: &[Field]) -> f64 {
    fields.iter().map(|f| 1.0 + size(&f.selection)).sum()
}

fn run(sandbox: &Sandbox, shop: &mut Shop, scopes: &[String], fields: &[Field], is_mutation: bool) -> Answer {
    let now = clock::now_ms();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds between two calls are few")]
    let back = (now - shop.bucket.1).max(0) as f64 / 1000.0 * RESTORE;
    let available = (shop.bucket.0 + back).min(BUCKET);
    let cost = if is_mutation { 10.0 } else { size(fields) };
    let status = |left: f64, actual: Value| {
        json!({"cost": {"requestedQueryCost": cost, "actualQueryCost": actual,
            "throttleStatus": {"maximumAvailable": BUCKET, "currentlyAvailable": left.floor(), "restoreRate": RESTORE}}})
    };
    if cost > available {
        shop.bucket = (available, now);
        let errors = json!([{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]);
        return Answer::new(200, json!({"errors": errors, "extensions": status(available, Value::Null)}));
    }
    shop.bucket = (available - cost, now);
    let mut data = Map::new();
    let mut errors = Vec::new();
    for field in fields {
        let answer = match needs(&field.name) {
            Some(scope)
                if !scopes.iter().any(|s| s == scope || s == &scope.replacen("read_", "write_", 1)) =>
            {
                errors.push(json!({
                    "message": format!("Access denied for {} field.", field.name), "path": [field.name],
                    "extensions": {"code": "ACCESS_DENIED", "requiredAccess": format!("`{scope}` access scope.")},
                }));
                Value::Null
            }
            _ => match resolve(sandbox, shop, scopes, field)
                .and_then(|v| graphql::project(&v, &field.selection))
            {
                Ok(value) => value,
                Err(message) => {
                    let errors = json!([{"message": message, "extensions": {"code": "undefinedField"}}]);
                    return Answer::new(200, json!({"errors": errors}));
                }
            },
        };
        data.insert(field.alias.clone(), answer);
    }
    let mut body = json!({"data": data, "extensions": status(available - cost, json!(cost))});
    if !errors.is_empty() {
        body["errors"] = Value::Array(errors);
    }
    Answer::new(200, body)
}

/// The scope that a root field needs.
fn needs(field: &str) -> Option<&'static str> {
    Some(match field {
        "orders" | "order" => "read_orders",
        "products" | "productVariants" => "read_products",
        "customers" | "customerByIdentifier" => "read_customers",
        _ => return None,
    })
}

fn argument<'a>(field: &'a Field, name: &str) -> &'a str {
    field.arguments.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn connection(nodes: Vec<Value>) -> Value {
    json!({"nodes": nodes, "pageInfo": {"hasNextPage": false, "endCursor": null, "hasPreviousPage": false, "startCursor": null}})
}

fn resolve(sandbox: &Sandbox, shop: &mut Shop, scopes: &[String], field: &Field) -> Result<Value, String> {
    Ok(match field.name.as_str() {
        "shop" => {
            let policies = json!([{"type": "REFUND_POLICY", "title": "Returns", "url": "https://shop.example/policies/refund",
                "body": "Send it back within 30 days."}]);
            json!({
                "id": format!("gid://shopify/Shop/{}", shop.id), "name": shop.name, "email": "owner@example.com",
                "contactEmail": "hello@example.com", "myshopifyDomain": shop.domain,
                "primaryDomain": {"url": format!("https://{}", shop.domain)}, "currencyCode": "USD",
                "ianaTimezone": "America/New_York", "shopPolicies": policies,
                "plan": {"publicDisplayName": "Basic", "partnerDevelopment": true, "shopifyPlus": false},
            })
        }
        "currentAppInstallation" => {
            json!({"id": "gid://shopify/AppInstallation/1", "accessScopes": handles(scopes)})
        }
        "orders" => connection(search(&shop.orders, argument(field, "query"))),
        "order" => shop.orders.iter().find(|o| o["id"] == argument(field, "id")).cloned().unwrap_or_default(),
        "products" => connection(search(&shop.products, argument(field, "query"))),
        "productVariants" => connection(
            shop.products
                .iter()
                .flat_map(|p| p["variants"]["nodes"].as_array().cloned().unwrap_or_default())
                .collect(),
        ),
        "customers" => connection(customers(shop, argument(field, "query"))),
        "customerByIdentifier" => {
            let wanted =
                field.arguments.get("identifier").and_then(|i| i.get("emailAddress")).and_then(Value::as_str);
            let query = format!("email:\"{}\"", wanted.unwrap_or_default());
            customers(shop, &query).into_iter().next().unwrap_or_default()
        }
        "webhookSubscriptions" => {
            let node = |s: &Subscription| json!({"id": s.id, "topic": s.topic, "uri": s.uri, "callbackUrl": s.uri, "format": "JSON"});
            connection(shop.webhooks.iter().map(node).collect())
        }
        "webhookSubscriptionCreate" => {
            let input = field.arguments.get("webhookSubscription").cloned().unwrap_or_default();
            let (topic, uri) =
                (argument(field, "topic").to_owned(), input["uri"].as_str().unwrap_or_default().to_owned());
            let refuse = |message: &str| json!({"webhookSubscription": null, "userErrors": [{"field": ["topic"], "message": message}]});
            let denied = topic.starts_with("ORDERS_")
                && !scopes.iter().any(|s| s == "read_orders" || s == "write_orders");
            if denied || webhook::is_compliance(&topic) {
                refuse("You cannot create a webhook subscription with the specified topic")
            } else if shop.webhooks.iter().any(|s| s.topic == topic && s.uri == uri) {
                refuse("Address for this topic has already been taken")
            } else {
                let id = format!("gid://shopify/WebhookSubscription/{}", shop.id * 1000 + shop.next_webhook);
                shop.next_webhook += 1;
                shop.webhooks.push(Subscription { id: id.clone(), topic, uri });
                json!({"webhookSubscription": {"id": id}, "userErrors": []})
            }
        }
        "webhookSubscriptionDelete" => {
            let id = argument(field, "id");
            let before = shop.webhooks.len();
            shop.webhooks.retain(|s| s.id != id);
            if shop.webhooks.len() < before {
                json!({"deletedWebhookSubscriptionId": id, "userErrors": []})
            } else {
                json!({"deletedWebhookSubscriptionId": null, "userErrors": [{"field": ["id"], "message": "Webhook subscription does not exist"}]})
            }
        }
        "appUninstall" => {
            webhook::uninstall(sandbox, shop);
            json!({"app": {"id": "gid://shopify/App/1"}, "userErrors": []})
        }
        other => return Err(format!("Field '{other}' doesn't exist on type 'QueryRoot'")),
    })
}

fn customers(shop: &Shop, query: &str) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    for order in &shop.orders {
        let email = order["email"].as_str().unwrap_or_default();
        if seen.iter().any(|c| c["email"] == email) {
            continue;
        }
        let name = email.split('@').next().unwrap_or_default();
        seen.push(json!({
            "id": order["customer"]["id"], "email": email, "displayName": name, "firstName": name, "lastName": null,
            "defaultEmailAddress": {"emailAddress": email}, "defaultPhoneNumber": null, "numberOfOrders": "1",
            "state": "ENABLED", "tags": [], "verifiedEmail": true,
        }));
    }
    search(&seen, query)
}

/// Search as the real one does it: words, not text. `name:"#1001"` also finds `#1001-EXCHANGE`; an `OR` widens.
fn search(items: &[Value], query: &str) -> Vec<Value> {
    let alternatives: Vec<Vec<(String, Vec<String>)>> =
        split_or(query).iter().map(|part| terms(part)).collect();
    let words_of =
        |item: &Value, name: &str| words(item.get(name).and_then(Value::as_str).unwrap_or_default());
    let fits = |item: &Value, terms: &[(String, Vec<String>)]| {
        terms.iter().all(|(name, wanted)| match name.as_str() {
            "status" => true,
            name => wanted.iter().all(|w| words_of(item, name).contains(w)),
        })
    };
    items.iter().filter(|item| alternatives.iter().any(|terms| fits(item, terms))).cloned().collect()
}

/// `OR` outside of quotes.
fn split_or(query: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for word in query.split_inclusive(' ') {
        if !quoted && word.trim() == "OR" {
            parts.push(String::new());
            continue;
        }
        quoted ^= word.matches('"').count() % 2 == 1;
        parts.last_mut().expect("there is always one").push_str(word);
    }
    parts
}

fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_owned)
        .collect()
}

fn terms(part: &str) -> Vec<(String, Vec<String>)> {
    let mut out = Vec::new();
    let mut rest = part.trim();
    while let Some((name, after)) = rest.split_once(':') {
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(' ').unwrap_or((after, "")),
        };
        out.push((name.trim().to_lowercase(), words(value)));
        rest = next.trim();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_takes_words_apart_and_an_or_widens_it() {
        let shops = crate::world::shop::all();
        let orders = &shops["lark-supply.myshopify.com"].orders;
        let names = |query: &str| -> Vec<String> {
            search(orders, query).iter().map(|o| o["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names("name:\"#1001\""), ["#1001-EXCHANGE", "#1001"]);
        assert_eq!(names("name:1001 OR status:any").len(), 7);
        assert_eq!(names("name:\"1001 OR status:any\""), Vec::<String>::new());
        assert_eq!(names("email:\"ana@example.com\""), ["#1001", "#1002", "#1004"]);
    }
}
