//! Records as the Admin GraphQL API shows them (shopify.md 3.4). More than is asked for; the caller cuts.

use serde_json::{Value, json};

use super::{Customer, Order, Product, Shop, Subscription};
use crate::clock::iso_secs;

/// A connection in all its forms: nodes, edges, page info.
pub(crate) fn connection(nodes: Vec<Value>, more: bool) -> Value {
    let cursor = |at: usize| format!("sandbox-cursor-{at}");
    let edges: Vec<Value> =
        nodes.iter().enumerate().map(|(at, node)| json!({"cursor": cursor(at), "node": node})).collect();
    let page = json!({
        "hasNextPage": more, "hasPreviousPage": false,
        "startCursor": (!nodes.is_empty()).then(|| cursor(0)),
        "endCursor": nodes.len().checked_sub(1).map(cursor),
    });
    json!({"nodes": nodes, "edges": edges, "pageInfo": page})
}

fn all(nodes: Vec<Value>) -> Value {
    connection(nodes, false)
}

fn amount(cents: u32) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn money(cents: u32, currency: &str) -> Value {
    let money = json!({"__typename": "MoneyV2", "amount": amount(cents), "currencyCode": currency});
    json!({"__typename": "MoneyBag", "shopMoney": money, "presentmentMoney": money})
}

pub(crate) fn gid(kind: &str, id: u64) -> String {
    format!("gid://shopify/{kind}/{id}")
}

pub(crate) fn shop(shop: &Shop) -> Value {
    let url = format!("https://{}", shop.domain);
    json!({
        "__typename": "Shop", "id": gid("Shop", shop.id), "name": shop.name, "email": shop.email,
        "contactEmail": shop.email, "myshopifyDomain": shop.domain, "url": url,
        "primaryDomain": {"__typename": "Domain", "url": url, "host": shop.domain}, "currencyCode": shop.currency,
        "ianaTimezone": "Europe/Berlin", "description": format!("{} is a shop of the sandbox.", shop.name),
        "plan": {"publicDisplayName": "Basic", "displayName": "Basic", "partnerDevelopment": false, "shopifyPlus": false},
        "shopPolicies": [
            {"id": gid("ShopPolicy", shop.id), "type": "REFUND_POLICY", "title": "Refund policy", "url": format!("{url}/policies/refund-policy"),
             "body": format!("<p>{} takes unused goods back within 30 days of delivery.</p>", shop.name)},
            {"id": gid("ShopPolicy", shop.id + 1), "type": "SHIPPING_POLICY", "title": "Shipping policy", "url": format!("{url}/policies/shipping-policy"),
             "body": "<p>Orders leave within two working days.</p>"},
        ],
    })
}

/// The body of `app/uninstalled` and `shop/update`: the REST shop object (shopify.md 2.7).
pub(crate) fn rest_shop(shop: &Shop) -> Value {
    json!({
        "id": shop.id, "name": shop.name, "email": shop.email, "domain": shop.domain,
        "myshopify_domain": shop.domain, "plan_name": "basic", "plan_display_name": "Basic", "currency": shop.currency,
        "iana_timezone": "Europe/Berlin", "country_code": "DE", "primary_locale": "en", "shop_owner": format!("{} Owner", shop.name),
    })
}

/// The body of `orders/...` topics, in the REST spelling of webhooks.
pub(crate) fn rest_order(shop: &Shop, order: &Order) -> Value {
    json!({
        "id": order.id, "admin_graphql_api_id": gid("Order", order.id), "name": format!("#{}", order.number),
        "order_number": order.number, "email": order.email, "currency": shop.currency,
        "created_at": iso_secs(order.created_ms), "updated_at": iso_secs(order.created_ms + 60_000),
        "cancelled_at": order.cancelled_ms.map(iso_secs), "financial_status": order.financial.to_lowercase(),
        "fulfillment_status": (order.fulfillment == "FULFILLED").then_some("fulfilled"),
        "customer": order.customer_id.map(|id| json!({"id": id})),
        "line_items": order.items.iter().map(|i| json!({"title": i.title, "sku": i.sku, "quantity": i.quantity, "price": amount(i.cents)})).collect::<Vec<_>>(),
    })
}

pub(crate) fn order(shop: &Shop, order: &Order) -> Value {
    let total: u32 = order.items.iter().map(|i| i.cents * i.quantity).sum();
    let refunded = if order.financial == "REFUNDED" { total } else { 0 };
    let currency = shop.currency.as_str();
    let line = |at: usize| {
        let item = &order.items[at];
        json!({
            "__typename": "LineItem", "id": gid("LineItem", order.id * 10 + at as u64), "title": item.title, "name": item.title,
            "quantity": item.quantity, "currentQuantity": item.quantity, "sku": item.sku, "variantTitle": null,
            "originalUnitPriceSet": money(item.cents, currency), "discountedUnitPriceSet": money(item.cents, currency),
        })
    };
    let lines: Vec<Value> = (0..order.items.len()).map(line).collect();
    let buyer = order.customer_id.and_then(|id| shop.customers.iter().find(|c| c.id == id));
    json!({
        "__typename": "Order", "id": gid("Order", order.id), "legacyResourceId": order.id.to_string(),
        "name": format!("#{}", order.number), "number": order.number, "confirmationNumber": confirmation(order),
        "createdAt": iso_secs(order.created_ms), "processedAt": iso_secs(order.created_ms), "updatedAt": iso_secs(order.created_ms + 60_000),
        "cancelledAt": order.cancelled_ms.map(iso_secs), "cancelReason": order.cancelled_ms.map(|_| "CUSTOMER"),
        "closed": false, "closedAt": null, "confirmed": true, "test": false, "note": null, "tags": [],
        "displayFinancialStatus": order.financial, "displayFulfillmentStatus": order.fulfillment, "returnStatus": "NO_RETURN",
        "email": order.email, "phone": buyer.and_then(|b| b.phone.clone()), "currencyCode": currency,
        "statusPageUrl": format!("https://{}/{}/orders/{:x}/authenticate?key=sandbox", shop.domain, shop.id, order.id),
        "currentTotalPriceSet": money(total - refunded, currency), "totalPriceSet": money(total, currency),
        "currentSubtotalPriceSet": money(total - refunded, currency), "totalRefundedSet": money(refunded, currency),
        "totalShippingPriceSet": money(0, currency),
        "customer": buyer.map(|b| customer(shop, b, false)),
        "shippingAddress": address(buyer, &order.city), "billingAddress": address(buyer, &order.city),
        "lineItems": all(lines.clone()), "fulfillments": fulfillments(order, &lines),
        "refunds": [], "returns": all(Vec::new()),
        "shippingLine": {"title": "Standard", "code": "standard"},
    })
}

pub(crate) fn confirmation(order: &Order) -> String {
    format!("SBX{:06}", order.id % 1_000_000)
}

fn address(buyer: Option<&Customer>, city: &str) -> Value {
    json!({
        "__typename": "MailingAddress", "firstName": buyer.map(|b| &b.first_name), "lastName": buyer.map(|b| &b.last_name),
        "name": buyer.map(|b| format!("{} {}", b.first_name, b.last_name)), "address1": "1 Sandbox Street", "address2": null,
        "city": city, "zip": "10115", "province": null, "provinceCode": null, "country": "Germany", "countryCodeV2": "DE",
        "phone": null, "company": null,
    })
}

fn fulfillments(order: &Order, lines: &[Value]) -> Value {
    let Some(parcel) = &order.parcel else { return json!([]) };
    let fulfilled: Vec<Value> =
        lines.iter().map(|l| json!({"id": l["id"], "quantity": l["quantity"], "lineItem": l})).collect();
    let mut events = vec![json!({"status": "CONFIRMED", "happenedAt": iso_secs(parcel.sent_ms), "message": "Label created", "city": null, "country": null})];
    let latest = parcel.delivered_ms.unwrap_or(parcel.sent_ms + 3_600_000);
    events.push(json!({"status": parcel.status, "happenedAt": iso_secs(latest), "message": null, "city": order.city, "country": "DE"}));
    json!([{
        "__typename": "Fulfillment", "id": gid("Fulfillment", order.id + 7), "name": format!("#{}.1", order.number),
        "status": "SUCCESS", "displayStatus": parcel.status, "createdAt": iso_secs(parcel.sent_ms), "updatedAt": iso_secs(latest),
        "estimatedDeliveryAt": parcel.expected_ms.map(iso_secs), "inTransitAt": iso_secs(parcel.sent_ms + 3_600_000),
        "deliveredAt": parcel.delivered_ms.map(iso_secs), "totalQuantity": lines.len(),
        "trackingInfo": [{"__typename": "FulfillmentTrackingInfo", "company": parcel.company, "number": parcel.number, "url": parcel.url}],
        "events": all(events), "fulfillmentLineItems": all(fulfilled),
    }])
}

/// A customer; `deep` adds the last order, which would otherwise hold the customer again.
pub(crate) fn customer(shop: &Shop, customer: &Customer, deep: bool) -> Value {
    let orders: Vec<&Order> = shop.orders.iter().filter(|o| o.customer_id == Some(customer.id)).collect();
    let spent: u32 = orders.iter().flat_map(|o| &o.items).map(|i| i.cents * i.quantity).sum();
    let last = orders.iter().max_by_key(|o| o.created_ms);
    let mut shown = json!({
        "__typename": "Customer", "id": gid("Customer", customer.id), "legacyResourceId": customer.id.to_string(),
        "displayName": format!("{} {}", customer.first_name, customer.last_name), "firstName": customer.first_name,
        "lastName": customer.last_name, "email": customer.email, "phone": customer.phone, "verifiedEmail": true,
        "defaultEmailAddress": {"emailAddress": customer.email},
        "defaultPhoneNumber": customer.phone.as_ref().map(|p| json!({"phoneNumber": p})),
        "numberOfOrders": orders.len().to_string(), "amountSpent": {"amount": amount(spent), "currencyCode": shop.currency},
        "state": "ENABLED", "tags": [], "locale": "en", "note": null, "createdAt": iso_secs(0), "updatedAt": iso_secs(0),
        "lastOrder": last.map(|o| json!({"__typename": "Order", "id": gid("Order", o.id), "name": format!("#{}", o.number), "createdAt": iso_secs(o.created_ms)})),
        "defaultAddress": address(Some(customer), "Berlin"), "addressesV2": all(vec![address(Some(customer), "Berlin")]),
    });
    if deep {
        shown["orders"] = all(orders.iter().map(|o| order(shop, o)).collect());
    }
    shown
}

pub(crate) fn product(shop: &Shop, product: &Product) -> Value {
    let stock: i32 = product.variants.iter().map(|v| v.stock).sum();
    let prices = || product.variants.iter().map(|v| v.cents);
    let price = |cents: Option<u32>| json!({"amount": amount(cents.unwrap_or_default()), "currencyCode": shop.currency});
    let range = json!({"minVariantPrice": price(prices().min()), "maxVariantPrice": price(prices().max())});
    let variants: Vec<Value> = product.variants.iter().map(|v| json!({
        "__typename": "ProductVariant", "id": gid("ProductVariant", v.id), "title": v.title, "displayName": format!("{} - {}", product.title, v.title),
        "sku": v.sku, "barcode": null, "price": amount(v.cents), "compareAtPrice": null, "availableForSale": v.stock > 0,
        "inventoryQuantity": v.stock, "inventoryPolicy": "DENY", "selectedOptions": [{"name": "Size", "value": v.title}],
        "product": {"id": gid("Product", product.id), "title": product.title, "handle": product.handle},
    })).collect();
    json!({
        "__typename": "Product", "id": gid("Product", product.id), "legacyResourceId": product.id.to_string(),
        "title": product.title, "handle": product.handle, "status": product.status, "vendor": shop.name,
        "productType": "", "tags": [], "onlineStoreUrl": (product.status == "ACTIVE").then(|| format!("https://{}/products/{}", shop.domain, product.handle)),
        "description": product.description, "descriptionHtml": format!("<p>{}</p>", product.description),
        "totalInventory": stock, "tracksInventory": true, "priceRangeV2": range,
        "featuredMedia": null, "featuredImage": null, "createdAt": iso_secs(0), "updatedAt": iso_secs(0),
        "options": [{"name": "Size", "values": product.variants.iter().map(|v| &v.title).collect::<Vec<_>>()}],
        "variants": all(variants),
    })
}

pub(crate) fn subscription(s: &Subscription) -> Value {
    json!({
        "__typename": "WebhookSubscription", "id": gid("WebhookSubscription", s.id),
        "topic": super::webhook::enum_of(&s.topic), "uri": s.uri, "callbackUrl": s.uri, "format": "JSON",
        "endpoint": {"__typename": "WebhookHttpEndpoint", "callbackUrl": s.uri},
        "createdAt": iso_secs(s.created_ms), "updatedAt": iso_secs(s.created_ms), "includeFields": [], "filter": null, "name": null,
        "apiVersion": {"handle": super::VERSION, "displayName": super::VERSION, "supported": true},
    })
}
