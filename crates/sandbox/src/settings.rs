//! For whom the providers are emulated.

use crate::sign::random_hex;

/// The platform's apps as the emulated providers know them, and where both sides are reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the sandbox is reached, such as `http://127.0.0.1:8090`; no closing slash.
    pub base_url: String,
    /// How the product is reached, such as `http://127.0.0.1:8080`; no closing slash.
    pub product_url: String,
    /// Shopify's client id.
    pub shopify_api_key: String,
    /// Shopify's client secret.
    pub shopify_api_secret: String,
    /// Meta's app id: digits.
    pub meta_app_id: String,
    /// Meta's app secret.
    pub meta_app_secret: String,
    /// What Meta repeats when it checks the callback address.
    pub meta_verify_token: String,
    /// Kustomer's client id.
    pub kustomer_client_id: String,
    /// Kustomer's client secret.
    pub kustomer_client_secret: String,
}

impl Settings {
    /// Made-up apps, with secrets that are new at every start.
    pub fn demo(base_url: impl Into<String>, product_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            product_url: product_url.into(),
            shopify_api_key: format!("sandbox{}", random_hex(8)),
            shopify_api_secret: format!("shpss_{}", random_hex(16)),
            meta_app_id: "100200300400500".into(),
            meta_app_secret: random_hex(16),
            meta_verify_token: random_hex(16),
            kustomer_client_id: random_hex(12),
            kustomer_client_secret: random_hex(24),
        }
    }

    /// The product's environment variables that make it speak to this sandbox.
    pub fn product_environment(&self) -> Vec<(&'static str, String)> {
        let base = &self.base_url;
        vec![
            ("SHOPIFY_API_KEY", self.shopify_api_key.clone()),
            ("SHOPIFY_API_SECRET", self.shopify_api_secret.clone()),
            ("SHOPIFY_URL", format!("{base}/shopify/{{shop}}")),
            ("MESSENGER_APP_ID", self.meta_app_id.clone()),
            ("MESSENGER_APP_SECRET", self.meta_app_secret.clone()),
            ("MESSENGER_VERIFY_TOKEN", self.meta_verify_token.clone()),
            ("FACEBOOK_URL", format!("{base}/facebook")),
            ("GRAPH_URL", format!("{base}/graph")),
            ("KUSTOMER_CLIENT_ID", self.kustomer_client_id.clone()),
            ("KUSTOMER_CLIENT_SECRET", self.kustomer_client_secret.clone()),
            ("KUSTOMER_URL", format!("{base}/kustomer/{{org}}")),
            ("KUSTOMER_API_URL", format!("{base}/kustomer-api/{{org}}")),
        ]
    }
}
