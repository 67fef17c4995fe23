//! From the consent page to a token (`kustomer.md` 1.2): each account is an authorization server of its own.

use super::Kustomer;
use crate::callback::{self, CodeCallback, CodeCallbackError};
use crate::error::{Kind, ProviderError};
use crate::grant::{TokenGrant, end, secret};
use agenstack_core::clock::Timestamp;
use agenstack_core::integration::{Provider, Subdomain};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
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
        org: &Subdomain,
        redirect_uri: &str,
        state: &str,
        code_challenge: &str,
    ) -> Result<String, ProviderError> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.app()?.client_id)
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
        self.token(org, &fields, now).await
    }

    /// Renews a token. A reply without a new refresh token means that the old one goes on.
    pub async fn refresh(
        &self,
        org: &Subdomain,
        refresh_token: &SecretString,
        now: Timestamp,
    ) -> Result<TokenGrant, ProviderError> {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose_secret())];
        self.token(org, &fields, now).await
    }

    async fn token(
        &self,
        org: &Subdomain,
        fields: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<TokenGrant, ProviderError> {
        self.http.counted(Provider::Kustomer, self.token_uncounted(org, fields, now)).await
    }

    async fn token_uncounted(
        &self,
        org: &Subdomain,
        fields: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<TokenGrant, ProviderError> {
        let app = self.app()?;
        let mut form =
            vec![("client_id", app.client_id.as_str()), ("client_secret", app.client_secret.expose_secret())];
        form.extend_from_slice(fields);
        let url = format!("{}/oauth/token", self.api.of(org.as_str()));
        let answer = self.http.call(Provider::Kustomer, Method::POST, &url, &[])?.form(&form).send().await?;
        if !answer.is_success() {
            let body = answer.value();
            let word = body.get("error").and_then(serde_json::Value::as_str).unwrap_or_default();
            return Err(match (answer.status, word) {
                (400 | 401, "invalid_client" | "unauthorized_client") => {
                    answer.error(Kind::Rejected, "app_credentials_refused")
                }
                (400 | 401 | 403, _) => answer.error(Kind::GrantRejected, "grant_refused"),
                _ => super::rest_error(&answer),
            });
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
