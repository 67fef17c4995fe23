//! Kustomer (`kustomer.md`): accounts that are each a host of their own, connected by API key or by OAuth.

mod api;
mod key;
mod oauth;
mod role;
mod webhook;

pub use api::{APP, CreatedWebhook, Direction, Identity, Turn, WebhookState};
pub use key::{KeyClaims, KeyRefusal, check_key_claims, tidy_key, verify_app_token};
pub use oauth::{SCOPES, pkce_challenge};
pub use webhook::KustomerEvent;

use crate::base::{Base, ConfigError};
use crate::error::{Kind, ProviderError};
use crate::http::{Answer, Http};
use crate::pace;
use agenstack_core::integration::{Provider, Subdomain};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// An app at Kustomer: the platform's, where the operator has one, or a merchant's own.
#[derive(Clone, Debug)]
pub struct KustomerApp {
    /// Public.
    pub client_id: String,
    /// Sent with token requests.
    pub client_secret: SecretString,
}

/// Longer texts are neither a client's id nor its secret.
const MOST_CLIENT_BYTES: usize = 256;

impl KustomerApp {
    /// Reads what a merchant typed: printable ASCII without space, of a likely length. The error names what is not.
    pub fn from_input(client_id: &str, client_secret: &SecretString) -> Result<Self, &'static str> {
        let (id, secret) = (client_id.trim(), client_secret.expose_secret().trim());
        let has_shape = |text: &str, least| {
            (least..=MOST_CLIENT_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
        };
        if !has_shape(id, 4) {
            return Err("client_id");
        }
        if !has_shape(secret, 8) {
            return Err("client_secret");
        }
        Ok(Self { client_id: id.to_owned(), client_secret: SecretString::from(secret.to_owned()) })
    }
}

/// Through which app a person authorizes.
#[derive(Clone, Copy, Debug)]
pub enum Client<'a> {
    /// The one the operator set up.
    Platform,
    /// The merchant's own (`kustomer.md` 1.6, mode C).
    Own(&'a KustomerApp),
}

/// Speaks to all accounts with the token it is handed.
#[derive(Clone, Debug)]
pub struct Kustomer {
    app: Option<KustomerApp>,
    web: Base,
    api: Base,
    http: Http,
}

impl Kustomer {
    /// `web_url` is an account's own host, `api_url` its API host; both hold `{org}` (`kustomer.md` 1.1).
    pub fn new(
        http: Http,
        web_url: &str,
        api_url: &str,
        app: Option<KustomerApp>,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            app,
            web: Base::parse(web_url, Some("{org}"))?,
            api: Base::parse(api_url, Some("{org}"))?,
            http,
        })
    }

    fn app<'a>(&'a self, client: Client<'a>) -> Result<&'a KustomerApp, ProviderError> {
        match client {
            Client::Own(app) => Ok(app),
            Client::Platform => self
                .app
                .as_ref()
                .ok_or_else(|| ProviderError::new(Provider::Kustomer, Kind::Rejected, "not_set_up")),
        }
    }

    /// One call to an account's API; gives the answer's JSON (`Null` where there is none), or what its error means.
    async fn rest(
        &self,
        org: &Subdomain,
        token: &SecretString,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, ProviderError> {
        let writes = method != Method::GET;
        let call = self.rest_uncounted(org, token, method, path, query, body);
        self.http.counted(Provider::Kustomer, writes, call).await
    }

    async fn rest_uncounted(
        &self,
        org: &Subdomain,
        token: &SecretString,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, ProviderError> {
        let url = format!("{}{path}", self.api.of(org.as_str()));
        let mut call = self.http.call(Provider::Kustomer, method, &url, query)?.bearer(token)?;
        if let Some(body) = body {
            call = call.json(body);
        }
        let answer = call.send().await?;
        pace::said(answer.calls_left());
        if !answer.is_success() {
            return Err(rest_error(&answer));
        }
        if answer.body.is_empty() { Ok(Value::Null) } else { answer.read_value() }
    }
}

/// What a refused call means (`kustomer.md` 2.4). The text is looked at for one word and dropped.
fn rest_error(answer: &Answer) -> ProviderError {
    let names_a_pod = || {
        String::from_utf8_lossy(&answer.body)
            .to_lowercase()
            .split(|c: char| !c.is_alphanumeric())
            .any(|word| word == "pod")
    };
    match answer.status {
        // Made in another region: the credential is not revoked (`kustomer.md` 1.1).
        400..=499 if names_a_pod() => answer.error(Kind::Rejected, "wrong_region"),
        409 => answer.error(Kind::Rejected, "duplicate"),
        413 => answer.error(Kind::Rejected, "content_refused"),
        429 => answer.error(Kind::RateLimited, "rate_limited").with_retry_after(Some(rate_wait(answer))),
        _ => answer.error_by_status(),
    }
}

/// `Retry-After` if it is there; a minute is the length of the budget (`kustomer.md` 2.4). The reset header is an
/// instant by Kustomer's clock, which ours need not agree with.
fn rate_wait(answer: &Answer) -> u64 {
    answer.retry_after().unwrap_or(60)
}

fn unexpected() -> ProviderError {
    ProviderError::new(Provider::Kustomer, Kind::Malformed, "answer_unexpected").with_status(200)
}
