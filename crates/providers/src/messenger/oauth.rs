//! From the login dialog to a long-lived user token (`messenger.md` 1.2 to 1.7).

use super::graph::read;
use super::{GRAPH_VERSION, Messenger, PERMISSIONS};
use crate::callback::{self, CodeCallback, CodeCallbackError};
use crate::error::{Kind, ProviderError};
use crate::grant::{TokenGrant, end, secret};
use crate::json;
use agenstack_core::clock::Timestamp;
use agenstack_core::integration::{PageId, Provider};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// What the dialog returns with.
pub type MetaCallback = CodeCallback;

/// What Meta says of a token (`messenger.md` 1.7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenInfo {
    /// Whether it works.
    pub is_valid: bool,
    /// Whose app it is for.
    pub app_id: Option<String>,
    /// App-scoped id of the person who connected: the only key that the callbacks of 1.11 carry.
    pub user_id: Option<String>,
    /// The Page's id, for a Page's token.
    pub profile_id: Option<String>,
    /// What was granted.
    pub scopes: Vec<String>,
    /// What was granted for which Pages; `None` means all.
    pub granular: Vec<(String, Option<Vec<String>>)>,
    /// `None`: it has no end of its own.
    pub expires_at: Option<Timestamp>,
}

impl TokenInfo {
    /// Which of our permissions were not granted. The one for business portfolios may stay out.
    pub fn missing_permissions(&self) -> Vec<String> {
        PERMISSIONS
            .iter()
            .filter(|p| **p != "business_management" && !self.scopes.iter().any(|s| s == *p))
            .map(|p| (*p).to_owned())
            .collect()
    }

    /// The Pages that `scope` was granted for; `None` means all.
    pub fn targets(&self, scope: &str) -> Option<&[String]> {
        self.granular.iter().find(|(s, _)| s == scope)?.1.as_deref()
    }
}

impl Messenger {
    /// Where to send the person (`messenger.md` 1.2). `rerequest` asks again for what was declined before.
    pub fn dialog_url(&self, redirect_uri: &str, state: &str, rerequest: bool) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("client_id", &self.app.app_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("state", state)
            .append_pair("response_type", "code")
            .append_pair("scope", &PERMISSIONS.join(","));
        if rerequest {
            query.append_pair("auth_type", "rerequest");
        }
        format!("{}/{GRAPH_VERSION}/dialog/oauth?{}", self.dialog.of(""), query.finish())
    }

    /// Reads the return from the dialog (`messenger.md` 1.3). What was granted is not read from it: ask
    /// [`Messenger::debug_token`].
    pub fn parse_callback(&self, raw_query: &str) -> Result<MetaCallback, CodeCallbackError> {
        let callback = callback::parse(raw_query)?;
        match &callback.issuer {
            Some(issuer) if issuer.trim_end_matches('/') != self.dialog.of("") => {
                Err(CodeCallbackError::Issuer { state: Some(callback.state) })
            }
            _ => Ok(callback),
        }
    }

    /// Exchanges a code for a short user token (`messenger.md` 1.4), as a form, so that neither code nor secret
    /// stands in a URL. `redirect_uri` is the one of the dialog.
    pub async fn exchange_code(
        &self,
        redirect_uri: &str,
        code: &SecretString,
        now: Timestamp,
    ) -> Result<TokenGrant, ProviderError> {
        let fields = [
            ("client_id", self.app.app_id.as_str()),
            ("redirect_uri", redirect_uri),
            ("client_secret", self.app.app_secret.expose_secret()),
            ("code", code.expose_secret()),
        ];
        self.token(&fields, now).await
    }

    /// Exchanges a short user token for one of about 60 days (`messenger.md` 1.5). Page tokens got with it have no
    /// end. There is no refresh token.
    pub async fn long_lived(
        &self,
        token: &SecretString,
        now: Timestamp,
    ) -> Result<TokenGrant, ProviderError> {
        let fields = [
            ("grant_type", "fb_exchange_token"),
            ("client_id", self.app.app_id.as_str()),
            ("client_secret", self.app.app_secret.expose_secret()),
            ("fb_exchange_token", token.expose_secret()),
        ];
        self.token(&fields, now).await
    }

    async fn token(&self, fields: &[(&str, &str)], now: Timestamp) -> Result<TokenGrant, ProviderError> {
        self.http.counted(Provider::Messenger, true, self.token_uncounted(fields, now)).await
    }

    async fn token_uncounted(
        &self,
        fields: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<TokenGrant, ProviderError> {
        let url = self.graph_url("/oauth/access_token");
        let answer =
            self.http.call(Provider::Messenger, Method::POST, &url, &[])?.form(fields).send().await?;
        // Whatever is wrong with a code or a token here, only a new authorization mends it; a redirect says nothing
        // of either.
        let body = read(&answer).map_err(|mut error| {
            let refuses =
                matches!(error.kind, Kind::Unauthorized | Kind::Rejected | Kind::NotFound | Kind::Forbidden);
            if refuses && error.code != "redirected" {
                (error.kind, error.code) = (Kind::GrantRejected, "grant_refused");
            }
            error
        })?;
        let token = body.get("access_token").and_then(Value::as_str).map(str::to_owned);
        Ok(TokenGrant {
            access_token: secret(token).ok_or_else(|| answer.malformed("answer_unexpected"))?,
            refresh_token: None,
            scopes: Vec::new(),
            expires_at: end(now, body.get("expires_in").and_then(json::integer)),
            refresh_expires_at: None,
        })
    }

    /// Asks whether a page's token is (still) for this page and this app, and what it may do (`messenger.md` 1.7, 1.10).
    pub async fn check_page_token(
        &self,
        page: &PageId,
        token: &SecretString,
    ) -> Result<TokenInfo, ProviderError> {
        let info = self.debug_token(token).await?;
        let named = |field: &Option<String>, is: &str| field.as_deref().is_none_or(|it| it == is);
        let ticked = info.targets("pages_messaging").is_none_or(|t| t.iter().any(|id| id == page.as_str()));
        let ours = info.app_id.as_deref() == Some(self.app_id()) && named(&info.profile_id, page.as_str());
        if info.is_valid && ours && ticked {
            return Ok(info);
        }
        Err(ProviderError::new(Provider::Messenger, Kind::Unauthorized, "token_invalid").with_status(200))
    }

    /// Asks what a token is good for (`messenger.md` 1.7). Meta takes the examined token as a query parameter
    /// only; the app's own token goes as a header.
    pub async fn debug_token(&self, token: &SecretString) -> Result<TokenInfo, ProviderError> {
        let query = [("input_token", token.expose_secret())];
        let body = self.graph(Method::GET, "/debug_token", &self.app_token(), &query, None).await?;
        let data = body.get("data").filter(|d| d.is_object()).ok_or_else(|| {
            ProviderError::new(Provider::Messenger, Kind::Malformed, "answer_unexpected").with_status(200)
        })?;
        let granular = data.get("granular_scopes").and_then(Value::as_array);
        Ok(TokenInfo {
            is_valid: data.get("is_valid") == Some(&Value::Bool(true)),
            app_id: json::text(data, "/app_id"),
            user_id: json::text(data, "/user_id"),
            profile_id: json::text(data, "/profile_id"),
            scopes: json::strings(data, "/scopes"),
            granular: granular
                .into_iter()
                .flatten()
                .filter_map(|g| {
                    let targets = g.get("target_ids").filter(|t| t.is_array());
                    Some((json::text(g, "/scope")?, targets.map(|t| json::strings(t, ""))))
                })
                .collect(),
            // 0 means never.
            expires_at: data
                .get("expires_at")
                .and_then(json::integer)
                .filter(|at| *at > 0)
                .map(Timestamp::from_secs),
        })
    }
}
