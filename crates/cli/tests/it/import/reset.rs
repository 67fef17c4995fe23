//! A new password by a link: asked for by anybody, told to nobody but the owner of the mailbox.

use super::link_to;
use crate::scene::Scene;
use agenstack_store::both_databases;
use reqwest::StatusCode;
use serde_json::json;
use std::time::Duration;

/// Waits until there are so many mails: they are written after the answer.
async fn mails(scene: &Scene, n: usize) {
    let mut again = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..1_000 {
        again.tick().await;
        if scene.db.store.global_read().await.unwrap().outbox_list(None, 99).await.unwrap().len() == n {
            return;
        }
    }
    panic!("there are not {n} mails");
}

both_databases! {
    async fn a_link_sets_a_password_once_and_ends_every_session(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.tenant("Lark").await;
        let visitor = scene.browser();
        assert_eq!(visitor.form("/forgot", &[("email", " LARK@example.com")]).await.status, StatusCode::OK);
        mails(&scene, 1).await;
        let link = link_to(&scene, &lark.email).await;
        let token = link.split_once("/reset?token=").unwrap().1.to_owned();
        assert_eq!(token.len(), 43, "256 bits");
        assert!(visitor.get(&link).await.text.contains("new-password"));
        let choose = async |token: &str, word: &str| visitor.form("/reset", &[("token", token), ("password", word)]).await;
        assert_eq!(choose(&token, "short").await.status, StatusCode::BAD_REQUEST);
        assert_eq!(choose("another", "another horse battery").await.status, StatusCode::BAD_REQUEST);
        assert_eq!(lark.browser.get("/api/me").await.status, StatusCode::OK);
        assert_eq!(choose(&token, "another horse battery").await.status, StatusCode::OK);
        assert_eq!(lark.browser.get("/api/me").await.status, StatusCode::UNAUTHORIZED, "whoever was signed in is not any more");
        assert_eq!(choose(&token, "a third horse battery").await.status, StatusCode::BAD_REQUEST, "once");
        assert_eq!(visitor.get(&link).await.status, StatusCode::BAD_REQUEST);
        for (word, status) in [("correct horse battery", StatusCode::UNAUTHORIZED), ("another horse battery", StatusCode::OK)] {
            let answer = scene.browser().post("/api/auth/login", json!({"email": lark.email, "password": word})).await;
            assert_eq!(answer.status, status);
        }
    }

    async fn a_link_that_was_asked_for_is_good_for_an_hour(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.tenant("Lark").await;
        scene.browser().form("/forgot", &[("email", &lark.email)]).await;
        mails(&scene, 1).await;
        let link = link_to(&scene, &lark.email).await;
        scene.pass_time(3_590);
        assert_eq!(scene.browser().get(&link).await.status, StatusCode::OK);
        scene.pass_time(20);
        let late = scene.browser().get(&link).await;
        assert!(late.status == StatusCode::BAD_REQUEST && late.text.contains("/forgot"), "{}", late.text);
    }

    async fn nobody_learns_who_has_an_account_and_nobodys_mailbox_is_filled(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.tenant("Lark").await;
        let ask = async |email: &str| {
            let answer = scene.browser().form("/forgot", &[("email", email)]).await;
            (answer.status, answer.text.replace(email, "…"))
        };
        let (known, unknown) = (ask(&lark.email).await, ask("nobody@example.com").await);
        assert_eq!((known.0, &known), (StatusCode::OK, &unknown));
        for _ in 0..2 {
            assert_eq!(ask(&lark.email).await.0, ask("nobody@example.com").await.0);
        }
        let (known, unknown) = (ask(&lark.email).await, ask("nobody@example.com").await);
        assert_eq!((known.0, unknown.0), (StatusCode::TOO_MANY_REQUESTS, StatusCode::TOO_MANY_REQUESTS));
        mails(&scene, 3).await;
    }
}
