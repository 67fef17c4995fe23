//! What was acknowledged is never lost: the built program is killed three times while events come in.

use crate::scene::{LARK, Scene, client, environment};
use crate::wire::{delivery, message, meta_signature};
use agenstack_store::both_databases;
use reqwest::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const EVENTS: usize = 500;
const CONVERSATIONS: usize = 20;

/// Reads the program's output until it says that it is ready.
pub fn wait_until_ready(child: &mut Child) {
    let mut line = String::new();
    let n = BufReader::new(child.stdout.take().expect("its output is piped")).read_line(&mut line);
    assert!(line.starts_with("AgenStack is ready"), "{n:?} {line}");
}

/// The server as an operator starts it.
fn serve(environment: &BTreeMap<String, String>) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_agenstack"))
        .env_clear()
        .envs(environment)
        .arg("serve")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    wait_until_ready(&mut child);
    child
}

/// Sends one event until it is acknowledged, as a provider does.
async fn deliver(http: &Client, url: &str, scene: &Scene, n: usize) {
    let psid = format!("70000000000000{:02}", n % CONVERSATIONS);
    let body = delivery(LARK.page, &[message(LARK.page, &psid, &format!("m_{n}"), &format!("hello {n}"))])
        .to_string();
    let (name, signature) = meta_signature(scene, &body);
    let mut again = tokio::time::interval(Duration::from_millis(20));
    loop {
        again.tick().await;
        let sent = http.post(url).header(name, &signature).body(body.clone()).send().await;
        if sent.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
    }
}

both_databases! {
    async fn five_hundred_events_survive_three_kills_and_each_has_its_effect_once(db: TestDb) {
        // Connected in this process; then the built program takes the same database over.
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_addr().unwrap();
        drop(listener);
        // The page does not know these customers, so that every answer is refused: what counts here is the inbox.
        let mut all = environment(&scene.settings, &scene.db.url);
        all.insert("AGENSTACK_LISTEN".into(), listen.to_string());
        let url = format!("http://{listen}/api/webhooks/messenger");

        let http = client();
        let mut child = serve(&all);
        for round in 0..4 {
            let share = EVENTS / 4;
            let batch = (round * share..(round + 1) * share).map(|n| deliver(&http, &url, &scene, n));
            let sending = futures::future::join_all(batch);
            if round == 3 {
                sending.await;
            } else {
                // Killed in the middle of accepting and working; whoever was not answered sends again.
                let killing = async {
                    deliver(&http, &url, &scene, round * share).await;
                    child.kill().unwrap();
                    child.wait().unwrap();
                    serve(&all)
                };
                let (_, started) = futures::future::join(sending, killing).await;
                child = started;
            }
        }
        // What a killed process held is free again when its lease has run out.
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        while agenstack_app::worker::waiting(&scene.running.app).await.unwrap() > 0 {
            tick.tick().await;
            assert!(child.try_wait().unwrap().is_none(), "the server runs on");
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let conversations = v.list("/conversations?limit=100").await;
        assert_eq!(conversations.len(), CONVERSATIONS);
        let mut seen = BTreeSet::new();
        let mut answers = 0;
        for conversation in conversations {
            let messages = v.messages_all(conversation["id"].as_str().unwrap()).await;
            for (author, text, _) in messages {
                match author.as_str() {
                    "customer" => {
                        let n: usize = text.strip_prefix("hello ").unwrap().parse().unwrap();
                        assert!(seen.insert(n), "{n} is there twice");
                    }
                    "bot" => answers += 1,
                    _ => {}
                }
            }
        }
        assert_eq!(seen.len(), EVENTS, "every acknowledged event is there");
        assert_eq!(answers, EVENTS, "each has its effect once");
    }
}
