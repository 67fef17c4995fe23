//! Every route, walked from the list that the router is built from: as nobody, as a member of another organization,
//! as a role that is too small.

use crate::scene::{Answer, Browser, FERN, LARK, Scene, Tenant};
use agenstack_core::id::{OrgId, UserId};
use agenstack_core::integration::Provider;
use agenstack_core::policy::{Action, Role};
use agenstack_store::both_databases;
use agenstack_web::{Access, Route, routes};
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::collections::BTreeMap;

/// Ids that have the right shape and exist nowhere.
const NOWHERE: &str = "0123456789abcdefghjkmnpqrs";

/// What stands for the placeholders of a path.
#[derive(Clone)]
struct Ids {
    org: String,
    by_noun: BTreeMap<&'static str, String>,
}

impl Ids {
    async fn of(tenant: &Tenant) -> Self {
        let text = |v: &serde_json::Value| v["id"].as_str().expect("an id").to_owned();
        // What it has released to somebody.
        let released =
            tenant.api(&format!("/integrations/{}/transfer", text(&tenant.integration("shopify").await)));
        tenant.browser.send(Method::DELETE, &released, None).await;
        let somebody = json!({"organization_id": format!("org_{NOWHERE}")});
        let released = tenant.browser.post(&released, somebody).await.json();
        let done = json!({"state": "done", "per_second": 1});
        let replay = tenant.browser.post(&tenant.api("/replays"), done).await.json();
        let by_noun = BTreeMap::from([
            ("transfers", text(&released)),
            ("replays", text(&replay)),
            ("integrations", text(&tenant.integration("messenger").await)),
            ("events", text(&tenant.list("/events").await[0])),
            ("conversations", tenant.conversation().await),
            ("inbox", tenant.conversation().await),
            ("privacy", text(&tenant.list("/privacy").await[0])),
        ]);
        Self { org: tenant.org.clone(), by_noun }
    }

    fn unknown() -> Self {
        let id = |prefix: &str| format!("{prefix}{NOWHERE}");
        let by_noun = [
            ("transfers", "trf_"),
            ("replays", "rpl_"),
            ("integrations", "int_"),
            ("events", "evt_"),
            ("conversations", "cnv_"),
            ("inbox", "cnv_"),
            ("privacy", "prv_"),
        ];
        Self { org: id("org_"), by_noun: by_noun.map(|(noun, prefix)| (noun, id(prefix))).into() }
    }

    /// A route's path with these ids in it.
    fn path(&self, route: &Route) -> String {
        let parts: Vec<&str> = route.path.split('/').collect();
        let filled: Vec<String> = parts
            .iter()
            .enumerate()
            .map(|(i, part)| match *part {
                "{org}" => self.org.clone(),
                "{id}" => self.by_noun.get(parts[i - 1]).cloned().unwrap_or_else(|| panic!("{}", route.path)),
                "{provider}" => "shopify".into(),
                "{integration}" => self.by_noun["integrations"].clone(),
                "{hash}" | "{name}" | "{code}" => "x".into(),
                other => other.to_owned(),
            })
            .collect();
        let path = filled.join("/");
        match route.access {
            Access::OrgInQuery(_) => format!("{path}?organization_id={}&shop=lark-supply", self.org),
            _ => path,
        }
    }
}

async fn call(browser: &Browser, route: &Route, path: &str) -> Answer {
    let method: Method = route.method.parse().expect("a method");
    let body = (route.method == "POST" && path.starts_with("/api/"))
        .then(|| json!({"text": "x", "page_id": "1", "subdomain": "x", "api_key": "x", "name": "x", "organization_id": "x"}));
    match body {
        None if route.method == "POST" => browser.form(path, &[("text", "x")]).await,
        body => browser.send(method, path, body).await,
    }
}

fn is_tenant(route: &&Route) -> bool {
    matches!(route.access, Access::Org(_) | Access::OrgInQuery(_))
}

fn is_api(route: &Route) -> bool {
    route.path.starts_with("/api/")
}

/// What a stranger's call must not have changed.
async fn picture(tenant: &Tenant) -> String {
    let mut all = String::new();
    for what in ["/integrations", "/events", "/conversations", "/privacy"] {
        all += &serde_json::to_string(&tenant.list(what).await).expect("JSON");
    }
    all + &format!("{:?}", tenant.messages(&tenant.conversation().await).await)
}

both_databases! {
    async fn nobody_is_let_in_anywhere_but_where_the_list_says_so(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.write(LARK.page, "Bo", "hello").await;
        crate::privacy::ask(&scene, LARK, crate::privacy::DATA_REQUEST).await;
        let (ids, calls) = (Ids::of(&lark).await, scene.calls().await);
        for route in routes() {
            let answer = call(&scene.browser(), route, &ids.path(route)).await;
            let name = format!("{} {}", route.method, route.path);
            match route.access {
                Access::Public(_) => assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{name}"),
                Access::Signed(Provider::Shopify | Provider::Messenger | Provider::Kustomer) => {
                    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}");
                }
                Access::Operator => assert_eq!(answer.status, StatusCode::NOT_FOUND, "{name}: there is no password"),
                _ if route.method == "GET" && !is_api(route) && !route.path.ends_with("/live") => {
                    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");
                    assert!(answer.location.unwrap().starts_with("/login?next="), "{name}");
                }
                _ => assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}"),
            }
        }
        assert_eq!(scene.calls().await, calls, "nobody makes us call a provider");
    }

    async fn a_strangers_answer_equals_the_one_for_an_unknown_id_byte_for_byte(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let fern = scene.connected("Fern Goods", FERN).await;
        scene.write(LARK.page, "Bo", "hello").await;
        crate::privacy::ask(&scene, LARK, crate::privacy::DATA_REQUEST).await;
        let (theirs, unknown, calls) = (Ids::of(&lark).await, Ids::unknown(), scene.calls().await);
        let before = picture(&lark).await;
        for route in routes().iter().filter(is_tenant) {
            let name = format!("{} {}", route.method, route.path);
            // Another organization, by its own id.
            let told = call(&fern.browser, route, &theirs.path(route)).await;
            let nothing = call(&fern.browser, route, &unknown.path(route)).await;
            assert_eq!(told.status, StatusCode::NOT_FOUND, "{name}");
            assert_eq!(told.masked(), nothing.masked(), "{name}");
            // Another organization's things, below one's own.
            if route.path.contains("{id}") {
                let mixed = Ids { org: fern.org.clone(), ..theirs.clone() };
                let absent = Ids { org: fern.org.clone(), ..unknown.clone() };
                let told = call(&fern.browser, route, &mixed.path(route)).await;
                let nothing = call(&fern.browser, route, &absent.path(route)).await;
                assert_eq!(told.status, StatusCode::NOT_FOUND, "{name}");
                assert_eq!(told.masked(), nothing.masked(), "{name}");
            }
        }
        assert_eq!(picture(&lark).await, before);
        assert_eq!(scene.calls().await, calls, "a stranger makes us call no provider");
    }

    async fn a_role_that_is_too_small_is_refused_and_one_that_is_not_is_let_in(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.write(LARK.page, "Bo", "hello").await;
        crate::privacy::ask(&scene, LARK, crate::privacy::DATA_REQUEST).await;
        let (ids, before, calls) = (Ids::of(&lark).await, picture(&lark).await, scene.calls().await);
        for role in [Role::Agent, Role::Viewer] {
            let guest = scene.tenant(&format!("Guest {role}")).await;
            join(&scene, &lark.org, &guest, role).await;
            for route in routes().iter().filter(is_tenant) {
                let (Access::Org(action) | Access::OrgInQuery(action)) = route.access else { continue };
                let name = format!("{role} {} {}", route.method, route.path);
                if role.may(action) {
                    // Only reading is tried: what agents may change has tests of its own.
                    if route.method == "GET" && !route.path.ends_with("/live") {
                        assert_eq!(call(&guest.browser, route, &ids.path(route)).await.status, StatusCode::OK, "{name}");
                    }
                } else {
                    let answer = call(&guest.browser, route, &ids.path(route)).await;
                    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}");
                }
            }
        }
        assert_eq!(picture(&lark).await, before);
        assert_eq!(scene.calls().await, calls);
        assert!(Role::Viewer.may(Action::EventRead));
    }

    async fn a_changed_role_applies_to_the_next_request_and_a_payload_needs_an_admin(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.write(LARK.page, "Bo", "hello").await;
        let event = lark.list("/events").await[0]["id"].as_str().unwrap().to_owned();
        let path = lark.api(&format!("/events/{event}"));
        assert!(lark.browser.get(&path).await.json()["payload"].is_object());
        let guest = scene.tenant("Guest").await;
        assert_eq!(guest.browser.get(&path).await.status, StatusCode::NOT_FOUND);
        join(&scene, &lark.org, &guest, Role::Viewer).await;
        let seen = guest.browser.get(&path).await;
        assert_eq!(seen.status, StatusCode::OK);
        assert!(seen.json()["payload"].is_null(), "{}", seen.text);
    }

    async fn another_sites_page_cannot_make_a_browser_act(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.tenant("Lark Supply").await;
        for route in routes().iter().filter(|r| r.method != "GET" && !matches!(r.access, Access::Signed(_))) {
            let mut ids = Ids::unknown();
            ids.org.clone_from(&lark.org);
            let method: Method = route.method.parse().unwrap();
            let url = format!("{}{}", scene.product, ids.path(route));
            let request = scene.http.request(method, url).header("origin", "https://evil.example").json(&json!({}));
            let answer = lark.browser.finish(request).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{} {}", route.method, route.path);
        }
        assert_eq!(lark.browser.get("/api/me").await.status, StatusCode::OK);
    }

    async fn methods_that_are_not_offered_are_refused(db: TestDb) {
        let scene = Scene::on(db).await;
        for (method, path) in [("PUT", "/api/me"), ("POST", "/api/oauth/shopify/callback"), ("TRACE", "/"), ("DELETE", "/api/webhooks/shopify"), ("GET", "/api/auth/login")] {
            let answer = scene.browser().send(method.parse().unwrap(), path, None).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
        let nowhere = scene.browser().get("/api/nothing/here").await;
        assert_eq!((nowhere.status, nowhere.code()), (StatusCode::NOT_FOUND, "not_found".into()));
    }

    async fn a_body_that_is_too_large_is_refused_and_never_taken_for_a_whole_one(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.tenant("Lark Supply").await;
        for (path, bytes) in [("/api/webhooks/messenger", 1024 * 1024 + 1), ("/api/webhooks/shopify", 1024 * 1024 + 1), ("/api/organizations", 65 * 1024)] {
            let request = scene.http.post(format!("{}{path}", scene.product)).header("content-type", "application/json");
            let answer = lark.browser.finish(request.body(" ".repeat(bytes))).await;
            assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{path} {}", answer.text);
        }
        // Just as large as allowed is read, and then found to be unsigned.
        let request = scene.http.post(format!("{}/api/webhooks/messenger", scene.product)).body(" ".repeat(1024 * 1024));
        assert_eq!(lark.browser.finish(request).await.status, StatusCode::UNAUTHORIZED);
    }

    async fn every_answer_carries_the_strict_policy(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.tenant("Lark Supply").await;
        for path in ["/", "/login", "/orgs", "/api/me", "/nothing", &format!("/orgs/{}/integrations", lark.org)] {
            let answer = lark.browser.get(path).await;
            let policy = answer.headers["content-security-policy"].to_str().unwrap();
            assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}");
            assert!(!policy.contains("unsafe"), "{path}");
            assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
            assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        }
    }
}

/// Makes a person a member of an organization.
pub async fn join(scene: &Scene, org: &str, guest: &Tenant, role: Role) {
    let me = guest.browser.get("/api/me").await.json();
    let user = UserId::parse(me["user"]["id"].as_str().unwrap()).unwrap();
    let mut tx = scene.db.store.global().await.unwrap();
    tx.membership_add(&OrgId::parse(org).unwrap(), &user, role, scene.running.app.now()).await.unwrap();
    tx.commit().await.unwrap();
}
