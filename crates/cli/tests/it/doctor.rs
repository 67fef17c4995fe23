//! `doctor` on the built program, beside the emulated providers: it finds what is wrong, and says how to mend it.

use crate::rotation::{Settings, run};
use crate::scene::{Scene, environment, sandbox_for};
use agenstack_store::both_databases;
use axum::Router;
use axum::http::header::DATE;
use std::process::Output;
use tokio::net::TcpListener;

fn told(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("{}{stderr}", String::from_utf8_lossy(&output.stdout))
}

/// The lines of what is wrong; each says how to mend it.
fn wrong(told: &str) -> Vec<&str> {
    let lines: Vec<_> = told.lines().filter_map(|line| line.strip_prefix("WRONG  ")).collect();
    for line in &lines {
        let (what, mend) = line.split_once("; ").unwrap_or_else(|| panic!("no way to mend: {line}"));
        assert!(what.len() > 10 && mend.len() > 10, "{line}");
    }
    lines
}

/// An address where nothing listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

/// A host that lives an hour ago.
async fn an_hour_behind() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = listener.local_addr().expect("an address");
    let told = || async { ([(DATE, "Tue, 24 Nov 2020 12:00:00 GMT")], "hello") };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(told)).await });
    format!("http://{at}")
}

both_databases! {
    async fn doctor_finds_nothing_wrong_with_a_server_that_works_and_prints_every_address_to_register(db: TestDb) {
        let scene = Scene::on(db).await;
        let mut settings = environment(&scene.settings, &scene.db.url);
        settings.insert("AGENSTACK_PUBLIC_URL".into(), scene.product.clone());
        let found = run(&settings, &["doctor"]).await;
        let told = told(&found);
        assert_eq!((found.status.code(), wrong(&told).len()), (Some(0), 0), "{told}");
        let at = &scene.product;
        for line in [
            format!("ok     a server answers at {at}"),
            "its schema is up to date".into(),
            "ok     Shopify can be reached at 127.0.0.1:".into(),
            "ok     Messenger can be reached at 127.0.0.1:".into(),
            "ok     Kustomer can be reached at 127.0.0.1:".into(),
            "clock agrees with ".into(),
            "note   mail is off".into(),
            "Nothing is wrong.".into(),
        ] {
            assert!(told.contains(&line), "{line}: {told}");
        }
        assert_eq!(told.contains("clock agrees with the database's"), scene.db.store.postgres().is_some());
        assert_eq!(told.contains("can be written to and has"), scene.db.store.sqlite().is_some());
        // Everything that a provider has to be told is a route of this server.
        let printed: Vec<_> = told.split_whitespace().filter_map(|word| word.strip_prefix(at.as_str())).collect();
        let registered: Vec<_> = printed.into_iter().filter(|path| path.len() > 1).collect();
        assert_eq!(registered.len(), 9, "{registered:?}");
        for path in registered {
            let known = agenstack_web::routes().iter().any(|route| {
                route.path == path || route.path.replace("{provider}", path.split('/').nth(3).unwrap_or_default()) == path
            });
            assert!(known, "{path}");
        }
        for secret in [&scene.settings.shopify_api_secret, &scene.settings.meta_app_secret, &settings["AGENSTACK_MASTER_KEY"]] {
            assert!(!told.contains(secret.as_str()));
        }
    }

    async fn doctor_says_how_to_mend_each_thing_that_is_wrong(db: TestDb) {
        let scene = Scene::on(db).await;
        scene.tenant("Lark Supply").await;
        let mut settings = environment(&scene.settings, &scene.db.url);
        let away = nobody().await;
        settings.insert("AGENSTACK_PUBLIC_URL".into(), format!("http://{away}"));
        settings.insert("GRAPH_URL".into(), format!("http://{away}"));
        settings.insert("AGENSTACK_SMTP_URL".into(), format!("smtp://{away}"));
        settings.insert("AGENSTACK_MAIL_FROM".into(), "chat@example.com".into());
        settings.insert("AGENSTACK_METRICS_LISTEN".into(), scene.product.trim_start_matches("http://").into());
        let made = run(&settings, &["keys", "generate"]).await.stdout;
        settings.insert("AGENSTACK_MASTER_KEY".into(), String::from_utf8(made).unwrap().trim().to_owned());
        let found = run(&settings, &["doctor"]).await;
        let told = told(&found);
        assert_eq!(found.status.code(), Some(1), "{told}");
        let wrong = wrong(&told);
        let expected = ["the database was sealed under", "the metrics address", "Messenger cannot be reached", "the mail server"];
        assert_eq!(wrong.len(), expected.len(), "{told}");
        for (line, expected) in wrong.iter().zip(expected) {
            assert!(line.starts_with(expected), "{line}");
        }
        // Not wrong by itself: it may be reached from elsewhere, or be started later.
        assert!(told.contains(&format!("note   nothing answers at http://{away} from here")), "{told}");
        assert!(told.ends_with("4 things are wrong.\n"), "{told}");
    }
}

#[tokio::test]
async fn doctor_tells_a_clock_that_no_provider_shares() {
    let folder = tempfile::tempdir().unwrap();
    let (_, sandbox) = sandbox_for("http://127.0.0.1:9").await;
    let url = format!("sqlite://{}", folder.path().join("a.db").display());
    let mut settings = environment(&sandbox, &url);
    let behind = an_hour_behind().await;
    settings.insert("GRAPH_URL".into(), behind.clone());
    // The others are right, and one that lives in the past is its own trouble.
    let one = run(&settings, &["doctor"]).await;
    assert_eq!(one.status.code(), Some(0), "{}", told(&one));
    settings.insert("SHOPIFY_URL".into(), format!("{behind}/{{shop}}"));
    settings.insert("KUSTOMER_API_URL".into(), format!("{behind}/{{org}}"));
    let all = run(&settings, &["doctor"]).await;
    let told = told(&all);
    assert_eq!(all.status.code(), Some(1), "{told}");
    assert!(
        wrong(&told)
            .iter()
            .all(|line| line.contains("clock is") && line.contains("NTP") | line.contains("ntp")),
        "{told}"
    );
    assert_eq!(wrong(&told).len(), 1, "{told}");
}

#[tokio::test]
async fn doctor_tells_a_missing_key_and_a_directory_that_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "in the way").unwrap();
    let (_, sandbox) = sandbox_for("http://127.0.0.1:9").await;
    let url = format!("sqlite://{}", folder.path().join("file").join("a.db").display());
    let mut settings: Settings = environment(&sandbox, &url);
    settings.remove("AGENSTACK_MASTER_KEY");
    let found = run(&settings, &["doctor"]).await;
    let told = told(&found);
    assert_eq!(found.status.code(), Some(1), "{told}");
    let wrong = wrong(&told);
    assert!(wrong[0].contains("no master key") && wrong[0].contains("agenstack keys generate"), "{told}");
    assert!(
        wrong[1].contains("nothing can be written into") && wrong[1].contains("AGENSTACK_DATA_DIR"),
        "{told}"
    );
    assert_eq!(wrong.len(), 3, "{told}");
}

#[tokio::test]
async fn doctor_warns_of_a_distant_database_that_is_reached_without_tls_or_by_a_certificate_that_nobody_checks()
 {
    let (_, sandbox) = sandbox_for("http://127.0.0.1:9").await;
    for (query, warned) in [
        ("", Some("the connection may travel unencrypted")),
        ("?sslmode=prefer", Some("the connection may travel unencrypted")),
        ("?sslmode=require", Some("whoever answers there is believed")),
        ("?sslmode=verify-full", None),
    ] {
        // A name that nobody has: what is said of the URL does not depend on whether it answers.
        let settings = environment(&sandbox, &format!("postgres://ana@database.invalid/shop{query}"));
        let told = told(&run(&settings, &["doctor"]).await);
        let line = told.lines().find(|line| line.starts_with("warning: AGENSTACK_DATABASE_URL"));
        assert_eq!(line.is_some(), warned.is_some(), "{query}: {told}");
        assert!(line.unwrap_or_default().contains(warned.unwrap_or_default()), "{query}: {told}");
    }
}
