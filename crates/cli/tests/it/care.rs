//! Connections that stay alive by themselves, and end when the person behind them says so.

use crate::scene::{Answer, FERN, LARK, Scene};
use agenstack_app::care;
use agenstack_sandbox::Walk;
use agenstack_store::both_databases;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn operations(scene: &Scene, provider: &str) -> Vec<String> {
    scene.received(provider).await.into_iter().map(|r| r.1).collect()
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
        care::round(scene.running.app.clone()).await;
        assert!(operations(&scene, "shopify").await.is_empty(), "nothing is due yet");
        scene.pass_time(3_100);
        care::round(scene.running.app.clone()).await;
        assert_eq!(operations(&scene, "shopify").await, ["token.refresh", "token.refresh"]);
        care::round(scene.running.app.clone()).await;
        let thread = scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        assert!(thread.last().unwrap().1.contains("LARK1001"), "{thread:?}");
        assert_eq!(operations(&scene, "shopify").await, ["token.refresh", "token.refresh", "orders"]);
    }

    async fn a_dead_refresh_token_is_found_before_a_customer_finds_it(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.control(Method::POST, &format!("/shopify/{}/revoke-tokens", LARK.shop()), None).await;
        scene.pass_time(3_100);
        care::round(scene.running.app.clone()).await;
        let it = lark.integration("shopify").await;
        assert_eq!(it["status"], "needs_reconnect");
        let home = lark.browser.get(&format!("/orgs/{}", lark.org)).await.text;
        assert!(home.contains("Shopify: lark-supply") && home.contains("Mend it"), "{home}");
        scene.control(Method::DELETE, "/received", None).await;
        care::round(scene.running.app.clone()).await;
        assert!(operations(&scene, "shopify").await.is_empty(), "a connection that is broken is left alone");
    }

    async fn an_outage_while_renewing_burns_nothing_and_the_next_round_mends_it(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        // Executed, and the answer lost: the same old refresh token gives the same pair again.
        let fault = json!({"provider": "shopify", "operation": "token.refresh", "lose_answer": true, "times": 1});
        scene.control(Method::POST, "/faults", Some(fault)).await;
        scene.pass_time(3_100);
        care::round(scene.running.app.clone()).await;
        assert_eq!(lark.integration("shopify").await["status"], "connected");
        care::round(scene.running.app.clone()).await;
        assert_eq!(operations(&scene, "shopify").await.iter().filter(|o| *o == "token.refresh").count(), 2);
        let thread = scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        assert!(thread.last().unwrap().1.contains("LARK1001"), "{thread:?}");
    }

    async fn a_subscription_that_meta_dropped_silently_is_set_again_within_the_hour(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.control(Method::POST, &format!("/messenger/{}/unsubscribe", LARK.page), None).await;
        scene.write(LARK.page, "Bo", "hello?").await;
        assert!(lark.list("/conversations").await.is_empty());
        scene.pass_time(3_700);
        care::round(scene.running.app.clone()).await;
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
        care::round(scene.running.app.clone()).await;
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
        care::round(scene.running.app.clone()).await;
        assert_eq!(lark.integration("shopify").await["status"], "paused", "not asked more than hourly");
        scene.pass_time(700);
        care::round(scene.running.app.clone()).await;
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
