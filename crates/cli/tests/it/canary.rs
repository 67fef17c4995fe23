//! Nothing secret in the log: the built program, at its most talkative, with everything that happens in a day.

use crate::privacy::{bytes, everything, holds, needle};
use crate::scene::{LARK, Scene, client, environment, sandbox_for};
use agenstack_sandbox::Walk;
use agenstack_store::both_databases;
use agenstack_store::testing::sqlite;
use reqwest::{Method, StatusCode};
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let metrics = listener.local_addr().unwrap();
    drop(listener);
    all.insert("AGENSTACK_METRICS_LISTEN".into(), metrics.to_string());
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
    let control = async |path: &str, body: serde_json::Value| -> serde_json::Value {
        http.post(format!("{sandbox}/control{path}")).json(&body).send().await.unwrap().json().await.unwrap()
    };
    let talkative = json!({"errors": "canary-body", "error": {"message": "canary-body", "code": 2, "type": "canary-body"}});
    let connect = async |provider: &str| {
        let more = match provider {
            "shopify" => "&shop=lark-supply",
            "kustomer" => "&subdomain=lark-supply",
            _ => "",
        };
        let url = format!("{product}/api/oauth/{provider}/redirect?organization_id={org}{more}");
        let (_, there, _) = call(http.get(url)).await;
        let back = Walk::approve().through(&there.unwrap()).await.unwrap();
        call(http.get(back.split('#').next().unwrap())).await
    };
    // First every step to a token is refused once, by an answer that talks; then everything goes well.
    let mut shown = Vec::new();
    let steps = [
        ("shopify", "shopify", "token.code"),
        ("messenger", "meta", "POST oauth/access_token"),
        ("messenger", "meta", "GET debug_token"),
        ("messenger", "meta", "GET me/accounts"),
        ("kustomer", "kustomer", "token.code"),
        ("kustomer", "kustomer", "GET users/current"),
        ("kustomer", "kustomer", "POST outbound-webhooks"),
    ];
    for (provider, emulated, operation) in steps {
        for status in [400, 401, 500] {
            let fault = json!({"provider": emulated, "operation": operation, "status": status, "times": 1, "body": talkative});
            control("/faults", fault).await;
            let (_, location, text) = connect(provider).await;
            if let Some(location) = location {
                shown.push(call(http.get(format!("{product}{location}"))).await.2);
            }
            shown.push(text);
        }
    }
    for provider in ["shopify", "messenger", "kustomer"] {
        assert_eq!(connect(provider).await.0, StatusCode::SEE_OTHER);
    }
    let received: serde_json::Value =
        http.get(format!("{sandbox}/control/received")).send().await.unwrap().json().await.unwrap();
    for (_, emulated, operation) in steps {
        let met = |c: &&serde_json::Value| {
            c["provider"] == emulated && c["operation"] == operation && c["status"].as_u64().unwrap() >= 400
        };
        assert_eq!(
            received.as_array().unwrap().iter().filter(met).count(),
            3,
            "{emulated} {operation}: {received}"
        );
    }
    // Kustomer again, through an app of its own: once with a wrong secret, and once with the right one.
    let app = format!("{sandbox}/control/kustomer/lark-supply/private-app");
    let app: serde_json::Value = http.get(app).send().await.unwrap().json().await.unwrap();
    for secret in ["canary-client-secret", app["client_secret"].as_str().unwrap()] {
        let body =
            json!({"subdomain": "lark-supply", "client_id": app["client_id"], "client_secret": secret});
        let url = format!("{product}/api/organizations/{org}/integrations/kustomer/private-app");
        let begun: serde_json::Value =
            serde_json::from_str(&call(http.post(url).json(&body)).await.2).unwrap();
        let back = Walk::approve().through(begun["location"].as_str().unwrap()).await.unwrap();
        assert_eq!(call(http.get(back)).await.0, StatusCode::SEE_OTHER);
    }
    let pages = format!("{product}/api/organizations/{org}/integrations/messenger/pages");
    assert_eq!(call(http.post(pages).json(&json!({"page_id": LARK.page}))).await.0, StatusCode::CREATED);
    // Refusals, faults and a hand-over are logged, too.
    for (provider, operation, status) in
        [("shopify", "orders", 503), ("meta", "POST messages", 500), ("meta", "GET object", 400)]
    {
        let fault = json!({"provider": provider, "operation": operation, "status": status, "times": 1, "body": talkative});
        control("/faults", fault).await;
    }
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
    let tokens: Vec<String> =
        http.get(format!("{sandbox}/control/tokens")).send().await.unwrap().json().await.unwrap();
    assert!(tokens.len() > 6, "{}", tokens.len());
    let metrics = http.get(format!("http://{metrics}/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("agenstack_connections"), "{metrics}");
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
        "canary-body",
        "canary-client",
        "canary-mail",
        "canary horse",
        "canary wrong",
        "ana@example.com",
        "Canary Person",
        "access_token=",
        "client_secret=",
        app["client_secret"].as_str().unwrap(),
        "code=",
        &psid,
        &key,
        &session,
        &settings.shopify_api_secret,
        &settings.meta_app_secret,
        &settings.meta_verify_token,
        &settings.kustomer_client_secret,
    ];
    for secret in secrets.into_iter().chain(tokens.iter().map(String::as_str)) {
        let line = log.lines().find(|l| l.contains(secret));
        assert!(line.is_none(), "{secret} is in the log: {}", line.unwrap_or_default());
        assert!(!metrics.contains(secret), "{secret} is in the metrics");
    }
    let shown = shown.concat();
    for secret in tokens.iter().map(String::as_str).chain(["canary-body", &key, &settings.shopify_api_secret])
    {
        assert!(!shown.contains(secret), "{secret} is on a page");
    }
}

/// Every token that a provider has given, wherever one might be.
async fn tokens(scene: &Scene) -> Vec<String> {
    let all = scene.control(Method::GET, "/tokens", None).await;
    all.as_array().unwrap().iter().map(|t| t.as_str().unwrap().to_owned()).collect()
}

both_databases! {
    async fn no_page_answer_or_row_holds_what_a_provider_gave_in_confidence_or_said_in_anger(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        // Through the account's own app from now on, so that its secret is kept, too.
        crate::desk::connect(&scene, &v, LARK.label).await;
        scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        let mut secrets = tokens(&scene).await;
        secrets.push(crate::desk::own_app(&scene, LARK.label).await.1);
        scene.pass_time(3_100);
        scene.care().await;
        scene.pass_time(-3_100);
        secrets.extend(tokens(&scene).await);
        // Every provider complains at length about everything, in each way it can.
        let said = json!({"errors": "canary-body", "error": {"message": "canary-body", "code": 190}, "error_description": "canary-body"});
        secrets.push("canary-body".into());
        for status in [400, 401, 402, 403, 404, 423, 429, 500, 503] {
            for (provider, named) in [("shopify", "shopify"), ("meta", "messenger"), ("kustomer", "kustomer")] {
                let fault = json!({"provider": provider, "status": status, "times": 2, "body": said});
                scene.control(Method::POST, "/faults", Some(fault)).await;
                let id = v.integration(named).await["id"].as_str().unwrap().to_owned();
                let path = v.api(&format!("/integrations/{id}/test"));
                let report = v.browser.post(&path, json!({})).await;
                for secret in &secrets {
                    assert!(!report.text.contains(secret), "{named} {status}: {secret}");
                }
                scene.control(Method::DELETE, "/faults", None).await;
            }
        }
        // A renewal is refused just as talkatively; the last time for good.
        scene.control(Method::DELETE, "/received", None).await;
        for status in [500, 429, 400] {
            for (provider, wait) in [("shopify", 8_000), ("kustomer", 90_000)] {
                let fault = json!({"provider": provider, "operation": "token.refresh", "status": status, "times": 1, "body": said});
                scene.control(Method::POST, "/faults", Some(fault)).await;
                let id = v.integration(provider).await["id"].as_str().unwrap().to_owned();
                scene.pass_time(wait);
                let path = v.api(&format!("/integrations/{id}/test"));
                let report = v.browser.post(&path, json!({})).await;
                let met = scene.received(provider).await;
                assert_eq!(met.last().map(|c| c.1.as_str()), Some("token.refresh"), "{provider} {status}: {met:?}");
                for secret in &secrets {
                    assert!(!report.text.contains(secret), "{provider} {status}: {secret}");
                }
            }
        }
        scene.pass_time(-3 * (8_000 + 90_000));
        secrets.extend([scene.settings.shopify_api_secret.clone(), scene.settings.meta_app_secret.clone()]);
        let conversation = v.conversation().await;
        let event = v.list("/events").await[0]["id"].as_str().unwrap().to_owned();
        let connections: Vec<String> =
            v.list("/integrations").await.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
        let mut paths = vec!["/orgs".to_owned()];
        for page in ["", "/inbox", "/integrations", "/events", "/privacy", "/settings", "/integrations/messenger/pages"] {
            paths.push(format!("/orgs/{}{page}", v.org));
        }
        paths.push(format!("/orgs/{}/inbox/{conversation}", v.org));
        paths.push(format!("/orgs/{}/events/{event}", v.org));
        for id in &connections {
            paths.push(format!("/orgs/{}/integrations/{id}", v.org));
            paths.push(v.api(&format!("/integrations/{id}/history")));
        }
        for what in ["", "/integrations", "/events", "/conversations", "/privacy", "/transfers", "/integrations/messenger/pages"] {
            paths.push(v.api(what));
        }
        paths.push(v.api(&format!("/conversations/{conversation}/messages")));
        paths.push(v.api(&format!("/events/{event}")));
        for path in paths {
            let answer = v.browser.get(&path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            for secret in &secrets {
                assert!(!answer.text.contains(secret), "{path}: {secret}");
            }
        }
        let metrics = agenstack_app::metric::render(&scene.running.app).await;
        let stored = everything(&scene).await;
        for secret in &secrets {
            assert!(!metrics.contains(secret), "{secret} is in the metrics");
            assert!(!holds(&stored, secret.as_bytes()), "{secret} is in the database");
        }
    }

    async fn after_a_disconnection_neither_the_tokens_nor_what_they_were_sealed_into_are_in_the_database(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        crate::desk::connect(&scene, &v, LARK.label).await;
        let mut plain = tokens(&scene).await;
        plain.push(crate::desk::own_app(&scene, LARK.label).await.1);
        let mut sealed = Vec::new();
        for column in ["access_token", "refresh_token", "webhook_secret", "webhook_secret_previous", "client_secret"] {
            sealed.extend(bytes(&scene, &format!("SELECT {column} FROM integrations WHERE {column} IS NOT NULL")).await);
        }
        assert!(sealed.len() >= 8, "{}", sealed.len());
        let before = everything(&scene).await;
        assert!(sealed.iter().all(|s| holds(&before, &needle(&scene, s))), "they are there while it is connected");
        for provider in ["shopify", "messenger", "kustomer"] {
            let id = v.integration(provider).await["id"].as_str().unwrap().to_owned();
            let ended = v.browser.send(Method::DELETE, &v.api(&format!("/integrations/{id}")), None).await;
            assert_eq!(ended.status, StatusCode::NO_CONTENT);
        }
        scene.settle().await;
        assert!(scene.db.store.empty_log().await.unwrap());
        let after = everything(&scene).await;
        for token in &plain {
            assert!(!holds(&after, token.as_bytes()), "a token is in the database");
        }
        for value in &sealed {
            assert!(!holds(&after, &needle(&scene, value)), "a sealed token is still in the database");
        }
    }
}
