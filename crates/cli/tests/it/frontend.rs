//! The example front ends, in real Chromium, beside the built demo on one origin.

use crate::browser::{Driver, Process, Window, sign_up, start};
use crate::scene::client;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, TRANSFER_ENCODING};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::process::Command;
use tokio::net::TcpListener;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/frontend"))
}

fn file(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What the Caddyfile of the example does, in the test's own process.
#[derive(Clone)]
struct Proxy {
    page: &'static str,
    product: String,
    policy: String,
    http: reqwest::Client,
}

impl Proxy {
    async fn answer(self, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let is_back = path.strip_prefix("/orgs/").and_then(|p| p.strip_suffix("/integrations"));
        match (path.strip_prefix("/connections/"), is_back) {
            (Some(""), _) => self.show(self.page),
            (Some(name), _) => self.show(name),
            (None, Some(org)) if !org.contains('/') => self.show(self.page),
            _ => self.pass(request).await,
        }
    }

    fn show(&self, name: &str) -> Response {
        let kind = match name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => return StatusCode::NOT_FOUND.into_response(),
        };
        let policy = HeaderValue::from_str(&self.policy).unwrap();
        ([(CONTENT_TYPE, HeaderValue::from_static(kind)), (CONTENT_SECURITY_POLICY, policy)], file(name))
            .into_response()
    }

    async fn pass(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let url = format!("{}{}", self.product, parts.uri.path_and_query().unwrap());
        let body = to_bytes(body, 4 << 20).await.unwrap();
        let mut headers = parts.headers;
        headers.remove(TRANSFER_ENCODING);
        let sent = self.http.request(parts.method, url).headers(headers).body(body).send().await;
        // A page that was left takes its live stream with it.
        let Ok(answer) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        let Ok(body) = answer.bytes().await else { return StatusCode::BAD_GATEWAY.into_response() };
        for name in [TRANSFER_ENCODING, CONTENT_LENGTH] {
            headers.remove(name);
        }
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// The policy that the example's Caddyfile sets.
fn policy() -> String {
    let text = file("Caddyfile");
    let line = text
        .lines()
        .find(|line| line.contains("Content-Security-Policy"))
        .expect("the Caddyfile sets a policy");
    line.split('"').nth(1).expect("it stands in quotes").to_owned()
}

/// The demo behind the proxy; gives the one address of both.
async fn stage(page: &'static str) -> (Process, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let outer = format!("http://{}", listener.local_addr().expect("an address"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_agenstack"));
    command.env_clear().args([
        "demo",
        "--listen",
        "127.0.0.1:0",
        "--sandbox-listen",
        "127.0.0.1:0",
        "--public-url",
        &outer,
    ]);
    let (process, product) =
        start(command, |line| line.strip_prefix("Your proxy leads to  ").map(|url| url.trim().to_owned()));
    let proxy = Proxy { page, product, policy: policy(), http: client() };
    let answer = |State(proxy): State<Proxy>, request: Request| proxy.answer(request);
    let router = Router::new().fallback(answer).with_state(proxy);
    tokio::spawn(async { axum::serve(listener, router).await });
    (process, outer)
}

async fn three_are_connected_on(page: &'static str, name: &str, dark: bool) {
    let (_demo, outer) = stage(page).await;
    let (_driver, driver) = Driver::start();
    let more: &[&str] = if dark { &["--blink-settings=preferredColorScheme=0"] } else { &[] };
    let window = Window::open(&driver, &outer, more, json!({})).await;
    let card = |provider: &str, rest: &str| format!(".card[data-provider={provider}] {rest}");

    // Nobody is signed in: the page says so, and the product's own log-in leads back to it.
    window.go("/connections/").await;
    window.see("#connections a.button").await;
    window.is_accessible(&format!("{name}-signed-out")).await;
    window.click("#connections a.button").await;
    window.see("#email").await;
    let url = window.client.current_url().await.unwrap();
    assert_eq!((url.path(), url.query()), ("/login", Some("next=%2Fconnections%2F")));
    let org = sign_up(&window, "Lark Supply", "lena@example.com").await;

    window.go("/connections/").await;
    for provider in ["shopify", "messenger", "kustomer"] {
        window.see(&card(provider, ".badge[data-status=disconnected]")).await;
    }
    window.is_accessible(&format!("{name}-new")).await;
    let cookies = window.client.execute("return document.cookie", Vec::new()).await.unwrap();
    assert_eq!(cookies, json!(""), "no script reads the session");

    // What no shop is called leaves the page where it is, and says what is wanted.
    window.fill(&card("shopify", "input"), "lark supply!").await;
    window.click(&card("shopify", ".connect")).await;
    window.read(&card("shopify", ".wrong"), "before .myshopify.com").await;
    window.is_accessible(&format!("{name}-wrong")).await;

    // As people copy it; to the shop and back.
    window.fill(&card("shopify", "input"), "https://Lark-Supply.myshopify.com/").await;
    window.click(&card("shopify", ".connect")).await;
    window.click("#install").await;
    window.read(".notice.good", "Shopify is connected.").await;
    let url = window.client.current_url().await.unwrap();
    assert_eq!(url.path(), format!("/orgs/{org}/integrations"));
    window.see(&card("shopify", ".badge[data-status=connected]")).await;
    window.read(&card("shopify", ".accounts"), "lark-supply").await;
    window.click(&card("shopify", ".test")).await;
    window.read(&card("shopify", ".found"), "Lark Supply answers").await;

    // Cancelled at Facebook, and then not; the page is chosen on the product's own page.
    window.click(&card("messenger", ".connect")).await;
    window.click("#consent button[value=cancel]").await;
    window.read(".notice.bad", "Messenger was not connected: it was cancelled there.").await;
    window.see(&card("messenger", ".badge[data-status=disconnected]")).await;
    window.is_accessible(&format!("{name}-cancelled")).await;
    window.click(&card("messenger", ".connect")).await;
    window.see("#consent").await;
    let person = window.client.find(fantoccini::Locator::Css("#person")).await.unwrap();
    person.select_by_value("lena").await.expect("a person");
    window.click("#switch").await;
    window.see("#consent input[name=person][value=lena]").await;
    window.click("#consent button[value=continue]").await;
    window.click("input[name=page_id][value='100000000000001']").await;
    window.click("#choose").await;
    window.read(".notice.good", "Messenger is connected.").await;
    window.see(&card("messenger", ".badge[data-status=connected]")).await;

    window.fill(&card("kustomer", "input"), "lark-supply").await;
    window.click(&card("kustomer", ".connect")).await;
    window.click("#allow").await;
    window.read(".notice.good", "Kustomer is connected.").await;
    for provider in ["shopify", "messenger", "kustomer"] {
        window.see(&card(provider, ".badge[data-status=connected]")).await;
    }
    window.is_accessible(&format!("{name}-connected")).await;

    // What an address claims is shown in words of ours only.
    window.go(&format!("/orgs/{org}/integrations?shopify=error&reason=<b>call+0900</b>")).await;
    window.read(".notice.bad", "Shopify was not connected (unknown)").await;
    assert!(!window.text("body").await.contains("0900"));
    window.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_page_on_the_same_origin_connects_all_three() {
    three_are_connected_on("index.html", "frontend-plain", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_react_component_on_the_same_origin_connects_all_three() {
    three_are_connected_on("react.html", "frontend-react-dark", true).await;
}

#[test]
fn the_built_component_is_made_of_the_sources_beside_it() {
    let lines = file("built/sources.sha256");
    assert_eq!(lines.lines().count(), 5);
    for line in lines.lines() {
        let (hash, name) = line.split_once("  ").expect("as sha256sum writes it");
        let now = hex::encode(Sha256::digest(file(name).as_bytes()));
        assert_eq!(now, hash, "{name} has changed: run `npm ci && npm run build` in examples/frontend");
    }
    assert!(file("built/react.js").contains("licensed under the MIT license"), "React's licence goes along");
}

#[test]
fn the_example_pages_hold_nothing_inline_and_no_secret() {
    for page in ["index.html", "react.html"] {
        let text = file(page);
        assert!(!text.contains("<style") && !text.contains("style="), "{page}");
        assert!(!text.split_whitespace().any(|word| word.starts_with("on") && word.contains('=')), "{page}");
        assert_eq!(
            text.matches("<script").count(),
            text.matches("<script type=\"module\" src=").count(),
            "{page}"
        );
    }
    for source in ["agenstack.js", "plain.js", "AgenStackConnections.jsx", "react.jsx"] {
        let text = file(source).to_lowercase();
        for word in
            ["authorization", "bearer", "\"ast_", "api_secret", "access_token", "localstorage", "innerhtml"]
        {
            assert!(!text.contains(word), "{source}: {word}");
        }
    }
}
