//! Kustomer's three ways in, and what keeps a desk connected: a new key, a new secret, a webhook that is set again.

use crate::scene::{Accounts, FERN, LARK, Scene, Tenant};
use agenstack_app::care;
use agenstack_sandbox::{Walk, WalkError};
use agenstack_store::both_databases;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// An account at which the platform's app is not installed.
const MOSS: Accounts = Accounts { label: "moss-market", facebook: "mo", page: "100000000000003" };
const CREATE: &str = "org.permission.outbound_webhook.create";

/// The app that an account registered for itself: client id and secret.
pub async fn own_app(scene: &Scene, label: &str) -> (String, String) {
    let app = scene.control(Method::GET, &format!("/kustomer/{label}/private-app"), None).await;
    let text = |name: &str| app[name].as_str().unwrap().to_owned();
    (text("client_id"), text("client_secret"))
}

/// Begins with an app; gives the address that the browser goes to.
async fn begin(tenant: &Tenant, label: &str, (id, secret): &(String, String)) -> String {
    let body = json!({"subdomain": label, "client_id": id, "client_secret": secret});
    let begun = tenant.browser.post(&tenant.api("/integrations/kustomer/private-app"), body).await;
    assert_eq!(begun.status, StatusCode::OK, "{}", begun.text);
    assert!(!begun.text.contains(secret), "{}", begun.text);
    begun.json()["location"].as_str().unwrap().to_owned()
}

/// Walks on from there; gives what the integrations page is told.
async fn walk(tenant: &Tenant, url: &str) -> String {
    let back = Walk::approve().through(url).await.expect("the person allows it");
    let to = tenant.come_back(&back).await.location.expect("a redirect");
    to.split_once("?kustomer=").expect("it tells how it ended").1.to_owned()
}

/// Connects an account through its own app.
pub async fn connect(scene: &Scene, tenant: &Tenant, label: &str) {
    let app = own_app(scene, label).await;
    let url = begin(tenant, label, &app).await;
    assert_eq!(walk(tenant, &url).await, "connected");
}

async fn with_key(scene: &Scene, tenant: &Tenant, label: &str, kind: &str) -> crate::scene::Answer {
    let keys = scene.control(Method::GET, &format!("/kustomer/{label}/keys"), None).await;
    let body = json!({"subdomain": label, "api_key": keys[kind]});
    tenant.browser.post(&tenant.api("/integrations/kustomer/api-key"), body).await
}

async fn webhooks(scene: &Scene, label: &str) -> Vec<Value> {
    let list = scene.control(Method::GET, &format!("/kustomer/{label}/webhooks"), None).await;
    list.as_array().unwrap().clone()
}

async fn deed(scene: &Scene, label: &str, path: &str) {
    scene.control(Method::POST, &format!("/kustomer/{label}/{path}"), None).await;
}

async fn press_test(tenant: &Tenant) -> Value {
    let id = tenant.integration("kustomer").await["id"].as_str().unwrap().to_owned();
    tenant.browser.post(&tenant.api(&format!("/integrations/{id}/test")), json!({})).await.json()
}

async fn run(scene: &Scene, sql: &'static str) {
    match (scene.db.store.sqlite(), scene.db.store.postgres()) {
        (Some(pool), _) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
        (_, Some(pool)) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
        _ => unreachable!("a store is one of the two"),
    }
}

/// How many rows hold a client's secret or id, in any of the tables that may.
async fn clients(scene: &Scene) -> i64 {
    const SQL: &str =
        "SELECT (SELECT COUNT(*) FROM integrations WHERE client_secret IS NOT NULL OR client_id IS NOT NULL)
        + (SELECT COUNT(*) FROM farewells WHERE client_secret IS NOT NULL)";
    match (scene.db.store.sqlite(), scene.db.store.postgres()) {
        (Some(pool), _) => sqlx::query_scalar(SQL).fetch_one(pool).await.unwrap(),
        (_, Some(pool)) => sqlx::query_scalar(SQL).fetch_one(pool).await.unwrap(),
        _ => unreachable!("a store is one of the two"),
    }
}

/// A page, an answer of the desk's team to a customer who was handed over, and what the customer reads then.
async fn is_answered(scene: &Scene, accounts: Accounts, text: &str) -> usize {
    let path = format!("/kustomer/{}/conversations", accounts.label);
    let desk = scene.control(Method::GET, &path, None).await;
    let id = desk[0]["conversation"]["id"].as_str().expect("a conversation was handed over").to_owned();
    scene.control(Method::POST, &format!("{path}/{id}/answer"), Some(json!({"text": text}))).await;
    scene.settle().await;
    let sent = json!({"page_id": accounts.page, "from": "Ana Prieto", "text": "thanks"});
    let sent = scene.control(Method::POST, "/messages", Some(sent)).await;
    scene.settle().await;
    let thread = scene.thread(accounts.page, sent["psid"].as_str().unwrap()).await;
    thread.iter().filter(|m| m.1 == text).count()
}

both_databases! {
    async fn a_merchants_own_app_connects_without_one_of_the_operators_and_is_gone_after_the_end(db: TestDb) {
        let scene = Scene::with(db, &[("KUSTOMER_CLIENT_ID", ""), ("KUSTOMER_CLIENT_SECRET", "")]).await;
        let moss = scene.tenant("Moss Market").await;
        let page = format!("/orgs/{}/integrations/kustomer/connect", moss.org);
        let text = moss.browser.get(&page).await.text;
        let redirect = format!("{}/api/oauth/kustomer/callback", scene.product);
        assert!(text.contains("With your own app") && text.contains(&redirect) && text.contains(CREATE), "{text}");
        assert!(!text.contains("With Kustomer's log-in"), "the operator has no app");

        // By the page: the form answers with a link.
        let (id, secret) = own_app(&scene, MOSS.label).await;
        let fields = [("subdomain", MOSS.label), ("client_id", &id), ("client_secret", &secret)];
        let form = format!("/orgs/{}/integrations/kustomer/private-app", moss.org);
        let shown = moss.browser.form(&form, &fields).await;
        assert_eq!(shown.status, StatusCode::OK);
        assert!(!shown.text.contains(&secret) && shown.text.contains("Invalid Client"), "{}", shown.text);
        let (_, link) = shown.text.split_once("id=\"continue-own\" href=\"").expect("a link");
        let url = link.split('"').next().unwrap().replace("&#38;", "&");
        assert_eq!(walk(&moss, &url).await, "connected");
        let it = moss.integration("kustomer").await;
        assert_eq!((it["status"].clone(), it["account_identifier"]["method"].clone()), (json!("connected"), json!("private_app")));
        assert_eq!(it["missing_scopes"], json!([]));
        let cards = moss.browser.get(&format!("/orgs/{}/integrations", moss.org)).await.text;
        assert!(cards.contains("by its own app") && !cards.contains(&secret), "{cards}");

        // It is renewed with the same client, and the new token works.
        scene.control(Method::DELETE, "/received", None).await;
        scene.pass_time(20 * 3_600);
        care::round(scene.running.app.clone()).await;
        assert_eq!(scene.received("kustomer").await, [(MOSS.label.into(), "token.refresh".into(), Some(MOSS.label.into()))]);
        assert_eq!(press_test(&moss).await["ok"], true);

        let path = moss.api(&format!("/integrations/{}", it["id"].as_str().unwrap()));
        assert_eq!(moss.browser.send(Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
        scene.settle().await;
        assert_eq!(clients(&scene).await, 0);
        assert!(webhooks(&scene, MOSS.label).await.is_empty());
        // The flow forgets the secret with its row.
        scene.pass_time(700);
        agenstack_app::worker::tidy_up(&scene.running.app).await;
        assert_eq!(flows_with_secret(&scene).await, 0);
    }

    async fn a_disconnection_after_the_token_ended_renews_it_with_the_merchants_own_client(db: TestDb) {
        let scene = Scene::on(db).await;
        let moss = scene.tenant("Moss Market").await;
        connect(&scene, &moss, MOSS.label).await;
        let id = moss.integration("kustomer").await["id"].as_str().unwrap().to_owned();
        let refused = json!({"provider": "kustomer", "operation": "DELETE outbound-webhooks/{id}", "status": 401, "times": 1});
        scene.control(Method::POST, "/faults", Some(refused)).await;
        scene.control(Method::DELETE, "/received", None).await;
        moss.browser.send(Method::DELETE, &moss.api(&format!("/integrations/{id}")), None).await;
        let asked: Vec<_> = scene.received("kustomer").await.into_iter().map(|r| (r.1, r.2.unwrap())).collect();
        let label = || MOSS.label.to_owned();
        assert_eq!(asked, [
            ("DELETE outbound-webhooks/{id}".into(), label()), ("token.refresh".into(), label()),
            ("DELETE outbound-webhooks/{id}".into(), label()),
        ]);
        assert!(webhooks(&scene, MOSS.label).await.is_empty());
        assert_eq!(clients(&scene).await, 0);
    }

    async fn the_client_of_one_organization_is_never_used_for_another(db: TestDb) {
        let scene = Scene::on(db).await;
        let (lark, moss) = (scene.tenant("Lark Supply").await, scene.tenant("Moss Market").await);
        connect(&scene, &lark, LARK.label).await;
        connect(&scene, &moss, MOSS.label).await;
        scene.control(Method::DELETE, "/received", None).await;
        scene.pass_time(20 * 3_600);
        care::round(scene.running.app.clone()).await;
        let renewed = scene.received("kustomer").await;
        assert_eq!(renewed.len(), 2);
        assert!(renewed.iter().all(|(account, _, client)| client.as_ref() == Some(account)), "{renewed:?}");

        // Another's ciphertext in the column does not open, and nothing is sent.
        run(&scene, "UPDATE integrations SET client_id = (SELECT client_id FROM integrations ORDER BY id LIMIT 1),
            client_secret = (SELECT client_secret FROM integrations ORDER BY id LIMIT 1)
            WHERE id <> (SELECT id FROM integrations ORDER BY id LIMIT 1)").await;
        scene.control(Method::DELETE, "/received", None).await;
        scene.pass_time(20 * 3_600);
        care::round(scene.running.app.clone()).await;
        let renewed = scene.received("kustomer").await;
        assert!(renewed.iter().all(|r| r.0 == LARK.label && r.2.as_deref() == Some(LARK.label)), "{renewed:?}");
        assert_eq!(lark.integration("kustomer").await["status"], "connected");
        let it = moss.integration("kustomer").await;
        assert_eq!((it["status"].clone(), it["last_error"]["code"].clone()), (json!("needs_reconnect"), json!("token_unreadable")));
        // Reconnecting asks for the secret again, and does not go out with the other's.
        let path = moss.api(&format!("/integrations/{}/reconnect", it["id"].as_str().unwrap()));
        let asked = moss.browser.post(&path, json!({})).await;
        assert_eq!((asked.status, asked.code()), (StatusCode::CONFLICT, "replace_client".into()));

        // The same in a flow that is under way: it ends without a connection.
        let ash = scene.tenant("Ash").await;
        let url = begin(&ash, FERN.label, &own_app(&scene, FERN.label).await).await;
        let fern = scene.tenant("Fern Goods").await;
        begin(&fern, FERN.label, &own_app(&scene, FERN.label).await).await;
run(&scene, "UPDATE oauth_flows SET client_secret = (SELECT client_secret FROM oauth_flows ORDER BY id DESC LIMIT 1)
            WHERE id <> (SELECT id FROM oauth_flows ORDER BY id DESC LIMIT 1)").await;
        scene.control(Method::DELETE, "/received", None).await;
        assert_eq!(walk(&ash, &url).await, "error&reason=sealed");
        assert!(scene.received("kustomer").await.is_empty(), "no code was exchanged");
    }

    async fn reconnecting_an_own_app_is_pinned_and_takes_the_stored_client_or_a_new_secret(db: TestDb) {
        let scene = Scene::on(db).await;
        let moss = scene.tenant("Moss Market").await;
        connect(&scene, &moss, MOSS.label).await;
        let before = moss.integration("kustomer").await;
        let id = before["id"].as_str().unwrap().to_owned();
        let dead = json!({"provider": "kustomer", "operation": "GET auth/tokens/current", "status": 401, "times": 2});
        scene.control(Method::POST, "/faults", Some(dead)).await;
        assert_eq!(press_test(&moss).await["ok"], false);
        assert_eq!(moss.integration("kustomer").await["status"], "needs_reconnect");

        let path = moss.api(&format!("/integrations/{id}/reconnect"));
        let url = moss.browser.post(&path, json!({})).await.json()["location"].as_str().unwrap().to_owned();
        assert!(url.contains(&own_app(&scene, MOSS.label).await.0), "{url}");
        assert_eq!(walk(&moss, &url).await, "connected");
        let it = moss.integration("kustomer").await;
        assert_eq!((&it["id"], it["status"].clone(), it["last_error"].clone()), (&before["id"], json!("connected"), Value::Null));

        // Kustomer gives the app a new secret: the old one is refused, which says what to do.
        deed(&scene, MOSS.label, "private-app/new-secret").await;
        scene.pass_time(20 * 3_600);
        care::round(scene.running.app.clone()).await;
        let it = moss.integration("kustomer").await;
        assert_eq!((it["status"].clone(), it["last_error"]["code"].clone()), (json!("needs_reconnect"), json!("client_secret_refused")));
        assert!(it["last_error"]["message"].as_str().unwrap().contains("make a new secret"), "{it}");
        let asked = moss.browser.post(&path, json!({})).await;
        assert_eq!(asked.code(), "replace_client", "nobody is sent away in vain");
        let page = moss.browser.get(&format!("/orgs/{}/integrations/{id}/reconnect", moss.org)).await;
        assert!(page.location.unwrap().ends_with("/integrations/kustomer/connect"));
        // The page for it knows the account; the new secret for it mends the same connection.
        connect(&scene, &moss, MOSS.label).await;
        let it = moss.integration("kustomer").await;
        assert_eq!((&it["id"], it["status"].clone()), (&before["id"], json!("connected")));
        assert_eq!(moss.list("/integrations").await.len(), 1);
        // Another account is another connection, and there is one desk.
        let url = begin(&moss, FERN.label, &own_app(&scene, FERN.label).await).await;
        assert_eq!(walk(&moss, &url).await, "error&reason=another_account_connected");
        assert!(webhooks(&scene, FERN.label).await.is_empty());
        // A key for the same account takes the app's place, and its client is forgotten.
        assert_eq!(with_key(&scene, &moss, MOSS.label, "broad").await.status, StatusCode::CREATED);
        assert_eq!(moss.integration("kustomer").await["id"], before["id"]);
        assert_eq!(clients(&scene).await, 0);
    }

    async fn an_own_app_that_is_not_installed_or_has_another_secret_says_what_to_do(db: TestDb) {
        let scene = Scene::on(db).await;
        let moss = scene.tenant("Moss Market").await;
        let (id, secret) = own_app(&scene, MOSS.label).await;
        let told = async |reason: &str| {
            let path = format!("/orgs/{}/integrations?kustomer=error&reason={reason}", moss.org);
            moss.browser.get(&path).await.text
        };
        // The wrong secret is found when the code is exchanged.
        let url = begin(&moss, MOSS.label, &(id.clone(), "another secret".replace(' ', "-"))).await;
        assert_eq!(walk(&moss, &url).await, "error&reason=client_secret_refused");
        assert!(told("client_secret_refused").await.contains("Kustomer refused the client secret of your app; make a new secret"));
        // An app that is not installed gets Kustomer's own page, which our page announced.
        deed(&scene, MOSS.label, "private-app/uninstall").await;
        let url = begin(&moss, MOSS.label, &(id.clone(), secret.clone())).await;
        let refused = Walk::approve().through(&url).await;
        assert!(matches!(&refused, Err(WalkError::Refused(text)) if text.contains("Invalid Client")), "{refused:?}");
        // Uninstalled between the consent and the exchange.
        deed(&scene, MOSS.label, "private-app/install").await;
        let back = Walk::approve().through(&url).await.unwrap();
        deed(&scene, MOSS.label, "private-app/uninstall").await;
        let to = moss.come_back(&back).await.location.unwrap();
        assert!(to.ends_with("kustomer=error&reason=app_not_installed"), "{to}");
        assert!(told("app_not_installed").await.contains("install the app there and check its client id"));
        assert!(moss.list("/integrations").await.is_empty());

        // What has not the shape of a client is refused at once, and nothing is sent.
        let calls = scene.calls().await;
        let long = "x".repeat(300);
        for (subdomain, client_id, client_secret, field) in [
            ("x/../", &*id, &*secret, "subdomain"), ("moss-market", "", &*secret, "client_id"), ("moss-market", "a b c d", &*secret, "client_id"),
            ("moss-market", &*long, &*secret, "client_id"), ("moss-market", &*id, "short", "client_secret"),
            ("moss-market", &*id, &*long, "client_secret"), ("moss-market", &*id, "not printable \u{7}", "client_secret"),
        ] {
            let body = json!({"subdomain": subdomain, "client_id": client_id, "client_secret": client_secret});
            let answer = moss.browser.post(&moss.api("/integrations/kustomer/private-app"), body).await;
            assert_eq!((answer.status, answer.json()["error"]["field"].clone()), (StatusCode::BAD_REQUEST, json!(field)), "{}", answer.text);
            let fields = [("subdomain", subdomain), ("client_id", client_id), ("client_secret", client_secret)];
            let page = moss.browser.form(&format!("/orgs/{}/integrations/kustomer/private-app", moss.org), &fields).await;
            assert_eq!(page.status, StatusCode::BAD_REQUEST);
            assert!(client_secret.len() < 6 || !page.text.contains(client_secret), "{}", page.text);
        }
        assert_eq!(scene.calls().await, calls);
    }

    async fn a_key_is_replaced_without_losing_the_connection_its_conversations_or_its_webhooks(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.tenant("Lark Supply").await;
        lark.connect_page(LARK.facebook, LARK.page).await;
        assert_eq!(with_key(&scene, &lark, LARK.label, "full").await.status, StatusCode::CREATED);
        scene.settle().await;
        scene.write(LARK.page, "Ana Prieto", "I want to talk to a human").await;
        assert_eq!(is_answered(&scene, LARK, "Hi Ana.").await, 1);
        let before = lark.integration("kustomer").await;
        let hook = webhooks(&scene, LARK.label).await.remove(0);

        // Work is queued: what the customer writes cannot be passed on just now.
        let outage = json!({"provider": "kustomer", "operation": "POST conversations/{id}/messages", "status": 503, "times": 9});
        scene.control(Method::POST, "/faults", Some(outage)).await;
        scene.write(LARK.page, "Ana Prieto", "Are you still there?").await;
        scene.control(Method::DELETE, "/faults", None).await;
        let there = async || {
            let desk = scene.control(Method::GET, "/kustomer/lark-supply/conversations", None).await;
            desk.as_array().unwrap().len() == 1 && desk.to_string().contains("Are you still there?")
        };
        assert!(!there().await);

        assert_eq!(with_key(&scene, &lark, LARK.label, "broad").await.status, StatusCode::CREATED);
        let after = lark.integration("kustomer").await;
        assert_eq!((&after["id"], after["status"].clone()), (&before["id"], json!("connected")));
        let now = webhooks(&scene, LARK.label).await;
        assert_eq!(now.len(), 1, "the former one was deleted: {now:?}");
        assert_ne!(now[0]["id"], hook["id"]);
        scene.settle().await;
        assert!(there().await, "what waited was done with the new key");
        assert_eq!(is_answered(&scene, LARK, "Yes, I am.").await, 1, "the conversation goes on, and answers come once");

        // What the former webhook signed is still on its way for a while, and counts; then it does not any more.
        let late = json!({"url": now[0]["url"], "secret_of": hook["id"]});
        let sent = scene.control(Method::POST, "/kustomer/lark-supply/late", Some(late.clone())).await;
        assert_eq!(sent["status"], 200);
        scene.pass_time(2 * 3_600 + 1);
        let sent = scene.control(Method::POST, "/kustomer/lark-supply/late", Some(late)).await;
        assert_eq!(sent["status"], 401);
        let own = json!({"url": now[0]["url"], "secret_of": now[0]["id"]});
        assert_eq!(scene.control(Method::POST, "/kustomer/lark-supply/late", Some(own)).await["status"], 200);

        // A new key that may not make webhooks leaves the present one as it is.
        assert_eq!(with_key(&scene, &lark, LARK.label, "few_roles").await.status, StatusCode::CREATED);
        assert_eq!(webhooks(&scene, LARK.label).await, now);
        let own = json!({"url": now[0]["url"], "secret_of": now[0]["id"]});
        assert_eq!(scene.control(Method::POST, "/kustomer/lark-supply/late", Some(own)).await["status"], 200);
        // An account that has as many webhooks as it may still gets a new key: ours makes room for ours.
        deed(&scene, LARK.label, "webhooks/fill").await;
        assert_eq!(with_key(&scene, &lark, LARK.label, "full").await.status, StatusCode::CREATED);
        assert_eq!(webhooks(&scene, LARK.label).await.len(), 5);
    }

    async fn a_key_that_cannot_work_is_refused_with_what_to_do(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.tenant("Lark Supply").await;
        for (kind, status, words) in [
            ("chat", StatusCode::BAD_REQUEST, "This is a chat key (its only role is org.tracking)"),
            ("expired", StatusCode::BAD_REQUEST, "This API key has expired"),
            ("other_region", StatusCode::BAD_GATEWAY, "belongs to another region"),
        ] {
            let refused = with_key(&scene, &lark, LARK.label, kind).await;
            assert_eq!(refused.status, status, "{kind}: {}", refused.text);
            assert!(refused.text.contains(words), "{kind}: {}", refused.text);
        }
        assert!(lark.list("/integrations").await.is_empty());
        assert!(webhooks(&scene, LARK.label).await.is_empty());
        // A connection whose account moved to another region is not burnt: its credential is not revoked.
        assert_eq!(with_key(&scene, &lark, LARK.label, "full").await.status, StatusCode::CREATED);
        let pod = json!({"errors": [{"code": "unauthorized", "message": "token of pod prod2, handled by prod1"}]});
        let moved = json!({"provider": "kustomer", "status": 401, "body": pod, "times": 1});
        scene.control(Method::POST, "/faults", Some(moved)).await;
        let report = press_test(&lark).await;
        assert_eq!((report["ok"].clone(), report["integration"]["status"].clone()), (json!(false), json!("connected")));
        assert!(report["message"].as_str().unwrap().contains("another region"), "{report}");
    }

    async fn roles_that_are_missing_are_named_one_by_one_with_what_each_is_for(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.tenant("Lark Supply").await;
        let made = with_key(&scene, &lark, LARK.label, "few_roles").await;
        assert_eq!(made.status, StatusCode::CREATED, "it is told, not refused: {}", made.text);
        let it = lark.integration("kustomer").await;
        let missing: Vec<_> = it["missing_scopes"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
        assert_eq!(missing.len(), 14, "{missing:?}");
        assert!(missing.contains(&"org.permission.customer.create") && !missing.contains(&"org.permission.customer.read"));
        let cards = lark.browser.get(&format!("/orgs/{}/integrations", lark.org)).await.text;
        let report = press_test(&lark).await;
        for (role, purpose) in [
            ("org.permission.message.create", "Write the transcript, and read your team's answers."),
            ("org.permission.note.create", "Leave a summary for your team."),
            ("org.permission.team.read", "Choose who gets a conversation."),
            (CREATE, "Be told when your team answers."),
        ] {
            let purpose = purpose.replace('\'', "&#39;");
            assert!(cards.contains(&format!("<code>{role}</code> {purpose}")), "{role}: {cards}");
            let sentence = format!("The role {role} is missing: {}", purpose.replace("&#39;", "'"));
            assert!(report["message"].as_str().unwrap().contains(&sentence), "{report}");
        }
        // One to copy from: all that are needed, each on a line of its own.
        let page = lark.browser.get(&format!("/orgs/{}/integrations/kustomer/connect", lark.org)).await.text;
        let (_, list) = page.split_once("<textarea id=\"roles\"").expect("a field to copy from");
        let list = list.split_once('>').unwrap().1.split("</textarea>").next().unwrap();
        assert_eq!(list.lines().count(), 16, "{list}");
        assert!(missing.iter().all(|role| list.lines().any(|line| line == *role)), "{list}");
        // Broad and older names cover what lies below them.
        assert_eq!(with_key(&scene, &lark, LARK.label, "broad").await.json()["missing_scopes"], json!([]));
    }

    async fn a_webhook_that_kustomer_switched_off_or_lost_is_set_again_by_the_daily_probe_and_by_test(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.tenant("Lark Supply").await;
        lark.connect_page(LARK.facebook, LARK.page).await;
        assert_eq!(with_key(&scene, &lark, LARK.label, "full").await.status, StatusCode::CREATED);
        scene.settle().await;
        scene.write(LARK.page, "Ana Prieto", "I want to talk to a human").await;
        let first = webhooks(&scene, LARK.label).await.remove(0);

        // This key may not change a webhook: a new one takes its place.
        deed(&scene, LARK.label, "webhooks/off").await;
        assert_eq!(is_answered(&scene, LARK, "Nobody hears this.").await, 0);
        scene.pass_time(86_500);
        care::round(scene.running.app.clone()).await;
        let second = webhooks(&scene, LARK.label).await;
        assert!(second.len() == 1 && second[0]["enabled"] == true && second[0]["id"] != first["id"], "{second:?}");
        scene.pass_time(-86_500);
        assert_eq!(is_answered(&scene, LARK, "Now you hear me.").await, 1);

        // Gone altogether: Test says that it had been off.
        deed(&scene, LARK.label, "webhooks/forget").await;
        let report = press_test(&lark).await;
        assert_eq!(report["ok"], true);
        assert!(report["message"].as_str().unwrap().contains("had been off and was set again"), "{report}");
        assert_eq!(is_answered(&scene, LARK, "And again.").await, 1);
        assert!(!press_test(&lark).await["message"].as_str().unwrap().contains("had been off"), "it is told once");

        // This key may: the same one is on again.
        assert_eq!(with_key(&scene, &lark, LARK.label, "broad").await.status, StatusCode::CREATED);
        let third = webhooks(&scene, LARK.label).await;
        deed(&scene, LARK.label, "webhooks/off").await;
        let report = press_test(&lark).await;
        assert!(report["message"].as_str().unwrap().contains("had been off and was set again"), "{report}");
        assert_eq!(webhooks(&scene, LARK.label).await, third);
        assert_eq!(is_answered(&scene, LARK, "Still here.").await, 1);
    }

    async fn a_webhook_that_cannot_be_set_again_for_want_of_a_role_is_told_by_the_connection(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.tenant("Lark Supply").await;
        assert_eq!(with_key(&scene, &lark, LARK.label, "full").await.status, StatusCode::CREATED);
        deed(&scene, LARK.label, "webhooks/off").await;
        for operation in ["PUT outbound-webhooks/{id}", "POST outbound-webhooks"] {
            let denied = json!({"provider": "kustomer", "operation": operation, "status": 403, "times": 9});
            scene.control(Method::POST, "/faults", Some(denied)).await;
        }
        scene.pass_time(86_500);
        care::round(scene.running.app.clone()).await;
        let it = lark.integration("kustomer").await;
        assert_eq!((it["status"].clone(), it["last_error"]["code"].clone()), (json!("connected"), json!("webhook_off")));
        let message = it["last_error"]["message"].as_str().unwrap();
        assert!(message.contains(CREATE) && message.contains("then press Test"), "{message}");
        assert_eq!(it["missing_scopes"], json!([CREATE]));
        let report = press_test(&lark).await;
        assert_eq!((report["ok"].clone(), report["message"].clone()), (json!(false), json!(message)));
        // The role is allowed: Test mends it, and the connection has nothing to say any more.
        scene.control(Method::DELETE, "/faults", None).await;
        assert_eq!(press_test(&lark).await["ok"], true);
        let it = lark.integration("kustomer").await;
        assert_eq!((it["last_error"].clone(), it["missing_scopes"].clone()), (Value::Null, json!([])));
        assert_eq!(webhooks(&scene, LARK.label).await.len(), 1);
        // An account whose five webhooks are others' says so, too.
        deed(&scene, LARK.label, "webhooks/forget").await;
        deed(&scene, LARK.label, "webhooks/fill").await;
        let report = press_test(&lark).await;
        assert_eq!(report["ok"], false);
        assert!(report["message"].as_str().unwrap().contains("an organization may have five"), "{report}");
        assert_eq!(lark.integration("kustomer").await["last_error"]["code"], "webhook_refused");
    }
}

async fn flows_with_secret(scene: &Scene) -> i64 {
    const SQL: &str = "SELECT COUNT(*) FROM oauth_flows WHERE client_secret IS NOT NULL";
    match (scene.db.store.sqlite(), scene.db.store.postgres()) {
        (Some(pool), _) => sqlx::query_scalar(SQL).fetch_one(pool).await.unwrap(),
        (_, Some(pool)) => sqlx::query_scalar(SQL).fetch_one(pool).await.unwrap(),
        _ => unreachable!("a store is one of the two"),
    }
}
