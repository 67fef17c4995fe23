//! The main job, end to end, for two organizations side by side.

use crate::scene::{FERN, LARK, Scene};
use agenstack_store::both_databases;
use reqwest::{Method, StatusCode};
use serde_json::json;

both_databases! {
    async fn two_organizations_with_the_same_customer_and_order_number_get_their_own(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let fern = scene.connected("Fern Goods", FERN).await;
        scene.control(Method::DELETE, "/received", None).await;

        for (tenant, accounts, told, not_told) in [(&lark, LARK, "LARK1001", "FERN1001"), (&fern, FERN, "FERN1001", "LARK1001")] {
            let thread = scene.write(accounts.page, "Ana Prieto", "Where is my order 1001?").await;
            assert!(thread.last().unwrap().1.contains("e-mail"), "{thread:?}");
            let thread = scene.write(accounts.page, "Ana Prieto", "ana@example.com").await;
            let answer = &thread.last().unwrap().1;
            assert!(answer.contains(told) && !answer.contains(not_told), "{answer}");
            let conversation = tenant.conversation().await;
            let messages = tenant.messages(&conversation).await;
            assert_eq!(messages.iter().map(|m| m.0.as_str()).collect::<Vec<_>>(), ["customer", "bot", "customer", "bot"]);
            assert_eq!(messages[3].1, *answer);
            assert_eq!(messages[3].2, "read");
            assert_eq!(tenant.list("/conversations").await.len(), 1);
        }

        // The record of the providers: every call carried the token of the account that it asked.
        for provider in ["shopify", "meta", "kustomer"] {
            for (account, operation, token_of) in scene.received(provider).await {
                let on_customer = provider == "meta" && operation == "GET object";
                if on_customer {
                    assert!([LARK.page, FERN.page].contains(&token_of.as_deref().unwrap()), "{account} {token_of:?}");
                } else {
                    let owner = token_of.expect("every call carries a token");
                    assert_eq!(account, owner, "{provider} {operation}");
                }
            }
        }
        let shops = scene.received("shopify").await;
        assert_eq!(shops.iter().filter(|(_, operation, _)| operation == "orders").count(), 2);
    }

    async fn a_conversation_is_handed_to_that_organizations_desk_and_comes_back(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let fern = scene.connected("Fern Goods", FERN).await;
        scene.write(LARK.page, "Ana Prieto", "order #1001 ana@example.com").await;
        scene.write(LARK.page, "Ana Prieto", "I want to talk to a human").await;

        let desk = scene.control(Method::GET, "/kustomer/lark-supply/conversations", None).await;
        assert_eq!(desk.as_array().unwrap().len(), 1);
        let handed = &desk[0];
        let lines: Vec<_> = handed["messages"].as_array().unwrap().iter().map(|m| &m["attributes"]["preview"]).collect();
        assert_eq!(lines[0], "order #1001 ana@example.com");
        assert_eq!(lines.len(), 4);
        assert!(handed["notes"][0]["attributes"]["body"].as_str().unwrap().contains("Order #1001, confirmed"), "{handed}");
        assert_eq!(handed["customer"]["attributes"]["emails"][0]["email"], "ana@example.com");
        assert_eq!(scene.control(Method::GET, "/kustomer/fern-goods/conversations", None).await, json!([]));

        // The bot is silent now; what the customer writes goes to the desk.
        let thread = scene.write(LARK.page, "Ana Prieto", "Is anybody there?").await;
        assert_eq!(thread.last().unwrap().0, "customer");
        let conversation = lark.conversation().await;
        let one = lark.browser.get(&lark.api(&format!("/conversations/{conversation}"))).await.json();
        assert_eq!(one["owner"], "person");

        // An agent answers there, and the customer reads it on the page, once.
        let id = handed["conversation"]["id"].as_str().unwrap();
        let path = format!("/kustomer/lark-supply/conversations/{id}");
        scene.control(Method::POST, &format!("{path}/answer"), Some(json!({"text": "Hi Ana, I can help."}))).await;
        scene.settle().await;
        let psid = scene.control(Method::POST, "/messages", Some(json!({"page_id": LARK.page, "from": "Ana Prieto", "text": "thanks"}))).await;
        scene.settle().await;
        let thread = scene.thread(LARK.page, psid["psid"].as_str().unwrap()).await;
        assert_eq!(thread.iter().filter(|m| m.1 == "Hi Ana, I can help.").count(), 1, "{thread:?}");

        // Closed there, it is the bot's again.
        scene.control(Method::POST, &format!("{path}/done"), Some(json!({}))).await;
        scene.settle().await;
        let thread = scene.write(LARK.page, "Ana Prieto", "hello").await;
        assert!(thread.last().unwrap().1.contains("automated assistant"), "{thread:?}");
        assert!(fern.list("/conversations").await.is_empty());
    }

    async fn a_person_takes_over_answers_and_hands_back(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.write(LARK.page, "Bo", "hello").await;
        let conversation = lark.conversation().await;
        let at = |deed: &str| lark.api(&format!("/conversations/{conversation}/{deed}"));
        let taken = lark.browser.post(&at("takeover"), json!({})).await;
        assert_eq!((taken.status, taken.json()["owner"].clone()), (StatusCode::OK, json!("person")));
        let thread = scene.write(LARK.page, "Bo", "where is my order 1001?").await;
        assert_eq!(thread.last().unwrap().0, "customer");
        let sent = lark.browser.post(&at("messages"), json!({"text": "I will look.", "sender_type": "bot"})).await;
        assert_eq!(sent.status, StatusCode::CREATED);
        assert_eq!(sent.json()["author"], "agent");
        scene.settle().await;
        let messages = lark.messages(&conversation).await;
        assert_eq!(messages.last().unwrap(), &("agent".into(), "I will look.".into(), "read".into()));
        assert_eq!(lark.browser.post(&at("handback"), json!({})).await.json()["owner"], "bot");
        let thread = scene.write(LARK.page, "Bo", "where is my order 1001?").await;
        assert!(thread.last().unwrap().1.contains("e-mail"), "{thread:?}");
    }

    async fn a_message_that_comes_before_its_page_is_connected_is_not_lost(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.tenant("Lark Supply").await;
        let delivery = json!({"object": "page", "entry": [{"id": LARK.page, "time": 1, "messaging": [
            {"sender": {"id": "7000000000000001"}, "recipient": {"id": LARK.page}, "timestamp": 1, "message": {"mid": "m_early", "text": "hello"}}]}]});
        let sent = scene.control(Method::POST, "/messenger/raw", Some(json!({"body": delivery.to_string()}))).await;
        assert_eq!(sent["status"], 200);
        scene.settle().await;
        lark.connect_page(LARK.facebook, LARK.page).await;
        scene.settle().await;
        let conversation = lark.conversation().await;
        assert_eq!(lark.messages(&conversation).await[0].1, "hello");
    }

    async fn a_dead_page_token_says_so_and_waiting_answers_go_out_after_reconnecting(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.write(LARK.page, "Bo", "hello").await;
        scene.control(Method::POST, &format!("/messenger/{}/revoke", LARK.page), None).await;
        let thread = scene.write(LARK.page, "Bo", "where is my order 1001?").await;
        assert_eq!(thread.last().unwrap().0, "customer");
        let broken = lark.integration("messenger").await;
        assert_eq!(broken["status"], "needs_reconnect");
        assert!(broken["last_error"]["message"].as_str().unwrap().contains("reconnect"), "{broken}");

        lark.connect_page(LARK.facebook, LARK.page).await;
        // What waited goes out at once, though its next try would have been later.
        scene.settle().await;
        let conversation = lark.conversation().await;
        let messages = lark.messages(&conversation).await;
        assert!(messages.iter().all(|m| m.0 != "bot" || m.2 == "read"), "{messages:?}");
        assert_eq!(lark.integration("messenger").await["status"], "connected");
    }

    async fn an_expired_shop_token_is_renewed_before_it_is_used(db: TestDb) {
        let scene = Scene::on(db).await;
        let _lark = scene.connected("Lark Supply", LARK).await;
        scene.pass_time(3_500);
        scene.control(Method::DELETE, "/received", None).await;
        let thread = scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        assert!(thread.last().unwrap().1.contains("LARK1001"), "{thread:?}");
        let operations: Vec<_> = scene.received("shopify").await.into_iter().map(|r| r.1).collect();
        assert_eq!(operations, ["token.refresh", "orders"]);
    }

    async fn disconnecting_tells_the_provider_and_erases_the_tokens(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        for provider in ["shopify", "messenger", "kustomer"] {
            let it = lark.integration(provider).await;
            let path = lark.api(&format!("/integrations/{}", it["id"].as_str().unwrap()));
            for _ in 0..2 {
                let ended = lark.browser.send(Method::DELETE, &path, None).await;
                assert_eq!(ended.status, StatusCode::NO_CONTENT, "ending it again changes nothing");
            }
            let tested = lark.browser.post(&format!("{path}/test"), json!({})).await;
            assert_eq!(tested.status, StatusCode::NOT_FOUND);
        }
        scene.settle().await;
        assert!(lark.list("/integrations").await.is_empty());
        let has = async |provider: &str, operation: &str| {
            scene.received(provider).await.iter().any(|r| r.1.contains(operation))
        };
        assert!(has("shopify", "appUninstall").await);
        assert!(has("meta", "DELETE subscribed_apps").await);
        assert!(has("kustomer", "DELETE outbound-webhooks").await);
        for table in token_rows(&scene).await {
            assert_eq!(table, (false, false, false));
        }
        // Connecting again works, and is the same connection in a later generation.
        lark.connect_shopify(LARK.label).await;
        assert_eq!(lark.integration("shopify").await["status"], "connected");
    }
}

/// Which of the three sealed columns of each connection hold anything.
async fn token_rows(scene: &Scene) -> Vec<(bool, bool, bool)> {
    const SQL: &str = "SELECT access_token IS NOT NULL, refresh_token IS NOT NULL, webhook_secret IS NOT NULL FROM integrations";
    match (scene.db.store.sqlite(), scene.db.store.postgres()) {
        (Some(pool), _) => sqlx::query_as(SQL).fetch_all(pool).await.unwrap(),
        (_, Some(pool)) => sqlx::query_as(SQL).fetch_all(pool).await.unwrap(),
        _ => unreachable!("a store is one of the two"),
    }
}
