//! A provider that asks to wait is not asked before: by no worker, no button and no other work of the account.

use super::{fault, press_test};
use crate::scene::{LARK, Scene, Tenant};
use agenstack_store::both_databases;
use agenstack_store::testing::TestDb;
use reqwest::Method;
use serde_json::{Value, json};

async fn calls(scene: &Scene, provider: &str) -> Vec<String> {
    scene.received(provider).await.into_iter().map(|r| r.1).collect()
}

/// Lets work meet a 429 that asks for five minutes; gives how many calls were made after it.
async fn is_left_alone(scene: &Scene, tenant: &Tenant, provider: &str, name: &str, refused: &str) {
    let told = calls(scene, name).await;
    assert_eq!(told.last().map(String::as_str), Some(refused), "it is not asked anything after it: {told:?}");
    scene.control(Method::DELETE, "/received", None).await;
    scene.pass_time(280);
    scene.settle().await;
    let report = press_test(tenant, provider).await;
    assert_eq!(report["ok"], false);
    assert!(report["message"].as_str().unwrap().contains("slow down"), "{report}");
    scene.settle().await;
    assert_eq!(calls(scene, name).await, Vec::<String>::new(), "twenty seconds too early");
    let it = tenant.integration(provider).await;
    assert_eq!(
        (it["status"].clone(), it["last_error"]["code"].clone()),
        (json!("connected"), json!("rate_limited"))
    );
    // What waits comes up to a minute later, so that all of it does not come at once.
    scene.pass_time(20 + 61);
    scene.settle().await;
    let it = tenant.integration(provider).await;
    assert_eq!((it["status"].clone(), it["last_error"].clone()), (json!("connected"), Value::Null));
}

/// Hands a conversation over while Kustomer refuses one of the calls that this takes.
async fn hands_over(db: TestDb, operation: &str) {
    let scene = Scene::on(db).await;
    let lark = scene.connected("Lark Supply", LARK).await;
    fault(&scene, "Kustomer", operation, 1, json!({"status": 429, "retry_after": 300})).await;
    scene.write(LARK.page, "Bo", "I want to talk to a human").await;
    is_left_alone(&scene, &lark, "kustomer", "kustomer", operation).await;
    let desk = scene.control(Method::GET, "/kustomer/lark-supply/conversations", None).await;
    let lines = desk[0]["messages"].as_array().expect("a transcript").len();
    assert_eq!((desk.as_array().unwrap().len(), lines), (1, 2), "{desk}");
}

both_databases! {
    async fn an_order_is_looked_up_when_the_shop_allows_it_again_and_not_before(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        fault(&scene, "Shopify", "orders", 1, json!({"status": 429, "retry_after": 300})).await;
        scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        is_left_alone(&scene, &lark, "shopify", "shopify", "orders").await;
        let messages = lark.messages(&lark.conversation().await).await;
        assert!(messages.last().unwrap().1.contains("LARK1001"), "{messages:?}");
    }

    async fn an_answer_is_sent_when_meta_allows_it_again_and_not_before(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let usage = json!({LARK.page: [{"type": "messenger", "estimated_time_to_regain_access": 5}]}).to_string();
        let limited = json!({"status": 400, "headers": {"x-business-use-case-usage": usage},
            "body": {"error": {"code": 80_006, "message": "x"}}});
        fault(&scene, "Messenger", "POST messages", 1, limited).await;
        let thread = scene.write(LARK.page, "Bo", "hello").await;
        assert_eq!(thread.len(), 1, "{thread:?}");
        is_left_alone(&scene, &lark, "messenger", "meta", "POST messages").await;
        let messages = lark.messages(&lark.conversation().await).await;
        assert_eq!(messages.iter().filter(|m| m.0 == "bot").count(), 1, "once: {messages:?}");
        assert_eq!(messages.last().unwrap().2, "read");
    }

    async fn a_customer_is_made_in_kustomer_when_it_allows_it_again_and_not_before(db: TestDb) {
        hands_over(db, "POST customers").await;
    }

    async fn a_conversation_is_handed_over_when_kustomer_allows_it_again_and_not_before(db: TestDb) {
        hands_over(db, "POST conversations").await;
    }

    async fn a_transcript_is_written_on_when_kustomer_allows_it_again_and_not_before(db: TestDb) {
        hands_over(db, "POST conversations/{id}/messages").await;
    }

    async fn without_a_word_on_how_long_it_is_tried_again_by_itself_and_later_each_time(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        fault(&scene, "Shopify", "orders", 2, json!({"status": 429})).await;
        scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        scene.control(Method::DELETE, "/received", None).await;
        scene.settle().await;
        assert_eq!(calls(&scene, "shopify").await, Vec::<String>::new(), "not at once");
        for _ in 0..2 {
            scene.pass_time(300);
            scene.settle().await;
        }
        assert_eq!(calls(&scene, "shopify").await, ["orders", "orders"]);
        let messages = lark.messages(&lark.conversation().await).await;
        assert!(messages.last().unwrap().1.contains("LARK1001"), "{messages:?}");
    }
}
