//! A shop, from the signed return to the stored connection (`shopify.md` 1.10, last paragraph).

use super::{Hook, Ready, Refusal, seat_for, store};
use crate::App;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::integration::{AccountIdentifier, Provider, ShopDomain, Subscription};
use agenstack_providers::shopify::missing_scopes;
use agenstack_store::global::flow::Flow;

/// What we ask to be told: the end of the installation, changed permissions, the shop's plan, and orders.
pub(crate) const TOPICS: &[&str] =
    &["app/uninstalled", "app/scopes_update", "shop/update", "orders/updated", "orders/cancelled"];

/// Where all shops deliver.
pub(crate) fn webhook_uri(app: &App) -> String {
    format!("{}/api/webhooks/shopify", app.public_url())
}

/// How long a person who came from Shopify may take to log in and to choose an organization.
const INSTALL_SECS: i64 = 1800;
const LABEL: &str = "shopify-install";

/// A verified request that began at Shopify, on its way through logging in and choosing. It binds nothing: only the
/// authorization that a person begins afterwards does.
#[derive(Clone, Debug)]
pub struct Install {
    /// The shop that asks.
    pub shop: ShopDomain,
    /// Milliseconds since 1970 until which it may be used.
    pub until: i64,
    /// Proves that this installation has verified it.
    pub mark: String,
}

/// Verifies a request to the app's address: signature, time, shop (`shopify.md` 1.10).
///
/// # Errors
/// A stable word that [`reason_text`](super::reason_text) says to people.
pub fn install(app: &App, raw_query: &str) -> Result<Install, String> {
    let shopify = app.shopify().map_err(|e| e.code().to_owned())?;
    let asked = shopify.verify_install(raw_query, app.now()).map_err(|e| e.code().to_owned())?;
    let until = app.now().plus_secs(INSTALL_SECS).millis();
    let mark = app.keyring().vault().platform_digest(LABEL, &marked(&asked.shop, until));
    Ok(Install { shop: asked.shop, until, mark: hex::encode(mark) })
}

/// Reads one again from what the browser carried; `None` if it is not ours or too old.
pub fn install_again(app: &App, shop: &str, until: i64, mark: &str) -> Option<Install> {
    let shop = ShopDomain::parse(shop)?;
    let bytes = hex::decode(mark).ok().filter(|b| b.len() == 32)?;
    let ours = app.keyring().vault().is_platform_digest(LABEL, &marked(&shop, until), &bytes);
    (ours && app.now().millis() <= until).then(|| Install { shop, until, mark: mark.to_owned() })
}

fn marked(shop: &ShopDomain, until: i64) -> Vec<u8> {
    [&until.to_be_bytes()[..], shop.as_str().as_bytes()].concat()
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
    let seat = seat_for(app, org, Provider::Shopify, shop.as_str(), flow.reconnects.as_ref()).await?;

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
        seat,
        account,
        external_id,
        grant,
        scopes,
        subscription: if missing.is_empty() { Subscription::Active } else { Subscription::Refused },
        missing_scopes: missing,
        acting_user_id: None,
        webhook: Hook::None,
        client: None,
    };
    store(app, org, ready).await.map(drop)
}
