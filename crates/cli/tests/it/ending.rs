//! An organization ends: at once for everybody, and then without a trace.

use crate::scene::{FERN, LARK, Scene};
use agenstack_app::worker;
use agenstack_store::both_databases;
use reqwest::{Method, StatusCode};
use serde_json::json;

both_databases! {
    async fn a_deleted_organization_is_nobodys_at_once_and_leaves_no_row_and_the_others_stay(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let fern = scene.connected("Fern Goods", FERN).await;
        scene.write(LARK.page, "Bo", "hello").await;
        scene.write(FERN.page, "Bo", "hello").await;
        let path = lark.api("");
        for wrong in ["", "lark supply", "Lark", "Fern Goods"] {
            let refused = lark.browser.send(Method::DELETE, &path, Some(json!({"name": wrong}))).await;
            assert_eq!((refused.status, refused.code()), (StatusCode::BAD_REQUEST, "invalid".into()), "{wrong}");
        }
        let stranger = fern.browser.send(Method::DELETE, &path, Some(json!({"name": "Lark Supply"}))).await;
        assert_eq!(stranger.status, StatusCode::NOT_FOUND);
        assert_eq!(lark.integration("shopify").await["status"], "connected", "nothing has happened yet");

        // By the page, as an owner does it.
        let form = format!("/orgs/{}/delete", lark.org);
        let missed = lark.browser.form(&form, &[("name", "Lark")]).await;
        assert!(missed.status == StatusCode::BAD_REQUEST && missed.text.contains("exactly as it stands here"), "{}", missed.text);
        let done = lark.browser.form(&form, &[("name", "Lark Supply")]).await;
        assert_eq!(done.location.as_deref(), Some("/orgs"), "{}", done.text);
        for what in ["", "/integrations", "/events", "/conversations"] {
            assert_eq!(lark.browser.get(&lark.api(what)).await.status, StatusCode::NOT_FOUND, "{what}");
        }
        assert!(!lark.browser.get("/orgs").await.text.contains("Lark Supply"));
        let told: Vec<_> = scene.received("shopify").await.into_iter().map(|r| r.1).collect();
        assert!(told.iter().any(|o| o.contains("appUninstall")), "{told:?}");

        // What still comes in for its accounts belongs to nobody, and what was queued stops.
        scene.write(LARK.page, "Bo", "are you there?").await;
        worker::tidy_up(&scene.running.app).await;
        let org = lark.org.clone();
        for (table, rows) in rows_of(&scene, &org).await {
            assert_eq!(rows, 0, "{table}");
        }
        let thread = scene.write(FERN.page, "Bo", "order #1001 ana@example.com").await;
        assert!(thread.last().unwrap().1.contains("FERN1001"), "{thread:?}");

        // The accounts are free: another organization may connect them.
        let moss = scene.tenant("Moss Market").await;
        moss.connect_shopify(LARK.label).await;
    }

    async fn what_was_sealed_for_a_deleted_organization_opens_with_no_key_there_is(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.write(LARK.page, "Bo", "hello").await;
        let deleted = lark.browser.send(Method::DELETE, &lark.api(""), Some(json!({"name": "Lark Supply"}))).await;
        assert_eq!(deleted.status, StatusCode::NO_CONTENT);
        // Before its rows go: whoever kept a copy of them has a copy of nothing.
        let mut tx = scene.db.store.global_read().await.unwrap();
        let org = agenstack_core::id::OrgId::parse(&lark.org).unwrap();
        assert!(tx.key_get(&org, None).await.is_err());
        drop(tx);
        assert!(count(&scene, "SELECT COUNT(*) FROM messages").await > 0, "the rows are still there");
        let opened = agenstack_app::keyring::opens(&scene.running.app, &org).await;
        assert!(!opened, "not from this process's memory either");
    }
}

async fn count(scene: &Scene, sql: &'static str) -> i64 {
    match (scene.db.store.sqlite(), scene.db.store.postgres()) {
        (Some(pool), _) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
        (_, Some(pool)) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
        _ => unreachable!("a database is one or the other"),
    }
}

/// How many rows each table has of an organization.
async fn rows_of(scene: &Scene, org: &str) -> Vec<(&'static str, i64)> {
    const TABLES: &[(&str, &str)] = &[
        ("organizations", "SELECT COUNT(*) FROM organizations WHERE id = $1"),
        ("organization_keys", "SELECT COUNT(*) FROM organization_keys WHERE organization_id = $1"),
        ("memberships", "SELECT COUNT(*) FROM memberships WHERE organization_id = $1"),
        ("integrations", "SELECT COUNT(*) FROM integrations WHERE organization_id = $1"),
        ("events", "SELECT COUNT(*) FROM events WHERE organization_id = $1"),
        ("messages", "SELECT COUNT(*) FROM messages WHERE organization_id = $1"),
        ("conversations", "SELECT COUNT(*) FROM conversations WHERE organization_id = $1"),
        ("audit", "SELECT COUNT(*) FROM audit WHERE organization_id = $1"),
    ];
    let mut all = Vec::new();
    for (table, sql) in TABLES {
        let n = match (scene.db.store.sqlite(), scene.db.store.postgres()) {
            (Some(pool), _) => sqlx::query_scalar(*sql).bind(org).fetch_one(pool).await.unwrap(),
            (_, Some(pool)) => sqlx::query_scalar(*sql).bind(org).fetch_one(pool).await.unwrap(),
            _ => unreachable!("a database is one or the other"),
        };
        all.push((*table, n));
    }
    all
}
