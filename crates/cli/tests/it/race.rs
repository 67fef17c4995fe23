//! Two nodes over one database and one expired token: exactly one refresh, and everybody adopts it. Also when the one who
//! refreshes is killed.

use crate::crash::wait_until_ready;
use crate::scene::{LARK, Scene, Tenant, environment};
use agenstack::config::{Config, Sources};
use agenstack::wiring::{Role, World, providers, start};
use agenstack_app::{integration, token};
use agenstack_core::ctx::{Actor, OrgCtx, QueuedFor};
use agenstack_core::entropy::OsEntropy;
use agenstack_core::id::OrgId;
use agenstack_core::integration::ShopDomain;
use agenstack_providers::Http;
use agenstack_store::both_databases;
use agenstack_store::testing::{TestDb, postgres, sqlite};
use futures::future::join_all;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Rounds of each run of this test; the figure of many more is in `docs/reliability.md`.
const ROUNDS: i64 = 25;
const CALLERS: usize = 20;

both_databases! {
    async fn twenty_callers_on_two_nodes_make_one_refresh_each_round_and_none_meets_a_stale_token(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        // A second node: its own pools, its own caches, its own locks; the same database, providers and clock.
        let mut settings = environment(&scene.settings, &scene.db.url);
        settings.insert("AGENSTACK_PUBLIC_URL".into(), scene.product.clone());
        let config = Config::load(&Sources::from_environment(settings)).unwrap();
        let world = World { clock: Some(scene.clock.clone()), entropy: Arc::new(OsEntropy), http: Http::new(), collector: None };
        let other = start(&config, Role::Web, None, world).await.unwrap();
        // The cheapest call there is: the emulated shop counts what each costs.
        let shopify = providers(&config, &Http::new()).unwrap().shopify.unwrap();
        let shop = ShopDomain::parse(&LARK.shop()).unwrap();

        let org = QueuedFor::row(OrgId::parse(&lark.org).unwrap());
        let id = lark.integration("shopify").await["id"].as_str().unwrap().to_owned();
        for round in 0..ROUNDS {
            scene.pass_time(3_600);
            scene.control(Method::DELETE, "/received", None).await;
            let callers = (0..CALLERS).map(|n| {
                let app = if n % 2 == 0 { scene.running.app.clone() } else { other.app.clone() };
                let (org, id) = (OrgCtx::from_queue(app.ctx(Actor::Worker), &org), id.clone());
                let (shopify, shop) = (&shopify, &shop);
                async move {
                    let it = integration::get(&app, &org, &id).await?;
                    token::call(&app, &org, &it, |t| async move { shopify.granted_scopes(shop, &t).await }).await
                }
            });
            for scopes in join_all(callers).await {
                assert!(scopes.is_ok(), "round {round}: {scopes:?}");
            }
            let calls = scene.received("shopify").await;
            assert_eq!(calls.iter().filter(|c| c.1 == "token.refresh").count(), 1, "round {round}");
            let refused = scene.control(Method::GET, "/received?provider=shopify", None).await;
            assert!(refused.as_array().unwrap().iter().all(|c| c["status"] == 200), "round {round}");
        }
        assert_eq!(lark.integration("shopify").await["status"], "connected");
    }

    async fn a_refusal_that_comes_after_another_node_took_over_and_renewed_says_nothing_about_the_connection(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        // A node whose call takes longer than its right to refresh: the shop sees it when the new pair is in use.
        let gate = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut settings = environment(&scene.settings, &scene.db.url);
        settings.insert("AGENSTACK_PUBLIC_URL".into(), scene.product.clone());
        settings.insert("SHOPIFY_URL".into(), format!("http://{}/{{shop}}", gate.local_addr().unwrap()));
        let config = Config::load(&Sources::from_environment(settings)).unwrap();
        let world = World { clock: Some(scene.clock.clone()), entropy: Arc::new(OsEntropy), http: Http::new(), collector: None };
        let slow = start(&config, Role::Web, None, world).await.unwrap();

        let org = QueuedFor::row(OrgId::parse(&lark.org).unwrap());
        let id = lark.integration("shopify").await["id"].as_str().unwrap().to_owned();
        let token_of = async |app: agenstack_app::App| {
            let org = OrgCtx::from_queue(app.ctx(Actor::Worker), &org);
            let it = integration::get(&app, &org, &id).await?;
            token::call(&app, &org, &it, |t| async move { Ok(t.expose_secret().to_owned()) }).await
        };
        scene.pass_time(3_600);
        let faster = async {
            let (mut late, _) = gate.accept().await.unwrap();
            let mut asked = [0; 4096];
            assert!(late.read(&mut asked).await.unwrap() > 0);
            scene.pass_time(31);
            let new = token_of(scene.running.app.clone()).await.unwrap();
            let body = json!({"error": "invalid_request", "error_description": "This request requires an active refresh_token"}).to_string();
            let answer = format!("HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            late.write_all(answer.as_bytes()).await.unwrap();
            new
        };
        let (slower, new) = tokio::join!(token_of(slow.app.clone()), faster);
        assert_eq!(slower.unwrap(), new, "what the other renewed is adopted");
        let it = lark.integration("shopify").await;
        assert_eq!((&it["status"], &it["last_error"]), (&json!("connected"), &Value::Null));
    }
}

/// Rounds of the two-process race and kills of the holder: few in every run of the tests, as many as asked for otherwise.
fn times(variable: &str, few: usize) -> usize {
    std::env::var_os(variable).and_then(|n| n.into_string().ok()?.parse().ok()).unwrap_or(few)
}

/// The built program, on an address of its own.
struct Node {
    process: Child,
    at: String,
}

impl Node {
    async fn start(scene: &Scene) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_addr().unwrap();
        drop(listener);
        let mut settings = environment(&scene.settings, &scene.db.url);
        settings.insert("AGENSTACK_LISTEN".into(), listen.to_string());
        // One installation, whichever node answers.
        settings.insert("AGENSTACK_PUBLIC_URL".into(), scene.product.clone());
        let mut command = Command::new(env!("CARGO_BIN_EXE_agenstack"));
        command.env_clear().envs(settings).arg("serve").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("the program starts");
        wait_until_ready(&mut process);
        Self { process, at: format!("http://{listen}") }
    }

    fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The token has ended, at the shop and here.
async fn expire(scene: &Scene) {
    for deed in ["expire-tokens", "refill"] {
        scene.control(Method::POST, &format!("/shopify/{}/{deed}", LARK.shop()), None).await;
    }
    let sql =
        "UPDATE integrations SET token_expires_at = token_expires_at - 7200000 WHERE provider = 'shopify'";
    write(scene, sql).await;
    scene.control(Method::DELETE, "/received", None).await;
}

/// Writes rows behind the product's back: what time would have done.
async fn write(scene: &Scene, sql: &'static str) {
    match (scene.db.store.sqlite(), scene.db.store.postgres()) {
        (Some(pool), _) => sqlx::query(sql).execute(pool).await.map(drop).unwrap(),
        (_, Some(pool)) => sqlx::query(sql).execute(pool).await.map(drop).unwrap(),
        _ => unreachable!("a store is one of the two"),
    }
}

/// A person tests the connection at a node.
async fn test(lark: &Tenant, at: &str, id: &str) -> Value {
    let path = format!("{at}{}/test", lark.api(&format!("/integrations/{id}")));
    let answer = lark.browser.post(&path, json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn refreshes(scene: &Scene) -> usize {
    scene.received("shopify").await.iter().filter(|c| c.1 == "token.refresh").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_callers_on_two_processes_make_one_refresh_each_round_and_none_meets_a_stale_token() {
    let scene = Scene::on(postgres().await).await;
    let lark = scene.tenant("Lark Supply").await;
    lark.connect_shopify(LARK.label).await;
    let id = lark.integration("shopify").await["id"].as_str().unwrap().to_owned();
    let nodes = [Node::start(&scene).await, Node::start(&scene).await];
    for round in 0..times("AGENSTACK_TEST_ROUNDS", 25) {
        expire(&scene).await;
        let callers = (0..CALLERS).map(|n| test(&lark, &nodes[n % 2].at, &id));
        for report in join_all(callers).await {
            assert_eq!(report["ok"], true, "round {round}: {report}");
        }
        assert_eq!(refreshes(&scene).await, 1, "round {round}");
        let all = scene.control(Method::GET, "/received?provider=shopify", None).await;
        assert!(all.as_array().unwrap().iter().all(|c| c["status"] == 200), "round {round}: {all}");
    }
}

/// When the holder dies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Death {
    /// The shop has renewed, and its answer is held back until the holder is dead.
    BeforeTheAnswer,
    /// The answer is on its way: a little later in each round, so that it is received, sealed, or committed by then.
    AfterTheAnswer,
}

/// Kills the process that renews, `rounds` times; `survivor` is there all the while, or else the program is started anew.
async fn kill_the_holder(db: TestDb, death: Death, rounds: usize, survives: bool) {
    let scene = Scene::on(db).await;
    let lark = scene.tenant("Lark Supply").await;
    lark.connect_shopify(LARK.label).await;
    let id = lark.integration("shopify").await["id"].as_str().unwrap().to_owned();
    let survivor = if survives { Some(Node::start(&scene).await) } else { None };
    // With AGENSTACK_TEST_REAL_TIME the lease runs out by itself; otherwise it is moved, as time would.
    let real = std::env::var_os("AGENSTACK_TEST_REAL_TIME").is_some();
    for round in 0..rounds {
        let mut holder = Node::start(&scene).await;
        expire(&scene).await;
        if death == Death::BeforeTheAnswer {
            let held =
                json!({"provider": "shopify", "operation": "token.refresh", "hold_ms": 60_000, "times": 1});
            scene.control(Method::POST, "/faults", Some(held)).await;
        }
        let path = format!("{}{}/test", holder.at, lark.api(&format!("/integrations/{id}")));
        let asking = async {
            let answer = lark.browser.attempt(&path).await;
            // Or else the shop would be waited for in vain.
            assert!(refreshes(&scene).await > 0, "round {round}: the shop was not asked: {answer:?}");
            answer.is_some()
        };
        let killing = async {
            // Seldom enough to leave the processors to the nodes.
            let mut tick = tokio::time::interval(Duration::from_millis(2));
            while refreshes(&scene).await == 0 {
                tick.tick().await;
            }
            if death == Death::AfterTheAnswer {
                // Each takes a part of the time that sealing and committing take.
                for _ in 0..round % 5 * 4 {
                    scene.calls().await;
                }
            }
            holder.kill();
        };
        let (asked, ()) = futures::join!(asking, killing);
        let died = std::time::Instant::now();
        if !real {
            write(
                &scene,
                "UPDATE integrations SET refresh_lease = refresh_lease - 60000 WHERE provider = 'shopify'",
            )
            .await;
        }
        let again = if survives { None } else { Some(Node::start(&scene).await) };
        let node = again.as_ref().or(survivor.as_ref()).expect("one of the two is there");
        let report = loop {
            let report = test(&lark, &node.at, &id).await;
            if report["ok"] == true {
                break report;
            }
            let late = died.elapsed() >= Duration::from_secs(60);
            assert!(!late, "round {round}: not recovered in a minute: {report}");
        };
        assert_eq!(report["integration"]["status"], "connected", "round {round}: {report}");
        let asked_shop = refreshes(&scene).await;
        match death {
            Death::BeforeTheAnswer => {
                assert!(!asked, "round {round}: the holder died before it answered");
                assert_eq!(asked_shop, 2, "round {round}: once by the dead one, once to recover");
            }
            // Committed before it died: adopted. Otherwise renewed once more, by the same old refresh token.
            Death::AfterTheAnswer => assert!((1..=2).contains(&asked_shop), "round {round}: {asked_shop}"),
        }
        let all = scene.control(Method::GET, "/received?provider=shopify", None).await;
        assert!(all.as_array().unwrap().iter().all(|c| c["status"] == 200), "round {round}: {all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_is_killed_between_the_answer_and_the_commit_leaves_a_connection_that_the_other_node_recovers()
 {
    kill_the_holder(postgres().await, Death::BeforeTheAnswer, times("AGENSTACK_TEST_KILLS", 25), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_is_killed_while_it_commits_the_answer_leaves_the_old_pair_or_the_new_one() {
    kill_the_holder(postgres().await, Death::AfterTheAnswer, times("AGENSTACK_TEST_KILLS", 25), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_process_that_is_killed_while_it_renews_recovers_when_it_is_started_again() {
    for death in [Death::BeforeTheAnswer, Death::AfterTheAnswer] {
        kill_the_holder(sqlite().await, death, times("AGENSTACK_TEST_KILLS", 5), false).await;
    }
}
