//! The demo, as people use it: the built program, real Chromium, mouse and keyboard.

use fantoccini::error::CmdError;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a person would wait for something to appear.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that ends with the test.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn variable(name: &str, or: &str) -> String {
    std::env::var_os(name).and_then(|v| v.into_string().ok()).unwrap_or_else(|| or.to_owned())
}

/// Starts a program and reads its output until `found` says that it is ready.
pub fn start<T>(mut command: Command, mut found: impl FnMut(&str) -> Option<T>) -> (Process, T) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output is piped"));
    let mut line = String::new();
    let ready = loop {
        line.clear();
        let n = lines.read_line(&mut line).expect("its output is text");
        assert_ne!(n, 0, "the program ended before it was ready");
        if let Some(ready) = found(&line) {
            break ready;
        }
    };
    // The pipe has to be read on, or the program would stop at a full one.
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    (Process(child), ready)
}

/// The demo; gives the addresses of product and sandbox, and what opens the operator's page.
fn demo() -> (Process, String, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agenstack"));
    command.env_clear().args(["demo", "--listen", "127.0.0.1:0", "--sandbox-listen", "127.0.0.1:0"]);
    let (mut product, mut sandbox) = (None, None);
    let (process, ((product, sandbox), operator)) = start(command, |line| {
        let url = || line.split_whitespace().find(|w| w.starts_with("http://")).map(str::to_owned);
        if line.trim_start().starts_with("The product") {
            product = url();
        }
        if line.trim_start().starts_with("The providers") {
            sandbox = url();
        }
        let operator = line.split_once("any name, password ").map(|(_, word)| word.trim().to_owned());
        product.clone().zip(sandbox.clone()).zip(operator)
    });
    (process, product, sandbox, operator)
}

/// Chromium's driver, which closes the windows of a failed test, too, when it is told to end.
pub struct Driver {
    port: u16,
    process: Process,
}

impl Driver {
    pub fn start() -> (Self, String) {
        let mut command = Command::new(variable("AGENSTACK_TEST_CHROMEDRIVER", "chromedriver"));
        command.arg("--port=0");
        let (process, port) = start(command, |line| {
            let (_, rest) = line.split_once("started successfully on port ")?;
            rest.trim().trim_end_matches('.').parse().ok()
        });
        (Self { port, process }, format!("http://127.0.0.1:{port}"))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return };
        if stream.write_all(b"GET /shutdown HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").is_ok()
        {
            let _ = self.process.0.wait();
        }
    }
}

/// A window of its own profile.
pub struct Window {
    pub client: Client,
    product: String,
}

/// Whether the page was being left for the next one just when it was asked: it is not that there is nothing.
fn left(error: &CmdError) -> bool {
    matches!(error, CmdError::NotW3C(Value::String(words)) if words == "aborted by navigation")
}

impl Window {
    pub async fn open(driver: &str, product: &str, more: &[&str], preferences: Value) -> Self {
        let mut arguments = vec![
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--window-size=1280,900",
        ];
        arguments.extend(more);
        let binary = variable("AGENSTACK_TEST_CHROMIUM", "/usr/bin/chromium");
        let options = json!({"args": arguments, "binary": binary, "prefs": preferences});
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".into(), options);
        let client = ClientBuilder::new(hyper_util_http()).capabilities(capabilities).connect(driver).await;
        Self { client: client.expect("Chromium starts"), product: product.to_owned() }
    }

    pub async fn go(&self, path: &str) {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.product) };
        self.client.goto(&url).await.expect("the page opens");
    }

    pub async fn see(&self, css: &str) -> fantoccini::elements::Element {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await {
                Ok(element) => return element,
                Err(error) if left(&error) && tokio::time::Instant::now() < deadline => {}
                Err(error) => {
                    let url = self.client.current_url().await.map(|u| u.to_string()).unwrap_or_default();
                    panic!("{css} does not appear at {url}: {error}\n{}", self.text("body").await)
                }
            }
        }
    }

    /// Clicks what `css` names now: a live page may put another element in its place after it was found, and one that
    /// is gone takes no click.
    pub async fn click(&self, css: &str) {
        let to_middle = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})";
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let element = self.see(css).await;
            let target = serde_json::to_value(&element).expect("an element has a name");
            let clicked = match self.client.execute(to_middle, vec![target]).await {
                Ok(_) => element.click().await,
                Err(e) => Err(e),
            };
            match clicked {
                Ok(()) => return,
                Err(e)
                    if (e.is_stale_element_reference() || left(&e))
                        && tokio::time::Instant::now() < deadline => {}
                Err(e) => panic!("{css} cannot be clicked: {e}"),
            }
        }
    }

    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.see(css).await;
        field.clear().await.expect("a field can be cleared");
        field.send_keys(text).await.expect("a field takes text");
    }

    pub async fn text(&self, css: &str) -> String {
        match self.client.find(Locator::Css(css)).await {
            Ok(element) => element.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until an element's text holds `part`; a live page changes by itself.
    pub async fn read(&self, css: &str, part: &str) {
        let script = "return [...document.querySelectorAll(arguments[0])].some(e => e.textContent.includes(arguments[1]))";
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            match self.client.execute(script, vec![json!(css), json!(part)]).await {
                Ok(Value::Bool(true)) => return,
                Ok(_) => {}
                Err(error) => assert!(left(&error), "the page does not answer: {error}"),
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{css} does not say {part:?}: {}",
                self.text("body").await
            );
            tick.tick().await;
        }
    }

    /// Nothing that keeps people out: the rules of axe, and no scrolling sideways on a telephone.
    pub async fn is_accessible(&self, name: &str) {
        self.client.execute(include_str!("vendor/axe.min.js"), Vec::new()).await.expect("axe loads");
        for (width, height) in [(1280, 900), (390, 844)] {
            self.client.set_window_size(width, height).await.expect("a window has a size");
            picture(&self.client, &format!("{name}-{width}")).await;
            let run = "const done = arguments[arguments.length - 1]; axe.run().then(r => done(r.violations.map(v => \
                v.id + ': ' + v.nodes.map(n => n.target.join(' ')).join(', '))), e => done([String(e)]))";
            let found = self.client.execute_async(run, Vec::new()).await.expect("axe runs");
            assert_eq!(found, json!([]), "{name} at {width}");
            let wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
            let wide = self.client.execute(wide, Vec::new()).await.expect("the page answers");
            assert_eq!(wide, json!(0), "{name} scrolls sideways at {width}");
        }
        self.client.set_window_size(1280, 900).await.expect("a window has a size");
    }

    pub async fn close(self) {
        self.client.close().await.expect("the window closes");
    }
}

/// Keeps a picture where `AGENSTACK_TEST_PICTURES` names a directory.
async fn picture(client: &Client, name: &str) {
    let folder = variable("AGENSTACK_TEST_PICTURES", "");
    if !folder.is_empty() {
        let png = client.screenshot().await.expect("Chromium takes a picture");
        std::fs::write(format!("{folder}/{name}.png"), png).expect("the picture can be kept");
    }
}

fn hyper_util_http() -> hyper_util::client::legacy::connect::HttpConnector {
    hyper_util::client::legacy::connect::HttpConnector::new()
}

pub async fn sign_up(window: &Window, company: &str, email: &str) -> String {
    window.go("/signup").await;
    window.fill("#organization_name", company).await;
    window.fill("#name", "Ana").await;
    window.fill("#email", email).await;
    window.fill("#password", "correct horse battery").await;
    window.click("#submit").await;
    window.see("#checklist").await;
    let url = window.client.current_url().await.expect("a page has an address");
    url.path().trim_start_matches("/orgs/").to_owned()
}

async fn connect_shop(window: &Window, org: &str, label: &str) {
    window.go(&format!("/orgs/{org}/integrations")).await;
    window.click("#connect-shopify").await;
    window.fill("#shop", label).await;
    window.click("#check").await;
    window.click("#continue").await;
    window.click("#install").await;
    window.see(".card[data-provider=shopify] .badge[data-status=connected]").await;
}

async fn connect_page(window: &Window, org: &str, person: &str, page: &str) {
    window.go(&format!("/orgs/{org}/integrations")).await;
    window.click("#connect-messenger").await;
    window.click("#continue").await;
    window.see("#consent").await;
    window
        .client
        .find(Locator::Css("#person"))
        .await
        .unwrap()
        .select_by_value(person)
        .await
        .expect("a person");
    window.click("#switch").await;
    window.see(&format!("#consent input[name=person][value={person}]")).await;
    window.click("#consent button[value=continue]").await;
    window.click(&format!("input[name=page_id][value='{page}']")).await;
    window.click("#choose").await;
    window.see(".card[data-provider=messenger] .badge[data-status=connected]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_organizations_are_set_up_by_clicking_and_answer_their_customers_live() {
    let (_demo, product, sandbox, operator) = demo();
    let (_driver, driver) = Driver::start();
    let lark = Window::open(&driver, &product, &[], json!({})).await;
    let fern = Window::open(&driver, &product, &["--blink-settings=preferredColorScheme=0"], json!({})).await;
    let customer = Window::open(&driver, &product, &[], json!({})).await;

    lark.go("/").await;
    lark.is_accessible("landing").await;
    lark.go("/signup").await;
    lark.is_accessible("signup").await;
    let lark_org = sign_up(&lark, "Lark Supply", "lena@example.com").await;
    lark.is_accessible("home-new").await;
    let fern_org = sign_up(&fern, "Fern Goods", "finn@example.com").await;
    fern.is_accessible("home-new-dark").await;
    lark.go(&format!("/orgs/{lark_org}/inbox")).await;
    lark.is_accessible("inbox-empty").await;
    lark.go(&format!("/orgs/{lark_org}/integrations/shopify/connect")).await;
    lark.is_accessible("connect-shopify").await;
    lark.go(&format!("/orgs/{lark_org}/integrations/kustomer/connect")).await;
    lark.is_accessible("connect-kustomer").await;

    connect_shop(&lark, &lark_org, "lark-supply").await;
    connect_page(&lark, &lark_org, "lena", "100000000000001").await;
    // Kustomer by a key here, by its log-in there.
    let key = reqwest_json(&format!("{sandbox}/control/kustomer/lark-supply/keys")).await;
    lark.go(&format!("/orgs/{lark_org}/integrations/kustomer/connect")).await;
    lark.fill("#subdomain", "lark-supply").await;
    lark.fill("#api_key", key["full"].as_str().unwrap()).await;
    lark.click("#connect-key").await;
    lark.see(".card[data-provider=kustomer] .badge[data-status=connected]").await;
    // The same account through an app of its own, which takes the key's place.
    let app = reqwest_json(&format!("{sandbox}/control/kustomer/lark-supply/private-app")).await;
    lark.go(&format!("/orgs/{lark_org}/integrations/kustomer/connect")).await;
    lark.fill("#own-subdomain", "lark-supply").await;
    lark.fill("#client_id", app["client_id"].as_str().unwrap()).await;
    lark.fill("#client_secret", app["client_secret"].as_str().unwrap()).await;
    lark.click("#check-own").await;
    lark.see("#continue-own").await;
    lark.is_accessible("connect-kustomer-own").await;
    lark.click("#roles").await;
    picture(&lark.client, "connect-kustomer-roles").await;
    lark.click("#continue-own").await;
    lark.click("#allow").await;
    lark.read(".card[data-provider=kustomer]", "by its own app").await;
    lark.is_accessible("integrations").await;
    lark.click(".card[data-provider=shopify] button.test").await;
    lark.read(".notice.good", "Lark Supply answers").await;
    lark.click(".card[data-provider=shopify] h3 a").await;
    lark.click("#test").await;
    lark.read(".notice.good", "Lark Supply answers").await;
    lark.is_accessible("connection").await;
    // The shop's admin opens the app: the person chooses where it belongs, and nothing is bound by that alone.
    lark.go(&format!("{sandbox}/shops/moss-market.myshopify.com")).await;
    lark.click("#open-app").await;
    lark.read("#choices", "Lark Supply").await;
    lark.is_accessible("install").await;

    connect_shop(&fern, &fern_org, "fern-goods").await;
    connect_page(&fern, &fern_org, "finn", "100000000000002").await;
    fern.go(&format!("/orgs/{fern_org}/integrations/kustomer/connect")).await;
    fern.fill("#oauth-subdomain", "fern-goods").await;
    fern.click("#check").await;
    fern.click("#continue").await;
    fern.click("#allow").await;
    fern.see(".card[data-provider=kustomer] .badge[data-status=connected]").await;
    fern.is_accessible("integrations-dark").await;
    fern.click(".card[data-provider=messenger] h3 a").await;
    fern.is_accessible("connection-dark").await;

    // Both inboxes are open while a customer writes to one page and then to the other.
    lark.go(&format!("/orgs/{lark_org}/inbox")).await;
    fern.go(&format!("/orgs/{fern_org}/inbox")).await;
    for (window, page, mine, other) in [
        (&lark, "100000000000001", "LARK1001", "FERN1001"),
        (&fern, "100000000000002", "FERN1001", "LARK1001"),
    ] {
        customer.go(&format!("{sandbox}/chat/{page}?as=Ana+Prieto")).await;
        customer.fill("textarea[name=text]", "Where is my order 1001?").await;
        customer.click("#send").await;
        customer.read("#thread .from-page", "e-mail address").await;
        // It appears without anybody touching the page.
        window.read("#conversations", "Ana Prieto").await;
        window.click("#conversations .row-link").await;
        window.read("#thread .message.customer", "Where is my order 1001?").await;
        customer.fill("textarea[name=text]", "ana@example.com").await;
        customer.click("#send").await;
        customer.read("#thread .from-page", mine).await;
        window.read("#thread .message.bot", mine).await;
        assert!(!window.text("#thread").await.contains(other));
        assert!(!customer.text("#thread").await.contains(other));
    }
    lark.read("#thread .message.bot .delivery", "read").await;
    lark.is_accessible("conversation").await;
    fern.is_accessible("conversation-dark").await;

    // A person takes over and answers; the customer reads it.
    customer.go(&format!("{sandbox}/chat/100000000000001?as=Ana+Prieto")).await;
    lark.click("#take-over").await;
    lark.see(".badge[data-owner=person]").await;
    lark.fill("#text", "Lena here: it arrives on Friday.").await;
    lark.click("#send").await;
    customer.read("#thread .from-page", "Lena here").await;
    lark.click("#hand-back").await;
    lark.see(".badge[data-owner=bot]").await;

    lark.go(&format!("/orgs/{lark_org}/events")).await;
    lark.see("#events .state-done").await;
    lark.read("#pulse", "Accepted a minute").await;
    lark.is_accessible("events").await;
    lark.click("#events .row-link").await;
    lark.see(".payload").await;
    lark.read(".timeline", "a worker took it at").await;
    lark.is_accessible("event").await;
    fern.go(&format!("/orgs/{fern_org}/events")).await;
    fern.see("#pulse .bars rect").await;
    fern.is_accessible("events-dark").await;
    // The operator's page is open since before anything is drawn, and shows it by itself.
    let behind = product.replacen("http://", &format!("http://operator:{operator}@"), 1);
    customer.client.goto(&format!("{behind}/operator")).await.expect("the page opens");
    customer.read("#pulse", "Deliveries refused").await;
    customer.is_accessible("operator").await;

    // Shopify passes on what a customer asks for; the open page tells how it stands.
    lark.click(".tabs a[href$='/privacy']").await;
    lark.see("#requests .empty").await;
    lark.is_accessible("privacy-empty").await;
    ask(&sandbox, "lark-supply", "shop/redact").await;
    lark.read("#requests", "Nothing was erased: the shop has the app again.").await;
    ask(&sandbox, "lark-supply", "customers/data_request").await;
    lark.read("#requests", "Found: 1 conversation").await;
    // Opened anew, so that nothing moves any more.
    lark.go(&format!("/orgs/{lark_org}/privacy")).await;
    lark.read("#requests", "receipt verified").await;
    lark.is_accessible("privacy").await;
    fern.go(&format!("/orgs/{fern_org}/privacy")).await;
    ask(&sandbox, "fern-goods", "customers/redact").await;
    fern.read("#requests", "Erased: 1 conversation").await;
    fern.go(&format!("/orgs/{fern_org}/privacy")).await;
    fern.is_accessible("privacy-dark").await;
    fern.go(&format!("/orgs/{fern_org}/inbox")).await;
    fern.click("#conversations .row-link").await;
    fern.read("#thread .message.customer", "[erased on the customer's request]").await;
    fern.is_accessible("conversation-erased-dark").await;

    lark.go(&format!("/orgs/{lark_org}")).await;
    lark.read("#checklist", "Everything is set up").await;
    lark.is_accessible("home").await;
    lark.go(&format!("/orgs/{lark_org}/settings")).await;
    lark.is_accessible("settings").await;
    lark.go("/orgs").await;
    lark.is_accessible("orgs").await;
    lark.go(&format!("/orgs/{fern_org}/inbox")).await;
    assert_eq!(lark.text("h1").await, "Nothing here");
    lark.is_accessible("not-found").await;
    lark.go("/api/oauth/shopify/callback?state=x").await;
    assert_eq!(lark.text("h1").await, "This connection cannot be finished");
    lark.go(&format!("/orgs/{lark_org}/integrations/messenger/pages")).await;
    lark.is_accessible("pages").await;
    for window in [lark, fern, customer] {
        window.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_path_works_from_the_keyboard_and_without_script() {
    let (_demo, product, _sandbox, _operator) = demo();
    let (_driver, driver) = Driver::start();
    let off = json!({"profile.managed_default_content_settings.javascript": 2});
    let window = Window::open(&driver, &product, &[], off).await;
    window.go("/signup").await;
    window.fill("#organization_name", "Moss Market").await;
    // From here on only the keyboard: Tab from field to field, Enter to send.
    let keys = "\u{E004}Mo\u{E004}mo@example.com\u{E004}correct horse battery\u{E007}";
    window.see("#organization_name").await.send_keys(keys).await.expect("a field takes keys");
    window.see("#checklist").await;
    assert_eq!(window.text("h1").await, "Home");
    window.click("#checklist .button.primary").await;
    let field = window.see("#shop").await;
    field.send_keys("moss-market\u{E007}").await.expect("a field takes keys");
    window.see("#continue").await.send_keys("\u{E007}").await.expect("a link takes keys");
    window.see("#install").await.send_keys("\u{E007}").await.expect("a button takes keys");
    window.see(".card[data-provider=shopify] .badge[data-status=connected]").await;
    window.close().await;
}

/// A shop's webhook that every app gets.
async fn ask(sandbox: &str, label: &str, topic: &str) {
    let url = format!("{sandbox}/control/shopify/{label}.myshopify.com/webhook");
    let asked = crate::scene::client().post(url).json(&json!({"topic": topic})).send().await;
    assert!(asked.expect("the sandbox answers").status().is_success());
}

async fn reqwest_json(url: &str) -> Value {
    crate::scene::client().get(url).send().await.expect("the sandbox answers").json().await.expect("JSON")
}
