//! One Graph call with its proof, and the table of its errors (`messenger.md` 1.8, 3.5).

use super::{GRAPH_VERSION, Messenger};
use crate::error::{Kind, ProviderError};
use crate::http::Answer;
use crate::json;
use crate::pace::{self, Budget};
use agenstack_core::integration::Provider;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::Value;

/// How long a restricted Page rests before it is tried again (`messenger.md` 3.5).
const RESTRICTED_SECS: u64 = 30 * 60;

impl Messenger {
    pub(super) fn graph_url(&self, path: &str) -> String {
        format!("{}/{GRAPH_VERSION}{path}", self.graph.of(""))
    }

    /// A call with a token: the token as a header, the proof of just that token as a parameter.
    pub(super) async fn graph(
        &self,
        method: Method,
        path: &str,
        token: &SecretString,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, ProviderError> {
        let writes = method != Method::GET;
        let call = self.graph_uncounted(method, path, token, query, body);
        self.http.counted(Provider::Messenger, writes, call).await
    }

    async fn graph_uncounted(
        &self,
        method: Method,
        path: &str,
        token: &SecretString,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, ProviderError> {
        let proof = self.appsecret_proof(token);
        let query: Vec<(&str, &str)> =
            query.iter().copied().chain([("appsecret_proof", proof.as_str())]).collect();
        let mut call =
            self.http.call(Provider::Messenger, method, &self.graph_url(path), &query)?.bearer(token)?;
        if let Some(body) = body {
            call = call.json(body);
        }
        let answer = call.send().await?;
        pace::said(answer.usage());
        read(&answer)
    }
}

/// The answer's JSON, or what its error means. An error object counts whatever the status.
pub(super) fn read(answer: &Answer) -> Result<Value, ProviderError> {
    let body = answer.value();
    if !answer.is_success() || body.get("error").is_some_and(|e| !e.is_null()) {
        return Err(graph_error(answer, &body));
    }
    if body.is_null() { Err(answer.malformed("answer_unreadable")) } else { Ok(body) }
}

fn graph_error(answer: &Answer, body: &Value) -> ProviderError {
    let number = |name: &str| body.pointer(&format!("/error/{name}")).and_then(json::integer);
    let Some(code) = number("code") else { return answer.error_by_status() };
    let sub = number("error_subcode").filter(|s| *s != 0);
    let outage = answer.status >= 500 || body.pointer("/error/is_transient") == Some(&Value::Bool(true));
    let (kind, word) = meaning(code, sub, outage);
    let mut error = answer.error(kind, word);
    error.provider_code = Some((code, sub));
    error.retry_after_secs = match kind {
        Kind::RateLimited => usage_wait(answer).or_else(|| answer.retry_after()),
        Kind::Unavailable => answer.retry_after(),
        Kind::Paused if word == "page_restricted" => Some(RESTRICTED_SECS),
        _ => None,
    };
    tracing::debug!(
        code,
        subcode = sub,
        status = answer.status,
        fbtrace_id = trace_id(body),
        "graph refused"
    );
    error
}

/// The table of `messenger.md` 3.5. Decided on the numbers only: texts are localised and change. An outage is
/// believed where the numbers leave room for it.
fn meaning(code: i64, sub: Option<i64>, outage: bool) -> (Kind, &'static str) {
    match (code, sub) {
        (2, Some(2018344)) => (Kind::Rejected, "contact_terms"),
        (1 | 2 | 1200, _) => (Kind::Unavailable, "outage"),
        (4 | 17 | 32 | 341 | 613 | 80_000..=80_999, _) => (Kind::RateLimited, "rate_limited"),
        (10, Some(2018065 | 2018278 | 2534022)) | (1545041, _) => (Kind::WindowClosed, "window_closed"),
        (10, Some(2018108)) => (Kind::PersonUnavailable, "cannot_receive"),
        (10, Some(1893063)) | (1893063, _) => (Kind::Paused, "page_restricted"),
        (551, _) | (200..=299, Some(1545041)) => (Kind::PersonUnavailable, "person_unavailable"),
        (2018218, _) | (_, Some(2018218)) => (Kind::NotFound, "no_profile"),
        (100, Some(2018001)) => (Kind::NotFound, "wrong_recipient"),
        (100, Some(2534037)) => (Kind::Rejected, "thread_owned_elsewhere"),
        (100, Some(2018034 | 2018109 | 2018008 | 2018047 | 2018074 | 2018294 | 105 | 194))
        | (105 | 194, _) => (Kind::Rejected, "content_refused"),
        (102 | 190, Some(459)) => (Kind::Unauthorized, "person_checkpoint"),
        (102 | 190, Some(464)) => (Kind::Unauthorized, "person_unconfirmed"),
        (102 | 190, Some(458)) => (Kind::Unauthorized, "app_removed"),
        (102 | 190, Some(460)) => (Kind::Unauthorized, "password_changed"),
        (102 | 190, Some(463)) => (Kind::Unauthorized, "token_expired"),
        (102 | 190, Some(492)) => (Kind::Unauthorized, "role_lost"),
        (102 | 190, _) => (Kind::Unauthorized, "token_invalid"),
        (368, _) => (Kind::Paused, "policy_block"),
        (_, _) if outage => (Kind::Unavailable, "outage"),
        (10 | 200..=299, _) => (Kind::Forbidden, "permission_missing"),
        (100, Some(33)) => (Kind::NotFound, "no_access_to_object"),
        (100, _) => (Kind::Rejected, "invalid_parameter"),
        _ => (Kind::Rejected, "request_refused"),
    }
}

/// How long the page has to wait by what its usage says, in seconds.
fn usage_wait(answer: &Answer) -> Option<u64> {
    match answer.usage()? {
        Budget::Usage { regain_secs, .. } => Some(regain_secs).filter(|secs| *secs > 0),
        _ => None,
    }
}

/// What Meta's support asks for; logged only if it looks like one.
fn trace_id(body: &Value) -> Option<&str> {
    let id = body.pointer("/error/fbtrace_id")?.as_str()?;
    (id.len() <= 32 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')).then_some(id)
}

/// Meta writes success as a boolean, in places as a word (`messenger.md` 1.10).
pub(super) fn is_true(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(yes)) => *yes,
        Some(Value::String(word)) => word == "true",
        _ => false,
    }
}
