//! What attackers tried, each under its number. What counts everywhere: nothing connected, nothing stored, no
//! request sent, nothing told.

use crate::scene::{Answer, FERN, LARK, Scene, Tenant};
use crate::wire::{
    self, delivery, message, messenger_signed, meta_signature, shopify_query, shopify_signature,
};
use agenstack_sandbox::Walk;
use agenstack_store::both_databases;
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

mod webhook;

/// The state in a provider's address.
fn state_of(url: &str) -> String {
    let (_, rest) = url.split_once("state=").expect("a state");
    rest.split('&').next().unwrap().to_owned()
}

fn replace(url: &str, name: &str, value: &str) -> String {
    let (head, rest) = url.split_once(&format!("{name}=")).expect("the parameter");
    let tail = rest.split_once('&').map_or(String::new(), |(_, tail)| format!("&{tail}"));
    format!("{head}{name}={value}{tail}")
}

/// A callback that connected nothing: the page that offers to start again, or the list with a reason.
fn is_refused(answer: &Answer, what: &str) {
    match answer.status {
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => {}
        StatusCode::SEE_OTHER => {
            let to = answer.location.as_deref().unwrap_or_default();
            assert!(to.contains("=error&reason="), "{what}: {to}");
        }
        other => panic!("{what}: {other}"),
    }
}

async fn nothing_happened(scene: &Scene, calls: usize, tenants: &[&Tenant]) {
    assert_eq!(scene.calls().await, calls, "a provider was called");
    for tenant in tenants {
        assert!(tenant.list("/integrations").await.is_empty());
    }
}

both_databases! {
    async fn attack_01_a_home_made_state_with_a_hostile_subdomain_sends_nothing(db: TestDb) {
        let scene = Scene::on(db).await;
        let x = scene.tenant("X").await;
        let calls = scene.calls().await;
        for state in ["evil.example/?x=", "eyJzdWJkb21haW4iOiJldmlsIn0", &"A".repeat(43)] {
            let path = format!("/api/oauth/kustomer/callback?code=c&state={state}&subdomain=evil.example");
            assert_eq!(x.browser.get(&path).await.status, StatusCode::BAD_REQUEST);
            assert_eq!(scene.browser().get(&path).await.status, StatusCode::BAD_REQUEST);
        }
        nothing_happened(&scene, calls, &[&x]).await;
    }

    async fn attack_02_a_callback_that_names_another_host_sends_the_secret_nowhere(db: TestDb) {
        let scene = Scene::on(db).await;
        let x = scene.tenant("X").await;
        let state = state_of(&x.begin("shopify", "&shop=lark-supply").await);
        let calls = scene.calls().await;
        let now = (agenstack_core::clock::Clock::now(&*scene.clock).secs()).to_string();
        let pairs = [("code", "c"), ("shop", "evil.example"), ("state", &*state), ("timestamp", &*now)];
        let query = shopify_query(&scene.settings.shopify_api_secret, &pairs);
        is_refused(&x.browser.get(&format!("/api/oauth/shopify/callback?{query}")).await, "another host");
        nothing_happened(&scene, calls, &[&x]).await;
    }

    async fn attack_03_and_07_a_state_of_another_browser_or_person_is_worth_nothing(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.tenant("V").await;
        let x = scene.tenant("X").await;
        for provider in ["shopify", "messenger", "kustomer"] {
            let more = match provider {
                "shopify" => "&shop=lark-supply",
                "kustomer" => "&subdomain=lark-supply",
                _ => "",
            };
            // X finishes in X's browser what V's browser began, and the other way round.
            let url = v.begin(provider, more).await;
            let back = Walk::approve().through(&url).await.unwrap();
            let calls = scene.calls().await;
            assert_eq!(x.come_back(&back).await.status, StatusCode::BAD_REQUEST, "{provider}");
            assert_eq!(scene.browser().get(back.split('#').next().unwrap()).await.status, StatusCode::BAD_REQUEST);
            // The same person in another browser.
            let other = scene.browser();
            other.post("/api/auth/login", json!({"email": v.email, "password": "correct horse battery"})).await;
            assert_eq!(other.get(back.split('#').next().unwrap()).await.status, StatusCode::BAD_REQUEST);
            nothing_happened(&scene, calls, &[&v, &x]).await;
        }
    }

    async fn attack_04_a_signed_return_with_a_home_made_state_binds_nothing(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let x = scene.tenant("X").await;
        let real = x.begin("shopify", "&shop=fern-goods").await;
        let forged = replace(&real, "state", &format!("{}A", "v".repeat(42)));
        let back = Walk::approve().through(&forged).await.unwrap();
        let calls = scene.calls().await;
        for browser in [&v.browser, &x.browser] {
            assert_eq!(browser.get(&back).await.status, StatusCode::BAD_REQUEST);
        }
        assert_eq!(scene.calls().await, calls);
        assert_eq!(v.integration("shopify").await["account_identifier"]["storeName"], "lark-supply");
    }

    async fn attack_05_a_redirect_for_another_organization_is_refused(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.tenant("V").await;
        let x = scene.tenant("X").await;
        let path = format!("/api/oauth/shopify/redirect?organization_id={}&shop=lark-supply", v.org);
        assert_eq!(scene.browser().get(&path).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(x.browser.get(&path).await.status, StatusCode::NOT_FOUND);
    }

    async fn attack_06_a_callback_works_once_also_of_two_at_the_same_time(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.tenant("V").await;
        let url = v.begin("shopify", "&shop=lark-supply").await;
        let back = Walk::approve().through(&url).await.unwrap();
        let answers = join_all((0..8).map(|_| v.come_back(&back))).await;
        let connected = answers.iter().filter(|a| a.status == StatusCode::SEE_OTHER).count();
        assert_eq!(connected, 1);
        assert!(answers.iter().all(|a| matches!(a.status, StatusCode::SEE_OTHER | StatusCode::BAD_REQUEST)));
        assert_eq!(v.come_back(&back).await.status, StatusCode::BAD_REQUEST);
        let exchanges = scene.received("shopify").await.into_iter().filter(|r| r.1 == "token.code").count();
        assert_eq!(exchanges, 1);
    }

    async fn attack_07_a_state_of_eleven_minutes_ago_is_worth_nothing(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.tenant("V").await;
        let back = Walk::approve().through(&v.begin("messenger", "").await).await.unwrap();
        scene.pass_time(11 * 60);
        let calls = scene.calls().await;
        assert_eq!(v.come_back(&back).await.status, StatusCode::BAD_REQUEST);
        nothing_happened(&scene, calls, &[&v]).await;
    }

    async fn attack_08_and_12_and_13_a_misshapen_shop_or_subdomain_leads_nowhere(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.tenant("V").await;
        let calls = scene.calls().await;
        let shops = [
            "evil.example/x.myshopify.com", "a.myshopify.com.evil.example", "a.myshopify.com@evil.example",
            "a.myshopify.com%252f..", "LARK-SUPPLY", "xn--%C3%A9.myshopify.com", "a.myshopify.com:443",
            "10.0.0.1/?x=.myshopify.com", "", "http://a.myshopify.com", "a.myshopify.com%0d%0aX: y",
        ];
        for shop in shops {
            let path = format!("/api/oauth/shopify/redirect?organization_id={}&shop={shop}&store_url=http://10.0.0.1/x.myshopify.com", v.org);
            let answer = v.browser.get(&path).await;
            assert_eq!((answer.status, answer.location), (StatusCode::BAD_REQUEST, None), "{shop}");
        }
        for subdomain in ["x/../", "x.evil.example%23", "localhost:80/", "", &"a".repeat(64), "A", "a%40b"] {
            let path = format!("/api/oauth/kustomer/redirect?organization_id={}&subdomain={subdomain}", v.org);
            let answer = v.browser.get(&path).await;
            assert_eq!((answer.status, answer.location), (StatusCode::BAD_REQUEST, None), "{subdomain}");
            let body = json!({"subdomain": subdomain, "api_key": "x.y.z"});
            let answer = v.browser.post(&v.api("/integrations/kustomer/api-key"), body).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{subdomain}");
        }
        nothing_happened(&scene, calls, &[&v]).await;
    }

    async fn attack_09_a_callback_of_another_shop_than_the_one_begun_with_is_refused(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.tenant("V").await;
        let url = v.begin("shopify", "&shop=lark-supply").await.replace("/lark-supply.", "/fern-goods.");
        let back = Walk::approve().through(&url).await.unwrap();
        assert!(back.contains("shop=fern-goods"), "{back}");
        let calls = scene.calls().await;
        let answer = v.come_back(&back).await;
        let expected = format!("/orgs/{}/integrations?shopify=error&reason=wrong_shop", v.org);
        assert_eq!(answer.location.as_deref(), Some(expected.as_str()));
        nothing_happened(&scene, calls, &[&v]).await;
    }

    async fn attack_10_a_callback_whose_signature_or_time_is_wrong_is_refused(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.tenant("V").await;
        type Change = (&'static str, fn(&str) -> String);
        let changes: [Change; 7] = [
            ("wrong", |q| replace(q, "hmac", &"0".repeat(64))),
            ("missing", |q| q.split('&').filter(|p| !p.starts_with("hmac=")).collect::<Vec<_>>().join("&")),
            ("upper case with a tail", |q| { let (h, t) = q.split_once("hmac=").unwrap(); format!("{h}hmac={}00", t[..64].to_uppercase()) }),
            ("repeated", |q| format!("{q}&{}", q.split('&').find(|p| p.starts_with("hmac=")).unwrap())),
            ("hmac[]", |q| q.replace("hmac=", "hmac[]=")),
            ("a changed code", |q| replace(q, "code", "x")),
            ("repeated shop", |q| format!("{q}&shop=lark-supply.myshopify.com")),
        ];
        let mut calls = 0;
        for (what, change) in changes {
            let back = Walk::approve().through(&v.begin("shopify", "&shop=lark-supply").await).await.unwrap();
            let (path, query) = back.split_once('?').unwrap();
            calls = scene.calls().await;
            is_refused(&v.come_back(&format!("{path}?{}", change(query))).await, what);
            assert_eq!(scene.calls().await, calls, "{what}");
        }
        let state = state_of(&v.begin("shopify", "&shop=lark-supply").await);
        let old = (agenstack_core::clock::Clock::now(&*scene.clock).secs() - 86_400).to_string();
        let pairs = [("code", "c"), ("shop", "lark-supply.myshopify.com"), ("state", &*state), ("timestamp", &*old)];
        let query = shopify_query(&scene.settings.shopify_api_secret, &pairs);
        is_refused(&v.browser.get(&format!("/api/oauth/shopify/callback?{query}")).await, "a day old");
        nothing_happened(&scene, calls, &[&v]).await;
    }

    async fn attack_22_an_account_has_one_owner_also_of_two_who_connect_at_once(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let x = scene.tenant("X").await;
        let back = Walk::approve().through(&x.begin("shopify", "&shop=lark-supply").await).await.unwrap();
        let refused = x.come_back(&back).await;
        assert!(refused.location.unwrap().ends_with("shopify=error&reason=owned_by_another"));
        let page = x.browser.get(&format!("/orgs/{}/integrations?shopify=error&reason=owned_by_another", x.org)).await;
        assert!(page.text.contains("connected to another organization") && !page.text.contains(">V<"), "{}", page.text);
        // The owner's token was not revoked by the attempt, and its webhooks keep going to it.
        let thread = scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        assert!(thread.last().unwrap().1.contains("LARK1001"));
        // The page is not on offer, and cannot be taken.
        x.offer_pages(LARK.facebook).await;
        let pages = x.list("/integrations/messenger/pages").await;
        let theirs = pages.iter().find(|p| p["id"] == LARK.page).unwrap();
        assert_eq!(theirs["selectable"], false);
        assert_eq!(x.choose_page(LARK.page).await.status, StatusCode::CONFLICT);
        // Kustomer, by key.
        let keys = scene.control(Method::GET, "/kustomer/lark-supply/keys", None).await;
        let body = json!({"subdomain": "lark-supply", "api_key": keys["full"]});
        let refused = x.browser.post(&x.api("/integrations/kustomer/api-key"), body).await;
        assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, "owned_by_another".into()));
        assert!(x.list("/integrations").await.is_empty());
        assert_eq!(v.integration("shopify").await["status"], "connected");

        // Two who connect the same page at the same moment: the unique index leaves one.
        let y = scene.tenant("Y").await;
        let shared = "100000000000003";
        x.offer_pages("lena").await;
        y.offer_pages("finn").await;
        let both = join_all([x.choose_page(shared), y.choose_page(shared)]).await;
        let made = both.iter().filter(|a| a.status == StatusCode::CREATED).count();
        assert_eq!(made, 1, "{:?}", both.iter().map(|a| (a.status, &a.text)).collect::<Vec<_>>());
    }

    async fn attack_24_and_25_no_answer_holds_a_token(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let keys = scene.control(Method::GET, "/kustomer/fern-goods/keys", None).await;
        let list = v.browser.get(&v.api("/integrations")).await.text;
        for word in ["shpat_", "shprt_", "EAA", "eyJ", "access_token", "refresh_token\"", "webhook_secret", "sealed", "key_id"] {
            assert!(!list.contains(word), "{word}: {list}");
        }
        let shape: Vec<_> = v.integration("shopify").await.as_object().unwrap().keys().cloned().collect();
        assert_eq!(shape, ["id", "organization_id", "provider", "status", "account_identifier", "scopes", "missing_scopes",
            "token_expires_at", "connected_at", "last_success_at", "last_error"].map(str::to_owned).into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>());
        // The answer that connects holds none either.
        let x = scene.tenant("X").await;
        let made = x.browser.post(&x.api("/integrations/kustomer/api-key"), json!({"subdomain": "fern-goods", "api_key": keys["full"]})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        assert!(!made.text.contains(keys["full"].as_str().unwrap()));
    }

    async fn attack_26_a_token_in_a_request_is_ignored(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        scene.write(LARK.page, "Bo", "hello").await;
        let path = v.api(&format!("/conversations/{}/messages", v.conversation().await));
        let body = json!({"text": "hi", "access_token": "EAAevil", "page_access_token": "EAAevil", "organization_id": "org_x"});
        assert_eq!(v.browser.post(&path, body).await.status, StatusCode::CREATED);
        scene.settle().await;
        let sends: Vec<_> = scene.received("meta").await.into_iter().filter(|r| r.1 == "POST messages").collect();
        assert!(sends.iter().all(|r| r.2.as_deref() == Some(LARK.page)));
    }

    async fn attack_27_to_31_nobody_lists_reads_writes_or_ends_what_is_anothers(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let x = scene.connected("X", FERN).await;
        scene.write(LARK.page, "Bo", "hello").await;
        let conversation = v.conversation().await;
        assert_eq!(scene.browser().get(&v.api("/conversations")).await.status, StatusCode::UNAUTHORIZED);
        assert!(x.list("/conversations").await.is_empty());
        for org in [&v.org, &x.org] {
            let path = format!("/api/organizations/{org}/conversations/{conversation}");
            assert_eq!(x.browser.get(&path).await.status, StatusCode::NOT_FOUND);
            assert_eq!(x.browser.post(&format!("{path}/messages"), json!({"text": "x"})).await.status, StatusCode::NOT_FOUND);
            assert!(!x.browser.send(Method::DELETE, &path, None).await.status.is_success());
        }
        let id = v.integration("shopify").await["id"].as_str().unwrap().to_owned();
        for org in [&v.org, &x.org] {
            let path = format!("/api/organizations/{org}/integrations/{id}");
            assert_eq!(x.browser.send(Method::DELETE, &path, None).await.status, StatusCode::NOT_FOUND);
            assert_eq!(x.browser.post(&format!("{path}/test"), json!({})).await.status, StatusCode::NOT_FOUND);
        }
        assert_eq!(v.messages(&conversation).await.len(), 2);
        assert_eq!(v.integration("shopify").await["status"], "connected");
    }

    async fn attack_33_there_is_no_account_that_nobody_made(db: TestDb) {
        let scene = Scene::on(db).await;
        for (email, password) in [("admin@example.com", "admin"), ("admin@agenstack.com", "password"), ("demo@example.com", "demo12345678"), ("root@localhost", "root")] {
            let answer = scene.browser().post("/api/auth/login", json!({"email": email, "password": password})).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{email}");
        }
    }

    async fn attack_34_a_row_that_holds_a_plain_password_lets_nobody_in(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.tenant("V").await;
        run(&scene, "UPDATE users SET password_hash = 'plain password 1'").await;
        let answer = scene.browser().post("/api/auth/login", json!({"email": v.email, "password": "plain password 1"})).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }

    async fn attack_35_a_wrong_password_and_an_unknown_address_get_the_same_answer(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.tenant("V").await;
        let known = scene.browser().post("/api/auth/login", json!({"email": v.email, "password": "wrong horse battery"})).await;
        let unknown = scene.browser().post("/api/auth/login", json!({"email": "nobody@example.com", "password": "wrong horse battery"})).await;
        assert_eq!(known.status, StatusCode::UNAUTHORIZED);
        assert_eq!(known.masked(), unknown.masked());
    }

    async fn attack_36_another_forwarded_address_each_time_is_the_same_stranger(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.tenant("V").await;
        let mut limited = 0;
        for n in 0..80 {
            let request = scene.http.post(format!("{}/api/auth/login", scene.product))
                .header("x-forwarded-for", format!("203.0.113.{n}"))
                .json(&json!({"email": v.email, "password": "x"}));
            let answer = scene.browser().finish(request).await;
            if answer.status == StatusCode::TOO_MANY_REQUESTS {
                limited += 1;
                assert!(answer.headers.contains_key("retry-after"));
            }
        }
        assert!(limited >= 60, "{limited}");
    }

    async fn attack_38_without_an_organization_there_is_none(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.tenant("V").await;
        for path in ["/api/oauth/shopify/redirect?shop=lark-supply", "/api/oauth/messenger/redirect", "/api/organizations//conversations",
            "/api/organizations/default-org/conversations", "/api/organizations/00000000-0000-0000-0000-000000000001/integrations"] {
            let status = v.browser.get(path).await.status;
            assert!(matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND), "{path} {status}");
        }
    }

    async fn attack_43_and_44_a_token_column_with_anothers_ciphertext_or_plain_text_is_never_used(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let x = scene.connected("X", FERN).await;
        const MOVE: &str = "UPDATE integrations SET access_token = (SELECT v.access_token FROM integrations v WHERE v.provider = 'shopify' AND v.external_id = 'lark-supply.myshopify.com')
            WHERE provider = 'shopify' AND external_id = 'fern-goods.myshopify.com'";
        run(&scene, MOVE).await;
        scene.control(Method::DELETE, "/received", None).await;
        let thread = scene.write(FERN.page, "Bo", "order #1001 ana@example.com").await;
        assert!(thread.last().unwrap().1.contains("cannot look up orders"), "{thread:?}");
        assert!(scene.received("shopify").await.is_empty());
        let broken = x.integration("shopify").await;
        assert_eq!((broken["status"].clone(), broken["last_error"]["code"].clone()), (json!("needs_reconnect"), json!("token_unreadable")));

        let plain = match scene.db.store.kind() {
            "sqlite" => "UPDATE integrations SET access_token = CAST('shpat_plain' AS BLOB) WHERE external_id = 'lark-supply.myshopify.com'",
            _ => "UPDATE integrations SET access_token = 'shpat_plain'::bytea WHERE external_id = 'lark-supply.myshopify.com'",
        };
        run(&scene, plain).await;
        scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        assert!(scene.received("shopify").await.is_empty());
        assert_eq!(v.integration("shopify").await["status"], "needs_reconnect");
    }

    async fn attack_45_after_disconnecting_the_next_call_is_refused_at_once(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let id = v.integration("shopify").await["id"].as_str().unwrap().to_owned();
        v.browser.send(Method::DELETE, &v.api(&format!("/integrations/{id}")), None).await;
        scene.control(Method::DELETE, "/received", None).await;
        let thread = scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        assert!(thread.last().unwrap().1.contains("cannot look up orders"), "{thread:?}");
        assert!(scene.received("shopify").await.is_empty());
        let test = v.browser.post(&v.api(&format!("/integrations/{id}/test")), json!({})).await;
        assert_eq!(test.status, StatusCode::NOT_FOUND);
    }

    async fn attack_46_twenty_calls_with_an_expired_token_make_one_refresh_and_a_refusal_is_the_last_word(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let id = v.integration("shopify").await["id"].as_str().unwrap().to_owned();
        let path = v.api(&format!("/integrations/{id}/test"));
        scene.pass_time(3_590);
        scene.control(Method::DELETE, "/received", None).await;
        let answers = join_all((0..20).map(|_| v.browser.post(&path, json!({})))).await;
        assert!(answers.iter().all(|a| a.json()["ok"] == true), "{}", answers[0].text);
        let refreshes = async || scene.received("shopify").await.iter().filter(|r| r.1 == "token.refresh").count();
        assert_eq!(refreshes().await, 1);

        scene.control(Method::POST, &format!("/shopify/{}/revoke-tokens", LARK.shop()), None).await;
        scene.pass_time(3_590);
        for _ in 0..5 {
            assert_eq!(v.browser.post(&path, json!({})).await.json()["ok"], false);
        }
        assert_eq!(v.integration("shopify").await["status"], "needs_reconnect");
        assert!(refreshes().await <= 6, "{}", refreshes().await);
    }

    async fn attack_47_a_person_with_several_pages_chooses_and_a_lost_subscription_is_no_connection(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.tenant("V").await;
        v.offer_pages("mo").await;
        // More pages than one answer of Meta's holds.
        assert_eq!(v.list("/integrations/messenger/pages").await.len(), 13);
        v.offer_pages("lena").await;
        let pages = v.list("/integrations/messenger/pages").await;
        let of = |id: &str| pages.iter().find(|p| p["id"] == id).unwrap().clone();
        assert_eq!(of(LARK.page)["selectable"], true);
        for (id, word) in [("100000000000011", "MESSAGING"), ("100000000000012", "full role")] {
            assert_eq!(of(id)["selectable"], false);
            assert!(of(id)["reason"].as_str().unwrap().contains(word), "{}", of(id));
            assert_eq!(v.choose_page(id).await.status, StatusCode::CONFLICT);
        }
        let fault = json!({"provider": "meta", "operation": "POST subscribed_apps", "status": 200, "body": {"success": false}});
        scene.control(Method::POST, "/faults", Some(fault)).await;
        let refused = v.choose_page(LARK.page).await;
        assert!(!refused.status.is_success(), "{}", refused.text);
        assert!(v.list("/integrations").await.is_empty());
        assert_eq!(v.choose_page(LARK.page).await.status, StatusCode::CREATED);
        assert_eq!(v.choose_page("999").await.status, StatusCode::BAD_REQUEST);
    }

    async fn attack_48_a_providers_text_is_neither_shown_nor_sent_on(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.tenant("V").await;
        let state = state_of(&v.begin("messenger", "").await);
        let path = format!("/api/oauth/messenger/callback?error=access_denied&error_description=canary%3Cb%3E&state={state}");
        let answer = v.browser.get(&path).await;
        let to = answer.location.unwrap();
        assert!(to.ends_with("messenger=error&reason=denied") && !to.contains("canary"), "{to}");
        let page = v.browser.get(&format!("/orgs/{}/integrations?shopify=error&reason=%3Cscript%3Ecanary", v.org)).await;
        assert!(!page.text.contains("canary"));
    }

    async fn attack_51_what_a_customer_or_shop_writes_is_shown_as_text(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        scene.write(LARK.page, "<img src=x onerror=alert(1)>", "<img src=x onerror=alert(2)>").await;
        let conversation = v.conversation().await;
        for path in [format!("/orgs/{}/inbox", v.org), format!("/orgs/{}/inbox/{conversation}", v.org)] {
            let page = v.browser.get(&path).await;
            assert!(!page.text.contains("<img src=x"), "{path}");
            assert!(page.text.contains("&#60;img src=x onerror=alert("), "{path}");
        }
    }

    async fn attack_53_orders_of_another_address_are_not_told(db: TestDb) {
        let scene = Scene::on(db).await;
        let _v = scene.connected("V", LARK).await;
        let strangers = scene.write(LARK.page, "Bo", "order #1001 bo@example.com").await.last().unwrap().1.clone();
        let nothing = scene.write(LARK.page, "Cy", "order #9999 bo@example.com").await.last().unwrap().1.clone();
        assert_eq!(strangers, nothing);
        assert!(!strangers.contains("LARK1001"));
        // Wider searches, as chat text, find nothing either.
        for text in ["order #1001 OR status:any ana@example.com", "my order is #1001\" OR name:\"#1002 and bo@example.com"] {
            let thread = scene.write(LARK.page, "Di", text).await;
            assert!(!thread.last().unwrap().1.contains("bo@"), "{thread:?}");
        }
    }

    async fn attack_54_a_signed_uninstall_ends_the_connection_and_privacy_requests_are_recorded(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        for topic in ["customers/data_request", "customers/redact", "shop/redact"] {
            let body = json!({"shop_id": 1, "shop_domain": LARK.shop()}).to_string();
            let unsigned = wire::shopify(&scene, topic, &LARK.shop(), topic, &body, None).await;
            assert_eq!(unsigned.status, StatusCode::UNAUTHORIZED, "{topic}");
            let signature = Some(shopify_signature(&scene, &body));
            assert_eq!(wire::shopify(&scene, topic, &LARK.shop(), topic, &body, signature.clone()).await.status, StatusCode::OK);
            // The same body under another shop's name is somebody's replay.
            let other = wire::shopify(&scene, topic, &FERN.shop(), "other", &body, signature).await;
            assert_eq!(other.status, StatusCode::UNAUTHORIZED, "{topic}");
        }
        scene.settle().await;
        let done = v.list("/events?state=done").await;
        assert_eq!(done.iter().filter(|e| e["topic"].as_str().unwrap().ends_with("redact") || e["topic"] == "customers/data_request").count(), 3);
        // Uninstalled while still installed: late, or a replay. The shop is asked, and the connection stays.
        let body = json!({"id": 1, "myshopify_domain": LARK.shop()}).to_string();
        let signature = Some(shopify_signature(&scene, &body));
        wire::shopify(&scene, "app/uninstalled", &LARK.shop(), "late", &body, signature).await;
        scene.settle().await;
        assert_eq!(v.integration("shopify").await["status"], "connected");
        scene.control(Method::POST, &format!("/shopify/{}/uninstall", LARK.shop()), None).await;
        scene.settle().await;
        assert!(v.integration("shopify").await.is_null());
    }
}

async fn run(scene: &Scene, sql: &'static str) {
    match (scene.db.store.sqlite(), scene.db.store.postgres()) {
        (Some(pool), _) => sqlx::query(sql).execute(pool).await.map(drop).unwrap(),
        (_, Some(pool)) => sqlx::query(sql).execute(pool).await.map(drop).unwrap(),
        _ => unreachable!("a store is one of the two"),
    }
}
