//! Sends the spans of events to a collector, by OTLP over HTTP. Built in with the feature `otlp`; see `docs/tracing.md`.
//!
//! What waits to be sent is bounded: if the collector is slow or away, spans are dropped, and nothing waits for it.

use crate::config::Trace;
use agenstack_app::trace::{Collector, Kind, Span, TraceId};
use agenstack_core::clock::Timestamp;
use anyhow::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId as OtelTraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor};
use secrecy::ExposeSecret;
use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

/// How long the collector may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the last spans may take at the end of the program.
const LAST: Duration = Duration::from_secs(1);

struct Otlp {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    /// Traces whose number is below this are wanted.
    below: u64,
}

/// The collector that the settings name; within a runtime. `None` if they name none.
///
/// # Errors
/// If its address or headers cannot be used.
pub fn collector(settings: &Trace) -> anyhow::Result<Option<Arc<dyn Collector>>> {
    let Some(endpoint) = &settings.endpoint else { return Ok(None) };
    // Also makes the process's TLS provider known.
    let _ = agenstack_providers::Http::new();
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    let client = client.redirect(reqwest::redirect::Policy::none()).build();
    let client = Client {
        client: client.context("the way to the collector of spans cannot be made")?,
        runtime: Handle::current(),
        away: Arc::default(),
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_headers(headers(settings)?)
        .build()
        // The reason may repeat a header.
        .map_err(|_not_shown| anyhow::anyhow!("OTEL_EXPORTER_OTLP_ENDPOINT or _HEADERS cannot be used"))?;
    let mut processor = BatchSpanProcessor::builder(exporter).build();
    let resource = Resource::builder_empty()
        .with_service_name(settings.service_name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    processor.set_resource(&resource);
    let scope = InstrumentationScope::builder("agenstack").with_version(env!("CARGO_PKG_VERSION")).build();
    Ok(Some(Arc::new(Otlp { processor, scope, below: below(settings.ratio) })))
}

/// `name=value,…`, as the variable has it, with `%20` and the like.
fn headers(settings: &Trace) -> anyhow::Result<HashMap<String, String>> {
    let Some(text) = &settings.headers else { return Ok(HashMap::new()) };
    let pairs = text.expose_secret().split(',').filter(|pair| !pair.trim().is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = url::form_urlencoded::parse(format!("v={}", value.trim().replace('+', "%2B")).as_bytes())
            .next()?
            .1
            .into_owned();
        Some((name.trim().to_owned(), value))
    });
    pairs.collect::<Option<_>>().context("OTEL_EXPORTER_OTLP_HEADERS: expected name=value,name=value")
}

/// As other programs do it, so that those that see the same trace decide alike: 63 bits of its id against the share.
fn below(ratio: f64) -> u64 {
    if ratio >= 1.0 { u64::MAX } else { (ratio.max(0.0) * (1_u64 << 63) as f64) as u64 }
}

fn at(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(time.millis()).unwrap_or(0))
}

impl Collector for Otlp {
    fn wants(&self, trace: &TraceId) -> bool {
        let (_, low) = trace.split_at(8);
        u64::from_be_bytes(low.try_into().expect("eight of sixteen bytes")) >> 1 < self.below
    }

    fn take(&self, span: Span) {
        let context = SpanContext::new(
            OtelTraceId::from_bytes(span.trace),
            SpanId::from_bytes(span.id),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        );
        let mut attributes: Vec<KeyValue> =
            span.attributes.into_iter().map(|(name, value)| KeyValue::new(name, value)).collect();
        attributes.extend(span.failed.map(|code| KeyValue::new("error.type", code)));
        self.processor.on_end(SpanData {
            span_context: context,
            parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: span.kind == Kind::Consumer,
            span_kind: match span.kind {
                Kind::Server => SpanKind::Server,
                Kind::Consumer => SpanKind::Consumer,
                Kind::Client => SpanKind::Client,
                Kind::Internal => SpanKind::Internal,
            },
            name: span.name.into(),
            start_time: at(span.began),
            end_time: at(span.began) + span.took,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: span.failed.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        });
    }

    fn end(&self) {
        if self.processor.shutdown_with_timeout(LAST).is_err() {
            tracing::warn!("the last spans could not be sent");
        }
    }
}

/// The way to the collector. The library asks from a thread of its own, which has no runtime.
struct Client {
    client: reqwest::Client,
    runtime: Handle,
    away: Arc<AtomicBool>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

async fn send(client: reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (parts, body) = request.into_parts();
    let sent = client.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body).send();
    let answer = sent.await.map_err(reqwest::Error::without_url)?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    // What it says is of no use: the status counts.
    Ok(response)
}

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let sent = self.runtime.spawn(send(self.client.clone(), request));
        let away = self.away.clone();
        Box::pin(async move {
            let answer = sent.await?;
            let is_away = !answer.as_ref().is_ok_and(|answer| answer.status().is_success());
            // Once for each time that it goes away, not for each attempt.
            if away.swap(is_away, Ordering::Relaxed) != is_away {
                match is_away {
                    true => tracing::warn!(
                        "the collector of spans does not take them; they are dropped meanwhile"
                    ),
                    false => tracing::info!("the collector takes spans again"),
                }
            }
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;

    #[test]
    fn a_share_of_the_traces_is_wanted_and_each_node_wants_the_same() {
        let wanted = |ratio: f64| {
            let of = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1 < below(ratio);
            (0..10_000).filter(|n| of(*n)).count()
        };
        assert_eq!((wanted(0.0), wanted(1.0)), (0, 10_000));
        assert!((900..1_100).contains(&wanted(0.1)), "{}", wanted(0.1));
    }

    #[test]
    fn headers_are_read_as_the_variable_has_them_and_a_bad_one_is_not_repeated() {
        let of = |text: &str| {
            let headers = Some(SecretString::from(text));
            headers_of(&Trace { endpoint: None, headers, service_name: String::new(), ratio: 1.0 })
        };
        let read = of("x-one=a%20b, x-two=c+d=").unwrap();
        assert_eq!((read["x-one"].as_str(), read["x-two"].as_str()), ("a b", "c+d="));
        assert!(!of("canary").unwrap_err().to_string().contains("canary"));
    }

    fn headers_of(settings: &Trace) -> anyhow::Result<HashMap<String, String>> {
        headers(settings)
    }
}
