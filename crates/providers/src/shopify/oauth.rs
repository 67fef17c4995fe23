//! From the authorize page to an expiring token (`shopify.md` 1).

use super::Shopify;
use crate::error::{Kind, ProviderError};
use crate::grant::{TokenGrant, end, secret};
use crate::http::Answer;
use crate::query::Query;
use crate::signature::{digest_of_hex, is_signed_by_any};
use agenstack_core::clock::Timestamp;
use agenstack_core::integration::{Provider, ShopDomain};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

/// How far a callback's time may be from ours, both ways (`shopify.md` 1.4).
const WINDOW_SECS: u64 = 90;
/// How long an access token lives if the answer forgets to say (`shopify.md` 4.3 no. 9).
const ACCESS_LIFE_SECS: i64 = 3600;

/// A request that Shopify signed: the return from the authorize page, or one that began in the admin.
#[derive(Clone, Debug)]
pub struct Callback {
    /// To be exchanged once. Absent in requests that begin at Shopify, and when the merchant declined.
    pub code: Option<SecretString>,
    /// The shop, proven by the signature.
    pub shop: ShopDomain,
    /// What we gave along. Whether it is ours, unused and of this session is the caller's to find out.
    pub state: Option<String>,
    /// Where the admin runs, base64, as it came.
    pub host: Option<String>,
    /// When Shopify signed.
    pub signed_at: Timestamp,
}

/// Why a signed request is refused, in the order in which it is checked (`shopify.md` 1.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// A parameter stands there twice, or the query is too large.
    #[error("the callback is not readable")]
    Unreadable,
    /// A parameter is absent or empty.
    #[error("the callback lacks {0}")]
    Missing(&'static str),
    /// The signature is not Shopify's.
    #[error("the callback's signature does not match")]
    Signature,
    /// Too old, too new, or not a number.
    #[error("the callback's time is out of range; the clock may be wrong")]
    Timestamp,
    /// Not a shop's domain.
    #[error("the callback names no shop")]
    Shop,
}

impl CallbackError {
    /// A stable word for programs and for the reason in a redirect.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreadable => "callback_unreadable",
            Self::Missing(_) => "callback_incomplete",
            Self::Signature => "callback_signature",
            Self::Timestamp => "callback_timestamp",
            Self::Shop => "callback_shop",
        }
    }
}

#[derive(Deserialize)]
struct TokenReply {
    access_token: Option<String>,
    scope: Option<String>,
    expires_in: Option<i64>,
    refresh_token: Option<String>,
    refresh_token_expires_in: Option<i64>,
}

impl Shopify {
    /// Where to send the merchant (`shopify.md` 1.1). Scopes that another one implies are left out; there is no
    /// per-user grant, and the empty `grant_options[]` says so.
    pub fn authorize_url(&self, shop: &ShopDomain, redirect_uri: &str, state: &str) -> String {
        let scope = without_implied(&self.app.scopes).join(",");
        let query: Vec<String> = [
            ("client_id", self.app.api_key.as_str()),
            ("scope", &scope),
            ("redirect_uri", redirect_uri),
            ("state", state),
            ("grant_options[]", ""),
        ]
        .iter()
        .map(|(name, value)| pair(name, value))
        .collect();
        self.url(shop, &format!("/admin/oauth/authorize?{}", query.join("&")))
    }

    /// Proves the return from the authorize page (`shopify.md` 1.10, up to the shop's shape). The state is only
    /// handed out: finding and consuming the flow, and comparing its shop, come next.
    pub fn verify_callback(&self, raw_query: &str, now: Timestamp) -> Result<Callback, CallbackError> {
        let query = Query::parse(raw_query).map_err(|_| CallbackError::Unreadable)?;
        // A merchant who declines comes back without a code.
        if query.get("error").is_none() {
            query.get("code").ok_or(CallbackError::Missing("code"))?;
        }
        query.get("state").ok_or(CallbackError::Missing("state"))?;
        self.prove(&query, now)
    }

    /// Proves a request that began at Shopify (`shopify.md` 1.10). It names no organization: never bind from it.
    pub fn verify_install(&self, raw_query: &str, now: Timestamp) -> Result<Callback, CallbackError> {
        self.prove(&Query::parse(raw_query).map_err(|_| CallbackError::Unreadable)?, now)
    }

    fn prove(&self, query: &Query, now: Timestamp) -> Result<Callback, CallbackError> {
        let need = |name| query.get(name).ok_or(CallbackError::Missing(name));
        let (hmac, shop, timestamp) = (need("hmac")?, need("shop")?, need("timestamp")?);

        let tag = digest_of_hex(hmac).ok_or(CallbackError::Signature)?;
        // Decoded and encoded again, so that `+` and `%20` on the wire sign alike (`shopify.md` 1.3).
        let signed: Vec<String> = query
            .sorted()
            .into_iter()
            .filter(|(name, _)| name != "hmac" && name != "signature")
            .map(|(name, value)| pair(name, value))
            .collect();
        if !is_signed_by_any(self.secrets(), signed.join("&").as_bytes(), &tag) {
            return Err(CallbackError::Signature);
        }

        let digits = timestamp.len() <= 12 && timestamp.bytes().all(|b| b.is_ascii_digit());
        let at: i64 = timestamp.parse().ok().filter(|_| digits).ok_or(CallbackError::Timestamp)?;
        if now.secs().abs_diff(at) > WINDOW_SECS {
            return Err(CallbackError::Timestamp);
        }

        let owned = |name: &str| query.get(name).map(str::to_owned);
        Ok(Callback {
            code: owned("code").map(SecretString::from),
            shop: ShopDomain::parse(shop).ok_or(CallbackError::Shop)?,
            state: owned("state"),
            host: owned("host"),
            signed_at: Timestamp::from_secs(at),
        })
    }

    /// Exchanges a code for an expiring token (`shopify.md` 1.6). A grant without a refresh token is refused: it
    /// could not be kept alive (4.3 no. 10).
    pub async fn exchange_code(
        &self,
        shop: &ShopDomain,
        code: &SecretString,
        now: Timestamp,
    ) -> Result<TokenGrant, ProviderError> {
        let body = json!({
            "client_id": self.app.api_key,
            "client_secret": self.app.api_secret.expose_secret(),
            "code": code.expose_secret(),
            "expiring": "1",
        });
        self.token(shop, body, now).await
    }

    /// Renews a token (`shopify.md` 1.7). Both tokens are new afterwards; after an error that is retryable the
    /// same old refresh token is to be used again.
    pub async fn refresh(
        &self,
        shop: &ShopDomain,
        refresh_token: &SecretString,
        now: Timestamp,
    ) -> Result<TokenGrant, ProviderError> {
        let body = json!({
            "client_id": self.app.api_key,
            "client_secret": self.app.api_secret.expose_secret(),
            "grant_type": "refresh_token",
            "refresh_token": refresh_token.expose_secret(),
        });
        self.token(shop, body, now).await
    }

    /// Exchanges a permanent token of an older installation for an expiring pair (`shopify.md` 1.7). One way: the
    /// permanent one stops working. After a lost answer the same exchange gives the same pair again.
    pub async fn migrate(
        &self,
        shop: &ShopDomain,
        permanent: &SecretString,
        now: Timestamp,
    ) -> Result<TokenGrant, ProviderError> {
        let body = json!({
            "client_id": self.app.api_key,
            "client_secret": self.app.api_secret.expose_secret(),
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": permanent.expose_secret(),
            "subject_token_type": OFFLINE_TOKEN,
            "requested_token_type": OFFLINE_TOKEN,
            "expiring": "1",
        });
        self.token(shop, body, now).await
    }

    async fn token(
        &self,
        shop: &ShopDomain,
        body: Value,
        now: Timestamp,
    ) -> Result<TokenGrant, ProviderError> {
        self.http.counted(Provider::Shopify, true, self.token_uncounted(shop, body, now)).await
    }

    async fn token_uncounted(
        &self,
        shop: &ShopDomain,
        body: Value,
        now: Timestamp,
    ) -> Result<TokenGrant, ProviderError> {
        let url = self.url(shop, "/admin/oauth/access_token");
        let is_refresh = body.get("grant_type").is_some();
        let answer = self.http.call(Provider::Shopify, Method::POST, &url, &[])?.json(&body).send().await?;
        if !answer.is_success() {
            return Err(token_error(&answer, is_refresh));
        }
        let reply: TokenReply = answer.read()?;
        let access_token = secret(reply.access_token).ok_or_else(|| answer.malformed("answer_unexpected"))?;
        let refresh_token = secret(reply.refresh_token).ok_or_else(|| {
            ProviderError::new(Provider::Shopify, Kind::Rejected, "no_refresh_token")
                .with_status(answer.status)
        })?;
        Ok(TokenGrant {
            access_token,
            refresh_token: Some(refresh_token),
            scopes: split_scopes(reply.scope.as_deref().unwrap_or_default()),
            expires_at: end(now, Some(reply.expires_in.unwrap_or(ACCESS_LIFE_SECS))),
            refresh_expires_at: end(now, reply.refresh_token_expires_in),
        })
    }
}

/// The type of both tokens in a migration (`shopify.md` 1.7).
const OFFLINE_TOKEN: &str = "urn:shopify:params:oauth:token-type:offline-access-token";

/// What a refused token request means (`shopify.md` 1.7): 400 and 401 end the grant, everything of the server's is
/// worth repeating with the same token. A code is refused with an HTML page; a refresh token is given up only for
/// a proper OAuth error.
fn token_error(answer: &Answer, is_refresh: bool) -> ProviderError {
    let body = answer.value();
    let word = body.get("error").and_then(Value::as_str);
    match (answer.status, word) {
        // Our own credentials are wrong: no merchant can mend that by authorizing again.
        (400 | 401, Some("invalid_client" | "unauthorized_client" | "application_cannot_be_found")) => {
            answer.error(Kind::Rejected, "app_credentials_refused")
        }
        (400 | 401, word) if word.is_some() || !is_refresh => {
            answer.error(Kind::GrantRejected, "grant_refused")
        }
        _ => super::graphql::status_error(answer),
    }
}

/// One pair in form encoding, but with a space as `%20` (`shopify.md` 1.1, 1.3).
fn pair(name: &str, value: &str) -> String {
    let encode =
        |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    format!("{}={}", encode(name), encode(value))
}

fn split_scopes(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

/// The read scope that a write scope brings along (`shopify.md` 1.9); the two families do not mix.
fn implied(scope: &str) -> Option<String> {
    match scope.strip_prefix("unauthenticated_write_") {
        Some(rest) => Some(format!("unauthenticated_read_{rest}")),
        None => scope.strip_prefix("write_").map(|rest| format!("read_{rest}")),
    }
}

fn without_implied(scopes: &[String]) -> Vec<&str> {
    let implied: Vec<String> = scopes.iter().filter_map(|s| implied(s)).collect();
    scopes.iter().map(String::as_str).filter(|s| !implied.iter().any(|i| i == s)).collect()
}

/// Which required scopes were not granted, with what write scopes imply counted as granted (`shopify.md` 1.9).
pub fn missing_scopes(required: &[String], granted: &[String]) -> Vec<String> {
    let implied: Vec<String> = granted.iter().filter_map(|s| implied(s)).collect();
    required.iter().filter(|r| !granted.contains(r) && !implied.contains(r)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> Vec<String> {
        split_scopes(text)
    }

    #[test]
    fn write_implies_read_within_its_family() {
        for (required, granted, missing) in [
            ("read_orders", "write_orders", ""),
            ("write_orders", "read_orders", "write_orders"),
            ("unauthenticated_read_x", "write_x", "unauthenticated_read_x"),
            ("unauthenticated_read_x", "unauthenticated_write_x", ""),
            ("read_x", "unauthenticated_write_x", "read_x"),
            ("read_a, ,read_b", "read_b,read_z", "read_a"),
        ] {
            assert_eq!(missing_scopes(&scopes(required), &scopes(granted)), scopes(missing), "{required}");
        }
    }
}
