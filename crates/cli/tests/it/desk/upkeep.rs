//! What keeps a desk connected: a new key, roles that are named, a webhook that is set again.

use super::{CREATE, deed, press_test, webhooks, with_key};
use crate::scene::{Accounts, LARK, Scene};
use agenstack_store::both_databases;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

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
        scene.care().await;
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
        scene.care().await;
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
