//! The journey of an event as spans, from its receipt to its effects, for whoever collects them.
//!
//! Each event is a trace of its own, whose id is derived from the event's: nothing is stored for it, and whichever process
//! works on the event later continues the same trace. What an event asks for later (a message to be sent) names the event
//! in its queued deed, while somebody collects.
//!
//! A span holds names, numbers and ids that are listed here, and nothing else: no text of a message, no e-mail, no token can
//! come into it by being printed somewhere. Without a collector none of this costs anything.

use crate::App;
use crate::error::AppError;
use agenstack_core::clock::Timestamp;
use agenstack_core::entropy::bytes;
use agenstack_core::event::Event;
use agenstack_core::id::{EventId, OrgId};
use agenstack_core::integration::Provider;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

/// The id of a trace.
pub type TraceId = [u8; 16];
/// The id of a span.
pub type SpanId = [u8; 8];

/// Takes spans that have ended. It must not wait for anybody.
pub trait Collector: Send + Sync {
    /// Whether spans of this trace are wanted; every node has to decide in the same way.
    fn wants(&self, trace: &TraceId) -> bool;
    /// Takes a span.
    fn take(&self, span: Span);
    /// Sends what is left. May block for a moment.
    fn end(&self);
}

/// What a span is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody asked us.
    Server,
    /// Taken from the queue.
    Consumer,
    /// We ask a provider.
    Client,
    /// A part of another.
    Internal,
}

/// A stretch of an event's journey.
#[derive(Clone, Debug)]
pub struct Span {
    /// The event's.
    pub trace: TraceId,
    /// Its own.
    pub id: SpanId,
    /// The span that it is a part of; `None`: it is the first.
    pub parent: Option<SpanId>,
    /// What is done.
    pub name: &'static str,
    /// What it is to the others.
    pub kind: Kind,
    /// When it began.
    pub began: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Words and numbers, by name.
    pub attributes: Vec<(&'static str, String)>,
    /// Why it failed, as a code.
    pub failed: Option<&'static str>,
}

/// Where an event's journey is, for what is done within.
#[derive(Clone, Debug)]
struct Place {
    event: EventId,
    org: OrgId,
    trace: TraceId,
    span: SpanId,
    began: Timestamp,
}

tokio::task_local! {
    static HERE: Place;
}

/// The trace of an event, and the span of its acceptance, with which it begins.
fn of(event: &EventId) -> (TraceId, SpanId) {
    let digest = Sha256::digest(event.as_str().as_bytes());
    let (mut trace, mut span) = (TraceId::default(), SpanId::default());
    trace.copy_from_slice(&digest[..16]);
    span.copy_from_slice(&digest[16..24]);
    (trace, span)
}

/// When the steps of accepting a delivery were done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    began: Instant,
    verified: Instant,
    routed: Instant,
}

impl Arrival {
    /// It begins.
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, verified: now, routed: now }
    }

    /// It is signed by the provider.
    pub(crate) fn verified(&mut self) {
        self.verified = Instant::now();
        self.routed = self.verified;
    }

    /// Its owner is known, and it is sealed; from now on it waits for its commit.
    pub(crate) fn routed(&mut self) {
        self.routed = Instant::now();
    }

    /// An event of it was committed a moment ago.
    pub(crate) fn committed(&self, app: &App, event: &EventId, org: &OrgId, provider: Provider) {
        let Some(collector) = app.collector() else { return };
        let (trace, first) = of(event);
        if !collector.wants(&trace) {
            return;
        }
        let (now, end) = (app.now(), Instant::now());
        let took = |from: Instant, to: Instant| to.saturating_duration_since(from);
        let span = |name, from: Instant, to: Instant| Span {
            trace,
            id: bytes(app.entropy()),
            parent: Some(first),
            name,
            kind: Kind::Internal,
            began: before(now, took(from, end)),
            took: took(from, to),
            attributes: Vec::new(),
            failed: None,
        };
        collector.take(span("accept.verify", self.began, self.verified));
        collector.take(span("accept.route", self.verified, self.routed));
        collector.take(span("accept.commit", self.routed, end));
        let attributes = vec![
            ("organization.id", org.to_string()),
            ("event.id", event.to_string()),
            ("provider", provider.as_str().to_owned()),
        ];
        let whole = span("accept", self.began, end);
        collector.take(Span { id: first, parent: None, kind: Kind::Server, attributes, ..whole });
    }
}

fn before(now: Timestamp, ago: Duration) -> Timestamp {
    now.plus_millis(-i64::try_from(ago.as_millis()).unwrap_or(i64::MAX))
}

/// Works on an event, or on a deed that one asked for.
pub(crate) async fn worked<T>(
    app: &App,
    org: &OrgId,
    event: Option<&EventId>,
    name: &'static str,
    kind: Option<&'static str>,
    work: impl Future<Output = Result<T, AppError>>,
) -> Result<T, AppError> {
    let (Some(collector), Some(event)) = (app.collector(), event) else { return work.await };
    let (trace, first) = of(event);
    if !collector.wants(&trace) {
        return work.await;
    }
    let place =
        Place { event: event.clone(), org: org.clone(), trace, span: bytes(app.entropy()), began: app.now() };
    let begun = Instant::now();
    let outcome = HERE.scope(place.clone(), work).await;
    let mut all = vec![("organization.id", org.to_string()), ("event.id", event.to_string())];
    all.extend(kind.map(|kind| ("deed", kind.to_owned())));
    collector.take(Span {
        trace,
        id: place.span,
        parent: Some(first),
        name,
        kind: Kind::Consumer,
        began: place.began,
        took: begun.elapsed(),
        attributes: all,
        failed: outcome.as_ref().err().map(AppError::code),
    });
    outcome
}

/// Calls a provider within the work on an event.
pub(crate) async fn called<T>(
    app: &App,
    provider: Provider,
    call: impl Future<Output = Result<T, AppError>>,
) -> Result<T, AppError> {
    let (Some(collector), Ok(place)) = (app.collector(), HERE.try_with(Place::clone)) else {
        return call.await;
    };
    let (began, begun) = (app.now(), Instant::now());
    let outcome = call.await;
    collector.take(Span {
        trace: place.trace,
        id: bytes(app.entropy()),
        parent: Some(place.span),
        name: "provider.call",
        kind: Kind::Client,
        began,
        took: begun.elapsed(),
        attributes: vec![
            ("organization.id", place.org.to_string()),
            ("provider", provider.as_str().to_owned()),
        ],
        failed: outcome.as_ref().err().map(AppError::code),
    });
    outcome
}

/// The event that is worked on here has waited for it since it was received, former attempts included.
pub(crate) fn waited(app: &App, event: &Event) {
    let (Some(collector), Ok(place)) = (app.collector(), HERE.try_with(Place::clone)) else { return };
    let millis = place.began.millis().saturating_sub(event.received_at.millis());
    collector.take(Span {
        trace: place.trace,
        id: bytes(app.entropy()),
        parent: Some(of(&place.event).1),
        name: "wait",
        kind: Kind::Internal,
        began: event.received_at,
        took: Duration::from_millis(u64::try_from(millis).unwrap_or(0)),
        attributes: vec![("attempt", event.attempts.to_string())],
        failed: None,
    });
}

/// The event that is worked on here, if somebody collects: what it asks for continues its trace.
pub(crate) fn event_here() -> Option<EventId> {
    HERE.try_with(|place| place.event.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_derives_the_same_trace_of_an_event_and_another_for_each() {
        let event = |n: u8| EventId::parse(&format!("evt_01jdgx9k4w5m6n7p8q9rstvw{n:02}")).expect("an id");
        assert_eq!(of(&event(10)), of(&event(10)));
        assert_ne!(of(&event(10)).0, of(&event(11)).0);
        assert_ne!(of(&event(10)).0, TraceId::default());
    }
}
