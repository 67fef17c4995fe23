//! A provider on this machine that answers as it is told and remembers what it was asked.

use agenstack_core::clock::Timestamp;
use agenstack_core::integration::{PageId, ShopDomain, Subdomain};
use agenstack_providers::{Http, Kustomer, KustomerApp, Messenger, MetaApp, Shopify, ShopifyApp};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, Method};
use secrecy::SecretString;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The secret of every app here, and the token of every call: those of the vectors, so that their proof is known.
pub const SECRET: &str = "5f1c0e7b9a3d48261e0f7c5ab94d3628";
pub const TOKEN: &str = "EAAPageTokenExample0001";
pub const PROOF: &str = "f700edb7e3d420cdb109b38688d32b96c156fdfb3beab4303d6b98bdf73d3d45";
pub const APP_ID: &str = "734512098811204";
pub const NOW: Timestamp = Timestamp::from_secs(1_795_518_000);

pub fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

pub fn token() -> SecretString {
    secret(TOKEN)
}

pub fn shop() -> ShopDomain {
    ShopDomain::parse("lark.myshopify.com").unwrap()
}

pub fn page() -> PageId {
    PageId::parse("104729388401553").unwrap()
}

pub fn org() -> Subdomain {
    Subdomain::parse("acme").unwrap()
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub raw_query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    pub fn form(&self) -> BTreeMap<String, String> {
        form_urlencoded::parse(&self.body).into_owned().collect()
    }

    pub fn query(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.raw_query.as_bytes())
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.into_owned())
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// `GET /path`, for comparing whole conversations.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What is answered.
pub enum Reply {
    /// A whole answer.
    Of(u16, Value),
    /// The same with headers.
    With(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// The request was read and the connection ends without an answer.
    Lost,
    /// The request was read and nothing ever comes.
    Never,
}

/// The listener. Ends with the test.
pub struct Wire {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    /// Answers each request by what `answer` makes of it.
    pub async fn answering(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), asked.clone());
        let app = Router::new().fallback(move |request: Request| {
            let (answer, log) = (answer.clone(), log.clone());
            async move {
                let asked = read(request).await;
                log.lock().unwrap().push(asked.clone());
                match answer(&asked) {
                    Reply::Of(status, body) => response(status, &[], body.to_string().into_bytes()),
                    Reply::With(status, headers, body) => response(status, &headers, body),
                    // Ends the connection's task, and with it the connection, without the noise of a panic.
                    Reply::Lost => std::panic::resume_unwind(Box::new("lost")),
                    Reply::Never => std::future::pending().await,
                }
            }
        });
        let task =
            tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves until aborted") });
        Self { url, asked, task }
    }

    /// Answers every request alike.
    pub async fn with(status: u16, body: Value) -> Self {
        Self::answering(move |_| Reply::Of(status, body.clone())).await
    }

    /// Answers its one request with exactly these bytes, and closes.
    pub async fn raw(bytes: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 64 * 1024];
            let mut got = Vec::new();
            // The requests of these tests have small bodies that come with their head or right after it.
            while !got.windows(4).any(|w| w == b"\r\n\r\n") {
                let n = stream.read(&mut buffer).await.unwrap();
                got.extend_from_slice(&buffer[..n]);
            }
            // The other side may refuse to read all of it, which is what such a test is about.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
        });
        Self { url, asked: Arc::default(), task }
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The same as lines.
    pub fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }

    pub fn shopify(&self) -> Shopify {
        shopify(&self.url, Http::new())
    }

    pub fn messenger(&self) -> Messenger {
        messenger(&self.url, Http::new())
    }

    pub fn kustomer(&self) -> Kustomer {
        kustomer(&self.url, Http::new())
    }
}

pub fn shopify(url: &str, http: Http) -> Shopify {
    let app = ShopifyApp {
        api_key: "0f1e2d3c4b5a69788796a5b4c3d2e1f0".to_owned(),
        api_secret: secret(SECRET),
        api_secret_previous: None,
        scopes: vec!["read_orders".to_owned()],
    };
    Shopify::new(app, format!("{url}/{{shop}}"), http).unwrap()
}

pub fn messenger(url: &str, http: Http) -> Messenger {
    let app = MetaApp {
        app_id: APP_ID.to_owned(),
        app_secret: secret(SECRET),
        verify_token: secret("verify-me-0003"),
    };
    Messenger::new(app, format!("{url}/dialog"), format!("{url}/graph"), http).unwrap()
}

pub fn kustomer(url: &str, http: Http) -> Kustomer {
    let app = KustomerApp { client_id: "kust-client".to_owned(), client_secret: secret(SECRET) };
    Kustomer::new(http, &format!("{url}/web/{{org}}"), &format!("{url}/{{org}}"), Some(app)).unwrap()
}

async fn read(request: Request) -> Asked {
    let (parts, body) = request.into_parts();
    Asked {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        raw_query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: to_bytes(body, 1 << 20).await.unwrap(),
    }
}

fn response(status: u16, headers: &[(&'static str, String)], body: Vec<u8>) -> Response {
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(Body::from(body)).unwrap()
}
