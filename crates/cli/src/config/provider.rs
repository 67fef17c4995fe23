//! `[shopify]`, `[messenger]`, `[kustomer]`: the platform's own apps, and where the providers are.
//!
//! A provider whose app is absent is not set up; that is no mistake. Half an app is one.

use super::server::is_loopback;
use super::setting::Settings;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use url::Url;

/// The base URL of a provider, without a slash at the end; with its placeholder, if it has one.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderUrl(String);

impl ProviderUrl {
    /// Reads a base URL. `placeholder`, such as `{shop}`, stands in it where each customer's name goes.
    pub fn parse(text: &str, placeholder: Option<&str>) -> Result<Self, String> {
        let text = text.trim_end_matches('/');
        let mut sample = text.to_owned();
        if let Some(placeholder) = placeholder {
            if text.matches(placeholder).count() != 1 {
                return Err(format!(
                    "must contain {placeholder} once, where the name of each customer goes; one fixed account cannot serve them all"
                ));
            }
            sample = text.replace(placeholder, "name");
        }
        if sample.contains(['{', '}']) {
            let known = placeholder.map_or("none is allowed".to_owned(), |it| format!("only {it} is known"));
            return Err(format!("has an unknown placeholder in braces; {known}"));
        }
        let url = Url::parse(&sample).map_err(|_not_shown| "expected a URL that begins with https://")?;
        let host = url.host().ok_or("expected a URL with a host")?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&host) => {}
            "http" => {
                return Err("must be https: only a loopback host, such as 127.0.0.1, may be http".to_owned());
            }
            _ => return Err("must begin with https://".to_owned()),
        }
        // With a user in it, `https://{shop}@elsewhere` would send every token elsewhere.
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            return Err("must not have a user, a query or a fragment".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// The URL, placeholder and all, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn read(settings: &mut Settings, name: &str, placeholder: Option<&str>, default: &str) -> Self {
        settings
            .parse(name, |text| Self::parse(text, placeholder))
            .unwrap_or_else(|| Self(default.to_owned()))
    }
}

impl fmt::Debug for ProviderUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProviderUrl({})", self.0)
    }
}

/// The platform's Shopify app.
#[derive(Clone, Debug)]
pub struct Shopify {
    /// `None`: not set up by the operator.
    pub app: Option<ShopifyApp>,
    /// What each shop is asked for.
    pub scopes: Vec<String>,
    /// The base of a shop; `{shop}` is `name.myshopify.com`.
    pub url: ProviderUrl,
}

/// Credentials of the platform's Shopify app.
#[derive(Clone, Debug)]
pub struct ShopifyApp {
    /// The client id.
    pub api_key: String,
    /// Signs callbacks and webhooks.
    pub api_secret: SecretString,
    /// The secret before it, while a rotation runs.
    pub api_secret_previous: Option<SecretString>,
}

impl Shopify {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let previous = settings.secret("SHOPIFY_API_SECRET_PREVIOUS");
        if previous.is_some() && settings.secret("SHOPIFY_API_SECRET").is_none() {
            settings.problem("SHOPIFY_API_SECRET_PREVIOUS", "is set without SHOPIFY_API_SECRET");
        }
        let app =
            settings.together(["SHOPIFY_API_KEY", "SHOPIFY_API_SECRET"]).map(|[api_key, api_secret]| {
                ShopifyApp {
                    api_key: api_key.expose_secret().to_owned(),
                    api_secret,
                    api_secret_previous: previous,
                }
            });
        let default = "read_orders,read_products,read_customers,read_fulfillments";
        let default = scopes(default).expect("a test reads this very text");
        Self {
            app,
            scopes: settings.parse("SHOPIFY_SCOPES", scopes).unwrap_or(default),
            url: ProviderUrl::read(settings, "SHOPIFY_URL", Some("{shop}"), "https://{shop}"),
        }
    }
}

fn scopes(text: &str) -> Result<Vec<String>, String> {
    let mut scopes: Vec<String> = Vec::new();
    for scope in text.split(',').map(str::trim).filter(|scope| !scope.is_empty()) {
        if !scope.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
            return Err("expected a list such as read_orders,read_products".to_owned());
        }
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    if scopes.is_empty() { Err("expected at least one scope".to_owned()) } else { Ok(scopes) }
}

/// The platform's Meta app.
#[derive(Clone, Debug)]
pub struct Messenger {
    /// `None`: not set up by the operator.
    pub app: Option<MessengerApp>,
    /// The host of the sign-in dialog.
    pub facebook_url: ProviderUrl,
    /// The Graph API, without a version.
    pub graph_url: ProviderUrl,
}

/// Credentials of the platform's Meta app.
#[derive(Clone, Debug)]
pub struct MessengerApp {
    /// The app id.
    pub app_id: String,
    /// Signs webhooks.
    pub app_secret: SecretString,
    /// Proves to us that it is our app whose webhook is being set up.
    pub verify_token: SecretString,
}

impl Messenger {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let names = ["MESSENGER_APP_ID", "MESSENGER_APP_SECRET", "MESSENGER_VERIFY_TOKEN"];
        let app = settings.together(names).map(|[app_id, app_secret, verify_token]| MessengerApp {
            app_id: app_id.expose_secret().to_owned(),
            app_secret,
            verify_token,
        });
        Self {
            app,
            facebook_url: ProviderUrl::read(settings, "FACEBOOK_URL", None, "https://www.facebook.com"),
            graph_url: ProviderUrl::read(settings, "GRAPH_URL", None, "https://graph.facebook.com"),
        }
    }
}

/// The platform's Kustomer app.
#[derive(Clone, Debug)]
pub struct Kustomer {
    /// `None`: accounts connect by API key only.
    pub app: Option<KustomerApp>,
    /// The host of an account; `{org}` is its subdomain.
    pub url: ProviderUrl,
    /// The API host of an account; `{org}` is its subdomain.
    pub api_url: ProviderUrl,
}

/// Credentials of the platform's Kustomer app.
#[derive(Clone, Debug)]
pub struct KustomerApp {
    /// The client id.
    pub client_id: String,
    /// The client secret.
    pub client_secret: SecretString,
}

impl Kustomer {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let app = settings.together(["KUSTOMER_CLIENT_ID", "KUSTOMER_CLIENT_SECRET"]).map(
            |[client_id, client_secret]| KustomerApp {
                client_id: client_id.expose_secret().to_owned(),
                client_secret,
            },
        );
        let org = Some("{org}");
        Self {
            app,
            url: ProviderUrl::read(settings, "KUSTOMER_URL", org, "https://{org}.kustomerapp.com"),
            api_url: ProviderUrl::read(
                settings,
                "KUSTOMER_API_URL",
                org,
                "https://{org}.api.kustomerapp.com",
            ),
        }
    }
}
