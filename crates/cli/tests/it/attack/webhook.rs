//! Rows 14 to 21 of the table of attacks: what arrives at the webhooks.

use super::*;

both_databases! {
    async fn attack_14_a_delivery_that_is_not_rightly_signed_stores_nothing(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let before = v.list("/events").await.len();
        let body = delivery(LARK.page, &[message(LARK.page, "7000000000000001", "m_1", "ä")]).to_string();
        let right = meta_signature(&scene, &body).1;
        for (what, signature) in [
            ("none", None),
            ("wrong", Some(("x-hub-signature-256", format!("sha256={}", "0".repeat(64))))),
            ("sha1 only", Some(("x-hub-signature", "sha1=0000000000000000000000000000000000000000".to_owned()))),
            ("no prefix", Some(("x-hub-signature-256", right.trim_start_matches("sha256=").to_owned()))),
            ("upper case", Some(("x-hub-signature-256", format!("sha256={}", right[7..].to_uppercase())))),
            ("empty", Some(("x-hub-signature-256", String::new()))),
        ] {
            assert_eq!(wire::messenger(&scene, &body, signature).await, StatusCode::UNAUTHORIZED, "{what}");
        }
        // The same JSON in other bytes, or one byte changed, is another body.
        let other = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&body).unwrap()).unwrap();
        assert_eq!(wire::messenger(&scene, &other, Some(("x-hub-signature-256", right))).await, StatusCode::UNAUTHORIZED);
        let order = json!({"id": 1}).to_string();
        for signature in [None, Some("AAAA".to_owned()), Some(shopify_signature(&scene, "other"))] {
            let answer = wire::shopify(&scene, "orders/updated", &LARK.shop(), "w-1", &order, signature).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        }
        let kustomer = v.integration("kustomer").await["id"].as_str().unwrap().to_owned();
        for id in [kustomer.as_str(), "int_0123456789abcdefghjkmnpqrs", "x"] {
            let url = format!("{}/api/webhooks/kustomer/{id}", scene.product);
            let request = scene.http.post(url).header("x-kustomer-webhook-signature", "0".repeat(64)).body("{}");
            assert_eq!(scene.browser().finish(request).await.status, StatusCode::UNAUTHORIZED, "{id}");
        }
        scene.settle().await;
        assert_eq!(v.list("/events").await.len(), before);
    }

    async fn attack_15_each_entry_goes_to_its_own_owner_and_an_unowned_page_to_nobody(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let x = scene.connected("X", FERN).await;
        let batch = json!({"object": "page", "entry": [
            {"id": LARK.page, "time": 1, "messaging": [message(LARK.page, "7000000000000001", "m_v", "for V")]},
            {"id": "999999999999999", "time": 1, "messaging": [message("999999999999999", "7000000000000002", "m_n", "for nobody")]},
            {"id": FERN.page, "time": 1, "messaging": [message(FERN.page, "7000000000000003", "m_x", "for X")]}]});
        assert_eq!(messenger_signed(&scene, &batch).await, StatusCode::OK);
        scene.settle().await;
        for (tenant, text) in [(&v, "for V"), (&x, "for X")] {
            let list = tenant.list("/conversations").await;
            assert_eq!(list.len(), 1);
            assert_eq!(tenant.messages(list[0]["id"].as_str().unwrap()).await[0].1, text);
        }
    }

    async fn attack_16_two_messages_in_one_entry_are_two_and_an_empty_entry_spoils_nothing(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let two = [message(LARK.page, "7000000000000001", "m_1", "one"), message(LARK.page, "7000000000000001", "m_2", "two")];
        let batch = json!({"object": "page", "entry": [{"id": LARK.page}, {"id": "0", "changes": [{"field": "feed"}]},
            {"id": LARK.page, "time": 1, "messaging": two}]});
        assert_eq!(messenger_signed(&scene, &batch).await, StatusCode::OK);
        scene.settle().await;
        let messages = v.messages(&v.conversation().await).await;
        let from_customer: Vec<_> = messages.iter().filter(|m| m.0 == "customer").map(|m| m.1.as_str()).collect();
        assert_eq!(from_customer, ["one", "two"]);
    }

    async fn attack_17_the_same_message_twenty_times_is_one_message_and_one_answer(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let sent = scene.control(Method::POST, "/messages", Some(json!({"page_id": LARK.page, "from": "Bo", "text": "hello"}))).await;
        scene.settle().await;
        let (psid, mid) = (sent["psid"].as_str().unwrap(), sent["mid"].as_str().unwrap());
        let again = delivery(LARK.page, &[message(LARK.page, psid, mid, "hello")]);
        let statuses = join_all((0..20).map(|_| messenger_signed(&scene, &again))).await;
        assert!(statuses.iter().all(|s| *s == StatusCode::OK));
        scene.settle().await;
        let messages = v.messages(&v.conversation().await).await;
        assert_eq!(messages.iter().map(|m| m.0.as_str()).collect::<Vec<_>>(), ["customer", "bot"]);
        assert_eq!(scene.thread(LARK.page, psid).await.len(), 2);

        let before = v.list("/events").await.len();
        let order = json!({"id": 1}).to_string();
        let signature = shopify_signature(&scene, &order);
        let shop = LARK.shop();
        let statuses = join_all((0..20).map(|_| wire::shopify(&scene, "orders/updated", &shop, "w-1", &order, Some(signature.clone())))).await;
        assert!(statuses.iter().all(|s| s.status == StatusCode::OK));
        assert_eq!(v.list("/events").await.len(), before + 1);
    }

    async fn attack_18_a_provider_that_stalls_does_not_hold_the_webhook_up(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let fault = json!({"provider": "shopify", "operation": "orders", "status": 503, "times": 1});
        scene.control(Method::POST, "/faults", Some(fault)).await;
        // Answered without the worker having done anything at all: what is acknowledged waits on disk.
        let body = delivery(LARK.page, &[message(LARK.page, "7000000000000001", "m_1", "order #1001 ana@example.com")]);
        assert_eq!(messenger_signed(&scene, &body).await, StatusCode::OK);
        assert_eq!(v.list("/events").await.iter().filter(|e| e["state"] == "pending").count(), 1);
        scene.settle().await;
        assert_eq!(v.list("/events").await.iter().filter(|e| e["state"] == "failed").count(), 1);
        scene.pass_time(60);
        scene.settle().await;
        let messages = v.messages(&v.conversation().await).await;
        assert!(messages.last().unwrap().1.contains("LARK1001"), "{messages:?}");
    }

    async fn attack_19_and_21_only_the_right_verify_token_is_answered_and_as_plain_text(db: TestDb) {
        let scene = Scene::on(db).await;
        let ask = |token: &str, challenge: &str| {
            format!("/api/webhooks/messenger?hub.mode=subscribe&hub.verify_token={token}&hub.challenge={challenge}")
        };
        let right = scene.browser().get(&ask(&scene.settings.meta_verify_token, "1158201444")).await;
        assert_eq!((right.status, right.text.as_str()), (StatusCode::OK, "1158201444"));
        assert!(right.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
        assert_eq!(right.headers["x-content-type-options"], "nosniff");
        for wrong in ["", "wrong", "verify_token", "my_verify_token"] {
            assert_eq!(scene.browser().get(&ask(wrong, "1")).await.status, StatusCode::FORBIDDEN, "{wrong}");
        }
        let script = scene.browser().get(&ask(&scene.settings.meta_verify_token, "%3Cscript%3E")).await;
        assert!(!script.text.contains("<script>"), "{}", script.text);
    }
}
