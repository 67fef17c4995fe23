//! Each failure of the table in docs/connections.md, played by the emulated providers: what it leaves behind, and what
//! people read. A row that is not played fails here, and so does a play without a row.

use crate::scene::{FERN, LARK, Scene, Tenant};
use agenstack_providers::Http;
use agenstack_sandbox::Walk;
use agenstack_store::both_databases;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

mod wait;

const PAGE: &str = include_str!("../../../../docs/connections.md");

/// A row of the table, for one provider.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    failure: String,
    provider: String,
    state: String,
    code: String,
    sentence: String,
}

/// The table, with one entry for each provider that a row names.
fn table() -> Vec<Row> {
    let (_, section) = PAGE.split_once("\n## Each failure, played\n").expect("the section is there");
    let section = section.split("\n## ").next().expect("a split has a first part");
    let cells = |line: &str| -> Vec<String> { line.split('|').map(|c| c.trim().to_owned()).collect() };
    let lines = section.lines().filter(|line| line.starts_with("| ")).skip(1).map(cells);
    let mut rows = Vec::new();
    for line in lines {
        let [_, failure, providers, state, code, sentence, _] = &line[..] else {
            panic!("five cells: {line:?}")
        };
        for provider in providers.split(", ") {
            rows.push(Row {
                failure: failure.clone(),
                provider: provider.to_owned(),
                state: state.trim_matches('`').to_owned(),
                code: code.trim_matches('`').to_owned(),
                sentence: sentence.replace("{who}", provider),
            });
        }
    }
    rows
}

/// How a failure is brought about.
#[derive(Clone, Copy)]
enum Play {
    /// Test is pressed while the provider answers so, as often as it is asked.
    Answer(fn() -> Value),
    /// The same, once.
    Once(fn() -> Value),
    /// The same, where the way to the provider has little patience.
    Slow,
    /// A token is renewed while the provider answers so.
    Renewal(fn() -> Value),
    /// Something happens at the provider, and Test is pressed.
    Deed(&'static str),
    /// The shop's owner takes a permission away, and a customer asks for an order.
    ScopeTaken,
    /// The person logs in at Facebook again and leaves the page unticked.
    Unticked,
    /// The webhook is switched off, and the role for setting it again is missing.
    WebhookOff,
    /// Somebody connects, and says no.
    Denied,
    /// Somebody connects, and comes back with another shop.
    OtherShop,
    /// Somebody connects, and the code is answered so.
    Exchange(fn() -> Value),
    /// Somebody connects through an app of their own, after this happened to it.
    OwnApp(&'static str),
}

fn status(status: u16) -> Value {
    json!({"status": status})
}

const ALL: &[&str] = &["Shopify", "Messenger", "Kustomer"];
const SHOPIFY: &[&str] = &["Shopify"];
const MESSENGER: &[&str] = &["Messenger"];
const KUSTOMER: &[&str] = &["Kustomer"];
const RENEWED: &[&str] = &["Shopify", "Kustomer"];

/// A Graph error; its status is 400 whatever the cause.
macro_rules! graph {
    ($code:literal, $sub:expr) => {
        || json!({"status": 400, "body": {"error": {"code": $code, "error_subcode": $sub, "message": "x"}}})
    };
}

/// A GraphQL error; its status is 200.
macro_rules! graphql {
    ($code:literal, $more:tt) => {
        || {
            let mut extensions = json!($more);
            extensions["code"] = json!($code);
            json!({"status": 200, "body": {"errors": [{"message": "x", "extensions": extensions}]}})
        }
    };
}

const PLAYS: &[(&str, &[&str], Play)] = &[
    ("The person says no", ALL, Play::Denied),
    ("Another shop comes back", SHOPIFY, Play::OtherShop),
    ("5xx when the code is exchanged", ALL, Play::Exchange(|| status(503))),
    ("Garbage when the code is exchanged", ALL, Play::Exchange(|| json!({"status": 200, "ends": "garbage"}))),
    ("429 when the code is exchanged", ALL, Play::Exchange(|| json!({"status": 429, "retry_after": 60}))),
    (
        "The code is refused",
        ALL,
        Play::Exchange(|| json!({"status": 400, "body": {"error": "invalid_grant"}})),
    ),
    (
        "The operator's app is refused",
        KUSTOMER,
        Play::Exchange(|| json!({"status": 401, "body": {"error": "invalid_client"}})),
    ),
    ("The merchant's own app is not installed", KUSTOMER, Play::OwnApp("uninstall")),
    ("The merchant's own app has another secret", KUSTOMER, Play::OwnApp("new-secret")),
    ("401 once, and a renewal mends it", RENEWED, Play::Once(|| status(401))),
    ("401, also after a renewal", RENEWED, Play::Answer(|| status(401))),
    ("401", MESSENGER, Play::Answer(|| status(401))),
    ("401, and the renewal is refused", RENEWED, Play::Deed("revoke")),
    ("The person changed the password (190/460)", MESSENGER, Play::Deed("revoke")),
    ("The page is left unticked", MESSENGER, Play::Unticked),
    ("402: the shop is frozen", SHOPIFY, Play::Deed("freeze")),
    ("402", KUSTOMER, Play::Answer(|| status(402))),
    ("423: the shop is locked", SHOPIFY, Play::Answer(|| status(423))),
    ("423", KUSTOMER, Play::Answer(|| status(423))),
    ("404: the shop is closed", SHOPIFY, Play::Answer(|| status(404))),
    ("The page is restricted (10/1893063)", MESSENGER, Play::Answer(graph!(10, 1_893_063))),
    ("The page violated a policy (368)", MESSENGER, Play::Answer(graph!(368, 0))),
    ("403", ALL, Play::Answer(|| status(403))),
    (
        "A field is denied (ACCESS_DENIED)",
        SHOPIFY,
        Play::Answer(graphql!("ACCESS_DENIED", {"requiredAccess": "`read_products` access scope."})),
    ),
    ("A scope is taken away (app/scopes_update)", SHOPIFY, Play::ScopeTaken),
    ("A permission is taken away (200)", MESSENGER, Play::Answer(graph!(200, 0))),
    ("The webhook is off, and its role is missing", KUSTOMER, Play::WebhookOff),
    ("429 with Retry-After", ALL, Play::Answer(|| json!({"status": 429, "retry_after": 300}))),
    ("429 without Retry-After", ALL, Play::Answer(|| status(429))),
    ("A query is throttled (THROTTLED)", SHOPIFY, Play::Answer(graphql!("THROTTLED", {}))),
    ("Too many calls (613)", MESSENGER, Play::Answer(graph!(613, 0))),
    ("500", ALL, Play::Answer(|| status(500))),
    ("503", ALL, Play::Answer(|| status(503))),
    ("An outage in Graph's words (2)", MESSENGER, Play::Answer(graph!(2, 0))),
    ("5xx when a token is renewed", RENEWED, Play::Renewal(|| status(502))),
    ("429 when a token is renewed", RENEWED, Play::Renewal(|| json!({"status": 429, "retry_after": 300}))),
    ("No answer in time", ALL, Play::Slow),
    ("The answer breaks off", ALL, Play::Answer(|| json!({"status": 200, "ends": "cut"}))),
    ("Garbage", ALL, Play::Answer(|| json!({"status": 200, "ends": "garbage"}))),
];

/// What a play left behind.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    state: String,
    code: String,
    sentence: String,
}

/// What the sandbox calls a provider, and the first call of a probe and of a code's exchange there.
fn called(provider: &str) -> (&'static str, &'static str, &'static str) {
    match provider {
        "Shopify" => ("shopify", "shop", "token.code"),
        "Messenger" => ("meta", "GET object", "POST oauth/access_token"),
        _ => ("kustomer", "GET auth/tokens/current", "token.code"),
    }
}

async fn fault(scene: &Scene, provider: &str, operation: &str, times: u32, mut how: Value) {
    how["provider"] = json!(called(provider).0);
    how["operation"] = json!(operation);
    how["times"] = json!(times);
    scene.control(Method::POST, "/faults", Some(how)).await;
}

async fn press_test(tenant: &Tenant, provider: &str) -> Value {
    let id = tenant.integration(provider).await["id"].as_str().expect("a connection").to_owned();
    tenant.browser.post(&tenant.api(&format!("/integrations/{id}/test")), json!({})).await.json()
}

/// Undoes the HTML escapes of a sentence.
fn plain(html: &str) -> String {
    html.replace("&#39;", "'").replace("&#34;", "\"").replace("&#38;", "&")
}

/// What an organization's page says of a connection, or of one that was not made.
async fn shown(tenant: &Tenant, query: &str) -> String {
    plain(&tenant.browser.get(&format!("/orgs/{}/integrations{query}", tenant.org)).await.text)
}

async fn connect(tenant: &Tenant, provider: &str) {
    match provider {
        "shopify" => tenant.connect_shopify(LARK.label).await,
        "messenger" => tenant.connect_page(LARK.facebook, LARK.page).await,
        _ => tenant.connect_kustomer(LARK.label).await,
    }
}

/// The sealed tokens of the connections to a provider. Those to another may be renewed meanwhile: time passes for all.
async fn tokens(scene: &Scene, provider: &str) -> Vec<(String, Option<Vec<u8>>, Option<Vec<u8>>, i64)> {
    const SQL: &str = "SELECT id, access_token, refresh_token, generation FROM integrations WHERE provider = $1 ORDER BY id";
    let provider = provider.to_lowercase();
    match (scene.db.store.sqlite(), scene.db.store.postgres()) {
        (Some(pool), _) => sqlx::query_as(SQL).bind(provider).fetch_all(pool).await.unwrap(),
        (_, Some(pool)) => sqlx::query_as(SQL).bind(provider).fetch_all(pool).await.unwrap(),
        _ => unreachable!("a store is one of the two"),
    }
}

/// Begins to connect and comes back; gives what that left.
async fn begun(scene: &Scene, tenant: &Tenant, provider: &str, play: Play) -> Left {
    let (_, _, exchange) = called(provider);
    let word = provider.to_lowercase();
    let more = match provider {
        "Shopify" => format!("&shop={}", FERN.label),
        "Kustomer" => format!("&subdomain={}", FERN.label),
        _ => String::new(),
    };
    let mut walk =
        Walk { person: (provider == "Messenger").then(|| FERN.facebook.into()), ..Walk::default() };
    let mut url = match play {
        Play::OwnApp(_) => {
            let install = format!("/kustomer/{}/private-app/install", FERN.label);
            scene.control(Method::POST, &install, None).await;
            let app =
                scene.control(Method::GET, &format!("/kustomer/{}/private-app", FERN.label), None).await;
            let body = json!({"subdomain": FERN.label, "client_id": app["client_id"], "client_secret": app["client_secret"]});
            let begun = tenant.browser.post(&tenant.api("/integrations/kustomer/private-app"), body).await;
            begun.json()["location"].as_str().expect("an address").to_owned()
        }
        _ => tenant.begin(&word, &more).await,
    };
    match play {
        Play::Denied => walk.deny = true,
        Play::OtherShop => url = url.replace(&format!("/{}.", FERN.label), "/moss-market."),
        Play::Exchange(how) => fault(scene, provider, exchange, 9, how()).await,
        _ => {}
    }
    let back = walk.through(&url).await.expect("the person decides");
    // Between the consent and the exchange.
    if let Play::OwnApp(deed) = play {
        scene.control(Method::POST, &format!("/kustomer/{}/private-app/{deed}", FERN.label), None).await;
    }
    let to = tenant.come_back(&back).await.location.expect("a redirect");
    let (_, code) = to.split_once("=error&reason=").unwrap_or_else(|| panic!("it was connected: {to}"));
    let page = shown(tenant, &format!("?{word}=error&reason={code}")).await;
    let (_, notice) = page.split_once("role=\"alert\"><p>").expect("the page says why");
    let sentence = notice.split("</p>").next().expect("a split has a first part").to_owned();
    let is_there = tenant.integration(&word).await;
    assert!(is_there.is_null(), "{is_there}");
    Left { state: "not connected".into(), code: code.to_owned(), sentence }
}

/// Makes it happen, and gives what it left.
async fn play(scene: &Scene, lark: &Tenant, fern: &Tenant, provider: &str, play: Play) -> Left {
    let (name, probe, _) = called(provider);
    let word = provider.to_lowercase();
    match play {
        Play::Denied | Play::OtherShop | Play::Exchange(_) | Play::OwnApp(_) => {
            return begun(scene, fern, provider, play).await;
        }
        Play::Answer(how) => {
            fault(scene, provider, probe, 9, how()).await;
            press_test(lark, &word).await;
        }
        Play::Once(how) => {
            fault(scene, provider, probe, 1, how()).await;
            assert_eq!(press_test(lark, &word).await["ok"], true);
        }
        Play::Slow => {
            fault(scene, provider, probe, 1, json!({"ends": "never"})).await;
            press_test(lark, &word).await;
        }
        Play::Renewal(how) => {
            fault(scene, provider, "token.refresh", 9, how()).await;
            let ahead = if name == "shopify" { 3_100 } else { 20 * 3_600 };
            scene.pass_time(ahead);
            scene.care().await;
            scene.pass_time(-ahead);
        }
        Play::Deed(deed) => {
            let path = match name {
                "shopify" if deed == "revoke" => format!("/shopify/{}/revoke-tokens", LARK.shop()),
                "shopify" => format!("/shopify/{}/{deed}", LARK.shop()),
                "meta" => format!("/messenger/{}/{deed}", LARK.page),
                _ => format!("/kustomer/{}/{deed}", LARK.label),
            };
            scene.control(Method::POST, &path, None).await;
            press_test(lark, &word).await;
        }
        Play::ScopeTaken => {
            let left = json!(["read_products", "read_customers"]);
            scene.control(Method::POST, &format!("/shopify/{}/scopes", LARK.shop()), Some(left)).await;
            scene.settle().await;
            let it = lark.integration("shopify").await;
            assert!(
                it["missing_scopes"].to_string().contains("read_orders"),
                "the shop's word is enough: {it}"
            );
            assert!(shown(lark, "").await.contains("<code>read_orders</code> Look up orders"));
            let thread = scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
            assert!(thread.last().unwrap().1.contains("cannot look up orders"), "{thread:?}");
        }
        Play::Unticked => {
            let url = fern.begin("messenger", "").await;
            let untick = vec![LARK.page.into()];
            let walk = Walk { person: Some(LARK.facebook.into()), untick, ..Walk::default() };
            fern.come_back(&walk.through(&url).await.expect("the person continues")).await;
            scene.care().await;
        }
        Play::WebhookOff => {
            scene.control(Method::POST, &format!("/kustomer/{}/webhooks/off", LARK.label), None).await;
            for operation in ["PUT outbound-webhooks/{id}", "POST outbound-webhooks"] {
                fault(scene, provider, operation, 9, status(403)).await;
            }
            assert_eq!(press_test(lark, &word).await["ok"], false);
        }
    }
    let it = lark.integration(&word).await;
    let text = |v: &Value| v.as_str().unwrap_or("none").to_owned();
    Left {
        state: text(&it["status"]),
        code: text(&it["last_error"]["code"]),
        sentence: text(&it["last_error"]["message"]),
    }
}

/// Plays all rows of a provider that `fits`, each on a connection that works, and compares with the table.
async fn compare(scene: &Scene, provider: &str, fits: fn(&Play) -> bool) {
    let (lark, fern) = (scene.connected("Lark Supply", LARK).await, scene.tenant("Fern Goods").await);
    let word = provider.to_lowercase();
    let mut wrong = Vec::new();
    let rows = table();
    for (failure, _, how) in PLAYS.iter().filter(|(_, whom, how)| whom.contains(&provider) && fits(how)) {
        let row = rows.iter().find(|r| r.failure == *failure && r.provider == provider);
        let row = row.unwrap_or_else(|| panic!("no row for {failure} at {provider}"));
        let before = tokens(scene, provider).await;
        assert_eq!(before.len(), 1, "{failure}");
        let left = play(scene, &lark, &fern, provider, *how).await;
        let expected =
            Left { state: row.state.clone(), code: row.code.clone(), sentence: row.sentence.clone() };
        if left != expected {
            wrong.push(format!("{failure} at {provider}:\n  left      {left:?}\n  the table {expected:?}"));
        }
        if left.code != "none" && left.state != "not connected" {
            assert!(shown(&lark, "").await.contains(&left.sentence), "{failure}: the card says it");
        }
        scene.control(Method::DELETE, "/faults", None).await;
        // What passes by itself has burnt nothing: the very same tokens work again.
        let passes = ["outage", "timed_out", "connection_lost", "answer_unreadable", "permission_missing"];
        if passes.contains(&left.code.as_str()) && !matches!(how, Play::ScopeTaken) {
            assert_eq!(tokens(scene, provider).await, before, "{failure} at {provider} burns no token");
            if left.state == "connected" {
                let report = press_test(&lark, &word).await;
                assert_eq!(report["ok"], true, "{failure} at {provider}: {report}");
                assert!(report["integration"]["last_error"].is_null());
            }
        }
        // Everything else is mended by what the sentence asks for.
        if matches!(how, Play::Deed("freeze")) {
            scene.control(Method::POST, &format!("/shopify/{}/thaw", LARK.shop()), None).await;
        }
        connect(&lark, &word).await;
        let it = lark.integration(&word).await;
        assert_eq!(
            (it["status"].clone(), it["last_error"].clone()),
            (json!("connected"), Value::Null),
            "{failure}"
        );
        scene.settle().await;
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn each_row_of_the_table_is_played_and_each_play_has_a_row() {
    let rows: BTreeSet<(String, String)> = table().into_iter().map(|r| (r.failure, r.provider)).collect();
    let plays = PLAYS
        .iter()
        .flat_map(|(failure, whom, _)| whom.iter().map(|w| ((*failure).to_owned(), (*w).to_owned())));
    let plays: BTreeSet<(String, String)> = plays.collect();
    assert_eq!(rows, plays);
    assert_eq!(rows.len(), table().len(), "no row stands there twice");
}

both_databases! {
    async fn each_failure_of_shopify_leaves_what_the_table_says(db: TestDb) {
        compare(&Scene::on(db).await, "Shopify", |how| !matches!(how, Play::Slow)).await;
    }

    async fn each_failure_of_messenger_leaves_what_the_table_says(db: TestDb) {
        compare(&Scene::on(db).await, "Messenger", |how| !matches!(how, Play::Slow)).await;
    }

    async fn each_failure_of_kustomer_leaves_what_the_table_says(db: TestDb) {
        compare(&Scene::on(db).await, "Kustomer", |how| !matches!(how, Play::Slow)).await;
    }

    async fn a_provider_that_is_too_slow_leaves_what_the_table_says(db: TestDb) {
        let impatient = Http::with_timeout(Duration::from_secs(2));
        let scene = Scene::over(db, impatient, &[]).await;
        let (lark, fern) = (scene.connected("Lark Supply", LARK).await, scene.tenant("Fern Goods").await);
        for provider in ALL {
            let row = table().into_iter().find(|r| r.failure == "No answer in time" && r.provider == *provider).unwrap();
            let before = tokens(&scene, provider).await;
            let left = play(&scene, &lark, &fern, provider, Play::Slow).await;
            assert_eq!(left, Left { state: row.state, code: row.code, sentence: row.sentence });
            assert_eq!(tokens(&scene, provider).await, before);
            assert_eq!(press_test(&lark, &provider.to_lowercase()).await["ok"], true);
        }
    }
}

#[tokio::test]
async fn a_stranger_cannot_make_the_page_say_what_no_provider_said() {
    let scene = Scene::on(agenstack_store::testing::sqlite().await).await;
    let lark = scene.tenant("Lark Supply").await;
    for reason in ["webhook_off", "fields_missing", "permission_missing", "x%3Cb%3E"] {
        let path = format!("/orgs/{}/integrations?kustomer=error&reason={reason}", lark.org);
        let page = lark.browser.get(&path).await;
        assert_eq!(page.status, StatusCode::OK);
        let (_, notice) = page.text.split_once("role=\"alert\"><p>").expect("the page says something");
        let notice = notice.split("</p>").next().expect("a split has a first part");
        assert!(!notice.contains(['<', '{']) && notice.ends_with('.'), "{reason}: {notice}");
    }
}
