//! What the sandbox is told at start. All credentials in [`Config::demo`] are made up.

use std::net::SocketAddr;
use std::path::PathBuf;

/// API key of the demo Shopify app.
pub const SHOPIFY_API_KEY: &str = "5b1f0c7d9e3a4f6082d7c1b94ea6358f";
/// Client secret of the demo Shopify app.
pub const SHOPIFY_API_SECRET: &str = "shpss_sandbox_3f9d2c61a84e4b07";
/// App id of the demo Meta app.
pub const META_APP_ID: &str = "734512098811204";
/// App secret of the demo Meta app.
pub const META_APP_SECRET: &str = "sandbox-meta-secret-8c41e0b2d95f";
/// Verify token of the demo Meta app's webhook.
pub const META_VERIFY_TOKEN: &str = "sandbox-verify-token";
/// Client id of the demo Kustomer app.
pub const KUSTOMER_CLIENT_ID: &str = "sandbox_kustomer_client";
/// Client secret of the demo Kustomer app.
pub const KUSTOMER_CLIENT_SECRET: &str = "sandbox-kustomer-secret-71be";

/// Everything a sandbox needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How browsers and the product reach the sandbox; by default `http://` and the bound address.
    pub public_url: Option<String>,
    /// A JSON snapshot of the whole state, so that a restarted demo keeps its tokens.
    pub state_file: Option<PathBuf>,
    /// The app registered with Shopify.
    pub shopify: ShopifyApp,
    /// The app registered with Meta.
    pub meta: MetaApp,
    /// The app registered with Kustomer.
    pub kustomer: KustomerApp,
}

/// The app as Shopify's Dev Dashboard knows it.
#[derive(Clone, Debug)]
pub struct ShopifyApp {
    /// Client id.
    pub api_key: String,
    /// Client secret; also signs callbacks and webhooks.
    pub api_secret: String,
    /// Allowed addresses, compared exactly; empty allows any https or loopback address.
    pub redirect_uris: Vec<String>,
    /// Life of an access token in seconds; 3600 at Shopify.
    pub access_token_secs: u64,
}

/// The app as Meta's dashboard knows it.
#[derive(Clone, Debug)]
pub struct MetaApp {
    /// App id.
    pub app_id: String,
    /// App secret; signs webhooks and `appsecret_proof`.
    pub app_secret: String,
    /// Valid OAuth redirect URIs, compared exactly; empty allows any https or loopback address.
    pub redirect_uris: Vec<String>,
    /// The one callback address of the app for webhooks of all pages.
    pub webhook_url: Option<String>,
    /// What the callback has to find in `hub.verify_token`.
    pub verify_token: String,
}

/// The app as Kustomer's apps platform knows it.
#[derive(Clone, Debug)]
pub struct KustomerApp {
    /// Client id.
    pub client_id: String,
    /// Client secret.
    pub client_secret: String,
    /// Allowed addresses, compared exactly; empty allows any https or loopback address.
    pub redirect_uris: Vec<String>,
}

impl Config {
    /// The configuration of `agenstack demo`: made-up credentials and the product's own addresses.
    pub fn demo(listen: SocketAddr, product_url: &str) -> Config {
        let product = product_url.trim_end_matches('/');
        let callback = |provider: &str| vec![format!("{product}/api/oauth/{provider}/callback")];
        Config {
            listen,
            public_url: None,
            state_file: None,
            shopify: ShopifyApp {
                api_key: SHOPIFY_API_KEY.into(),
                api_secret: SHOPIFY_API_SECRET.into(),
                redirect_uris: callback("shopify"),
                access_token_secs: 3600,
            },
            meta: MetaApp {
                app_id: META_APP_ID.into(),
                app_secret: META_APP_SECRET.into(),
                redirect_uris: callback("messenger"),
                webhook_url: Some(format!("{product}/api/webhooks/messenger")),
                verify_token: META_VERIFY_TOKEN.into(),
            },
            kustomer: KustomerApp {
                client_id: KUSTOMER_CLIENT_ID.into(),
                client_secret: KUSTOMER_CLIENT_SECRET.into(),
                redirect_uris: callback("kustomer"),
            },
        }
    }
}

/// Whether an app with these registered addresses may send people back to `uri`.
pub(crate) fn redirect_allowed(registered: &[String], uri: &str) -> bool {
    if registered.is_empty() { safe_target(uri) } else { registered.iter().any(|r| r == uri) }
}

/// https anywhere, plain http only on this machine.
pub(crate) fn safe_target(uri: &str) -> bool {
    url::Url::parse(uri).is_ok_and(|u| match (u.scheme(), u.host_str()) {
        ("https", Some(_)) => true,
        ("http", Some(host)) => matches!(host, "localhost" | "127.0.0.1" | "[::1]"),
        _ => false,
    })
}
