//! What an older platform held is taken over by the built program: from its database in either shape, and from JSON lines.

mod lines;
mod old;
mod reset;

use crate::privacy::{everything, holds};
use crate::scene::{LARK, Scene, Tenant, environment};
use agenstack_store::both_databases;
use agenstack_store::testing::TestDb;
use old::{FERN, PASSWORDS, Shape, nobody, token};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use std::process::{Command, Output};

/// Runs the program's command beside a scene.
pub async fn import(scene: &Scene, arguments: &[&str]) -> Output {
    let mut settings = environment(&scene.settings, &scene.db.url);
    settings.insert("AGENSTACK_PUBLIC_URL".into(), scene.product.clone());
    settings.insert("AGENSTACK_LOG_LEVEL".into(), "trace".into());
    let mut command = Command::new(env!("CARGO_BIN_EXE_agenstack"));
    command.env_clear().envs(settings).arg("import").args(arguments);
    tokio::task::spawn_blocking(move || command.output().expect("the program starts")).await.expect("it ends")
}

/// The same, and what it printed; it has to end well.
async fn told(scene: &Scene, arguments: &[&str]) -> String {
    let done = import(scene, arguments).await;
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}{err}");
    for secret in PASSWORDS.iter().copied().chain([token().as_str()]) {
        assert!(!out.contains(secret) && !err.contains(secret), "a secret was printed");
    }
    out.into_owned()
}

async fn report(scene: &Scene, old: &TestDb, more: &[&str]) -> Value {
    let arguments = [&["--from", &old.url, "--format", "json"], more].concat();
    serde_json::from_str(&told(scene, &arguments).await).expect("a report in JSON")
}

/// How many rows each table has.
pub async fn picture(scene: &Scene) -> Vec<(String, i64)> {
    let store = &scene.db.store;
    let names = match (store.sqlite(), store.postgres()) {
        (Some(pool), _) => {
            sqlx::query_scalar::<_, String>("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")
                .fetch_all(pool)
                .await
        }
        (None, pool) => {
            sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
                .fetch_all(pool.unwrap())
                .await
        }
    };
    let mut all = Vec::new();
    for name in names.unwrap() {
        let sql = AssertSqlSafe(format!("SELECT COUNT(*) FROM {name}"));
        let n: i64 = match (store.sqlite(), store.postgres()) {
            (Some(pool), _) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
            (None, pool) => sqlx::query_scalar(sql).fetch_one(pool.unwrap()).await.unwrap(),
        };
        all.push((name, n));
    }
    all
}

/// What was not simply taken, without the numbers of rows: `skipped agents row …`.
fn rows(report: &Value, outcome: &str) -> Vec<String> {
    let all = report["rows"].as_array().unwrap().iter().filter(|r| r["outcome"] == outcome);
    all.map(|r| format!("{}: {}", r["place"].as_str().unwrap(), r["reason"].as_str().unwrap())).collect()
}

/// New ones and those that were there, of a kind of an organization.
fn count(report: &Value, organization: &str, kind: &str) -> (u64, u64) {
    let all = report["organizations"].as_array().unwrap();
    let one = all.iter().find(|o| o["source_id"] == organization).expect("it is in the report");
    let n = |name: &str| one["counts"][kind][name].as_u64().unwrap_or_default();
    (n("taken"), n("already_there"))
}

const KINDS: [&str; 7] =
    ["members", "accounts", "bots", "knowledge", "customers", "conversations", "messages"];

/// What both organizations have, by kind.
fn counts(report: &Value) -> Vec<(u64, u64)> {
    [old::LARK, FERN].iter().flat_map(|org| KINDS.map(|kind| count(report, org, kind))).collect()
}

/// The address in a mail to somebody, and whom the mail is to.
pub async fn link_to(scene: &Scene, address: &str) -> String {
    let mails = scene.db.store.global_read().await.unwrap().outbox_list(None, 99).await.unwrap();
    let mail = mails.iter().find(|m| m.address == address).unwrap_or_else(|| panic!("no mail to {address}"));
    let at = mail.body.find("http").expect("a mail has a link");
    mail.body[at..].split_whitespace().next().unwrap().to_owned()
}

/// Chooses a first password by the link of the mail, and logs in with it.
async fn enter(scene: &Scene, address: &str) -> Vec<Tenant> {
    let link = link_to(scene, address).await;
    let word = "a password of twelve";
    let visitor = scene.browser();
    let shown = visitor.get(&link).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text);
    let token = link.split_once("token=").unwrap().1;
    let set = visitor.form("/reset", &[("token", token), ("password", word)]).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    let mut all = Vec::new();
    let me = {
        let browser = scene.browser();
        browser.post("/api/auth/login", json!({"email": address, "password": word})).await;
        browser.get("/api/me").await.json()
    };
    for org in me["organizations"].as_array().expect("they are logged in") {
        let browser = scene.browser();
        browser.post("/api/auth/login", json!({"email": address, "password": word})).await;
        all.push(Tenant { browser, org: org["id"].as_str().unwrap().into(), email: address.into() });
    }
    all
}

async fn everything_is_taken_once(db: TestDb, shape: Shape) {
    let (scene, old) = (Scene::on(db).await, old::database(shape).await);
    let empty = picture(&scene).await;

    // A dry run tells all of it, and writes nothing.
    let dry = report(&scene, &old, &["--dry-run"]).await;
    assert_eq!(picture(&scene).await, empty);
    let first = report(&scene, &old, &[]).await;
    assert_eq!(
        (&dry["people"], &dry["mails"], &dry["rows"]),
        (&first["people"], &first["mails"], &first["rows"])
    );
    assert_eq!(counts(&dry), counts(&first));
    let lark = KINDS.map(|kind| count(&first, old::LARK, kind).0);
    assert_eq!(lark, [2, 2, 1, 2, 1, 1, 3], "{first:#}");
    assert_eq!(KINDS.map(|kind| count(&first, FERN, kind).0), [2, 0, 0, 1, 0, 1, 1], "{first:#}");
    assert_eq!((&first["people"]["taken"], &first["mails"]), (&json!(3), &json!(3)));

    // What is of nobody is listed row by row, and nowhere else.
    let quarantined = rows(&first, "quarantined").join("\n");
    for row in [nobody(), old::id(3, 2), old::id(7, 4), old::id(5, 3)] {
        assert!(quarantined.contains(&row), "{row}: {quarantined}");
    }
    assert!(
        quarantined.contains("organization_users row") && quarantined.contains("proactive_triggers, 1 rows")
    );
    let refused = rows(&first, "refused").join("\n");
    assert_eq!(refused.matches("Kustomer shared-desk is claimed by 2 organizations").count(), 2, "{refused}");
    for place in [old::id(4, 2), old::id(6, 4), "settings.smsAuthToken".into()] {
        assert!(refused.contains(&place), "{place}: {refused}");
    }
    let skipped = rows(&first, "skipped").join("\n");
    for part in [
        &format!("agents row {}: it is the administrator who came with the installation", old::id(2, 3)),
        &format!("agents row {}: the account is switched off", old::id(2, 4)),
        "settings.widget: there is no widget here",
        "settings.phoneNote",
        "settings.knowledgeBase[1]: it is a link",
        "settings.qaDatabase[1]: it is switched off",
        &format!("messages row {}: who said it", old::id(6, 5)),
        &format!("messages row {}: there is no such conversation", old::id(6, 9)),
        &format!("conversations row {}: its customer asked to be forgotten", old::id(5, 4)),
        &format!("customers row {}: the customer has no conversation", old::id(7, 2)),
        &format!("bot_configs row {}: the bot is switched off", old::id(3, 3)),
        &format!("integrations row {}: it was not connected any more", old::id(9, 4)),
        &format!("proactive_triggers of organization {}: 1 rows", old::LARK),
    ] {
        assert!(skipped.contains(part), "{part}\n{skipped}");
    }

    // Again: everything is there. So it is when one is there and the other was not.
    let filled = picture(&scene).await;
    let again = report(&scene, &old, &[]).await;
    let there: Vec<_> = counts(&first).iter().map(|(new, _)| (0, *new)).collect();
    assert_eq!((counts(&again), &again["mails"]), (there, &json!(0)), "{again:#}");
    assert_eq!(picture(&scene).await, filled);

    // Nobody's password came along, nor a token, nor a word of who asked to be forgotten.
    let all = everything(&scene).await;
    for secret in PASSWORDS.iter().copied().chain([token().as_str(), "dee@example.net", "admin@example.com"])
    {
        assert!(!holds(&all, secret.as_bytes()), "{secret} is stored");
    }
}

both_databases! {
    async fn everything_is_taken_once_from_the_shape_with_integration_ids(db: TestDb) {
        everything_is_taken_once(db, Shape::A).await;
    }

    async fn everything_is_taken_once_from_the_shape_with_providers(db: TestDb) {
        everything_is_taken_once(db, Shape::B).await;
    }

    async fn people_find_what_was_theirs_and_nobody_gets_in_with_an_old_password(db: TestDb) {
        let (scene, old) = (Scene::on(db).await, old::database(Shape::A).await);
        report(&scene, &old, &[]).await;
        let ana = "ana@lark.example.org";
        for word in PASSWORDS {
            let refused = scene.browser().post("/api/auth/login", json!({"email": ana, "password": word})).await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        }
        // One person, two organizations: owner of the one, agent of the other.
        let places = enter(&scene, ana).await;
        let me = places[0].browser.get("/api/me").await.json();
        let roles: Vec<_> = me["organizations"].as_array().unwrap().iter().map(|o| (o["name"].as_str().unwrap(), o["role"].as_str().unwrap())).collect();
        assert_eq!(roles, [("Fern Goods", "agent"), ("Lark Supply", "owner")]);
        let lark = places.into_iter().nth(1).unwrap();

        // The conversation, as it was held.
        let list = lark.list("/conversations").await;
        assert_eq!(list.len(), 1);
        let c = &list[0];
        assert_eq!((&c["channel"], &c["status"], &c["owner"], &c["integration_id"]), (&json!("widget"), &json!("closed"), &json!("person"), &Value::Null));
        assert_eq!((&c["contact"]["name"], &c["last_message_at"]), (&json!("Bo"), &json!("2025-05-01T10:02:00.000Z")));
        let id = c["id"].as_str().unwrap();
        let said: Vec<_> = lark.messages(id).await.into_iter().map(|(author, text, _)| (author, text)).collect();
        let text = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(said, [text("customer", "Where is my parcel?"), text("bot", "One moment."), text("agent", "It left today.")]);
        for (path, body) in [("/messages", json!({"text": "x"})), ("/handback", json!({})), ("/takeover", json!({}))] {
            let refused = lark.browser.post(&lark.api(&format!("/conversations/{id}{path}")), body).await;
            assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, "imported".into()), "{path}");
        }
        let page = lark.browser.get(&format!("/orgs/{}/inbox/{id}", lark.org)).await.text;
        assert!(page.contains("came from your former platform") && !page.contains("id=\"send\""), "{page}");

        // What the bot was told and knew.
        let brought = lark.browser.get(&format!("/orgs/{}/brought", lark.org)).await.text;
        for part in ["Larky", "Be kind.", "warm", "human, manager", "Do you ship abroad?", "Yes, everywhere.", "Within 30 days."] {
            assert!(brought.contains(part), "{part}: {brought}");
        }

        // Which accounts to connect again, until they are.
        let shown = async || lark.browser.get(&format!("/orgs/{}/integrations", lark.org)).await.text;
        let before = shown().await;
        assert!(before.contains("Reconnect lark-supply.myshopify.com") && before.contains("Reconnect Lark Supply"), "{before}");
        assert!(!before.contains("shared-desk"));
        let home = lark.browser.get(&format!("/orgs/{}", lark.org)).await.text;
        assert!(home.contains("had lark-supply.myshopify.com connected"), "{home}");
        lark.connect_shopify(LARK.label).await;
        let after = shown().await;
        assert!(!after.contains("Reconnect lark-supply.myshopify.com") && after.contains("Reconnect Lark Supply"), "{after}");
    }

    async fn an_account_that_was_here_before_keeps_its_password_and_gets_no_mail(db: TestDb) {
        let (scene, old) = (Scene::on(db).await, old::database(Shape::B).await);
        let browser = scene.browser();
        let body = json!({"email": "finn@fern.example.org", "password": "correct horse battery", "name": "Finn F.", "organization_name": "Own"});
        assert_eq!(browser.post("/api/auth/signup", body).await.status, StatusCode::CREATED);
        let done = report(&scene, &old, &[]).await;
        assert!(rows(&done, "noted").iter().any(|r| r.starts_with("user finn@fern.example.org: had an account here before")));
        assert_eq!(done["mails"], json!(2));
        let me = browser.get("/api/me").await.json();
        assert_eq!(me["user"]["name"], json!("Finn F."));
        // Its organization had no owner.
        assert!(me["organizations"].as_array().unwrap().iter().any(|o| o["name"] == "Fern Goods" && o["role"] == "owner"));
        assert!(rows(&done, "noted").iter().any(|r| r.contains("it has no owner")));
    }

    async fn what_a_stopped_or_earlier_run_left_out_is_taken_by_the_next(db: TestDb) {
        let (scene, old) = (Scene::on(db).await, old::database(Shape::A).await);
        let part = report(&scene, &old, &["--skip-organization", FERN, "--no-mails", "--skip-user", "BEE@lark.example.org"]).await;
        assert_eq!((count(&part, old::LARK, "members").0, &part["mails"]), (1, &json!(0)));
        let (c, m) = (old::id(5, 1), old::id(6, 20));
        old::run(&old, format!("INSERT INTO messages (id, conversation_id, sender_type, content, created_at) VALUES ('{m}', '{c}', 'user', 'Thanks', '2025-06-01')")).await;
        let rest = report(&scene, &old, &[]).await;
        assert_eq!((count(&rest, old::LARK, "messages"), count(&rest, old::LARK, "members")), ((1, 3), (1, 1)));
        assert_eq!((count(&rest, FERN, "messages").0, &rest["mails"]), (1, &json!(3)));
    }

    async fn what_cannot_be_read_says_so_without_the_password_of_the_address(db: TestDb) {
        let scene = Scene::on(db).await;
        let other = agenstack_store::testing::postgres_empty().await;
        let empty = picture(&scene).await;
        let wrong = format!("postgres://ana:{}@127.0.0.1:1/old", PASSWORDS[0]);
        for (arguments, code, part) in [
            (&["--from", wrong.as_str()][..], 1, "the old database cannot be read"),
            (&["--from", &other.url], 1, "no table `organizations`"),
            (&["--from", &format!("mysql://ana:{}@host/old", PASSWORDS[0])], 2, "--from"),
            (&["--from-file", "/no/such/file"], 2, "cannot be read"),
            (&["--from-env", "NOT_SET"], 2, "NOT_SET"),
            (&[], 2, "required"),
        ] {
            let done = import(&scene, arguments).await;
            let err = String::from_utf8_lossy(&done.stderr);
            assert_eq!(done.status.code(), Some(code), "{err}");
            assert!(err.contains(part) && !err.contains(PASSWORDS[0]), "{part}: {err}");
        }
        assert_eq!(picture(&scene).await, empty);
    }
}
