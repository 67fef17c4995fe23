//! What all handlers share.

use crate::deliver::Lanes;
use crate::record::{Ends, Received, Record};
use crate::settings::Settings;
use crate::world::World;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures::stream;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sandbox(Arc<Inner>);

struct Inner {
    settings: Settings,
    world: Mutex<World>,
    record: Mutex<Record>,
    lanes: Lanes,
}

impl Sandbox {
    pub(crate) fn new(settings: Settings) -> Self {
        let world = World::new(&settings);
        Self(Arc::new(Inner {
            settings,
            world: Mutex::new(world),
            record: Mutex::default(),
            lanes: Lanes::new(),
        }))
    }
    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().expect("no holder of this lock can panic")
    }
    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.0.record.lock().expect("no holder of this lock can panic")
    }
    pub(crate) fn lanes(&self) -> &Lanes {
        &self.0.lanes
    }
}

/// A call to an emulated API: what it is, and whose token it carries.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub provider: &'static str,
    pub account: String,
    pub method: String,
    pub path: String,
    pub operation: String,
    pub token_of: Option<String>,
    pub token_kind: Option<&'static str>,
}

/// An answer before it is sent.
pub(crate) struct Answer {
    pub status: u16,
    pub body: Value,
    pub headers: Vec<(String, String)>,
}

impl Answer {
    pub(crate) fn new(status: u16, body: Value) -> Self {
        Self { status, body, headers: Vec::new() }
    }
}

impl Sandbox {
    /// Answers a call: with the fault it was told to have, or with what `answer` gives; and records it.
    pub(crate) async fn answer(&self, call: Call, answer: impl FnOnce(&Sandbox) -> Answer) -> Response {
        let fault = self.record().fault(call.provider, &call.account, &call.operation);
        if let Some(fault) = &fault
            && fault.delay_ms > 0
        {
            tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        }
        let answer = match &fault {
            Some(fault) if !fault.lose_answer && fault.hold_ms == 0 => {
                let body =
                    fault.body.clone().unwrap_or_else(|| serde_json::json!({"errors": "emulated fault"}));
                let mut failed = Answer::new(fault.status, body);
                if let Some(secs) = fault.retry_after {
                    failed.headers.push(("retry-after".into(), secs.to_string()));
                }
                failed.headers.extend(fault.headers.clone());
                failed
            }
            _ => answer(self),
        };
        self.record().received(Received {
            seq: 0,
            at: String::new(),
            provider: call.provider,
            account: call.account,
            method: call.method,
            path: call.path,
            operation: call.operation,
            token_of: call.token_of,
            token_kind: call.token_kind,
            status: answer.status,
        });
        if let Some(fault) = &fault
            && fault.hold_ms > 0
        {
            tokio::time::sleep(Duration::from_millis(fault.hold_ms)).await;
        }
        if fault.as_ref().is_some_and(|f| f.lose_answer) {
            // A gateway between the two lost it: whoever asked cannot know what was done.
            return (StatusCode::BAD_GATEWAY, "").into_response();
        }
        let ends = fault.map(|f| f.ends).unwrap_or_default();
        if ends == Ends::Never {
            std::future::pending::<()>().await;
        }
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = match (status, answer.body) {
            (StatusCode::NO_CONTENT, _) => status.into_response(),
            (_, body) => match ends {
                Ends::Cut => {
                    let half = Bytes::from_static(b"{\"data\": {\"id\": ");
                    let broken = std::io::Error::other("emulated fault");
                    (status, Body::from_stream(stream::iter([Ok(half), Err(broken)]))).into_response()
                }
                Ends::Garbage => (status, "<!doctype html><title>Sorry</title>").into_response(),
                Ends::Whole | Ends::Never => (status, Json(body)).into_response(),
            },
        };
        for (name, value) in answer.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
