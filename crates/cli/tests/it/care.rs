//! Connections that stay alive by themselves, and end when the person behind them says so.

use crate::scene::{Answer, FERN, LARK, Scene};
use agenstack_core::clock::Clock;
use agenstack_sandbox::Walk;
use agenstack_store::both_databases;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn operations(scene: &Scene, provider: &str) -> Vec<String> {
    scene.received(provider).await.into_iter().map(|r| r.1).collect()
}

async fn alter(scene: &Scene, sql: &'static str) {
    match (scene.db.store.sqlite(), scene.db.store.postgres()) {
        (Some(pool), _) => sqlx::query(sql).execute(pool).await.map(drop).unwrap(),
        (_, Some(pool)) => sqlx::query(sql).execute(pool).await.map(drop).unwrap(),
        _ => unreachable!("a database is one or the other"),
    }
}

async fn count(scene: &Scene, sql: &'static str) -> i64 {
    match (scene.db.store.sqlite(), scene.db.store.postgres()) {
        (Some(pool), _) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
        (_, Some(pool)) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
        _ => unreachable!("a database is one or the other"),
    }
}

async fn callback(scene: &Scene, what: &str, signed: &str) -> Answer {
    let url = format!("{}/api/webhooks/messenger/{what}", scene.product);
    scene.browser().finish(scene.http.post(url).form(&[("signed_request", signed)])).await
}

async fn signed_by(scene: &Scene, person: &str) -> String {
    let made = scene.control(Method::GET, &format!("/messenger/signed-request/{person}"), None).await;
    made["signed_request"].as_str().unwrap().to_owned()
}

both_databases! {
    async fn tokens_are_renewed_before_anybody_waits_for_them(db: TestDb) {
        let scene = Scene::on(db).await;
        let _lark = scene.connected("Lark Supply", LARK).await;
        let _fern = scene.connected("Fern Goods", FERN).await;
        scene.control(Method::DELETE, "/received", None).await;
        scene.care().await;
        assert!(operations(&scene, "shopify").await.is_empty(), "nothing is due yet");
        scene.pass_time(3_100);
        scene.care().await;
        assert_eq!(operations(&scene, "shopify").await, ["token.refresh", "token.refresh"]);
        scene.care().await;
        let thread = scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        assert!(thread.last().unwrap().1.contains("LARK1001"), "{thread:?}");
        assert_eq!(operations(&scene, "shopify").await, ["token.refresh", "token.refresh", "orders"]);
    }

    async fn all_that_is_due_is_probed_in_one_round_however_much_it_is(db: TestDb) {
        let scene = Scene::on(db).await;
        agenstack_app::seed::seed(&scene.running.app, 205, |_| {}).await.unwrap();
        scene.care().await;
        assert_eq!(scene.calls().await, 0, "nothing is due yet");
        scene.pass_time(3_600);
        scene.care().await;
        let pages: BTreeSet<_> = scene.received("meta").await.into_iter().map(|call| call.0).collect();
        assert_eq!(pages.len(), 205);
        assert!(operations(&scene, "shopify").await.is_empty(), "shops are probed once a day");
    }

    async fn a_dead_refresh_token_is_found_before_a_customer_finds_it(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.control(Method::POST, &format!("/shopify/{}/revoke-tokens", LARK.shop()), None).await;
        scene.pass_time(3_100);
        scene.care().await;
        let it = lark.integration("shopify").await;
        assert_eq!(it["status"], "needs_reconnect");
        let home = lark.browser.get(&format!("/orgs/{}", lark.org)).await.text;
        assert!(home.contains("Shopify: lark-supply") && home.contains("Reconnect<span"), "{home}");
        scene.control(Method::DELETE, "/received", None).await;
        scene.care().await;
        assert!(operations(&scene, "shopify").await.is_empty(), "a connection that is broken is left alone");
    }

    async fn an_outage_while_renewing_burns_nothing_and_the_next_round_mends_it(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        // Executed, and the answer lost: the same old refresh token gives the same pair again.
        let fault = json!({"provider": "shopify", "operation": "token.refresh", "lose_answer": true, "times": 1});
        scene.control(Method::POST, "/faults", Some(fault)).await;
        scene.pass_time(3_100);
        scene.care().await;
        assert_eq!(lark.integration("shopify").await["status"], "connected");
        let refreshes = async || operations(&scene, "shopify").await.iter().filter(|o| *o == "token.refresh").count();
        scene.care().await;
        assert_eq!(refreshes().await, 1, "not again at once");
        scene.pass_time(5);
        scene.care().await;
        assert_eq!(refreshes().await, 2);
        let thread = scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        assert!(thread.last().unwrap().1.contains("LARK1001"), "{thread:?}");
    }

    async fn a_provider_that_asks_to_wait_is_not_asked_to_renew_before_and_the_token_lives_on(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let fault = json!({"provider": "shopify", "operation": "token.refresh", "status": 429, "retry_after": 300, "times": 9});
        scene.control(Method::POST, "/faults", Some(fault)).await;
        scene.control(Method::DELETE, "/received", None).await;
        scene.pass_time(3_050);
        scene.care().await;
        scene.pass_time(280);
        scene.care().await;
        // Four and a half minutes are left: who needs it now uses it, and asks for no newer one either.
        let thread = scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        assert!(thread.last().unwrap().1.contains("LARK1001"), "{thread:?}");
        assert_eq!(operations(&scene, "shopify").await, ["token.refresh", "orders"]);
        scene.control(Method::DELETE, "/faults", None).await;
        scene.pass_time(21);
        scene.care().await;
        assert_eq!(operations(&scene, "shopify").await, ["token.refresh", "orders", "token.refresh"]);
        assert_eq!(lark.integration("shopify").await["status"], "connected");
    }

    async fn a_permanent_token_of_an_older_installation_is_exchanged_once_for_an_expiring_pair(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.control(Method::POST, &format!("/shopify/{}/make-permanent", LARK.shop()), None).await;
        const OLDER: &str = "UPDATE integrations SET refresh_token = NULL, token_expires_at = NULL, refresh_expires_at = NULL, renew_at = 0
            WHERE provider = 'shopify'";
        alter(&scene, OLDER).await;
        // The first answer is lost: the same exchange again gives the same pair.
        let fault = json!({"provider": "shopify", "operation": "token.exchange", "lose_answer": true, "times": 1});
        scene.control(Method::POST, "/faults", Some(fault)).await;
        scene.control(Method::DELETE, "/received", None).await;
        for _ in 0..3 {
            scene.care().await;
            scene.pass_time(5);
        }
        assert_eq!(operations(&scene, "shopify").await, ["token.exchange", "token.exchange"]);
        let it = lark.integration("shopify").await;
        assert!(it["status"] == "connected" && it["token_expires_at"].is_string(), "{it}");
        let thread = scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        assert!(thread.last().unwrap().1.contains("LARK1001"), "{thread:?}");
    }

    async fn a_page_token_is_checked_for_what_it_may_do_and_what_is_missing_is_shown(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let body = json!({"data": {"app_id": scene.settings.meta_app_id, "is_valid": true, "profile_id": LARK.page,
            "scopes": ["pages_show_list", "pages_manage_metadata"]}});
        let fault = json!({"provider": "meta", "operation": "GET debug_token", "status": 200, "body": body});
        scene.control(Method::POST, "/faults", Some(fault)).await;
        scene.pass_time(3_700);
        scene.care().await;
        assert_eq!(lark.integration("messenger").await["missing_scopes"], json!(["pages_messaging"]));
        // A token of another page, or of another app, is not ours to use.
        let body = json!({"data": {"app_id": "1", "is_valid": true, "scopes": ["pages_messaging"]}});
        let fault = json!({"provider": "meta", "operation": "GET debug_token", "status": 200, "body": body});
        scene.control(Method::POST, "/faults", Some(fault)).await;
        scene.pass_time(3_700);
        scene.care().await;
        assert_eq!(lark.integration("messenger").await["status"], "needs_reconnect");
    }

    async fn a_disconnection_that_the_provider_missed_is_told_when_it_answers_again_and_the_token_goes_then(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let ids = [("shopify", "appUninstall"), ("meta", "DELETE subscribed_apps"), ("kustomer", "webhook.delete")];
        for provider in ["shopify", "meta", "kustomer"] {
            let fault = json!({"provider": provider, "status": 503, "times": 40});
            scene.control(Method::POST, "/faults", Some(fault)).await;
        }
        for provider in ["shopify", "messenger", "kustomer"] {
            let id = lark.integration(provider).await["id"].as_str().unwrap().to_owned();
            let page = lark.browser.form(&format!("/orgs/{}/integrations/{id}/disconnect", lark.org), &[]).await;
            let shown = lark.browser.get(&page.location.unwrap()).await;
            assert!(shown.text.contains("did not answer"), "{}", shown.text);
            let again = lark.browser.send(Method::DELETE, &lark.api(&format!("/integrations/{id}")), None).await;
            assert_eq!(again.status, StatusCode::NO_CONTENT, "ending it again changes nothing");
        }
        assert!(lark.list("/integrations").await.is_empty());
        assert_eq!(count(&scene, "SELECT COUNT(*) FROM farewells").await, 3);
        assert_eq!(count(&scene, "SELECT COUNT(*) FROM integrations WHERE access_token IS NOT NULL OR webhook_secret IS NOT NULL").await, 0);
        scene.control(Method::DELETE, "/faults", None).await;
        scene.control(Method::DELETE, "/received", None).await;
        // The shop's token has ended meanwhile, and is renewed to say goodbye with.
        scene.pass_time(4_000);
        scene.settle().await;
        assert_eq!(count(&scene, "SELECT COUNT(*) FROM farewells").await, 0);
        for (provider, _) in ids {
            assert!(!operations(&scene, provider).await.is_empty(), "{provider} was told");
        }
        // The emulated shop tells real time.
        scene.pass_time(-4_000);
        lark.connect_shopify(LARK.label).await;
        assert_eq!(lark.integration("shopify").await["status"], "connected");
    }

    async fn a_farewell_that_comes_late_does_not_cut_off_who_connected_the_account_again(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let fault = json!({"provider": "meta", "status": 503, "times": 40});
        scene.control(Method::POST, "/faults", Some(fault)).await;
        let id = lark.integration("messenger").await["id"].as_str().unwrap().to_owned();
        lark.browser.send(Method::DELETE, &lark.api(&format!("/integrations/{id}")), None).await;
        scene.control(Method::DELETE, "/faults", None).await;
        let moss = scene.tenant("Moss Market").await;
        moss.connect_page(LARK.facebook, LARK.page).await;
        scene.control(Method::DELETE, "/received", None).await;
        scene.pass_time(120);
        scene.settle().await;
        assert_eq!(count(&scene, "SELECT COUNT(*) FROM farewells").await, 0);
        assert!(operations(&scene, "meta").await.is_empty(), "nobody is told");
        let thread = scene.write(LARK.page, "Bo", "hello").await;
        assert_eq!(thread.last().unwrap().0, "page");
        assert_eq!(moss.list("/conversations").await.len(), 1);
    }

    async fn a_farewell_that_nobody_hears_is_given_up_after_a_day_and_says_what_is_left_to_do(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let fault = json!({"provider": "kustomer", "status": 503, "times": 99});
        scene.control(Method::POST, "/faults", Some(fault)).await;
        let id = lark.integration("kustomer").await["id"].as_str().unwrap().to_owned();
        lark.browser.send(Method::DELETE, &lark.api(&format!("/integrations/{id}")), None).await;
        for _ in 0..20 {
            scene.pass_time(6 * 3_600);
            scene.settle().await;
        }
        assert_eq!(count(&scene, "SELECT COUNT(*) FROM farewells").await, 0);
        assert_eq!(count(&scene, "SELECT COUNT(*) FROM integration_history WHERE code = 'provider_not_told'").await, 1);
        assert_eq!(count(&scene, "SELECT COUNT(*) FROM audit WHERE action = 'integration.provider_not_told'").await, 1);
    }

    async fn an_uninstallation_from_before_a_reinstallation_ends_nothing_and_asks_nobody(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.control(Method::DELETE, "/received", None).await;
        let before = scene.clock.now().plus_secs(-3_600).rfc3339();
        let late = json!({"topic": "app/uninstalled", "now": true, "triggered_at": before});
        let sent = scene.control(Method::POST, &format!("/shopify/{}/webhook", LARK.shop()), Some(late)).await;
        assert_eq!(sent["status"], 200);
        scene.settle().await;
        assert_eq!(lark.integration("shopify").await["status"], "connected");
        assert!(operations(&scene, "shopify").await.is_empty());
    }

    async fn the_history_of_a_connection_tells_each_change_and_who_made_it(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let shop = LARK.shop();
        scene.control(Method::POST, &format!("/shopify/{shop}/freeze"), None).await;
        scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        scene.control(Method::POST, &format!("/shopify/{shop}/thaw"), None).await;
        scene.pass_time(3_700);
        scene.care().await;
        scene.pass_time(-3_700);
        scene.control(Method::POST, &format!("/shopify/{shop}/uninstall"), None).await;
        scene.settle().await;
        lark.connect_shopify(LARK.label).await;
        let it = lark.integration("shopify").await;
        let path = lark.api(&format!("/integrations/{}/history", it["id"].as_str().unwrap()));
        let answer = lark.browser.get(&path).await.json();
        let told: Vec<_> = answer["items"].as_array().unwrap().iter()
            .map(|c| (c["status"].as_str().unwrap(), c["code"].as_str().unwrap())).collect();
        assert_eq!(told, [
            ("connected", "reconnected"), ("disconnected", "uninstalled"), ("needs_reconnect", "grant_refused"),
            ("connected", "resumed"), ("paused", "shop_frozen"), ("connected", "connected"),
        ]);
        let by: Vec<_> = answer["items"].as_array().unwrap().iter().map(|c| &c["actor"].as_str().unwrap()[..4]).collect();
        assert_eq!(by, ["usr_", "work", "work", "work", "work", "usr_"]);
    }

    async fn a_subscription_that_meta_dropped_silently_is_set_again_within_the_hour(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.control(Method::POST, &format!("/messenger/{}/unsubscribe", LARK.page), None).await;
        scene.write(LARK.page, "Bo", "hello?").await;
        assert!(lark.list("/conversations").await.is_empty());
        scene.pass_time(3_700);
        scene.care().await;
        let thread = scene.write(LARK.page, "Bo", "hello").await;
        assert_eq!(thread.last().unwrap().0, "page");
    }

    async fn a_page_left_unticked_at_another_organizations_login_is_found_at_once_and_shown_at_its_own(db: TestDb) {
        const STALL: &str = "100000000000003";
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let fern = scene.connected("Fern Goods", FERN).await;
        let moss = scene.tenant("Moss Market").await;
        // Lena logs in for a second organization and leaves the first one's page unticked.
        let url = moss.begin("messenger", "").await;
        let untick = vec![LARK.page.into()];
        let walk = Walk { person: Some(LARK.facebook.into()), untick, ..Walk::default() };
        let back = walk.through(&url).await.expect("she continues");
        moss.come_back(&back).await;
        assert_eq!(moss.choose_page(STALL).await.status, StatusCode::CREATED);
        scene.care().await;
        let it = lark.integration("messenger").await;
        assert_eq!((it["status"].clone(), it["last_error"]["code"].clone()), (json!("needs_reconnect"), json!("token_invalid")));
        assert!(it["last_error"]["message"].as_str().unwrap().contains("unticked"), "{it}");
        assert_eq!(moss.integration("messenger").await["status"], "connected");
        assert_eq!(fern.integration("messenger").await["status"], "connected");
        lark.connect_page(LARK.facebook, LARK.page).await;
        assert_eq!(lark.integration("messenger").await["status"], "connected");
    }

    async fn a_frozen_shop_is_paused_and_comes_back_by_itself(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let shop = LARK.shop();
        scene.control(Method::POST, &format!("/shopify/{shop}/freeze"), None).await;
        let thread = scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        assert!(thread.last().unwrap().1.contains("cannot look up orders"), "{thread:?}");
        let it = lark.integration("shopify").await;
        assert_eq!((it["status"].clone(), it["last_error"]["code"].clone()), (json!("paused"), json!("shop_frozen")));
        scene.control(Method::POST, &format!("/shopify/{shop}/thaw"), None).await;
        scene.pass_time(3_000);
        scene.care().await;
        assert_eq!(lark.integration("shopify").await["status"], "paused", "not asked more than hourly");
        scene.pass_time(700);
        scene.care().await;
        let it = lark.integration("shopify").await;
        assert_eq!((it["status"].clone(), it["last_error"].clone()), (json!("connected"), Value::Null));
    }

    async fn who_removes_the_app_at_facebook_ends_their_connections_and_nobody_elses(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let fern = scene.connected("Fern Goods", FERN).await;
        for forged in ["", "x.y", "x", &signed_by(&scene, "lena").await.replace('.', "A.")] {
            assert_eq!(callback(&scene, "deauthorize", forged).await.status, StatusCode::UNAUTHORIZED, "{forged}");
        }
        assert_eq!(lark.integration("messenger").await["status"], "connected");
        let signed = signed_by(&scene, "lena").await;
        for _ in 0..2 {
            assert_eq!(callback(&scene, "deauthorize", &signed).await.status, StatusCode::OK);
        }
        let it = lark.integration("messenger").await;
        assert_eq!((it["status"].clone(), it["last_error"]["code"].clone()), (json!("needs_reconnect"), json!("app_removed")));
        assert_eq!(fern.integration("messenger").await["status"], "connected");
        // Messages that come in meanwhile are kept, and answered after somebody has reconnected the page.
        scene.write(LARK.page, "Bo", "hello").await;
        lark.connect_page(LARK.facebook, LARK.page).await;
        scene.settle().await;
        let messages = lark.messages(&lark.conversation().await).await;
        assert_eq!(messages.last().unwrap().2, "read", "{messages:?}");
    }

    async fn a_deletion_is_answered_with_a_page_that_tells_how_it_stands(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let signed = signed_by(&scene, "lena").await;
        let answer = callback(&scene, "data-deletion", &signed).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let (url, code) = (answer.json()["url"].clone(), answer.json()["confirmation_code"].clone());
        let code = code.as_str().unwrap().to_owned();
        assert!(code.bytes().all(|b| b.is_ascii_alphanumeric()) && url.as_str().unwrap().ends_with(&code));
        let page = scene.browser().get(url.as_str().unwrap()).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.text.contains("Your data was deleted"));
        let mut other = code.clone();
        other.replace_range(0..1, if code.starts_with('0') { "1" } else { "0" });
        assert_eq!(scene.browser().get(&format!("/privacy/deletion/{other}")).await.status, StatusCode::NOT_FOUND);
        assert_eq!(lark.integration("messenger").await["last_error"]["code"], "person_deleted");
        // Somebody we never heard of gets the same shape.
        let unknown = callback(&scene, "data-deletion", &signed_by(&scene, "mo").await).await;
        assert_eq!(unknown.json().as_object().unwrap().len(), 2);
    }
}
