//! One GraphQL call to the Admin API, and what its failures mean (`shopify.md` 3.1 to 3.3).

use super::{API_VERSION, Shopify};
use crate::error::{Kind, ProviderError};
use crate::http::{Answer, whole_secs};
use crate::pace;
use agenstack_core::integration::{Provider, ShopDomain};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

impl Shopify {
    /// Asks or, with `mutation`, changes something; gives `data`.
    pub(super) async fn graphql(
        &self,
        shop: &ShopDomain,
        token: &SecretString,
        query: &str,
        variables: Value,
    ) -> Result<Value, ProviderError> {
        let call = self.graphql_uncounted(shop, token, query, variables);
        self.http.counted(Provider::Shopify, query.trim_start().starts_with("mutation"), call).await
    }

    async fn graphql_uncounted(
        &self,
        shop: &ShopDomain,
        token: &SecretString,
        query: &str,
        variables: Value,
    ) -> Result<Value, ProviderError> {
        let url = self.url(shop, &format!("/admin/api/{API_VERSION}/graphql.json"));
        let call = self
            .http
            .call(Provider::Shopify, Method::POST, &url, &[])?
            .secret_header("x-shopify-access-token", token.expose_secret())?
            .json(&json!({"query": query, "variables": variables}));
        let call = if query.starts_with("mutation") { call } else { call.reads() };
        let answer = call.send().await?;
        if !answer.is_success() {
            return Err(status_error(&answer));
        }
        let mut body = answer.read_value()?;
        pace::said(Answer::points(&body));
        let data = body.get_mut("data").map(Value::take).unwrap_or_default();
        match body.get("errors") {
            None | Some(Value::Null) if data.is_object() => Ok(data),
            None | Some(Value::Null) => Err(answer.malformed("answer_unexpected")),
            // A field that the shop's approval does not cover comes as null beside the rest (3.5).
            Some(errors) if data.is_object() && only_fields_denied(errors) => Ok(data),
            Some(errors) => Err(graphql_error(&answer, errors, &body)),
        }
    }
}

/// What a status of a shop means (`shopify.md` 3.3).
pub(super) fn status_error(answer: &Answer) -> ProviderError {
    match answer.status {
        402 => answer.error(Kind::Paused, "shop_frozen"),
        404 => answer.error(Kind::Paused, "shop_not_found"),
        423 => answer.error(Kind::Paused, "shop_locked"),
        430 => answer.error(Kind::Paused, "security_rejection"),
        _ => answer.error_by_status(),
    }
}

fn codes(errors: &Value) -> impl Iterator<Item = &str> {
    errors.as_array().into_iter().flatten().filter_map(|e| e.pointer("/extensions/code")?.as_str())
}

/// Whether every error denies a field below the root, so that the rest of the data is whole.
fn only_fields_denied(errors: &Value) -> bool {
    errors.as_array().is_some_and(|list| {
        !list.is_empty()
            && list.iter().all(|e| {
                e.pointer("/extensions/code").and_then(Value::as_str) == Some("ACCESS_DENIED")
                    && e.get("path").and_then(Value::as_array).is_some_and(|path| path.len() > 1)
            })
    })
}

/// Errors that come with status 200. `errors` may also be a plain string, which says nothing we could use.
fn graphql_error(answer: &Answer, errors: &Value, body: &Value) -> ProviderError {
    let has = |code: &str| codes(errors).any(|c| c == code);
    if has("THROTTLED") {
        return answer.error(Kind::RateLimited, "throttled").with_retry_after(throttle(body));
    }
    if has("SHOP_INACTIVE") {
        return answer.error(Kind::Paused, "shop_inactive");
    }
    if has("ACCESS_DENIED") {
        let error = answer.error(Kind::Forbidden, "permission_missing");
        return match denied_scope(errors) {
            Some(scope) => error.with_detail(scope),
            None => error,
        };
    }
    if has("MAX_COST_EXCEEDED") {
        return answer.error(Kind::Rejected, "query_too_large");
    }
    if has("INTERNAL_SERVER_ERROR") {
        // The status is 200, but whether a mutation took effect is as open as after any other outage.
        return answer.error(Kind::Unavailable, "outage").outcome_unknown(answer.writes);
    }
    answer.error(Kind::Rejected, "query_refused")
}

/// How long until the bucket holds what the query costs (`shopify.md` 3.2), at least a second.
fn throttle(body: &Value) -> Option<u64> {
    let cost = body.pointer("/extensions/cost")?;
    let number = |pointer: &str| cost.pointer(pointer)?.as_f64();
    let rate = number("/throttleStatus/restoreRate").filter(|r| *r > 0.0)?;
    let lack = number("/requestedQueryCost")? - number("/throttleStatus/currentlyAvailable")?;
    whole_secs((lack / rate).max(1.0))
}

/// The scope that a denial names. The sentence around it is Shopify's and is dropped; only a word of a scope's
/// shape is taken.
fn denied_scope(errors: &Value) -> Option<String> {
    errors.as_array()?.iter().find_map(|e| {
        e.pointer("/extensions/requiredAccess")?
            .as_str()?
            .split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
            .find(|word| {
                let word = word.strip_prefix("unauthenticated_").unwrap_or(word);
                word.len() <= 64 && (word.starts_with("read_") || word.starts_with("write_"))
            })
            .map(str::to_owned)
    })
}
