//! A Kustomer account that is connected through an app of its own.

use crate::scene::{Accounts, FERN, LARK, Scene, Tenant};
use agenstack_sandbox::{Walk, WalkError};
use agenstack_store::both_databases;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

mod upkeep;

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
        scene.care().await;
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
        scene.care().await;
        let renewed = scene.received("kustomer").await;
        assert_eq!(renewed.len(), 2);
        assert!(renewed.iter().all(|(account, _, client)| client.as_ref() == Some(account)), "{renewed:?}");

        // Another's ciphertext in the column does not open, and nothing is sent.
        run(&scene, "UPDATE integrations SET client_id = (SELECT client_id FROM integrations ORDER BY id LIMIT 1),
            client_secret = (SELECT client_secret FROM integrations ORDER BY id LIMIT 1)
            WHERE id <> (SELECT id FROM integrations ORDER BY id LIMIT 1)").await;
        scene.control(Method::DELETE, "/received", None).await;
        scene.pass_time(20 * 3_600);
        scene.care().await;
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
        scene.care().await;
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
}

async fn flows_with_secret(scene: &Scene) -> i64 {
    const SQL: &str = "SELECT COUNT(*) FROM oauth_flows WHERE client_secret IS NOT NULL";
    match (scene.db.store.sqlite(), scene.db.store.postgres()) {
        (Some(pool), _) => sqlx::query_scalar(SQL).fetch_one(pool).await.unwrap(),
        (_, Some(pool)) => sqlx::query_scalar(SQL).fetch_one(pool).await.unwrap(),
        _ => unreachable!("a store is one of the two"),
    }
}
