//! The master key is replaced while the built program serves: no request fails, and the former key is needed no more.

use crate::crash::wait_until_ready;
use crate::scene::{LARK, Scene, Tenant, environment};
use crate::wire;
use agenstack_store::both_databases;
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub type Settings = BTreeMap<String, String>;

pub fn program(settings: &Settings, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agenstack"));
    command.env_clear().envs(settings).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end, beside everything else.
pub async fn run(settings: &Settings, arguments: &[&str]) -> Output {
    let mut command = program(settings, arguments);
    tokio::task::spawn_blocking(move || command.output().expect("the program starts")).await.expect("it ends")
}

fn serve(settings: &Settings) -> Child {
    let mut command = program(settings, &["serve"]);
    let mut child = command.stderr(Stdio::null()).spawn().expect("the program starts");
    wait_until_ready(&mut child);
    child
}

fn end(mut child: Child) {
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

/// What people and providers do all the time; gives how often, and fails at the first failure.
async fn load(scene: &Scene, lark: &Tenant, at: &str, over: &AtomicBool, done: &AtomicUsize) {
    let shop = lark.integration("shopify").await["id"].as_str().unwrap().to_owned();
    let deliveries = async {
        let mut n = 0;
        while !over.load(Ordering::SeqCst) {
            n += 1;
            let body = format!(r#"{{"id":{n}}}"#);
            let answer = scene
                .http
                .post(format!("{at}/api/webhooks/shopify"))
                .header("x-shopify-topic", "orders/updated")
                .header("x-shopify-shop-domain", format!("shop-{:05}.myshopify.com", n % 300 + 1))
                .header("x-shopify-webhook-id", format!("hook-{n}"))
                .header("x-shopify-api-version", "2026-10")
                .header("x-shopify-hmac-sha256", wire::shopify_signature(scene, &body))
                .body(body)
                .send();
            assert_eq!(answer.await.expect("an answer").status(), StatusCode::OK);
            done.fetch_add(1, Ordering::SeqCst);
        }
    };
    let people = async {
        let mut log_ins = 0;
        while !over.load(Ordering::SeqCst) {
            // As many as one person may try.
            if log_ins < 8 {
                log_ins += 1;
                let body = json!({"email": lark.email, "password": "correct horse battery"});
                let entered = scene.browser().post(&format!("{at}/api/auth/login"), body).await;
                assert_eq!(entered.status, StatusCode::OK, "{}", entered.text);
            }
            let page = lark.browser.get(&format!("{at}/orgs/{}/inbox", lark.org)).await;
            assert_eq!(page.status, StatusCode::OK, "{}", page.text);
            let path = format!("{at}{}/test", lark.api(&format!("/integrations/{shop}")));
            let test = lark.browser.send(Method::POST, &path, None).await;
            assert!(test.status == StatusCode::OK && test.json()["ok"] == true, "{}", test.text);
            done.fetch_add(1, Ordering::SeqCst);
        }
    };
    futures::join!(deliveries, people);
}

/// Waits until so much was done; a request that fails ends the test by itself.
async fn at_least(done: &AtomicUsize, n: usize) {
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(20));
    while done.load(Ordering::SeqCst) < n {
        tick.tick().await;
    }
}

both_databases! {
    async fn the_master_key_is_replaced_under_load_without_a_failed_request_and_the_former_one_is_not_needed_afterwards(db: TestDb) {
        let scene = Scene::on(db).await;
        let mut settings = environment(&scene.settings, &scene.db.url);
        assert!(run(&settings, &["seed", "--organizations", "300"]).await.status.success());
        let lark = scene.tenant("Lark Supply").await;
        lark.connect_shopify(LARK.label).await;
        let old = settings["AGENSTACK_MASTER_KEY"].clone();
        let made = run(&settings, &["keys", "generate"]).await.stdout;
        let new = String::from_utf8(made).unwrap().trim().to_owned();
        settings.insert("AGENSTACK_MASTER_KEY".into(), new.clone());
        settings.insert("AGENSTACK_MASTER_KEY_PREVIOUS".into(), old.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_addr().unwrap();
        drop(listener);
        settings.insert("AGENSTACK_LISTEN".into(), listen.to_string());
        let at = format!("http://{listen}");
        let server = serve(&settings);

        let (over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        let rotating = async {
            at_least(&done, 3).await;
            // Stopped in the middle: what was wrapped anew stays so.
            let mut first = program(&settings, &["keys", "rotate"]).spawn().expect("the program starts");
            let mut told = BufReader::new(first.stdout.take().expect("its output is piped"));
            let line = tokio::task::spawn_blocking(move || {
                let mut line = String::new();
                told.read_line(&mut line).map(|_| line)
            });
            let line = line.await.unwrap().unwrap();
            assert_eq!(line, "100 of 301 data keys\n");
            end(first);
            let status = String::from_utf8(run(&settings, &["keys", "status"]).await.stdout).unwrap();
            assert!(status.contains("(current)") && status.contains("still needed"), "{status}");
            // Two at once do no harm.
            for rotated in join_all([run(&settings, &["keys", "rotate"]), run(&settings, &["keys", "rotate"])]).await {
                assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
            }
            let status = String::from_utf8(run(&settings, &["keys", "status"]).await.stdout).unwrap();
            assert!(status.contains("301 data keys under") && status.contains("can be removed"), "{status}");
            at_least(&done, done.load(Ordering::SeqCst) + 3).await;
            over.store(true, Ordering::SeqCst);
        };
        futures::join!(load(&scene, &lark, &at, &over, &done), rotating);
        end(server);

        settings.remove("AGENSTACK_MASTER_KEY_PREVIOUS");
        let server = serve(&settings);
        let (over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        let a_while = async {
            at_least(&done, 20).await;
            over.store(true, Ordering::SeqCst);
        };
        futures::join!(load(&scene, &lark, &at, &over, &done), a_while);
        end(server);

        settings.insert("AGENSTACK_MASTER_KEY".into(), old);
        let refused = run(&settings, &["serve"]).await;
        assert_eq!(refused.status.code(), Some(78));
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("AGENSTACK_MASTER_KEY") && !said.contains(&new), "{said}");
    }
}
