//! From the consent page to a token (`kustomer.md` 1.2): each account is an authorization server of its own.

use super::{Client, Kustomer};
use crate::callback::{self, CodeCallback, CodeCallbackError};
use crate::error::{Kind, ProviderError};
use crate::grant::{TokenGrant, end, secret};
use crate::http::Answer;
use agenstack_core::clock::Timestamp;
use agenstack_core::integration::{Provider, Subdomain};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The least that is asked for (`kustomer.md` 1.3); the last one brings a refresh token.
pub const SCOPES: &[&str] = &[
    "org.permission.customer.read",
    "org.permission.customer.create",
    "org.permission.customer.update",
    "org.permission.conversation.read",
    "org.permission.conversation.create",
    "org.permission.conversation.update",
    "org.permission.message.read",
    "org.permission.message.create",
    "org.permission.note.create",
    "org.permission.note.read",
    "org.permission.user.read",
    "org.permission.team.read",
    "org.permission.tag.read",
    "org.permission.outbound_webhook.create",
    "org.permission.outbound_webhook.read",
    "org.permission.outbound_webhook.delete",
    "offline_access",
];

/// How long an access token lives where the answer does not say.
const ACCESS_LIFE_SECS: i64 = 86_400;

/// The S256 challenge of a PKCE verifier (RFC 7636).
pub fn pkce_challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

#[derive(Deserialize)]
struct TokenReply {
    access_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<i64>,
    scope: Option<String>,
}

impl Kustomer {
    /// Where to send the person.
    pub fn authorize_url(
        &self,
        client: Client<'_>,
        org: &Subdomain,
        redirect_uri: &str,
        state: &str,
        code_challenge: &str,
    ) -> Result<String, ProviderError> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.app(client)?.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &SCOPES.join(" "))
            .append_pair("state", state)
            .append_pair("code_challenge", code_challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(format!("{}/oauth/authorize?{}", self.web.of(org.as_str()), query.finish()))
    }

    /// Reads the return from the consent page.
    pub fn parse_callback(&self, raw_query: &str) -> Result<CodeCallback, CodeCallbackError> {
        callback::parse(raw_query)
    }

    /// Exchanges a code at the account's own API host, with the verifier of this one flow.
    pub async fn exchange_code(
        &self,
        client: Client<'_>,
        org: &Subdomain,
        code: &SecretString,
        redirect_uri: &str,
        verifier: &SecretString,
        now: Timestamp,
    ) -> Result<TokenGrant, ProviderError> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier.expose_secret()),
        ];
        self.token(client, org, &fields, now).await
    }

    /// Renews a token. A reply without a new refresh token means that the old one goes on.
    pub async fn refresh(
        &self,
        client: Client<'_>,
        org: &Subdomain,
        refresh_token: &SecretString,
        now: Timestamp,
    ) -> Result<TokenGrant, ProviderError> {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose_secret())];
        self.token(client, org, &fields, now).await
    }

    async fn token(
        &self,
        client: Client<'_>,
        org: &Subdomain,
        fields: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<TokenGrant, ProviderError> {
        self.http.counted(Provider::Kustomer, true, self.token_uncounted(client, org, fields, now)).await
    }

    async fn token_uncounted(
        &self,
        client: Client<'_>,
        org: &Subdomain,
        fields: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<TokenGrant, ProviderError> {
        let app = self.app(client)?;
        let mut form =
            vec![("client_id", app.client_id.as_str()), ("client_secret", app.client_secret.expose_secret())];
        form.extend_from_slice(fields);
        let url = format!("{}/oauth/token", self.api.of(org.as_str()));
        let answer = self.http.call(Provider::Kustomer, Method::POST, &url, &[])?.form(&form).send().await?;
        if !answer.is_success() {
            return Err(token_error(&answer, client));
        }
        let reply: TokenReply = answer.read()?;
        let scopes = reply.scope.as_deref().unwrap_or_default();
        Ok(TokenGrant {
            access_token: secret(reply.access_token).ok_or_else(|| answer.malformed("answer_unexpected"))?,
            refresh_token: secret(reply.refresh_token),
            scopes: scopes.split([' ', ',']).filter(|s| !s.is_empty()).map(str::to_owned).collect(),
            expires_at: end(now, Some(reply.expires_in.unwrap_or(ACCESS_LIFE_SECS))),
            refresh_expires_at: None,
        })
    }
}

/// What a refused token request means. A 400 that names the client is how Kustomer says that the app is not installed
/// in the account (`kustomer.md` 1.2); a 401 is about its secret. Whose app it is decides who has to mend it.
fn token_error(answer: &Answer, client: Client<'_>) -> ProviderError {
    let body = answer.value();
    let named =
        |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let about_client = matches!(&*named("/error"), "invalid_client" | "unauthorized_client")
        || named("/errors/0/message").contains("invalid client");
    match (answer.status, about_client, client) {
        (400 | 401, true, Client::Platform) => answer.error(Kind::Rejected, "app_credentials_refused"),
        (400, true, Client::Own(_)) => answer.error(Kind::GrantRejected, "app_not_installed"),
        (401, true, Client::Own(_)) => answer.error(Kind::GrantRejected, "client_secret_refused"),
        (400 | 401 | 403, false, _) => answer.error(Kind::GrantRejected, "grant_refused"),
        _ => super::rest_error(answer),
    }
}
