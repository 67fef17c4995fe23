//! `/shopify-admin/{shop}`: what a merchant sees of the app, and what the app did.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use super::webhook;
use crate::clock::iso_secs;
use crate::page::{self, Row};
use crate::state::Shared;

#[derive(Template)]
#[template(path = "shopify_admin.html")]
struct Admin {
    name: String,
    domain: String,
    frozen: bool,
    scopes: Option<Vec<(String, String)>>,
    expires: String,
    subscriptions: Vec<(String, String)>,
    orders: Vec<OrderRow>,
    deliveries: Vec<Row>,
    calls: Vec<Row>,
}

struct OrderRow {
    name: String,
    email: String,
    status: String,
    items: String,
    tracking: String,
}

/// `GET /shopify-admin/{shop}`.
pub(crate) async fn show(State(shared): State<Shared>, Path(domain): Path<String>) -> Response {
    let deliveries = page::deliveries(&shared, "shopify", &domain);
    let calls = page::calls(&shared, "shopify", &domain, 20);
    let admin = shared.read(|s| {
        let shop = s.shops.get(&domain)?;
        let order = |o: &super::Order| OrderRow {
            name: format!("#{}", o.number),
            email: o.email.clone().unwrap_or_else(|| "no e-mail".to_owned()),
            status: match (&o.cancelled_ms, &o.parcel) {
                (Some(_), _) => "cancelled".to_owned(),
                (None, Some(p)) => p.status.to_lowercase().replace('_', " "),
                (None, None) => "not sent yet".to_owned(),
            },
            items: o.items.iter().map(|i| format!("{} × {}", i.quantity, i.title)).collect::<Vec<_>>().join(", "),
            tracking: o.parcel.as_ref().map(|p| p.number.clone()).unwrap_or_default(),
        };
        let last = shop.grant.as_ref().and_then(|g| g.pairs.last());
        Some(Admin {
            name: shop.name.clone(),
            domain: domain.clone(),
            frozen: shop.frozen,
            scopes: shop.grant.as_ref().map(|g| {
                g.scopes.iter().map(|h| (h.clone(), super::consent::sentence(h))).collect()
            }),
            expires: last.and_then(|p| p.access_expires_ms).map(iso_secs).unwrap_or_default(),
            subscriptions: shop.subscriptions.iter().map(|x| (x.topic.clone(), x.uri.clone())).collect(),
            orders: shop.orders.iter().map(order).collect(),
            deliveries,
            calls,
        })
    });
    match admin {
        Some(admin) => page::html(&admin),
        None => page::problem(404, "shopify", "This shop does not exist", &format!("The sandbox has no shop called {domain}.")),
    }
}

/// `POST /shopify-admin/{shop}/uninstall`: the merchant's button.
pub(crate) async fn uninstall(State(shared): State<Shared>, Path(domain): Path<String>) -> Response {
    let _ = webhook::uninstall(&shared, &domain);
    page::back(&format!("/shopify-admin/{domain}"))
}
