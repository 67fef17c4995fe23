//! The built program sends the spans of an event to a collector, by OTLP over HTTP: the feature `otlp`.

#![allow(clippy::unwrap_used, reason = "a test that meets what it did not expect ends there")]

use agenstack_sandbox::Settings;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

type Export = (HeaderMap, Vec<u8>);

/// What a collector was sent.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<Export>>>);

/// Trace, id, parent and name.
type Span = (Vec<u8>, Vec<u8>, Vec<u8>, String);

async fn take(State(sent): State<Sent>, headers: HeaderMap, body: Bytes) -> StatusCode {
    sent.0.lock().unwrap().push((headers, body.to_vec()));
    StatusCode::OK
}

/// The parts of a protobuf message that are bytes, texts or messages, with their numbers.
fn parts(mut message: &[u8]) -> Vec<(u64, &[u8])> {
    fn number(message: &mut &[u8]) -> u64 {
        let mut n = 0;
        for place in 0.. {
            let byte = message[0];
            *message = &message[1..];
            n |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                break;
            }
        }
        n
    }
    let mut all = Vec::new();
    while !message.is_empty() {
        let key = number(&mut message);
        let skipped = match key & 7 {
            0 => {
                number(&mut message);
                0
            }
            1 => 8,
            5 => 4,
            _ => {
                let length = number(&mut message) as usize;
                all.push((key >> 3, &message[..length]));
                length
            }
        };
        message = &message[skipped..];
    }
    all
}

fn within<'a>(messages: &[&'a [u8]], part: u64) -> Vec<&'a [u8]> {
    messages.iter().flat_map(|m| parts(m)).filter(|(n, _)| *n == part).map(|(_, m)| m).collect()
}

/// The spans of an export.
fn spans(export: &[u8]) -> Vec<Span> {
    // resource_spans, scope_spans, spans.
    let all = within(&within(&within(&[export], 1), 2), 2);
    let part = |span: &[u8], n| within(&[span], n).first().map(|b| b.to_vec()).unwrap_or_default();
    let one = |span: &&[u8]| {
        let name = String::from_utf8(part(span, 5)).unwrap();
        (part(span, 1), part(span, 2), part(span, 4), name)
    };
    all.iter().map(one).collect()
}

fn holds(all: &[u8], part: &str) -> bool {
    all.windows(part.len()).any(|w| w == part.as_bytes())
}

/// Ends with the test, however that ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn free_port() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    (listener, at)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_and_the_effect_of_an_event_reach_a_collector_in_one_trace_and_no_secret_does() {
    let folder = tempfile::tempdir().unwrap();
    let sent = Sent::default();
    let (listener, collector) = free_port().await;
    let router = Router::new().route("/v1/traces", post(take)).with_state(sent.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let (listener, sandbox) = free_port().await;
    let settings = Settings::demo(format!("http://{sandbox}"), "http://127.0.0.1:9");
    tokio::spawn(agenstack_sandbox::serve(listener, settings.clone(), std::future::pending()));
    let (listener, at) = free_port().await;
    drop(listener);

    let mut environment: BTreeMap<String, String> =
        settings.product_environment().into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
    for (name, value) in [
        // 32 bytes that are no placeholder.
        ("AGENSTACK_MASTER_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned()),
        ("AGENSTACK_DATABASE_URL", format!("sqlite://{}", folder.path().join("a.db").display())),
        ("AGENSTACK_LISTEN", at.clone()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}")),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=lark%20supply".to_owned()),
        ("OTEL_SERVICE_NAME", "shopdesk".to_owned()),
    ] {
        environment.insert(name.into(), value);
    }
    let program = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agenstack"));
        command.env_clear().envs(&environment).args(arguments).stdin(Stdio::null());
        command
    };
    let seeded = program(&["seed", "--organizations", "1"]).output().unwrap();
    assert!(seeded.status.success(), "{}", String::from_utf8_lossy(&seeded.stderr));
    let server = program(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut server = Server(server.unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("AgenStack is ready"), "{line}");

    let page = "100000000000001";
    let item = json!({"sender": {"id": "7000000000000001"}, "recipient": {"id": page}, "timestamp": 1_795_600_000_000_i64,
        "message": {"mid": "m_canary", "text": "canary, order #1001, canary@example.com"}});
    let body = json!({"object": "page", "entry": [{"id": page, "time": 1_795_600_000_000_i64, "messaging": [item]}]});
    let body = body.to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(settings.meta_app_secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let _ = agenstack_providers::Http::new();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request =
        http.post(format!("http://{at}/api/webhooks/messenger")).header("x-hub-signature-256", &signature);
    assert_eq!(request.body(body).send().await.unwrap().status(), 200);

    // Sent a few seconds later, together with others.
    let all = || -> Vec<_> { sent.0.lock().unwrap().iter().flat_map(|(_, body)| spans(body)).collect() };
    let began = std::time::Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while !all().iter().any(|span| span.3 == "effect") {
        tick.tick().await;
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", all());
    }
    // What is left is sent at the end.
    Command::new("kill").args(["-TERM", &server.0.id().to_string()]).status().unwrap();
    assert!(tokio::task::spawn_blocking(move || server.0.wait()).await.unwrap().unwrap().success());

    let all = all();
    let accept = all.iter().find(|span| span.3 == "accept").expect("its receipt");
    assert_eq!((accept.0.len(), accept.1.len(), accept.2.len()), (16, 8, 0));
    for name in ["accept.verify", "accept.route", "accept.commit", "wait", "handle", "effect"] {
        let part = all.iter().find(|span| span.3 == name && span.0 == accept.0);
        assert_eq!(part.expect(name).2, accept.1, "{name} is a part of the receipt's trace");
    }
    assert!(all.iter().any(|span| span.3 == "provider.call" && span.0 == accept.0), "{all:?}");

    for (headers, body) in sent.0.lock().unwrap().iter() {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        assert_eq!(headers["x-tenant"], "lark supply");
        assert!(holds(body, "shopdesk") && holds(body, "service.name"));
        let secrets =
            [&settings.meta_app_secret, &settings.shopify_api_secret, &environment["AGENSTACK_MASTER_KEY"]];
        for word in ["canary", "1001", "example.com", "7000000000000001"]
            .into_iter()
            .chain(secrets.map(String::as_str))
        {
            assert!(!holds(body, word), "{word} was sent");
        }
    }
}
