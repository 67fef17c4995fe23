//! The shops: each with an order #1001 of the same customer, and each with other things in it.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A shop.
pub(crate) struct Shop {
    pub domain: String,
    pub id: u64,
    pub name: String,
    pub orders: Vec<Value>,
    pub products: Vec<Value>,
    pub grant: Option<Grant>,
    /// Grants without an end, from requests without `expiring`: token and scopes.
    pub permanent: Vec<(String, Vec<String>)>,
    pub webhooks: Vec<Subscription>,
    pub next_webhook: u64,
    pub frozen: bool,
    /// Points left in the bucket, and when that was so.
    pub bucket: (f64, i64),
}

/// What the installation holds. There is one for each shop and app.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub access: String,
    pub access_expires_at: i64,
    pub refresh: String,
    pub refresh_expires_at: i64,
    pub scopes: Vec<String>,
    /// Whether the access token was used; until then the tokens before it still work.
    pub used: bool,
    pub previous: Option<(String, String)>,
}

/// A webhook of this shop.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub id: String,
    pub topic: String,
    pub uri: String,
}

fn money(amount: &str) -> Value {
    json!({"shopMoney": {"amount": amount, "currencyCode": "USD"}})
}

struct Parcel {
    status: &'static str,
    company: &'static str,
    number: String,
    delivered_at: Option<&'static str>,
    expected_at: Option<&'static str>,
}

struct Draft<'a> {
    shop: u64,
    name: &'a str,
    email: &'a str,
    items: &'a [(&'a str, u32)],
    financial: &'a str,
    fulfillment: &'a str,
    cancelled_at: Option<&'a str>,
    parcel: Option<Parcel>,
}

fn order(d: Draft<'_>) -> Value {
    let digits: String = d.name.chars().filter(char::is_ascii_digit).collect();
    let number: u64 = digits.parse().unwrap_or(0);
    let id = d.shop * 1_000_000 + number * 10 + u64::from(d.name.len() > 5);
    let fulfillments: Vec<Value> = d
        .parcel
        .iter()
        .map(|p| {
            json!({
                "id": format!("gid://shopify/Fulfillment/{id}"), "name": format!("{}-F1", d.name), "status": "SUCCESS",
                "displayStatus": p.status, "createdAt": "2026-11-20T09:00:00Z", "estimatedDeliveryAt": p.expected_at,
                "inTransitAt": "2026-11-21T07:00:00Z", "deliveredAt": p.delivered_at,
                "trackingInfo": [{"company": p.company, "number": p.number,
                    "url": format!("https://tracking.example/{}", p.number)}],
                "events": {"nodes": []}, "fulfillmentLineItems": {"nodes": []},
            })
        })
        .collect();
    let items: Vec<Value> = d
        .items
        .iter()
        .map(|(title, quantity)| json!({"title": title, "quantity": quantity, "sku": title.to_uppercase().replace(' ', "-")}))
        .collect();
    json!({
        "id": format!("gid://shopify/Order/{id}"), "name": d.name, "number": number,
        "confirmationNumber": format!("C{id}"), "createdAt": "2026-11-18T10:00:00Z", "processedAt": "2026-11-18T10:00:05Z",
        "updatedAt": "2026-11-21T07:00:00Z", "cancelledAt": d.cancelled_at,
        "cancelReason": d.cancelled_at.map(|_| "CUSTOMER"), "closedAt": null, "displayFinancialStatus": d.financial,
        "displayFulfillmentStatus": d.fulfillment, "returnStatus": "NO_RETURN", "email": d.email, "phone": null,
        "statusPageUrl": format!("https://shop.example/orders/{id}"), "currentTotalPriceSet": money("64.00"),
        "totalRefundedSet": money("0.00"), "customer": {"id": format!("gid://shopify/Customer/{}", id % 1000)},
        "shippingAddress": null, "lineItems": {"nodes": items}, "fulfillments": fulfillments,
        "refunds": [], "returns": {"nodes": []},
    })
}

fn product(id: u64, title: &str, price: &str, stock: i64) -> Value {
    let handle = title.to_lowercase().replace(' ', "-");
    let variant = json!({
        "id": format!("gid://shopify/ProductVariant/{id}"), "title": "Default", "sku": handle.to_uppercase(), "price": price,
        "compareAtPrice": null, "availableForSale": stock > 0, "inventoryQuantity": stock, "inventoryPolicy": "DENY",
        "selectedOptions": [{"name": "Title", "value": "Default"}],
    });
    json!({
        "id": format!("gid://shopify/Product/{id}"), "title": title, "handle": handle, "status": "ACTIVE",
        "onlineStoreUrl": format!("https://shop.example/products/{handle}"), "description": format!("{title}, made with care."),
        "totalInventory": stock, "tracksInventory": true, "featuredMedia": null,
        "priceRangeV2": {"minVariantPrice": {"amount": price, "currencyCode": "USD"}, "maxVariantPrice": {"amount": price, "currencyCode": "USD"}},
        "variants": {"nodes": [variant]},
    })
}

struct Flavour {
    label: &'static str,
    name: &'static str,
    items: [(&'static str, u32); 2],
    status: &'static str,
    fulfillment: &'static str,
    company: &'static str,
    prefix: &'static str,
    delivered_at: Option<&'static str>,
    expected_at: Option<&'static str>,
}

const FLAVOURS: [Flavour; 4] = [
    Flavour {
        label: "lark-supply",
        name: "Lark Supply",
        items: [("Oak bench", 1), ("Linen cushion", 2)],
        status: "IN_TRANSIT",
        fulfillment: "FULFILLED",
        company: "UPS",
        prefix: "LARK",
        delivered_at: None,
        expected_at: Some("2026-11-27T12:00:00Z"),
    },
    Flavour {
        label: "fern-goods",
        name: "Fern Goods",
        items: [("Fern in a pot", 3), ("Watering can", 1)],
        status: "DELIVERED",
        fulfillment: "FULFILLED",
        company: "DHL",
        prefix: "FERN",
        delivered_at: Some("2026-11-22T15:30:00Z"),
        expected_at: None,
    },
    Flavour {
        label: "moss-market",
        name: "Moss Market",
        items: [("Moss mat", 4), ("Stone bowl", 1)],
        status: "OUT_FOR_DELIVERY",
        fulfillment: "FULFILLED",
        company: "FedEx",
        prefix: "MOSS",
        delivered_at: None,
        expected_at: Some("2026-11-25T18:00:00Z"),
    },
    Flavour {
        label: "pine-paper",
        name: "Pine Paper",
        items: [("Ruled notebook", 5), ("Pencil", 12)],
        status: "DELAYED",
        fulfillment: "FULFILLED",
        company: "USPS",
        prefix: "PINE",
        delivered_at: None,
        expected_at: Some("2026-12-01T12:00:00Z"),
    },
];

/// The customer that every shop knows.
const ANA: &str = "ana@example.com";

/// The shops.
pub(crate) fn all() -> BTreeMap<String, Shop> {
    let build = |(n, f): (usize, &Flavour)| {
        let id = n as u64 + 1;
        let tracked = |number: &str, status, delivered_at, expected_at| Parcel {
            status,
            company: f.company,
            number: format!("{}{number}", f.prefix),
            delivered_at,
            expected_at,
        };
        let draft = |name, email, financial, fulfillment| Draft {
            shop: id,
            name,
            email,
            items: &f.items,
            financial,
            fulfillment,
            cancelled_at: None,
            parcel: None,
        };
        let shipped = tracked("1001", f.status, f.delivered_at, f.expected_at);
        let orders = vec![
            // Before the real one: a search for 1001 finds both, and only equality tells them apart.
            order(Draft { parcel: None, ..draft("#1001-EXCHANGE", "bo@example.com", "PAID", "UNFULFILLED") }),
            order(Draft { parcel: Some(shipped), ..draft("#1001", ANA, "PAID", f.fulfillment) }),
            order(draft("#1002", ANA, "PAID", "UNFULFILLED")),
            order(Draft {
                parcel: Some(tracked("1003", "IN_TRANSIT", None, None)),
                ..draft("#1003", "bo@example.com", "PAID", "PARTIALLY_FULFILLED")
            }),
            order(Draft {
                cancelled_at: Some("2026-11-19T08:00:00Z"),
                ..draft("#1004", ANA, "REFUNDED", "UNFULFILLED")
            }),
            order(draft("#1005", "cy@example.com", "PARTIALLY_REFUNDED", "ON_HOLD")),
            order(draft("#1006", "cy@example.com", "PENDING", "UNFULFILLED")),
        ];
        let products = f
            .items
            .iter()
            .enumerate()
            .map(|(i, (title, _))| product(id * 100 + i as u64, title, "19.00", 7))
            .collect();
        let domain = format!("{}.myshopify.com", f.label);
        let shop = Shop {
            domain: domain.clone(),
            id,
            name: f.name.into(),
            orders,
            products,
            grant: None,
            permanent: Vec::new(),
            webhooks: Vec::new(),
            next_webhook: 1,
            frozen: false,
            bucket: (2000.0, 0),
        };
        (domain, shop)
    };
    FLAVOURS.iter().enumerate().map(build).collect()
}
