//! What Prometheus reads: true numbers, and nobody's name among them.

use crate::scene::{FERN, LARK, Scene};
use crate::wire;
use agenstack_store::both_databases;
use reqwest::{Method, StatusCode};
use tokio::net::TcpListener;

/// Serves the metrics of a scene on an address of their own.
async fn metrics(scene: &Scene) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    let router = agenstack_web::metrics(scene.running.app.clone());
    let limits = agenstack_web::server::Limits::default();
    tokio::spawn(agenstack_web::server::serve(listener, router, limits, std::future::pending()));
    at
}

fn value(text: &str, line: &str) -> f64 {
    let found = text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("{line} is not in\n{text}"))
}

/// A line of the exposition without its number; a comment is left whole.
fn series(line: &str) -> &str {
    match line.rsplit_once(' ') {
        Some((series, _)) if !line.starts_with('#') => series,
        _ => line,
    }
}

both_databases! {
    async fn connections_renewals_calls_and_webhooks_are_counted_without_a_name(db: TestDb) {
        let scene = Scene::on(db).await;
        let at = metrics(&scene).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.connected("Fern Goods", FERN).await;
        scene.write(LARK.page, "Bo Canary", "order #1001 ana@example.com").await;
        let body = r#"{"id":1}"#;
        let forged = wire::shopify_signature_by("another secret", body);
        wire::shopify(&scene, "orders/updated", &LARK.shop(), "hook-1", body, Some(forged)).await;
        scene.pass_time(3_100);
        scene.care().await;
        scene.control(Method::POST, &format!("/shopify/{}/revoke-tokens", LARK.shop()), None).await;
        scene.pass_time(3_100);
        scene.care().await;

        let answer = scene.browser().get(&format!("{at}/metrics")).await;
        assert_eq!(answer.status, StatusCode::OK);
        let text = answer.text;
        for (line, expected) in [
            ("agenstack_connections{provider=\"shopify\",status=\"connected\"}", 1.0),
            ("agenstack_connections{provider=\"shopify\",status=\"needs_reconnect\"}", 1.0),
            ("agenstack_connections{provider=\"messenger\",status=\"connected\"}", 2.0),
            ("agenstack_connections{provider=\"kustomer\",status=\"paused\"}", 0.0),
            ("agenstack_token_refreshes_total{provider=\"shopify\",outcome=\"renewed\"}", 3.0),
            ("agenstack_token_refreshes_total{provider=\"shopify\",outcome=\"refused\"}", 1.0),
            ("agenstack_webhooks_total{provider=\"shopify\",outcome=\"refused_signature\"}", 1.0),
            ("agenstack_database_up", 1.0),
        ] {
            assert_eq!(value(&text, line), expected, "{line}\n{text}");
        }
        assert!(value(&text, "agenstack_webhooks_total{provider=\"messenger\",outcome=\"accepted\"}") >= 1.0);
        assert!(value(&text, "agenstack_provider_calls_total{provider=\"shopify\",outcome=\"ok\"}") >= 6.0);
        assert!(value(&text, "agenstack_token_nearest_expiry_seconds{provider=\"shopify\"}") > 0.0);
        let has_versions = scene.db.store.postgres().is_some();
        assert_eq!(text.contains("agenstack_table_dead_rows{table=\"events\"}"), has_versions, "{text}");
        // Without the numbers, whose digits may be those of any id by chance.
        let named: String = text.lines().map(|line| format!("{}\n", series(line))).collect();
        assert!(named.contains("agenstack_webhooks_total{provider=\"shopify\",outcome=\"refused_signature\"}\n"));
        for name in ["lark", "fern", "Bo", "org_", "int_", "usr_", "@example.com", LARK.page, lark.org.as_str(), "1001"] {
            assert!(!named.contains(name), "{name} is in\n{text}");
        }
        assert_eq!(scene.browser().get(&format!("{at}/")).await.status, StatusCode::NOT_FOUND);
        assert_eq!(scene.browser().get(&format!("{at}/healthz")).await.status, StatusCode::NOT_FOUND);
        // Never on the address that the world reaches.
        assert_eq!(scene.browser().get("/metrics").await.status, StatusCode::NOT_FOUND);
    }
}
