//! Every call to an emulated API: read, checked for an ordered fault, answered, recorded.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fault;
use crate::signature::fingerprint;
use crate::state::{KEPT, Shared};

const BODY_LIMIT: usize = 1 << 20;

/// One call that the sandbox received.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Position in the record, from 1.
    pub seq: u64,
    /// When it was answered, in the sandbox's own time.
    pub at_ms: i64,
    /// `shopify`, `meta` or `kustomer`.
    pub provider: String,
    /// The account that was addressed: shop domain, page id, Kustomer subdomain, or nothing.
    pub account: String,
    /// HTTP method.
    pub method: String,
    /// Path without its query, which may carry tokens.
    pub path: String,
    /// What was asked, such as `token.refresh` or `messages.send`.
    pub operation: String,
    /// The account to which the presented token really belongs, or nothing.
    pub token_owner: String,
    /// First eight hex digits of the token's SHA-256.
    pub token_fingerprint: String,
    /// HTTP status of the answer; 0 when the connection was cut on order.
    pub status: u16,
    /// Why it was refused, in a few words.
    pub note: String,
}

/// A request, read whole.
pub(crate) struct Incoming {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub query: Vec<(String, String)>,
    /// Members of a JSON object or of a form.
    pub fields: Map<String, Value>,
    /// False when the body claims to be JSON and is not.
    pub readable: bool,
}

impl Incoming {
    async fn read(req: Request) -> Result<Incoming, StatusCode> {
        let (parts, body) = req.into_parts();
        let body = axum::body::to_bytes(body, BODY_LIMIT).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
        let query = pairs(parts.uri.query().unwrap_or_default().as_bytes());
        let (fields, readable) = fields(&parts.headers, &body);
        Ok(Incoming {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            headers: parts.headers,
            query,
            fields,
            readable,
        })
    }

    /// Path segments, decoded; empty ones dropped.
    pub(crate) fn segments(&self) -> Vec<String> {
        let decode = |s: &str| percent_decode_str(s).decode_utf8_lossy().into_owned();
        self.path.split('/').filter(|s| !s.is_empty()).map(decode).collect()
    }

    /// A parameter from the query.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// A parameter from the body, else from the query.
    pub(crate) fn param(&self, name: &str) -> Option<String> {
        match self.fields.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Null) | None => self.query(name).map(str::to_owned),
            Some(other) => Some(other.to_string()),
        }
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// The token of `Authorization: Bearer`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header("authorization").and_then(|v| v.strip_prefix("Bearer ")).map(str::trim)
    }
}

fn pairs(raw: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(raw).map(|(k, v)| (k.into_owned(), v.into_owned())).collect()
}

fn fields(headers: &HeaderMap, body: &Bytes) -> (Map<String, Value>, bool) {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if body.is_empty() {
        return (Map::new(), true);
    }
    if kind.starts_with("application/x-www-form-urlencoded") {
        return (pairs(body).into_iter().map(|(k, v)| (k, Value::String(v))).collect(), true);
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => (map, true),
        _ => (Map::new(), false),
    }
}

/// What a call turned out to be, before it is answered.
#[derive(Default)]
pub(crate) struct Trace {
    pub provider: &'static str,
    pub account: String,
    pub operation: String,
    pub token: String,
    pub token_owner: String,
}

/// What goes back.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    pub note: String,
}

impl Answer {
    pub(crate) fn json(status: u16, body: &Value) -> Answer {
        let headers = vec![("content-type", "application/json; charset=utf-8".to_owned())];
        Answer { status, headers, body: body.to_string(), note: String::new() }
    }

    pub(crate) fn empty(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: String::new(), note: String::new() }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl ToString) -> Answer {
        self.headers.push((name, value.to_string()));
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Answer {
        self.note = note.into();
        self
    }

    pub(crate) fn into_response(self, body: Body) -> Response {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(body).expect("the sandbox writes only valid header values")
    }
}

/// An emulated API: tells what a call is, then answers it.
pub(crate) trait Api {
    fn trace(shared: &Shared, call: &Incoming) -> Trace;
    fn answer(shared: &Shared, call: &Incoming, trace: &Trace) -> Answer;
}

/// Answers one call to an API and records it.
pub(crate) async fn serve<A: Api>(shared: Shared, req: Request) -> Response {
    let call = match Incoming::read(req).await {
        Ok(call) => call,
        Err(status) => return Answer::empty(status.as_u16()).into_response(Body::empty()),
    };
    let trace = A::trace(&shared, &call);
    let ordered = fault::take(&shared, &trace);
    if let Some(fault) = &ordered
        && fault.delay_ms > 0
    {
        tokio::time::sleep(std::time::Duration::from_millis(fault.delay_ms)).await;
    }
    let (answer, cut) = match &ordered {
        Some(fault) => {
            let processed = fault.processes().then(|| A::answer(&shared, &call, &trace));
            fault.shape(&trace, processed)
        }
        None => (A::answer(&shared, &call, &trace), false),
    };
    record(&shared, &call, &trace, &answer, cut);
    let body = if cut { fault::broken_body(&answer.body) } else { Body::from(answer.body.clone()) };
    answer.into_response(body)
}

fn record(shared: &Shared, call: &Incoming, trace: &Trace, answer: &Answer, cut: bool) {
    let at_ms = shared.now();
    shared.edit(|s| {
        s.calls_seen += 1;
        s.calls.push_back(Call {
            seq: s.calls_seen,
            at_ms,
            provider: trace.provider.to_owned(),
            account: trace.account.clone(),
            method: call.method.to_string(),
            path: call.path.clone(),
            operation: trace.operation.clone(),
            token_owner: trace.token_owner.clone(),
            token_fingerprint: fingerprint(&trace.token),
            status: if cut { 0 } else { answer.status },
            note: answer.note.clone(),
        });
        if s.calls.len() > KEPT {
            s.calls.pop_front();
        }
    });
}
