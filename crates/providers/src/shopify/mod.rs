//! Shopify (`shopify.md`): an app of public distribution that serves any number of shops.

mod api;
mod graphql;
mod oauth;
mod webhook;

pub use api::{Fulfillment, LineItem, Order, ShopInfo, Tracking};
pub use oauth::{Callback, CallbackError, missing_scopes};
pub use webhook::{Delivery, DeliveryError, shop_id_in_body, shop_in_body};

use crate::base::{Base, ConfigError};
use crate::http::Http;
use agenstack_core::integration::ShopDomain;
use secrecy::SecretString;

/// The version of the Admin API that is called, and that webhook payloads are read as (`shopify.md` 3.1).
pub const API_VERSION: &str = "2026-10";

/// The platform's app.
#[derive(Clone, Debug)]
pub struct ShopifyApp {
    /// The client id. Public.
    pub api_key: String,
    /// Signs callbacks, webhooks and token requests.
    pub api_secret: SecretString,
    /// Still accepted for verification while Shopify rotates (`shopify.md` 2.4).
    pub api_secret_previous: Option<SecretString>,
    /// What every shop is asked for.
    pub scopes: Vec<String>,
}

/// Speaks to all shops with the token it is handed.
#[derive(Clone, Debug)]
pub struct Shopify {
    app: ShopifyApp,
    base: Base,
    http: Http,
}

impl Shopify {
    /// `url_template` is the base of a shop and holds `{shop}`; https, or a loopback host.
    pub fn new(app: ShopifyApp, url_template: String, http: Http) -> Result<Self, ConfigError> {
        Ok(Self { app, base: Base::parse(&url_template, Some("{shop}"))?, http })
    }

    /// What every shop is asked for.
    pub fn scopes(&self) -> &[String] {
        &self.app.scopes
    }

    fn url(&self, shop: &ShopDomain, path: &str) -> String {
        format!("{}{path}", self.base.of(shop.as_str()))
    }

    /// Both active secrets, the newer one first.
    fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        std::iter::once(&self.app.api_secret).chain(self.app.api_secret_previous.as_ref())
    }
}
