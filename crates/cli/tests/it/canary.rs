//! Nothing secret in the log: the built program, at its most talkative, with everything that happens in a day.

use crate::scene::{LARK, Scene, client, environment, sandbox_for};
use agenstack_sandbox::Walk;
use agenstack_store::testing::sqlite;
use reqwest::StatusCode;
use serde_json::json;
use std::process::{Command, Stdio};
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn no_token_secret_cookie_text_or_address_is_in_the_log_even_at_its_most_talkative() {
    let db = sqlite().await;
    // A port that is free now; the program takes it a moment later.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = listener.local_addr().unwrap();
    drop(listener);
    let product = format!("http://{listen}");
    let (sandbox, settings) = sandbox_for(&product).await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut all = environment(&settings, &db.url);
    all.insert("AGENSTACK_LISTEN".into(), listen.to_string());
    all.insert("AGENSTACK_LOG".into(), "json".into());
    all.insert("AGENSTACK_LOG_LEVEL".into(), "trace".into());
    let mut child = Command::new(env!("CARGO_BIN_EXE_agenstack"))
        .env_clear()
        .envs(&all)
        .arg("serve")
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    crate::crash::wait_until_ready(&mut child);

    let http = client();
    let cookie = std::sync::Mutex::new(String::new());
    let call = async |request: reqwest::RequestBuilder| {
        let jar = cookie.lock().unwrap().clone();
        let answer = request.header("cookie", jar).send().await.unwrap();
        if let Some(set) = answer.headers().get("set-cookie") {
            *cookie.lock().unwrap() = set.to_str().unwrap().split(';').next().unwrap().to_owned();
        }
        let location = answer.headers().get("location").map(|l| l.to_str().unwrap().to_owned());
        (answer.status(), location, answer.text().await.unwrap())
    };
    let person = json!({"email": "canary-mail@example.com", "password": "canary horse battery", "name": "Ana", "organization_name": "Lark"});
    let (status, _, text) = call(http.post(format!("{product}/api/auth/signup")).json(&person)).await;
    assert_eq!(status, StatusCode::CREATED, "{text}");
    let made: serde_json::Value = serde_json::from_str(&text).unwrap();
    let org = made["organization"]["id"].as_str().unwrap().to_owned();
    for (provider, more) in
        [("shopify", "&shop=lark-supply"), ("messenger", ""), ("kustomer", "&subdomain=lark-supply")]
    {
        let url = format!("{product}/api/oauth/{provider}/redirect?organization_id={org}{more}");
        let (_, there, _) = call(http.get(url)).await;
        let back = Walk::approve().through(&there.unwrap()).await.unwrap();
        let (status, ..) = call(http.get(back.split('#').next().unwrap())).await;
        assert_eq!(status, StatusCode::SEE_OTHER);
    }
    let pages = format!("{product}/api/organizations/{org}/integrations/messenger/pages");
    assert_eq!(call(http.post(pages).json(&json!({"page_id": LARK.page}))).await.0, StatusCode::CREATED);
    let control = async |path: &str, body: serde_json::Value| -> serde_json::Value {
        http.post(format!("{sandbox}/control{path}")).json(&body).send().await.unwrap().json().await.unwrap()
    };
    // Refusals, faults and a hand-over are logged, too.
    control("/faults", json!({"provider": "shopify", "operation": "orders", "status": 503, "times": 1}))
        .await;
    let mut psid = String::new();
    for text in ["canary-text hello", "order #1001 ana@example.com", "canary-text I want to talk to a human"]
    {
        let sent =
            control("/messages", json!({"page_id": LARK.page, "from": "Canary Person", "text": text})).await;
        psid = sent["psid"].as_str().unwrap().to_owned();
    }
    // What Shopify asks for on behalf of customers names them, too.
    for topic in ["customers/data_request", "customers/redact", "shop/redact"] {
        control("/shopify/lark-supply.myshopify.com/webhook", json!({"topic": topic})).await;
    }
    control("/messenger/raw", json!({"body": "{\"canary-text\":1}", "signature": "wrong"})).await;
    let wrong = json!({"email": "canary-mail@example.com", "password": "canary wrong"});
    assert_eq!(
        call(http.post(format!("{product}/api/auth/login")).json(&wrong)).await.0,
        StatusCode::UNAUTHORIZED
    );
    let desk = format!("{sandbox}/control/kustomer/lark-supply/conversations");
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(100));
    // The hand-over is the last thing that happens.
    while http.get(&desk).send().await.unwrap().text().await.unwrap() == "[]" {
        tick.tick().await;
    }
    let requests = format!("{product}/api/organizations/{org}/privacy");
    while call(http.get(&requests)).await.2.matches("\"done\"").count() < 3 {
        tick.tick().await;
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let log = std::fs::read_to_string(&log).unwrap();
    assert!(
        log.contains("connected")
            && log.contains("a provider call failed")
            && log.contains("a privacy request is done"),
        "the log tells what happened"
    );
    let key = all["AGENSTACK_MASTER_KEY"].clone();
    let session = cookie.lock().unwrap().split_once('=').unwrap().1.to_owned();
    let secrets = [
        "shpat_",
        "shprt_",
        "shpss_",
        "EAA",
        "canary-text",
        "canary-mail",
        "canary horse",
        "canary wrong",
        "ana@example.com",
        "Canary Person",
        "access_token=",
        "client_secret=",
        "code=",
        &psid,
        &key,
        &session,
        &settings.shopify_api_secret,
        &settings.meta_app_secret,
        &settings.meta_verify_token,
        &settings.kustomer_client_secret,
    ];
    for secret in secrets {
        let line = log.lines().find(|l| l.contains(secret));
        assert!(line.is_none(), "{secret} is in the log: {}", line.unwrap_or_default());
    }
}

/// The pages and answers of one tenant hold no token either.
#[tokio::test]
async fn no_page_holds_a_token_or_key() {
    let scene = Scene::on(sqlite().await).await;
    let v = scene.connected("V", LARK).await;
    scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
    let conversation = v.conversation().await;
    let org = &v.org;
    for path in [
        "/orgs".to_owned(),
        format!("/orgs/{org}"),
        format!("/orgs/{org}/integrations"),
        format!("/orgs/{org}/inbox/{conversation}"),
        format!("/orgs/{org}/events"),
    ] {
        let text = v.browser.get(&path).await.text;
        for secret in
            ["shpat_", "shprt_", "EAA", &scene.settings.shopify_api_secret, &scene.settings.meta_app_secret]
        {
            assert!(!text.contains(secret), "{path}: {secret}");
        }
    }
}
