//! The move that `docs/migrating.md` describes, with its own words: the commands are read from the page and run. A second
//! organization works on the same installation all the time, and nothing of it fails.

use crate::crash::wait_until_ready;
use crate::rotation::{Settings, program};
use crate::scene::{Browser, FERN, LARK, Tenant, client, environment, sandbox_for};
use agenstack_store::both_databases;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

const PAGE: &str = include_str!("../../../../docs/migrating.md");
/// Customers of the other organization, each in a conversation of their own.
const CUSTOMERS: usize = 4;
/// How long an answer may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// The blocks that are fenced with `sh`, in their order.
fn blocks() -> Vec<String> {
    let parts = PAGE.split("```sh\n").skip(1);
    parts.map(|part| part.split("```").next().expect("a fence ends").to_owned()).collect()
}

/// The names that the page says to remove.
fn names() -> Vec<String> {
    let rows = PAGE.split("| removed | instead |").nth(1).expect("the page has the table").lines().skip(2);
    let cells = rows.take_while(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1));
    let listed: Vec<_> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert_eq!(listed.len(), 5, "{listed:?}");
    listed.into_iter().flat_map(|name| [name.to_owned(), format!("VITE_{name}")]).collect()
}

/// A value that is nobody's and no placeholder.
fn made_up(name: &str) -> String {
    hex::encode(&Sha256::digest(name)[..16])
}

/// The old platform: its `.env` and a file of its code.
fn plant(folder: &Path, settings: &Settings) {
    let mut lines = vec!["# production".to_owned(), "PORT=3000".to_owned()];
    lines.extend(names().iter().map(|name| format!("{name}={}", made_up(name))));
    for name in ["SHOPIFY_API_KEY", "MESSENGER_APP_ID"] {
        lines.push(format!("export VITE_{name}={}", settings[name]));
    }
    for name in ["SHOPIFY_API_SECRET", "MESSENGER_APP_SECRET", "MESSENGER_VERIFY_TOKEN"] {
        lines.push(format!("VITE_{name}=\"{}\" # ask the boss", settings[name]));
    }
    // As many files end: without an end of the line.
    let env = lines.join("\n");
    let code = folder.join("old-platform").join("src");
    std::fs::create_dir_all(&code).unwrap();
    std::fs::write(folder.join("old.env"), &env).unwrap();
    std::fs::write(folder.join("old-platform").join(".env"), &env).unwrap();
    std::fs::write(folder.join("old-platform").join(".gitignore"), ".env\n").unwrap();
    let token = names()[0].clone();
    let text = format!("const token = process.env.{token} || 'shp{}_{}';\n", "at", made_up("token"));
    std::fs::write(code.join("shop.js"), text).unwrap();
}

/// Runs a block of the page as an operator types it.
async fn type_in(folder: &Path, settings: &Settings, block: &str) -> Output {
    let built = Path::new(env!("CARGO_BIN_EXE_agenstack")).parent().expect("it lies in a directory");
    let mut command = Command::new("/bin/sh");
    command.env_clear().envs(settings).env("PATH", format!("{}:/usr/bin:/bin", built.display()));
    command.current_dir(folder).args(["-e", "-c", block]);
    tokio::task::spawn_blocking(move || command.output().expect("there is a shell")).await.expect("it ends")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn free() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

/// A program that ends with the test.
struct Node(Child);

impl Node {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        wait_until_ready(&mut child);
        Self(child)
    }
    fn runs(&mut self) -> bool {
        self.0.try_wait().expect("it can be asked").is_none()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The providers.
struct Sandbox {
    url: String,
    http: Client,
}

impl Sandbox {
    async fn control(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.http.request(method, format!("{}/control{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the sandbox answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.expect("the sandbox answers in JSON")
    }

    /// A customer writes; gives their id.
    async fn write(&self, page: &str, from: &str, text: &str) -> String {
        let body = json!({"page_id": page, "from": from, "text": text});
        let sent = self.control(Method::POST, "/messages", Some(body)).await;
        sent["psid"].as_str().unwrap().to_owned()
    }

    /// (what the customer wrote, what the page answered)
    async fn thread(&self, page: &str, psid: &str) -> (Vec<String>, Vec<String>) {
        let chat = self.control(Method::GET, &format!("/chats/{page}/{psid}"), None).await;
        let messages = chat["messages"].as_array().unwrap().iter();
        let (theirs, ours): (Vec<_>, Vec<_>) = messages.partition(|m| m["from"] == "customer");
        let texts = |list: Vec<&Value>| list.iter().map(|m| m["text"].as_str().unwrap().to_owned()).collect();
        (texts(theirs), texts(ours))
    }

    /// Waits for the `n`th answer, and gives it.
    async fn answer(&self, page: &str, psid: &str, n: usize) -> String {
        let (mut tick, deadline) =
            (tokio::time::interval(Duration::from_millis(50)), Instant::now() + PATIENCE);
        loop {
            let (_, answers) = self.thread(page, psid).await;
            if let Some(answer) = answers.get(n - 1) {
                return answer.clone();
            }
            assert!(Instant::now() < deadline, "{psid} waits for answer {n}: {answers:?}");
            tick.tick().await;
        }
    }
}

async fn sign_up(at: &str, name: &str) -> Tenant {
    let browser = Browser::at(at);
    let email = format!("{}@example.com", name.to_lowercase().replace(' ', "."));
    let body = json!({"email": email, "password": "correct horse battery", "name": "Ana", "organization_name": name});
    let made = browser.post("/api/auth/signup", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let org = made.json()["organization"]["id"].as_str().unwrap().to_owned();
    Tenant { browser, org, email }
}

/// What the customers and the team of the other organization do meanwhile, one after the other: each message is answered
/// before the next is written. Gives the ids of the customers.
async fn life(sandbox: &Sandbox, fern: &Tenant, over: &AtomicBool, done: &AtomicUsize) -> BTreeSet<String> {
    let mut customers = BTreeSet::new();
    while !over.load(Ordering::SeqCst) {
        let n = done.load(Ordering::SeqCst);
        let psid =
            sandbox.write(FERN.page, &format!("Customer {}", n % CUSTOMERS), &format!("hello {n}")).await;
        sandbox.answer(FERN.page, &psid, n / CUSTOMERS + 1).await;
        customers.insert(psid);
        let inbox = fern.browser.get(&format!("/orgs/{}/inbox", fern.org)).await;
        assert_eq!(inbox.status, StatusCode::OK, "{}", inbox.text);
        done.fetch_add(1, Ordering::SeqCst);
    }
    customers
}

/// The whole page, from the old `.env` to an answered customer.
async fn move_over(
    folder: &Path,
    settings: &Settings,
    sandbox: &Sandbox,
    address: &str,
    blocks: &[String],
) -> (Node, Tenant) {
    let [find, refused, remove, _keys, deploy, serve] = blocks else { panic!("{} blocks", blocks.len()) };
    // 1. Find
    let found = type_in(folder, settings, find).await;
    let text = said(&found);
    assert_eq!(found.status.code(), Some(1), "{text}");
    assert!(text.contains("shop.js") && text.contains(".env") && text.contains("critical"), "{text}");
    // 2. Remove
    let refusal = type_in(folder, settings, refused).await;
    let text = said(&refusal);
    assert_eq!(refusal.status.code(), Some(78), "{text}");
    for (n, name) in names().iter().enumerate() {
        let line = format!("error: {name} (old.env, line {}) is refused: ", n + 3);
        assert!(text.contains(&line) && !text.contains(&made_up(name)), "{line}: {text}");
    }
    let started = type_in(folder, settings, &refused.replace("doctor", "serve")).await;
    assert_eq!(started.status.code(), Some(78), "serve does not start either");
    let removed = type_in(folder, settings, remove).await;
    assert!(removed.status.success(), "{}", said(&removed));
    let rest = std::fs::read_to_string(folder.join("agenstack.env")).unwrap();
    let left: Vec<_> = rest.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let platform = [
        "SHOPIFY_API_KEY",
        "MESSENGER_APP_ID",
        "SHOPIFY_API_SECRET",
        "MESSENGER_APP_SECRET",
        "MESSENGER_VERIFY_TOKEN",
    ];
    assert_eq!(left, [&["PORT"], &platform[..]].concat());
    // 4. Deploy; the installation has its key already.
    let deployed = type_in(folder, settings, deploy).await;
    let text = said(&deployed);
    assert!(
        deployed.status.success() && text.contains("Nothing is wrong.") && !text.contains("warning:"),
        "{text}"
    );
    let words: Vec<_> = serve.split_whitespace().collect();
    assert_eq!(words[..2], ["agenstack", "serve"]);
    let mut command = program(settings, &words[1..]);
    command.current_dir(folder);
    let node = Node::start(command);

    // 5. Sign up, 6. Connect and test
    let lark = sign_up(&format!("http://{address}"), "Lark Supply").await;
    assert!(lark.list("/integrations").await.is_empty(), "nothing was brought along");
    lark.connect_shopify(LARK.label).await;
    lark.connect_kustomer(LARK.label).await;
    lark.connect_page(LARK.facebook, LARK.page).await;
    for provider in ["shopify", "messenger", "kustomer"] {
        let it = lark.integration(provider).await;
        let path = lark.api(&format!("/integrations/{}/test", it["id"].as_str().unwrap()));
        let tested = lark.browser.post(&path, json!({})).await;
        assert!(
            tested.status == StatusCode::OK && tested.json()["ok"] == true,
            "{provider}: {}",
            tested.text
        );
        assert_eq!(it["status"], "connected");
    }
    // 7. Write to the Page as a customer.
    let psid = sandbox.write(LARK.page, "Ana Prieto", "Where is my order 1001?").await;
    let asked = sandbox.answer(LARK.page, &psid, 1).await;
    assert!(asked.contains("e-mail"), "{asked}");
    sandbox.write(LARK.page, "Ana Prieto", "ana@example.com").await;
    let told = sandbox.answer(LARK.page, &psid, 2).await;
    assert!(told.contains("LARK1001") && !told.contains("FERN1001"), "{told}");
    (node, lark)
}

both_databases! {
    async fn the_page_about_moving_makes_one_organization_of_a_single_tenant_while_another_works_on(db: TestDb) {
        let (first, second) = (free().await, free().await);
        let outer = format!("http://{first}");
        let blocks: Vec<_> =
            blocks().iter().map(|b| b.replace("https://chat.example.com", &outer).replace("127.0.0.1:8080", &second)).collect();
        let (url, emulated) = sandbox_for(&outer).await;
        let sandbox = Sandbox { url, http: client() };
        let folder = tempfile::tempdir().unwrap();
        let mut all = environment(&emulated, &db.url);
        plant(folder.path(), &all);

        // An installation that others use already, with the key that the page makes.
        let keys = type_in(folder.path(), &all, &blocks[3]).await;
        assert!(keys.status.success(), "{}", said(&keys));
        all.remove("AGENSTACK_MASTER_KEY");
        // What the page's commands get beside their files: where the emulated providers and the database are.
        let mut given = all.clone();
        given.retain(|name, _| name.ends_with("_URL") || name.starts_with("KUSTOMER_CLIENT_"));
        all.insert("AGENSTACK_MASTER_KEY_FILE".into(), folder.path().join("master.key").display().to_string());
        all.insert("AGENSTACK_PUBLIC_URL".into(), outer.clone());
        all.insert("AGENSTACK_LISTEN".into(), first);
        let mut running = Node::start(program(&all, &["serve"]));
        let fern = sign_up(&outer, "Fern Goods").await;
        fern.connect_shopify(FERN.label).await;
        fern.connect_page(FERN.facebook, FERN.page).await;
        fern.connect_kustomer(FERN.label).await;

        let (over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        let moving = async {
            let moved = move_over(folder.path(), &given, &sandbox, &second, &blocks).await;
            // And a while longer, on both nodes.
            let (enough, mut tick) = (done.load(Ordering::SeqCst) + CUSTOMERS, tokio::time::interval(Duration::from_millis(50)));
            while done.load(Ordering::SeqCst) < enough {
                tick.tick().await;
            }
            over.store(true, Ordering::SeqCst);
            moved
        };
        let (customers, (mut node, lark)) = futures::join!(life(&sandbox, &fern, &over, &done), moving);

        // Each message of the other organization was taken at the first try, and answered once.
        let sent = done.load(Ordering::SeqCst);
        assert!(sent > 2 * CUSTOMERS, "it lived all the time: {sent}");
        assert_eq!(customers.len(), CUSTOMERS);
        let (mut written, mut answered) = (0, 0);
        for psid in &customers {
            let (theirs, ours) = sandbox.thread(FERN.page, psid).await;
            (written, answered) = (written + theirs.len(), answered + ours.len());
        }
        assert_eq!((written, answered), (sent, sent));
        let deliveries = sandbox.control(Method::GET, "/deliveries", None).await;
        for delivery in deliveries.as_array().unwrap() {
            assert!(delivery["status"] == 200 && delivery["attempts"] == 1, "{delivery}");
        }
        assert!(running.runs() && node.runs());

        // Two organizations like any two.
        let mine = lark.list("/conversations").await;
        assert_eq!((mine.len(), &mine[0]["contact"]["name"]), (1, &json!("Ana Prieto")));
        assert_eq!(fern.list("/conversations?limit=100").await.len(), CUSTOMERS);
        for it in fern.list("/integrations").await {
            assert_eq!((&it["status"], &it["last_error"]), (&json!("connected"), &Value::Null), "{it}");
        }
        let theirs = lark.browser.get(&fern.api("/integrations")).await;
        assert_eq!(theirs.status, StatusCode::NOT_FOUND);
    }
}
