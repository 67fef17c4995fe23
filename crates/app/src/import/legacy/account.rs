//! Which accounts an organization had connected. Only what names them is used; whatever else stands beside it is dropped.

use super::json::{Decoded, decode, find};
use super::person::People;
use super::{is_off, place, time};
use crate::import::record::{Account, Records};
use crate::import::report::Report;
use agenstack_core::integration::Provider;
use agenstack_store::StoreError;
use agenstack_store::legacy::shape::{DESKS, INTEGRATIONS, SHOPS, Shape};
use agenstack_store::legacy::{Legacy, LegacyRow};

/// Words for what is connected no more, or never was.
const ENDED: &[&str] =
    &["disconnected", "inactive", "revoked", "deleted", "disabled", "not_connected", "available"];
/// What names a shop, a page and its name, a help desk and its name; in small letters and without anything between.
const SHOP: &[&str] = &[
    "shop",
    "shopdomain",
    "myshopifydomain",
    "storename",
    "storedomain",
    "storeurl",
    "shopname",
    "domain",
    "shopurl",
];
const PAGE: &[&str] = &["pageid", "facebookpageid"];
const PAGE_NAME: &[&str] = &["pagename", "facebookpagename"];
const DESK: &[&str] = &["subdomain", "kustomersubdomain", "orgname"];
const DESK_NAME: &[&str] = &["orgname", "organizationname"];

fn provider(word: &str) -> Option<Provider> {
    let word = word.to_lowercase();
    let is = |part: &str| word.contains(part);
    if is("shopify") {
        Some(Provider::Shopify)
    } else if is("messenger") || is("facebook") {
        Some(Provider::Messenger)
    } else {
        is("kustomer").then_some(Provider::Kustomer)
    }
}

/// The account's name, and what people call it.
fn named(provider: Provider, row: &LegacyRow) -> Option<(String, Option<String>)> {
    for column in ["account_identifier", "config"] {
        let found = match decode(row.get(column).unwrap_or_default()) {
            Decoded::Object(map) => match provider {
                Provider::Shopify => find(&map, SHOP).map(|shop| (shop, None)),
                Provider::Messenger => {
                    let name = find(&map, PAGE_NAME);
                    find(&map, PAGE).or_else(|| name.clone()).map(|page| (page, name))
                }
                Provider::Kustomer => find(&map, DESK).map(|desk| (desk, find(&map, DESK_NAME))),
            },
            Decoded::Text(text) => Some((text, None)),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Reads both shapes, and the older tables.
pub(super) async fn read(
    db: &mut Legacy,
    people: &People,
    records: &mut Records,
    report: &mut Report,
) -> Result<(), StoreError> {
    for row in db.rows(&INTEGRATIONS).await? {
        let place = place("integrations", &row);
        // One shape has the one column, one the other.
        let word = row.first(&["provider", "integration_id"]).unwrap_or_default();
        let Some(provider) = provider(word) else {
            report.skipped(&place, "it is of no provider that can be connected here");
            continue;
        };
        if is_ended(&row) {
            report.skipped(&place, "it was not connected any more");
            continue;
        }
        let Some((account, label)) = named(provider, &row) else {
            report.skipped(&place, "it does not say which account it was");
            continue;
        };
        records.accounts.push(Account {
            organization: row.get("organization_id").unwrap_or_default().to_owned(),
            connected_at: time(&row, &["connected_at", "created_at"]),
            place,
            provider,
            account,
            label,
        });
    }
    let shops = ["shop_domain", "shop", "store_url", "store_name"];
    older(db, &SHOPS, Provider::Shopify, &shops, people, records, report).await?;
    let desks = ["subdomain", "kustomer_subdomain"];
    older(db, &DESKS, Provider::Kustomer, &desks, people, records, report).await
}

fn is_ended(row: &LegacyRow) -> bool {
    is_off(row) || row.get("status").is_some_and(|s| ENDED.contains(&s.to_lowercase().as_str()))
}

/// Connections of a person, from before organizations had them.
async fn older(
    db: &mut Legacy,
    shape: &'static Shape,
    provider: Provider,
    columns: &[&str],
    people: &People,
    records: &mut Records,
    report: &mut Report,
) -> Result<(), StoreError> {
    for row in db.rows(shape).await? {
        let place = place(shape.table, &row);
        if is_ended(&row) {
            report.skipped(&place, "it was not connected any more");
            continue;
        }
        let of_person = || row.get("user_id").and_then(|id| people.only_place(id));
        let Some(organization) = row.first(&["organization_id"]).or_else(of_person) else {
            report.skipped(&place, "it is a person's who is not in exactly one organization");
            continue;
        };
        let Some(account) = row.first(columns) else {
            report.skipped(&place, "it does not say which account it was");
            continue;
        };
        records.accounts.push(Account {
            organization: organization.to_owned(),
            account: account.to_owned(),
            label: row.first(&["org_name"]).map(str::to_owned),
            connected_at: time(&row, &["connected_at", "created_at"]),
            place,
            provider,
        });
    }
    Ok(())
}
