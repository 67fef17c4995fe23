//! A shop, from the signed return to the stored connection (`shopify.md` 1.10, last paragraph).

use super::{Ready, Refusal, row_for, store};
use crate::App;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::integration::{AccountIdentifier, Provider};
use agenstack_providers::shopify::missing_scopes;
use agenstack_store::global::flow::Flow;

/// What we ask to be told: the end of the installation, changed permissions, the shop's plan, and orders.
pub(crate) const TOPICS: &[&str] =
    &["app/uninstalled", "app/scopes_update", "shop/update", "orders/updated", "orders/cancelled"];

/// Where all shops deliver.
pub(crate) fn webhook_uri(app: &App) -> String {
    format!("{}/api/webhooks/shopify", app.public_url())
}

pub(super) async fn finish(app: &App, org: &OrgCtx, flow: &Flow, raw_query: &str) -> Result<(), Refusal> {
    let shopify = app.shopify()?;
    // Our own clock, now: the person may have taken minutes since the request began.
    let returned = shopify.verify_callback(raw_query, app.now()).map_err(|e| Refusal::because(e.code()))?;
    // A valid signature proves Shopify, not that the flow was begun for this shop.
    if returned.shop.as_str() != flow.account {
        return Err(Refusal::because("wrong_shop"));
    }
    let Some(code) = returned.code else { return Err(Refusal::because("denied")) };
    let shop = returned.shop;
    // Before the code is exchanged: a new grant revokes the tokens that another organization may hold for the shop
    // (`shopify.md` 1.7).
    let id = row_for(app, org, Provider::Shopify, shop.as_str(), flow.reconnects.as_ref()).await?;

    let grant = shopify.exchange_code(&shop, &code, app.now()).await?;
    let token = grant.access_token.clone();
    let info = shopify.shop_info(&shop, &token).await?;
    if info.domain != shop {
        return Err(Refusal::because("wrong_shop"));
    }
    let scopes = grant.scopes.clone();
    let missing = missing_scopes(shopify.scopes(), &scopes);
    shopify.webhooks_ensure(&shop, &token, &webhook_uri(app), TOPICS).await.or_else(|e| {
        // Orders cannot be followed without the permission to read them; the connection says so by what is missing.
        if missing.is_empty() { Err(e) } else { Ok(Vec::new()) }
    })?;
    let account = AccountIdentifier::Shopify {
        store_name: shop.store_name().to_owned(),
        shop: shop.as_str().to_owned(),
        shop_id: info.id,
    };
    let external_id = shop.as_str().to_owned();
    let ready = Ready {
        id,
        account,
        external_id,
        grant,
        scopes,
        missing_scopes: missing,
        acting_user_id: None,
        webhook: None,
    };
    store(app, org, ready).await.map(drop)
}
