//! Faults on order: the next calls of a kind fail as a test or a person asked.

use axum::body::Body;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call::{Answer, Trace};
use crate::state::Shared;

/// How an ordered call fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// Answers `status` with the provider's usual body for it; nothing is done.
    #[default]
    Status,
    /// Answers as usual after `delay_ms`.
    Slow,
    /// Does what was asked, then breaks the connection off in mid-answer.
    Cut,
    /// Answers 200 with something that is not JSON.
    Garbage,
    /// Answers as the provider does when a rate limit is reached.
    Throttle,
}

/// An order for the next matching calls. Empty members match everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub provider: String,
    #[serde(default)]
    pub account: String,
    /// Exact, or a prefix with `*` at its end.
    #[serde(default)]
    pub operation: String,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default = "default_status")]
    pub status: u16,
    #[serde(default)]
    pub body: Option<Value>,
    #[serde(default)]
    pub retry_after: Option<Value>,
    #[serde(default)]
    pub delay_ms: u64,
    #[serde(default = "default_times")]
    pub times: u32,
    /// Whether the call takes effect although its answer fails; by default only for `slow` and `cut`.
    #[serde(default)]
    pub processed: Option<bool>,
}

fn default_status() -> u16 {
    503
}

fn default_times() -> u32 {
    1
}

/// The first ordered fault that matches, counted down.
pub(crate) fn take(shared: &Shared, trace: &Trace) -> Option<Fault> {
    if shared.read(|s| s.faults.is_empty()) {
        return None;
    }
    shared.edit(|s| {
        let at = s.faults.iter().position(|f| f.matches(trace))?;
        let fault = s.faults[at].clone();
        s.faults[at].times = s.faults[at].times.saturating_sub(1);
        if s.faults[at].times == 0 {
            s.faults.remove(at);
        }
        Some(fault)
    })
}

impl Fault {
    fn matches(&self, trace: &Trace) -> bool {
        let operation = match self.operation.strip_suffix('*') {
            Some(prefix) => trace.operation.starts_with(prefix),
            None => self.operation.is_empty() || self.operation == trace.operation,
        };
        self.provider == trace.provider && operation && (self.account.is_empty() || self.account == trace.account)
    }

    pub(crate) fn processes(&self) -> bool {
        self.processed.unwrap_or(matches!(self.mode, Mode::Slow | Mode::Cut))
    }

    /// The answer to give, and whether to break it off.
    pub(crate) fn shape(&self, trace: &Trace, processed: Option<Answer>) -> (Answer, bool) {
        let usual = || processed.unwrap_or_else(|| refusal(trace.provider, self.status));
        let answer = match self.mode {
            Mode::Slow => usual(),
            Mode::Cut => return (usual().note("fault: cut off"), true),
            Mode::Garbage => {
                let mut answer = Answer::empty(200).header("content-type", "text/html; charset=utf-8");
                answer.body = "<!doctype html><title>Oops</title><p>Something went wr".to_owned();
                answer.note("fault: garbage")
            }
            Mode::Throttle => self.retry(throttled(trace)).note("fault: throttled"),
            Mode::Status => {
                let mut answer = refusal(trace.provider, self.status);
                if let Some(body) = &self.body {
                    answer.body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
                }
                self.retry(answer).note("fault: status")
            }
        };
        (answer, false)
    }

    fn retry(&self, answer: Answer) -> Answer {
        match &self.retry_after {
            Some(Value::String(text)) => answer.header("retry-after", text),
            Some(other) => answer.header("retry-after", other),
            None => answer,
        }
    }
}

/// The body each provider is known to send with a status (shopify.md 3.3, messenger.md 3.5, kustomer.md 2.4).
fn refusal(provider: &str, status: u16) -> Answer {
    let reason = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Error");
    let body = match (provider, status) {
        ("shopify", 401) => json!({"errors": crate::shopify::BAD_TOKEN}),
        ("shopify", 402) => json!({"errors": "Unavailable Shop"}),
        ("shopify", 429) => json!({"errors": "Exceeded 2 calls per second for api client. Reduce request rates to resume uninterrupted service."}),
        ("shopify", _) => json!({"errors": reason}),
        ("meta", 500..) => meta_error(2, "OAuthException", "An unexpected error has occurred. Please retry your request later.", true),
        ("meta", 401) => meta_error(190, "OAuthException", "Error validating access token: The session has been invalidated.", false),
        ("meta", 429) => meta_error(4, "OAuthException", "(#4) Application request limit reached", true),
        ("meta", _) => meta_error(100, "OAuthException", "(#100) Invalid parameter", false),
        (_, 429) => json!({"errors": [{"code": "rate_limit_exceeded", "message": "Rate limit exceeded", "meta": {}}]}),
        _ => json!({"errors": [{"code": reason.to_lowercase().replace(' ', "_"), "message": reason, "meta": {}}]}),
    };
    Answer::json(status, &body)
}

fn throttled(trace: &Trace) -> Answer {
    match trace.provider {
        "shopify" if trace.operation.starts_with("graphql") => Answer::json(
            200,
            &json!({
                "errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED", "documentation": "https://shopify.dev/api/usage/rate-limits"}}],
                "extensions": {"cost": {"requestedQueryCost": 12, "actualQueryCost": null,
                    "throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 2, "restoreRate": 100.0}}}
            }),
        ),
        "meta" => {
            let body = meta_error(613, "OAuthException", "(#613) Calls to this api have exceeded the rate limit.", true);
            let id = if trace.account.is_empty() { "0" } else { &trace.account };
            let usage = json!({id: [{"type": "messenger", "call_count": 100, "total_cputime": 20, "total_time": 20, "estimated_time_to_regain_access": 1}]});
            Answer::json(400, &body).header("x-business-use-case-usage", usage)
        }
        provider => refusal(provider, 429),
    }
}

fn meta_error(code: i64, kind: &str, message: &str, transient: bool) -> Value {
    json!({"error": {"message": message, "type": kind, "code": code, "is_transient": transient, "fbtrace_id": "A5andB0xTrace"}})
}

/// Half of the text, then an error: the server drops the connection.
pub(crate) fn broken_body(text: &str) -> Body {
    let half = Bytes::copy_from_slice(&text.as_bytes()[..text.len() / 2]);
    let lost = std::io::Error::new(std::io::ErrorKind::ConnectionAborted, "cut off on order");
    Body::from_stream(futures::stream::iter([Ok(half), Err(lost)]))
}
