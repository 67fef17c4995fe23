//! The stage: a server on a fresh database, the emulated providers, and people who use them.

use agenstack::config::{Config, Sources};
use agenstack::wiring::{Role, Running, World, start};
use agenstack_app::care;
use agenstack_app::trace::Collector;
use agenstack_app::worker;
use agenstack_core::clock::{Clock, SystemClock, Timestamp};
use agenstack_core::entropy::OsEntropy;
use agenstack_providers::Http;
use agenstack_sandbox::{Settings, Walk};
use agenstack_store::testing::TestDb;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, ClientBuilder, Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// Real time, moved when a test says so.
pub struct ShiftedClock(AtomicI64);

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus_millis(self.0.load(Ordering::SeqCst))
    }
}

/// What the providers of one tenant are called in the sandbox.
#[derive(Clone, Copy, Debug)]
pub struct Accounts {
    pub label: &'static str,
    pub facebook: &'static str,
    pub page: &'static str,
}

pub const LARK: Accounts = Accounts { label: "lark-supply", facebook: "lena", page: "100000000000001" };
pub const FERN: Accounts = Accounts { label: "fern-goods", facebook: "finn", page: "100000000000002" };

impl Accounts {
    pub fn shop(&self) -> String {
        format!("{}.myshopify.com", self.label)
    }
}

/// A running server with its providers. Its worker works only when a test says so.
pub struct Scene {
    pub product: String,
    pub sandbox: String,
    pub settings: Settings,
    pub running: Running,
    pub clock: Arc<ShiftedClock>,
    pub http: Client,
    pub db: TestDb,
}

/// A client that keeps nothing and follows nothing.
pub fn client() -> Client {
    client_that(|builder| builder)
}

/// The same with something of its own.
pub fn client_that(has: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    // Also makes the process's TLS provider known.
    let _ = agenstack_providers::Http::new();
    let builder = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    has(builder).build().expect("a client needs nothing of the machine")
}

/// The settings of a server that speaks to the sandbox.
pub fn environment(settings: &Settings, db: &str) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> =
        settings.product_environment().into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
    // 32 bytes that are no placeholder.
    all.insert("AGENSTACK_MASTER_KEY".into(), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into());
    all.insert("AGENSTACK_DATABASE_URL".into(), db.into());
    all
}

pub async fn sandbox_for(product: &str) -> (String, Settings) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let settings = Settings::demo(url.clone(), product);
    tokio::spawn(agenstack_sandbox::serve(listener, settings.clone(), std::future::pending()));
    (url, settings)
}

impl Scene {
    pub async fn on(db: TestDb) -> Self {
        Self::with(db, &[]).await
    }

    /// With settings of its own beside the usual ones; an empty one takes a usual one away.
    pub async fn with(db: TestDb, more: &[(&str, &str)]) -> Self {
        Self::over(db, Http::new(), more).await
    }

    /// The same over another way to the providers, such as one of less patience.
    pub async fn over(db: TestDb, http: Http, more: &[(&str, &str)]) -> Self {
        Self::watched(db, http, more, None).await
    }

    /// The same with somebody who takes the spans of events.
    pub async fn watched(
        db: TestDb,
        http: Http,
        more: &[(&str, &str)],
        collector: Option<Arc<dyn Collector>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let product = format!("http://{}", listener.local_addr().expect("an address"));
        let (sandbox, settings) = sandbox_for(&product).await;
        let mut environment = environment(&settings, &db.url);
        environment.insert("AGENSTACK_PUBLIC_URL".into(), product.clone());
        for (name, value) in more {
            match *value {
                "" => drop(environment.remove(*name)),
                value => drop(environment.insert((*name).to_owned(), value.to_owned())),
            }
        }
        let config = Config::load(&Sources::from_environment(environment)).expect("the settings are right");
        let clock = Arc::new(ShiftedClock(AtomicI64::new(0)));
        let world = World { clock: Some(clock.clone()), entropy: Arc::new(OsEntropy), http, collector };
        let running = start(&config, Role::Web, Some(listener), world).await.expect("the server starts");
        Self { product, sandbox, settings, running, clock, http: client(), db }
    }

    pub fn pass_time(&self, secs: i64) {
        self.clock.0.fetch_add(secs * 1000, Ordering::SeqCst);
    }

    /// Connections are looked after, once: what has to be renewed, then what has to be probed.
    pub async fn care(&self) {
        care::renew(self.running.app.clone()).await;
        care::probe(self.running.app.clone()).await;
    }

    /// Lets everything happen that is going to happen: deliveries, and all work they cause.
    pub async fn settle(&self) {
        loop {
            self.control(Method::POST, "/settle", None).await;
            let mut done = 0;
            loop {
                let n = worker::pass(&self.running.app).await.expect("the queue can be read");
                done += n;
                if n == 0 {
                    break;
                }
            }
            if done == 0 {
                break;
            }
        }
        agenstack_app::scrub::round(&self.running.app)
            .await
            .expect("the database's file can be written anew");
    }

    pub async fn control(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.http.request(method, format!("{}/control{path}", self.sandbox));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the sandbox answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.expect("the sandbox answers in JSON")
    }

    /// What the providers received: (account, operation, whose token).
    pub async fn received(&self, provider: &str) -> Vec<(String, String, Option<String>)> {
        let list = self.control(Method::GET, &format!("/received?provider={provider}"), None).await;
        let text = |v: &Value| v.as_str().map(str::to_owned);
        let row =
            |r: &Value| (text(&r["account"]).unwrap(), text(&r["operation"]).unwrap(), text(&r["token_of"]));
        list.as_array().unwrap().iter().map(row).collect()
    }

    pub async fn calls(&self) -> usize {
        self.control(Method::GET, "/received", None).await.as_array().unwrap().len()
    }

    /// A customer writes to a page; gives the thread as (from, text) after everything has happened.
    pub async fn write(&self, page: &str, name: &str, text: &str) -> Vec<(String, String)> {
        let body = json!({"page_id": page, "from": name, "text": text});
        let sent = self.control(Method::POST, "/messages", Some(body)).await;
        self.settle().await;
        self.thread(page, sent["psid"].as_str().unwrap()).await
    }

    pub async fn thread(&self, page: &str, psid: &str) -> Vec<(String, String)> {
        let chat = self.control(Method::GET, &format!("/chats/{page}/{psid}"), None).await;
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        let messages = chat["messages"].as_array().unwrap();
        messages.iter().map(|m| (text(&m["from"]), text(&m["text"]))).collect()
    }

    /// A browser in which nobody is signed in.
    pub fn browser(&self) -> Browser {
        Browser { product: self.product.clone(), http: self.http.clone(), cookie: Mutex::default() }
    }

    /// A person with a new organization, signed in.
    pub async fn tenant(&self, name: &str) -> Tenant {
        let browser = self.browser();
        let email = format!("{}@example.com", name.to_lowercase().replace(' ', "."));
        let body = json!({"email": email, "password": "correct horse battery", "name": "Ana", "organization_name": name});
        let made = browser.post("/api/auth/signup", body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        let org = made.json()["organization"]["id"].as_str().unwrap().to_owned();
        Tenant { browser, org, email }
    }

    /// A tenant with all three accounts connected by consent.
    pub async fn connected(&self, name: &str, accounts: Accounts) -> Tenant {
        let tenant = self.tenant(name).await;
        tenant.connect_shopify(accounts.label).await;
        tenant.connect_page(accounts.facebook, accounts.page).await;
        tenant.connect_kustomer(accounts.label).await;
        self.settle().await;
        tenant
    }
}

/// An answer, read whole.
pub struct Answer {
    pub status: StatusCode,
    pub location: Option<String>,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }
    /// The error's code.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
    /// The body without what differs by request.
    pub fn masked(&self) -> String {
        let at = self.text.find("req_").unwrap_or(self.text.len());
        let end = (at + 30).min(self.text.len());
        format!("{} {}{}", self.status, &self.text[..at], &self.text[end..])
    }
}

/// A browser: a cookie, and a person who clicks.
pub struct Browser {
    product: String,
    http: Client,
    cookie: Mutex<Option<String>>,
}

impl Browser {
    /// One in which nobody is signed in, for a server that no scene has started.
    pub fn at(product: &str) -> Self {
        Self { product: product.to_owned(), http: client(), cookie: Mutex::default() }
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.http.request(method, self.url(path));
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.finish(request).await
    }

    /// What a POST was answered; nothing if the server died before.
    pub async fn attempt(&self, path: &str) -> Option<(StatusCode, String)> {
        let mut request = self.http.post(self.url(path)).json(&json!({}));
        let cookie = self.cookie.lock().unwrap().clone();
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status();
        Some((status, answer.text().await.ok()?))
    }

    /// A form, as a page sends it.
    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = self.http.post(self.url(path)).header("origin", &self.product).form(fields);
        self.finish(request).await
    }

    fn url(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.product) }
    }

    pub async fn finish(&self, mut request: reqwest::RequestBuilder) -> Answer {
        let cookie = self.cookie.lock().unwrap().clone();
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        let answer = request.send().await.expect("the server answers");
        let headers = answer.headers().clone();
        if let Some(set) = headers.get(SET_COOKIE) {
            let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
            *self.cookie.lock().unwrap() = if pair.ends_with('=') { None } else { Some(pair) };
        }
        let location = headers.get(LOCATION).map(|l| l.to_str().unwrap().to_owned());
        let status = answer.status();
        Answer { status, location, headers, text: answer.text().await.expect("a whole body") }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }
}

/// Somebody with an organization.
pub struct Tenant {
    pub browser: Browser,
    pub org: String,
    pub email: String,
}

impl Tenant {
    pub fn api(&self, path: &str) -> String {
        format!("/api/organizations/{}{path}", self.org)
    }

    /// Asks to be sent to a provider; gives its address.
    pub async fn begin(&self, provider: &str, more: &str) -> String {
        let path = format!("/api/oauth/{provider}/redirect?organization_id={}{more}", self.org);
        let answer = self.browser.get(&path).await;
        assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.text);
        answer.location.expect("a redirect has a location")
    }

    /// Comes back from a provider; gives where the browser is sent on.
    pub async fn come_back(&self, location: &str) -> Answer {
        self.browser.get(location.split('#').next().unwrap()).await
    }

    pub async fn connect_shopify(&self, label: &str) {
        let url = self.begin("shopify", &format!("&shop={label}")).await;
        let back = Walk::approve().through(&url).await.expect("the shop's owner installs the app");
        let done = self.come_back(&back).await;
        let expected = format!("/orgs/{}/integrations?shopify=connected", self.org);
        assert_eq!(done.location.as_deref(), Some(expected.as_str()), "{}", done.text);
    }

    pub async fn offer_pages(&self, person: &str) {
        let url = self.begin("messenger", "").await;
        let walk = Walk { person: Some(person.into()), ..Walk::default() };
        let done = self.come_back(&walk.through(&url).await.expect("the person continues")).await;
        let expected = format!("/orgs/{}/integrations/messenger/pages", self.org);
        assert_eq!(done.location.as_deref(), Some(expected.as_str()), "{}", done.text);
    }

    pub async fn choose_page(&self, page: &str) -> Answer {
        self.browser.post(&self.api("/integrations/messenger/pages"), json!({"page_id": page})).await
    }

    pub async fn connect_page(&self, person: &str, page: &str) {
        self.offer_pages(person).await;
        let chosen = self.choose_page(page).await;
        assert_eq!(chosen.status, StatusCode::CREATED, "{}", chosen.text);
    }

    pub async fn connect_kustomer(&self, label: &str) {
        let url = self.begin("kustomer", &format!("&subdomain={label}")).await;
        let done = self.come_back(&Walk::approve().through(&url).await.expect("the person allows it")).await;
        let expected = format!("/orgs/{}/integrations?kustomer=connected", self.org);
        assert_eq!(done.location.as_deref(), Some(expected.as_str()), "{}", done.text);
    }

    pub async fn list(&self, what: &str) -> Vec<Value> {
        let answer = self.browser.get(&self.api(what)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()["items"].as_array().unwrap().clone()
    }

    pub async fn integration(&self, provider: &str) -> Value {
        let list = self.list("/integrations").await;
        list.into_iter().find(|it| it["provider"] == provider).unwrap_or_default()
    }

    pub async fn conversation(&self) -> String {
        let list = self.list("/conversations").await;
        list[0]["id"].as_str().expect("a conversation").to_owned()
    }

    /// All messages of a long conversation, newest first.
    pub async fn messages_all(&self, conversation: &str) -> Vec<(String, String, String)> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = self.api(&format!("/conversations/{conversation}/messages?limit=200&cursor={cursor}"));
            let page = self.browser.get(&path).await.json();
            let text = |v: &Value| v.as_str().unwrap().to_owned();
            let items = page["items"].as_array().unwrap();
            all.extend(items.iter().map(|m| (text(&m["author"]), text(&m["text"]), text(&m["delivery"]))));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => return all,
            }
        }
    }

    /// (author, text, delivery), oldest first.
    pub async fn messages(&self, conversation: &str) -> Vec<(String, String, String)> {
        let mut list = self.list(&format!("/conversations/{conversation}/messages")).await;
        list.reverse();
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        list.iter().map(|m| (text(&m["author"]), text(&m["text"]), text(&m["delivery"]))).collect()
    }
}
