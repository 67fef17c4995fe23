//! What Shopify asks for on behalf of a shop's customers: it reaches everybody who may hold something, each finds and
//! erases only their own, and what is erased is gone from the disk.

use crate::route::join;
use crate::scene::{Accounts, FERN, LARK, Scene, Tenant};
use crate::wire;
use agenstack_app::worker;
use agenstack_core::policy::Role;
use agenstack_store::both_databases;
use agenstack_store::testing::sqlite;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

pub const DATA_REQUEST: &str = "customers/data_request";
const REDACT: &str = "customers/redact";
const SHOP_REDACT: &str = "shop/redact";
/// Stands in plain text in one column, and nowhere once it is erased.
const ANA: &str = "Canary Prieto";

/// A shop's webhook, sent once; gives the status.
async fn send(scene: &Scene, accounts: Accounts, topic: &str, more: Value) -> u64 {
    let mut ask = json!({"topic": topic, "now": true});
    ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let path = format!("/shopify/{}/webhook", accounts.shop());
    let sent = scene.control(Method::POST, &path, Some(ask)).await;
    sent["status"].as_u64().unwrap()
}

/// The same, and lets happen what it causes.
pub async fn ask(scene: &Scene, accounts: Accounts, topic: &str) {
    assert_eq!(send(scene, accounts, topic, json!({})).await, 200, "{topic}");
    scene.settle().await;
}

/// Ana asks about her order and gets a person; Bo says hello. The shop tells of Ana's order.
async fn business(scene: &Scene, tenant: &Tenant, accounts: Accounts, word: &str) {
    scene.write(accounts.page, ANA, &format!("{word} where is my order 1001?")).await;
    let thread = scene.write(accounts.page, ANA, "it is ANA@example.com").await;
    assert!(thread.last().unwrap().1.contains("1001"), "{thread:?}");
    scene.write(accounts.page, ANA, "I want to talk to a human").await;
    scene.write(accounts.page, "Bo", &format!("{word} hello from Bo")).await;
    ask(scene, accounts, "orders/updated").await;
    assert_eq!(tenant.list("/conversations").await.len(), 2);
}

/// The same once more, in other bytes: a signed body that comes again is a replay.
async fn ask_again(scene: &Scene, accounts: Accounts, topic: &str) {
    let mut body = json!({"shop_id": 1, "shop_domain": accounts.shop(), "again": true});
    if topic == REDACT {
        body["customer"] = json!({"id": 1, "email": "ana@example.com", "phone": null});
        body["orders_to_redact"] = json!([1001]);
    }
    assert_eq!(send(scene, accounts, topic, json!({"body": body})).await, 200, "{topic}");
    scene.settle().await;
}

async fn conversation_of(tenant: &Tenant, name: &str) -> Option<String> {
    let list = tenant.list("/conversations").await;
    list.iter().find(|c| c["contact"]["name"] == name).map(|c| c["id"].as_str().unwrap().to_owned())
}

async fn disconnect_shop(tenant: &Tenant) {
    let id = tenant.integration("shopify").await["id"].as_str().unwrap().to_owned();
    let path = tenant.api(&format!("/integrations/{id}"));
    assert_eq!(tenant.browser.send(Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
}

async fn export(tenant: &Tenant, request: &Value) -> Value {
    let path = tenant.api(&format!("/privacy/{}/export", request["id"].as_str().unwrap()));
    let answer = tenant.browser.get(&path).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()
}

/// A column of everything that matches, read past both walls.
pub async fn bytes(scene: &Scene, sql: &str) -> Vec<Vec<u8>> {
    let sql = AssertSqlSafe(sql.to_owned());
    match (scene.db.store.sqlite(), scene.db.store.postgres()) {
        (Some(pool), _) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
        (_, Some(pool)) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
        _ => unreachable!("a store is one of the two"),
    }
}

async fn texts(scene: &Scene, sql: &str) -> Vec<String> {
    let cast = sql.replacen("SELECT ", "SELECT CAST(", 1).replacen(" FROM", " AS TEXT) FROM", 1);
    let sql = AssertSqlSafe(cast);
    match (scene.db.store.sqlite(), scene.db.store.postgres()) {
        (Some(pool), _) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
        (_, Some(pool)) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
        _ => unreachable!("a store is one of the two"),
    }
}

async fn change(scene: &Scene, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    match (scene.db.store.sqlite(), scene.db.store.postgres()) {
        (Some(pool), _) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
        (_, Some(pool)) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
        _ => unreachable!("a store is one of the two"),
    }
}

/// Everything that is stored: SQLite's file and log byte by byte, every row of every table of PostgreSQL as text.
pub async fn everything(scene: &Scene) -> Vec<u8> {
    if let Some(path) = scene.db.url.strip_prefix("sqlite://") {
        let mut all = std::fs::read(path).unwrap();
        all.extend(std::fs::read(format!("{path}-wal")).unwrap_or_default());
        return all;
    }
    let pool = scene.db.store.postgres().unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut all = Vec::new();
    for table in tables {
        let sql = AssertSqlSafe(format!("SELECT t::text FROM {table} t"));
        let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(pool).await.unwrap();
        all.extend(rows.join("\n").into_bytes());
    }
    all
}

/// What a sealed value begins with after its header: no two have it in common, and SQLite keeps it together.
pub fn needle(scene: &Scene, sealed: &[u8]) -> Vec<u8> {
    let from = 3 + usize::from(sealed[2]);
    let part = &sealed[from..from + 40];
    if scene.db.store.sqlite().is_some() { part.to_vec() } else { hex::encode(part).into_bytes() }
}

pub fn holds(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|w| w == part)
}

/// All of these are stored now.
async fn assert_stored(scene: &Scene, values: &[Vec<u8>]) {
    let all = everything(scene).await;
    assert!(!values.is_empty() && values.iter().all(|v| holds(&all, &needle(scene, v))));
}

/// None of these is stored any more, without anybody having cleaned up but the product.
async fn assert_gone(scene: &Scene, values: &[Vec<u8>]) {
    let all = everything(scene).await;
    for (n, value) in values.iter().enumerate() {
        assert!(!holds(&all, &needle(scene, value)), "value {n} of {}", values.len());
    }
}

both_databases! {
    async fn each_organization_that_ever_held_the_shop_gets_a_request_of_its_own_and_exports_its_own_rows(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        business(&scene, &lark, LARK, "larkish").await;
        disconnect_shop(&lark).await;
        // Somebody had the shop, and nothing of its customers.
        let elm = scene.tenant("Elm Store").await;
        elm.connect_shopify(LARK.label).await;
        disconnect_shop(&elm).await;
        // The same shop, sold to somebody else.
        let fern = scene.tenant("Fern Goods").await;
        fern.connect_shopify(LARK.label).await;
        fern.connect_page(FERN.facebook, FERN.page).await;
        let now = Accounts { page: FERN.page, ..LARK };
        business(&scene, &fern, now, "fernish").await;
        let moss = scene.tenant("Moss Market").await;
        moss.connect_shopify("moss-market").await;
        let orders = async |tenant: &Tenant| {
            tenant.list("/events?topic=orders/updated").await.len()
        };
        assert_eq!((orders(&lark).await, orders(&fern).await), (1, 1));

        assert_eq!(send(&scene, LARK, DATA_REQUEST, json!({})).await, 200);
        let waits = elm.list(&format!("/events?topic={DATA_REQUEST}")).await[0]["id"].as_str().unwrap().to_owned();
        let seen = elm.browser.get(&elm.api(&format!("/events/{waits}"))).await.json();
        assert_eq!((&seen["state"], &seen["payload"]), (&json!("pending"), &json!({})));
        scene.settle().await;
        // Nothing was found there, and nobody learns there who asked.
        let request = &elm.list("/privacy").await[0];
        assert_eq!((&request["state"], &request["outcome"], &request["export_until"]), (&json!("done"), &json!("exported"), &Value::Null));
        let none = elm.browser.get(&elm.api(&format!("/privacy/{}/export", request["id"].as_str().unwrap()))).await;
        assert_eq!((none.status, none.code()), (StatusCode::CONFLICT, "no_export".into()));
        for (tenant, own, other) in [(&lark, "larkish", "fernish"), (&fern, "fernish", "larkish")] {
            let list = tenant.list("/privacy").await;
            assert_eq!(list.len(), 1);
            let r = &list[0];
            assert_eq!((&r["kind"], &r["state"], &r["outcome"]), (&json!(DATA_REQUEST), &json!("done"), &json!("exported")));
            assert_eq!((&r["shop"], &r["receipt_verified"]), (&json!(LARK.shop()), &json!(true)));
            assert_eq!(r["counts"]["conversations"], 1, "{r}");
            assert_eq!(r["counts"]["events"], 1, "{r}");
            assert!(!r["receipt"].as_str().unwrap().contains("ana@"), "{r}");
            let found = export(tenant, r).await;
            assert_eq!((&found["subject"]["email"], &found["complete"]), (&json!("ana@example.com"), &json!(true)));
            let text = found.to_string();
            assert!(text.contains(own) && !text.contains(other), "{text}");
            // Bo did not ask.
            assert!(!text.contains("from Bo"), "{text}");
            assert_eq!(found["conversations"][0]["contact_name"], ANA);
            assert_eq!(found["conversations"][0]["bot_memory"]["email"], "ana@example.com");
            assert_eq!(found["events"][0]["payload"]["email"], "ana@example.com");
            // Oldest first, and all of them.
            let messages = found["conversations"][0]["messages"].as_array().unwrap();
            assert!(messages[0]["text"].as_str().unwrap().starts_with(own));
            assert_eq!(messages.len() as u64, r["counts"]["messages"].as_u64().unwrap());
        }
        assert!(moss.list("/privacy").await.is_empty());
    }

    async fn a_request_that_waits_is_done_although_the_connection_ends_before(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        business(&scene, &lark, LARK, "larkish").await;
        for topic in [DATA_REQUEST, REDACT] {
            assert_eq!(send(&scene, LARK, topic, json!({})).await, 200);
        }
        disconnect_shop(&lark).await;
        scene.settle().await;
        let list = lark.list("/privacy").await;
        let seen: Vec<_> = list.iter().map(|r| (r["kind"].clone(), r["state"].clone())).collect();
        assert_eq!(seen, [(json!(REDACT), json!("done")), (json!(DATA_REQUEST), json!("done"))]);
        // And those that come when it has ended long ago.
        ask(&scene, LARK, SHOP_REDACT).await;
        assert_eq!(lark.list("/privacy").await[0]["outcome"], "erased");
        for topic in [DATA_REQUEST, REDACT, SHOP_REDACT] {
            let events = lark.list(&format!("/events?topic={topic}")).await;
            assert_eq!((events.len(), &events[0]["state"]), (1, &json!("done")), "{topic}");
            // What named the customer is gone with the request itself.
            let path = lark.api(&format!("/events/{}", events[0]["id"].as_str().unwrap()));
            assert_eq!(lark.browser.get(&path).await.json()["payload"], json!({}));
        }
    }

    async fn a_request_of_a_shop_that_nobody_ever_held_is_acknowledged_and_not_kept(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        for topic in [DATA_REQUEST, REDACT, SHOP_REDACT] {
            assert_eq!(send(&scene, FERN, topic, json!({})).await, 200);
        }
        scene.settle().await;
        assert!(lark.list("/privacy").await.is_empty());
        assert!(bytes(&scene, "SELECT payload FROM unrouted_events").await.is_empty());
        // Everything else of that shop waits for somebody who is connecting it.
        assert_eq!(send(&scene, FERN, "orders/updated", json!({})).await, 200);
        assert_eq!(bytes(&scene, "SELECT payload FROM unrouted_events").await.len(), 1);
    }

    async fn a_request_that_is_not_rightly_signed_or_was_signed_as_something_else_does_nothing(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let shop = LARK.shop();
        let body = json!({"shop_id": 1, "shop_domain": shop, "customer": {"id": 1, "email": "ana@example.com"}}).to_string();
        for topic in [DATA_REQUEST, REDACT, SHOP_REDACT] {
            for signature in [None, Some("AAAA".to_owned()), Some(wire::shopify_signature(&scene, "other"))] {
                let answer = wire::shopify(&scene, topic, &shop, "w-1", &body, signature).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{topic}");
            }
        }
        // Signed for one thing, sent as another; and for one shop, sent as another's.
        let data = json!({"shop_domain": shop, "customer": {"email": "ana@example.com"}, "orders_requested": [], "data_request": {"id": 1}});
        let order = json!({"id": 1, "email": "ana@example.com", "customer": {"id": 1}});
        let foreign = json!({"shop_domain": FERN.shop(), "customer": {"email": "ana@example.com"}, "orders_to_redact": []});
        for (topic, body) in [(REDACT, &data), (SHOP_REDACT, &data), (REDACT, &order), (REDACT, &foreign)] {
            let body = body.to_string();
            let signature = Some(wire::shopify_signature(&scene, &body));
            let answer = wire::shopify(&scene, topic, &shop, "w-2", &body, signature).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{topic} {body}");
        }
        scene.settle().await;
        assert!(lark.list("/privacy").await.is_empty());
    }

    async fn a_repeated_delivery_and_a_replayed_event_have_no_second_effect(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        business(&scene, &lark, LARK, "larkish").await;
        // Under one id, and the same bytes under another.
        for id in ["w-1", "w-1", "w-2"] {
            assert_eq!(send(&scene, LARK, DATA_REQUEST, json!({"webhook_id": id})).await, 200);
            scene.settle().await;
        }
        let list = lark.list("/privacy").await;
        assert_eq!(list.len(), 1);
        let event = lark.list(&format!("/events?topic={DATA_REQUEST}")).await;
        assert_eq!(event.len(), 1);
        let replay = lark.api(&format!("/events/{}/replay", event[0]["id"].as_str().unwrap()));
        assert_eq!(lark.browser.post(&replay, json!({})).await.status, StatusCode::OK);
        scene.settle().await;
        assert_eq!(lark.list("/privacy").await, list);
        let receipts = texts(&scene, "SELECT receipt FROM audit WHERE receipt IS NOT NULL").await;
        assert_eq!(receipts, [list[0]["receipt"].as_str().unwrap()]);
        let state = lark.list(&format!("/events?topic={DATA_REQUEST}")).await[0]["state"].clone();
        assert_eq!(state, "done");
    }

    async fn only_owners_and_admins_see_requests_and_each_fetched_export_is_noted(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let fern = scene.connected("Fern Goods", FERN).await;
        business(&scene, &lark, LARK, "larkish").await;
        ask(&scene, LARK, DATA_REQUEST).await;
        let id = lark.list("/privacy").await[0]["id"].as_str().unwrap().to_owned();
        let (page, list) = (format!("/orgs/{}/privacy", lark.org), lark.api("/privacy"));
        let export = lark.api(&format!("/privacy/{id}/export"));
        let below_own = fern.api(&format!("/privacy/{id}/export"));
        for path in [&page, &list, &export, &below_own] {
            assert_eq!(fern.browser.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(scene.browser().get(&list).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(scene.browser().get(&export).await.status, StatusCode::UNAUTHORIZED);
        for (role, status, link) in [(Role::Viewer, StatusCode::FORBIDDEN, false), (Role::Agent, StatusCode::FORBIDDEN, false), (Role::Admin, StatusCode::OK, true)] {
            let guest = scene.tenant(&format!("Guest {role}")).await;
            join(&scene, &lark.org, &guest, role).await;
            for path in [&page, &list, &export] {
                assert_eq!(guest.browser.get(path).await.status, status, "{role} {path}");
            }
            let home = guest.browser.get(&format!("/orgs/{}", lark.org)).await.text;
            assert_eq!(home.contains(&page), link, "{role}");
        }
        let fetched = lark.browser.get(&export).await;
        assert_eq!(fetched.headers["content-type"], "application/json");
        assert_eq!(fetched.headers["content-disposition"], format!("attachment; filename=\"{id}.json\"").as_str());
        assert_eq!(fetched.headers["cache-control"], "no-store");
        // The admin's and the owner's, and none of those who were refused.
        let noted = texts(&scene, "SELECT subject FROM audit WHERE action = 'privacy.export_fetch'").await;
        assert_eq!(noted, [id.as_str(), id.as_str()]);
        let shown = lark.browser.get(&page).await.text;
        assert!(shown.contains(&export) && shown.contains("receipt verified") && shown.contains("1 conversation"), "{shown}");
        assert!(!shown.contains("ana@example.com") && !shown.contains(ANA), "{shown}");

        // Kept for thirty days.
        scene.pass_time(30 * 86_400 + 60);
        lark.browser.post("/api/auth/login", json!({"email": lark.email, "password": "correct horse battery"})).await;
        let late = lark.browser.get(&export).await;
        assert_eq!((late.status, late.code()), (StatusCode::CONFLICT, "no_export".into()));
        assert!(lark.browser.get(&page).await.text.contains("not kept any longer"));
        // And gone as soon as a worker tidies up.
        let left = "SELECT export FROM privacy_requests WHERE export IS NOT NULL";
        let old = bytes(&scene, left).await;
        assert_stored(&scene, &old).await;
        let swept = async {
            let mut tick = tokio::time::interval(std::time::Duration::from_millis(20));
            while !bytes(&scene, left).await.is_empty() || scene.db.store.erasure().await.unwrap().is_some() {
                tick.tick().await;
            }
        };
        worker::run(scene.running.app.clone(), 1, swept, std::time::Duration::from_secs(60)).await;
        assert_gone(&scene, &old).await;
    }

    async fn a_receipt_that_was_altered_is_called_not_genuine(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        ask(&scene, LARK, REDACT).await;
        ask(&scene, LARK, DATA_REQUEST).await;
        let page = format!("/orgs/{}/privacy", lark.org);
        assert!(!lark.browser.get(&page).await.text.contains("not genuine"));
        change(&scene, "UPDATE privacy_requests SET receipt = REPLACE(receipt, '\"messages\":0', '\"messages\":9') WHERE kind = 'customers/redact'").await;
        let list = lark.list("/privacy").await;
        assert_eq!((&list[0]["receipt_verified"], &list[1]["receipt_verified"]), (&json!(true), &json!(false)));
        assert_eq!(list[1]["counts"], Value::Null);
        // One request's receipt is not another's.
        change(&scene, "UPDATE privacy_requests SET receipt = (SELECT receipt FROM privacy_requests WHERE kind = 'customers/data_request')").await;
        let list = lark.list("/privacy").await;
        assert_eq!((&list[0]["receipt_verified"], &list[1]["receipt_verified"]), (&json!(true), &json!(false)));
        assert!(lark.browser.get(&page).await.text.contains("receipt not genuine"));
    }

    async fn a_redacted_customer_is_gone_from_the_disk_and_doing_it_again_changes_nothing(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        business(&scene, &lark, LARK, "larkish").await;
        ask(&scene, LARK, DATA_REQUEST).await;
        let ana = conversation_of(&lark, ANA).await.unwrap();
        let bo = conversation_of(&lark, "Bo").await.unwrap();
        let bos = lark.messages(&bo).await;
        assert_eq!(send(&scene, LARK, REDACT, json!({})).await, 200);

        let of_ana = format!("FROM conversations c WHERE c.id = '{ana}'");
        let mut old = bytes(&scene, &format!("SELECT text FROM messages WHERE conversation_id = '{ana}'")).await;
        old.extend(bytes(&scene, &format!("SELECT bot_memory {of_ana}")).await);
        old.extend(bytes(&scene, "SELECT export FROM privacy_requests WHERE export IS NOT NULL").await);
        old.extend(bytes(&scene, "SELECT payload FROM events WHERE topic LIKE 'orders/%' OR topic = 'customers/redact'").await);
        let carried = [
            format!("SELECT payload FROM events WHERE order_key LIKE '%:' || (SELECT c.external_id {of_ana})"),
            format!("SELECT payload FROM events WHERE order_key LIKE '%:' || (SELECT c.kustomer_id {of_ana})"),
        ];
        for sql in &carried {
            let payloads = bytes(&scene, sql).await;
            assert!(!payloads.is_empty(), "{sql}");
            old.extend(payloads);
        }
        assert_stored(&scene, &old).await;
        assert!(holds(&everything(&scene).await, ANA.as_bytes()));
        let kept = bytes(&scene, &format!("SELECT text FROM messages WHERE conversation_id = '{bo}'")).await;

        // The request does not wait for the file, which may be large, to be written anew; that it has to be is remembered with it.
        while worker::pass(&scene.running.app).await.unwrap() > 0 {}
        assert_eq!(lark.list(&format!("/events?topic={REDACT}")).await[0]["state"], "done");
        assert_eq!(scene.db.store.erasure().await.unwrap().is_some(), scene.db.store.sqlite().is_some());

        scene.settle().await;
        assert_gone(&scene, &old).await;
        assert_eq!(scene.db.store.erasure().await.unwrap(), None);
        assert!(!holds(&everything(&scene).await, ANA.as_bytes()));
        assert_stored(&scene, &kept).await;
        let messages = lark.messages(&ana).await;
        assert!(messages.len() > 5 && messages.iter().all(|m| m.1 == "[erased on the customer's request]"), "{messages:?}");
        assert_eq!(lark.messages(&bo).await, bos);
        let r = &lark.list("/privacy").await[0];
        assert_eq!((&r["kind"], &r["outcome"], &r["receipt_verified"]), (&json!(REDACT), &json!("erased"), &json!(true)));
        let counts = &r["counts"];
        assert_eq!((&counts["conversations"], &counts["memories"], &counts["names"], &counts["exports"]), (&json!(1), &json!(1), &json!(1), &json!(1)));
        assert_eq!(counts["messages"], messages.len());
        // Whoever wants to hand the erased export on is told that there is none.
        let earlier = lark.list("/privacy").await[1]["id"].as_str().unwrap().to_owned();
        assert_eq!(lark.browser.get(&lark.api(&format!("/privacy/{earlier}/export"))).await.status, StatusCode::CONFLICT);

        let before = bytes(&scene, "SELECT text FROM messages ORDER BY id").await;
        ask_again(&scene, LARK, REDACT).await;
        let again = &lark.list("/privacy").await[0];
        assert_eq!((&again["outcome"], &again["receipt_verified"]), (&json!("erased"), &json!(true)));
        assert!(again["counts"].as_object().unwrap().values().all(|n| n == 0), "{again}");
        assert_eq!(bytes(&scene, "SELECT text FROM messages ORDER BY id").await, before);
        // The customer may come back.
        scene.write(LARK.page, ANA, "hello again").await;
        assert_eq!(lark.messages(&ana).await.iter().filter(|m| m.1 == "hello again").count(), 1);
    }

    async fn a_shop_that_is_gone_takes_along_what_came_from_it_and_nothing_else(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        business(&scene, &lark, LARK, "larkish").await;
        ask(&scene, LARK, DATA_REQUEST).await;
        let ana = conversation_of(&lark, ANA).await.unwrap();
        scene.control(Method::POST, &format!("/shopify/{}/uninstall", LARK.shop()), None).await;
        scene.settle().await;
        assert_eq!(lark.integration("shopify").await, Value::Null);

        let shop = format!("(SELECT id FROM integrations WHERE external_id = '{}')", LARK.shop());
        let told = bytes(&scene, &format!("SELECT text FROM messages WHERE about = {shop}")).await;
        assert_eq!(told.len(), 1);
        let mut old = told;
        old.extend(bytes(&scene, "SELECT bot_memory FROM conversations WHERE bot_memory IS NOT NULL AND kustomer_id IS NOT NULL").await);
        old.extend(bytes(&scene, &format!("SELECT payload FROM events WHERE integration_id = {shop} AND topic <> 'customers/data_request'")).await);
        old.extend(bytes(&scene, "SELECT export FROM privacy_requests WHERE export IS NOT NULL").await);
        let echo = "SELECT payload FROM events WHERE provider = 'messenger' AND external_id = (SELECT external_id FROM messages WHERE about IS NOT NULL)";
        let echoes = bytes(&scene, echo).await;
        assert!(!echoes.is_empty());
        old.extend(echoes);
        assert_stored(&scene, &old).await;

        ask(&scene, LARK, SHOP_REDACT).await;
        assert_gone(&scene, &old).await;
        let r = &lark.list("/privacy").await[0];
        assert_eq!((&r["kind"], &r["outcome"], &r["receipt_verified"]), (&json!(SHOP_REDACT), &json!("erased"), &json!(true)));
        assert_eq!((&r["counts"]["messages"], &r["counts"]["memories"], &r["counts"]["exports"]), (&json!(1), &json!(1), &json!(1)));
        let messages = lark.messages(&ana).await;
        let erased: Vec<_> = messages.iter().filter(|m| m.1.starts_with("[erased")).map(|m| m.0.as_str()).collect();
        assert_eq!(erased, ["bot"], "{messages:?}");
        assert!(messages[0].1.starts_with("larkish"));
        // The tombstone holds the shop's name and no token.
        let row = texts(&scene, &format!("SELECT COUNT(*) FROM integrations WHERE id = {shop} AND access_token IS NULL AND refresh_token IS NULL")).await;
        assert_eq!(row, ["1"]);

        ask_again(&scene, LARK, SHOP_REDACT).await;
        let again = &lark.list("/privacy").await[0];
        assert!(again["counts"].as_object().unwrap().values().all(|n| n == 0), "{again}");
    }

    async fn a_shop_that_was_installed_again_loses_nothing(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.control(Method::POST, &format!("/shopify/{}/uninstall", LARK.shop()), None).await;
        scene.settle().await;
        lark.connect_shopify(LARK.label).await;
        business(&scene, &lark, LARK, "larkish").await;
        let before = bytes(&scene, "SELECT text FROM messages ORDER BY id").await;
        let calls = scene.received("shopify").await.len();
        ask(&scene, LARK, SHOP_REDACT).await;
        let r = &lark.list("/privacy").await[0];
        assert_eq!((&r["outcome"], &r["state"], &r["receipt_verified"]), (&json!("kept_connected"), &json!("done"), &json!(true)));
        assert_eq!(bytes(&scene, "SELECT text FROM messages ORDER BY id").await, before);
        assert_eq!(lark.integration("shopify").await["status"], "connected");
        assert_eq!(scene.received("shopify").await.len(), calls);
        let page = lark.browser.get(&format!("/orgs/{}/privacy", lark.org)).await.text;
        assert!(page.contains("Nothing was erased: the shop has the app again."), "{page}");
    }

    async fn a_shop_that_has_been_connected_for_long_is_asked_before_anything_is_erased(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        business(&scene, &lark, LARK, "larkish").await;
        let before = bytes(&scene, "SELECT text FROM messages ORDER BY id").await;
        scene.pass_time(49 * 3_600);
        // It answers: whatever was uninstalled, it is not this installation.
        ask(&scene, LARK, SHOP_REDACT).await;
        assert_eq!(lark.list("/privacy").await[0]["outcome"], "kept_connected");
        assert_eq!(bytes(&scene, "SELECT text FROM messages ORDER BY id").await, before);
        // It knows the token no more, and we were never told that the app was uninstalled.
        scene.control(Method::POST, &format!("/shopify/{}/revoke-tokens", LARK.shop()), None).await;
        ask_again(&scene, LARK, SHOP_REDACT).await;
        let r = &lark.list("/privacy").await[0];
        assert_eq!((&r["outcome"], &r["counts"]["messages"]), (&json!("erased"), &json!(1)), "{r}");
        assert_eq!(lark.integration("shopify").await, Value::Null);
    }
}

/// More than is read at once, of everything: found by the very first message, and erased to the last.
#[tokio::test]
async fn a_long_conversation_among_many_is_found_and_erased_whole() {
    let scene = Scene::on(sqlite().await).await;
    let lark = scene.tenant("Lark Supply").await;
    lark.connect_shopify(LARK.label).await;
    lark.connect_page(LARK.facebook, LARK.page).await;
    let say = async |customer: u64, from: usize, texts: &[String]| {
        let psid = format!("70000000000000{customer:02}");
        let items: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(n, text)| wire::message(LARK.page, &psid, &format!("m_{customer}_{}", from + n), text))
            .collect();
        let sent = wire::messenger_signed(&scene, &wire::delivery(LARK.page, &items)).await;
        assert_eq!(sent, StatusCode::OK);
        scene.settle().await;
    };
    for customer in 0..30 {
        say(customer, 0, &[format!("I am number {customer}")]).await;
    }
    say(40, 0, &["I am ana@example.com".to_owned()]).await;
    let long = lark.conversation().await;
    // The bot keeps out of it.
    lark.browser.post(&lark.api(&format!("/conversations/{long}/takeover")), json!({})).await;
    let more: Vec<String> = (0..230).map(|n| format!("and {n}")).collect();
    say(40, 1, &more).await;
    for n in 0..30 {
        let body = json!({"id": n, "email": "ana@example.com"});
        assert_eq!(send(&scene, LARK, "orders/updated", json!({"body": body})).await, 200);
    }
    scene.settle().await;

    ask(&scene, LARK, DATA_REQUEST).await;
    let found = export(&lark, &lark.list("/privacy").await[0]).await;
    assert_eq!(found["conversations"].as_array().unwrap().len(), 1);
    let messages = found["conversations"][0]["messages"].as_array().unwrap();
    assert_eq!(
        (&messages[0]["text"], &messages.last().unwrap()["text"]),
        (&json!("I am ana@example.com"), &json!("and 229"))
    );
    assert_eq!(found["events"].as_array().unwrap().len(), 30);

    ask(&scene, LARK, REDACT).await;
    let counts = lark.list("/privacy").await[0]["counts"].clone();
    assert_eq!((&counts["conversations"], &counts["messages"]), (&json!(1), &json!(messages.len())));
    let erased = lark.messages_all(&long).await;
    assert!(erased.len() > 230 && erased.iter().all(|m| m.1.starts_with("[erased")));
    let others = lark.list("/conversations?limit=200").await;
    assert_eq!(others.len(), 31);
    for other in others.iter().filter(|c| c["id"] != long.as_str()) {
        let messages = lark.messages(other["id"].as_str().unwrap()).await;
        assert!(messages.iter().all(|m| !m.1.contains("[erased")), "{messages:?}");
    }
    assert!(counts["events"].as_u64().unwrap() >= 30 + 231, "{counts}");
}
