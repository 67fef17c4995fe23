//! The calls to a shop (`shopify.md` 2.8, 3.4, 4.1).

use super::{Shopify, webhook::topic_enum};
use crate::error::{Kind, ProviderError};
use crate::json;
use agenstack_core::integration::{Provider, ShopDomain};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

/// Subscriptions are listed a hundred at a time, and no shop of ours has more than this many pages of them.
const MOST_PAGES: usize = 20;
/// Order numbers are short; longer text is not one.
const LONGEST_NUMBER: usize = 40;

/// A shop, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShopInfo {
    /// `gid://shopify/Shop/1`: stays when the shop is renamed.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its permanent domain.
    pub domain: ShopDomain,
    /// Where it can be written to, if it says so.
    pub email: Option<String>,
    /// `USD` and the like.
    pub currency: Option<String>,
    /// The name of its plan.
    pub plan: Option<String>,
    /// A development store.
    pub is_development: bool,
}

/// An order. Everything that protected customer data can hide is optional (`shopify.md` 3.5).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// `gid://shopify/Order/1`.
    pub id: String,
    /// What the customer knows it by, such as `#1001`.
    pub name: String,
    /// The running number.
    #[serde(default)]
    pub number: Option<i64>,
    /// The customer's address; hidden without approval.
    #[serde(default)]
    pub email: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// RFC 3339, if it was cancelled.
    #[serde(default)]
    pub cancelled_at: Option<String>,
    /// `PAID` and the like.
    #[serde(default, rename = "displayFinancialStatus")]
    pub financial_status: Option<String>,
    /// `FULFILLED` and the like.
    #[serde(default, rename = "displayFulfillmentStatus")]
    pub fulfillment_status: Option<String>,
    /// `NO_RETURN` and the like.
    #[serde(default)]
    pub return_status: Option<String>,
    /// What was sent.
    #[serde(default, deserialize_with = "list_or_none")]
    pub fulfillments: Vec<Fulfillment>,
    /// What was bought.
    #[serde(default, rename = "lineItems", deserialize_with = "nodes")]
    pub items: Vec<LineItem>,
}

/// A parcel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fulfillment {
    /// `SUCCESS` and the like.
    #[serde(default)]
    pub status: Option<String>,
    /// `IN_TRANSIT` and the like.
    #[serde(default)]
    pub display_status: Option<String>,
    /// Where to look it up.
    #[serde(default, rename = "trackingInfo", deserialize_with = "list_or_none")]
    pub tracking: Vec<Tracking>,
    /// RFC 3339, once it was delivered.
    #[serde(default)]
    pub delivered_at: Option<String>,
    /// RFC 3339, if the carrier says.
    #[serde(default)]
    pub estimated_delivery_at: Option<String>,
    /// RFC 3339, once it was on the way.
    #[serde(default)]
    pub in_transit_at: Option<String>,
}

/// Where a parcel can be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Tracking {
    /// The carrier.
    #[serde(default)]
    pub company: Option<String>,
    /// The carrier's number.
    #[serde(default)]
    pub number: Option<String>,
    /// The carrier's page.
    #[serde(default)]
    pub url: Option<String>,
}

/// A line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LineItem {
    /// What it is.
    #[serde(default)]
    pub title: String,
    /// How many.
    #[serde(default)]
    pub quantity: i64,
    /// The shop's own code.
    #[serde(default)]
    pub sku: Option<String>,
}

fn list_or_none<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    // A denied element comes as null in its list.
    let list: Option<Vec<Option<T>>> = Option::deserialize(d)?;
    Ok(list.into_iter().flatten().flatten().collect())
}

fn nodes<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "T: Deserialize<'de>"))]
    struct Connection<T> {
        #[serde(deserialize_with = "list_or_none")]
        nodes: Vec<T>,
    }
    Ok(Option::<Connection<T>>::deserialize(d)?.map(|c| c.nodes).unwrap_or_default())
}

const SHOP: &str = "query { shop { id name myshopifyDomain email currencyCode \
    plan { publicDisplayName partnerDevelopment shopifyPlus } } }";
const SCOPES: &str = "query { currentAppInstallation { id accessScopes { handle } } }";
const ORDERS: &str = "query($q: String!) { orders(first: 5, query: $q) { nodes { id name number email createdAt \
    cancelledAt displayFinancialStatus displayFulfillmentStatus returnStatus \
    fulfillments(first: 10) { status displayStatus deliveredAt estimatedDeliveryAt inTransitAt \
    trackingInfo(first: 10) { company number url } } \
    lineItems(first: 50) { nodes { title quantity sku } } } } }";
const WEBHOOKS: &str = "query($after: String) { webhookSubscriptions(first: 100, after: $after) { \
    nodes { id topic uri } pageInfo { hasNextPage endCursor } } }";
const WEBHOOK_CREATE: &str = "mutation($topic: WebhookSubscriptionTopic!, $webhookSubscription: WebhookSubscriptionInput!) { \
    webhookSubscriptionCreate(topic: $topic, webhookSubscription: $webhookSubscription) { \
    webhookSubscription { id } userErrors { field message } } }";
const WEBHOOK_DELETE: &str = "mutation($id: ID!) { webhookSubscriptionDelete(id: $id) { \
    deletedWebhookSubscriptionId userErrors { field message } } }";
const UNINSTALL: &str = "mutation { appUninstall { app { id } userErrors { field message } } }";

struct Subscription {
    id: String,
    topic: String,
    uri: String,
}

fn unexpected() -> ProviderError {
    ProviderError::new(Provider::Shopify, Kind::Malformed, "answer_unexpected").with_status(200)
}

/// Business errors of a mutation; their text is Shopify's and is dropped (`shopify.md` 3.3).
fn user_errors(data: &Value, mutation: &str) -> bool {
    data.pointer(&format!("/{mutation}/userErrors")).and_then(Value::as_array).is_some_and(|e| !e.is_empty())
}

impl Shopify {
    /// Asks the shop who it is. Needs no scope, so it also tells whether the token lives.
    pub async fn shop_info(
        &self,
        shop: &ShopDomain,
        token: &SecretString,
    ) -> Result<ShopInfo, ProviderError> {
        let data = self.graphql(shop, token, SHOP, json!({})).await?;
        let domain = json::text(&data, "/shop/myshopifyDomain").and_then(|d| ShopDomain::parse(&d));
        Ok(ShopInfo {
            id: json::text(&data, "/shop/id").ok_or_else(unexpected)?,
            name: json::text(&data, "/shop/name").unwrap_or_default(),
            domain: domain.ok_or_else(unexpected)?,
            email: json::text(&data, "/shop/email"),
            currency: json::text(&data, "/shop/currencyCode"),
            plan: json::text(&data, "/shop/plan/publicDisplayName"),
            is_development: data.pointer("/shop/plan/partnerDevelopment") == Some(&Value::Bool(true)),
        })
    }

    /// What is granted now: the authoritative list (`shopify.md` 1.9).
    pub async fn granted_scopes(
        &self,
        shop: &ShopDomain,
        token: &SecretString,
    ) -> Result<Vec<String>, ProviderError> {
        let data = self.graphql(shop, token, SCOPES, json!({})).await?;
        let list = data.pointer("/currentAppInstallation/accessScopes").and_then(Value::as_array);
        Ok(list.ok_or_else(unexpected)?.iter().filter_map(|s| json::text(s, "/handle")).collect())
    }

    async fn webhooks(
        &self,
        shop: &ShopDomain,
        token: &SecretString,
    ) -> Result<Vec<Subscription>, ProviderError> {
        let mut all = Vec::new();
        let mut after = Value::Null;
        for _ in 0..MOST_PAGES {
            let data = self.graphql(shop, token, WEBHOOKS, json!({"after": after})).await?;
            let page = data.get("webhookSubscriptions").ok_or_else(unexpected)?;
            let nodes = page.get("nodes").and_then(Value::as_array).ok_or_else(unexpected)?;
            all.extend(nodes.iter().filter_map(|n| {
                Some(Subscription {
                    id: json::text(n, "/id")?,
                    topic: json::text(n, "/topic")?,
                    uri: json::text(n, "/uri")?,
                })
            }));
            let next = page.pointer("/pageInfo/endCursor").cloned().unwrap_or_default();
            let more = page.pointer("/pageInfo/hasNextPage") == Some(&Value::Bool(true));
            if !more || !next.is_string() || next == after {
                return Ok(all);
            }
            after = next;
        }
        Ok(all)
    }

    /// Sees to it that each of `topics` (`orders/updated` or `ORDERS_UPDATED`) is delivered to `uri`, and gives
    /// the topics that were not yet. Asks first, so that it can be repeated (`shopify.md` 2.8, 4.2).
    pub async fn webhooks_ensure(
        &self,
        shop: &ShopDomain,
        token: &SecretString,
        uri: &str,
        topics: &[&str],
    ) -> Result<Vec<String>, ProviderError> {
        let have = self.webhooks(shop, token).await?;
        let is_there = |list: &[Subscription], topic: &str| {
            list.iter().any(|s| s.uri == uri && topic_enum(&s.topic) == topic)
        };
        let mut made = Vec::new();
        for topic in topics.iter().map(|t| topic_enum(t)) {
            if is_there(&have, &topic) || made.contains(&topic) {
                continue;
            }
            let input = json!({"topic": topic, "webhookSubscription": {"uri": uri, "format": "JSON"}});
            let data = self.graphql(shop, token, WEBHOOK_CREATE, input).await?;
            // "Already taken" is the answer of a race; any other refusal leaves the topic missing.
            if user_errors(&data, "webhookSubscriptionCreate")
                && !is_there(&self.webhooks(shop, token).await?, &topic)
            {
                return Err(ProviderError::new(Provider::Shopify, Kind::Rejected, "webhook_not_created")
                    .with_status(200)
                    .with_detail(topic));
            }
            made.push(topic);
        }
        Ok(made)
    }

    /// Ends every subscription to `uri`; gives how many there were.
    pub async fn webhooks_remove(
        &self,
        shop: &ShopDomain,
        token: &SecretString,
        uri: &str,
    ) -> Result<usize, ProviderError> {
        let mut gone = 0;
        for subscription in self.webhooks(shop, token).await?.into_iter().filter(|s| s.uri == uri) {
            // A refusal means that someone else was faster.
            self.graphql(shop, token, WEBHOOK_DELETE, json!({"id": subscription.id})).await?;
            gone += 1;
        }
        Ok(gone)
    }

    /// Takes our app off the shop (`shopify.md` 4.1). The token is dead afterwards.
    pub async fn uninstall(&self, shop: &ShopDomain, token: &SecretString) -> Result<(), ProviderError> {
        let data = self.graphql(shop, token, UNINSTALL, json!({})).await?;
        if user_errors(&data, "appUninstall") {
            return Err(ProviderError::new(Provider::Shopify, Kind::Rejected, "not_uninstalled"));
        }
        Ok(())
    }

    /// The order a customer names, such as `1001` or `#1001`. The search is quoted and only a hit whose name is
    /// exactly that number counts, because Shopify's search takes words apart (`shopify.md` 3.4). Never enough to
    /// disclose anything: the e-mail has to be compared as well. Absence is no proof either (60-day rule).
    pub async fn order_by_number(
        &self,
        shop: &ShopDomain,
        token: &SecretString,
        number: &str,
    ) -> Result<Option<Order>, ProviderError> {
        let wanted = bare_number(number);
        if wanted.is_empty() || wanted.chars().count() > LONGEST_NUMBER {
            return Ok(None);
        }
        // Most shops put `#` before the number; those that chose another prefix are found by the second try.
        for name in [format!("#{wanted}"), wanted.to_owned()] {
            let query = json!({"q": format!("name:{}", quoted(&name))});
            let mut data = self.graphql(shop, token, ORDERS, query).await?;
            let nodes = data.pointer_mut("/orders/nodes").map(Value::take).ok_or_else(unexpected)?;
            let orders: Vec<Option<Order>> = serde_json::from_value(nodes).map_err(|_| unexpected())?;
            let hit = orders.into_iter().flatten().find(|o| same_number(&o.name, wanted));
            if hit.is_some() {
                return Ok(hit);
            }
        }
        Ok(None)
    }
}

fn bare_number(text: &str) -> &str {
    text.trim().trim_start_matches('#').trim()
}

fn same_number(name: &str, wanted: &str) -> bool {
    bare_number(name).to_lowercase() == wanted.to_lowercase()
}

/// A search value in quotes; without them chat text could widen the search (`shopify.md` 3.4).
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars().filter(|c| !c.is_control()) {
        if c == '"' || c == '\\' {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chat_text_stays_inside_its_quotes() {
        assert_eq!(quoted("x OR status:any"), "\"x OR status:any\"");
        assert_eq!(quoted("x\" OR \\"), "\"x\\\" OR \\\\\"");
        assert_eq!(quoted("a\nb"), "\"ab\"");
    }

    #[test]
    fn a_number_is_the_same_with_or_without_its_sign_and_never_by_part() {
        for (name, number, same) in [
            ("#1001", "1001", true),
            ("#1001", " #1001 ", true),
            ("EN1001", "en1001", true),
            ("#10010", "1001", false),
            ("#1001-A", "1001", false),
            ("1001", "1001", true),
        ] {
            assert_eq!(same_number(name, bare_number(number)), same, "{name} {number}");
        }
    }
}
