//! The way to PostgreSQL is encrypted, and whoever answers there has to prove who it is, if the operator asks for it.

use super::certificate::Authority;
use super::cluster::Cluster;
use crate::rotation::run;
use crate::scene::{environment, sandbox_for};
use agenstack_store::Store;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The first that can be reached in this way: a server reads its certificate a little after it was told to.
async fn opened(url: &str) -> Store {
    let (began, mut tick) = (Instant::now(), tokio::time::interval(Duration::from_millis(50)));
    loop {
        tick.tick().await;
        match Store::connect(url).await {
            Ok(store) => return store,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(30), "{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_has_to_prove_by_the_given_authority_that_it_is_the_one_that_was_named() {
    let cluster = Cluster::new(None, BTreeMap::new(), &[]).await;
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (certificate, key) = ours.server("localhost");
    let (certificate, key) = (cluster.keep("server.crt", &certificate), cluster.keep("server.key", &key));
    let settings =
        [("ssl_cert_file", certificate.display().to_string()), ("ssl_key_file", key.display().to_string())];
    for (name, value) in settings.iter().map(|(n, v)| (*n, v.as_str())).chain([("ssl", "on")]) {
        cluster.say(&format!("ALTER SYSTEM SET {name} = '{value}'")).await;
    }
    cluster.say("SELECT pg_reload_conf()").await;
    let folder = tempfile::tempdir().unwrap();
    let trusted = |name: &str, authority: &Authority| {
        let path = folder.path().join(name);
        std::fs::write(&path, &authority.certificate).unwrap();
        path.display().to_string()
    };
    let (ours, theirs) = (trusted("ours.crt", &ours), trusted("theirs.crt", &theirs));
    let url =
        |host: &str, query: &str| cluster.url().replace("127.0.0.1", host) + &format!("?sslmode={query}");

    // Encrypted, and nothing is asked of who answers.
    let store = opened(&url("127.0.0.1", "require")).await;
    const ENCRYPTED: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let encrypted: bool = sqlx::query_scalar(ENCRYPTED).fetch_one(store.postgres().unwrap()).await.unwrap();
    assert!(encrypted);
    store.close().await;

    let (_, sandbox) = sandbox_for("http://127.0.0.1:9").await;
    for (host, query, opens) in [
        ("localhost", format!("verify-full&sslrootcert={ours}"), true),
        ("127.0.0.1", format!("verify-ca&sslrootcert={ours}"), true),
        // Another name than the certificate has.
        ("127.0.0.1", format!("verify-full&sslrootcert={ours}"), false),
        // Another authority, or none but those of the system.
        ("localhost", format!("verify-full&sslrootcert={theirs}"), false),
        ("localhost", format!("verify-ca&sslrootcert={theirs}"), false),
        ("localhost", "verify-full".to_owned(), false),
    ] {
        let done = run(&environment(&sandbox, &url(host, &query)), &["migrate"]).await;
        let told = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.success(), opens, "{host} {query}: {told}");
        assert!(opens || told.contains("certificate"), "{host} {query}: {told}");
    }
}
