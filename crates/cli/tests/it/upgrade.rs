//! Two versions over one database, as during a rolling deploy and after one that is taken back.

use crate::rotation::run;
use crate::scene::{LARK, Scene, environment};
use crate::wire::{delivery, message, messenger_signed};
use agenstack_store::{Store, both_databases};
use reqwest::StatusCode;
use sqlx::AssertSqlSafe;

/// What migrations may do that older programs go on beside: they add.
pub const ADDS: &str = "ALTER TABLE events ADD COLUMN later TEXT; ALTER TABLE jobs ADD COLUMN later TEXT;
    ALTER TABLE messages ADD COLUMN later INTEGER NOT NULL DEFAULT 0; ALTER TABLE conversations ADD COLUMN later TEXT;
    ALTER TABLE integrations ADD COLUMN later TEXT; CREATE INDEX events_later ON events (organization_id, later)";

/// What a newer program's migration does: it alters the schema and records its number and name.
pub async fn migrated_by_a_newer_program(store: &Store, version: i64, name: &str, sql: &str) {
    let recorded = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         SELECT {version}, '{name}', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1"
    );
    // Each by itself: whoever is at work may hold two tables the other way round.
    for statement in sql.split(';').chain([&*recorded]) {
        let statement = AssertSqlSafe(statement);
        match (store.sqlite(), store.postgres()) {
            (Some(pool), _) => drop(sqlx::raw_sql(statement).execute(pool).await.unwrap()),
            (_, pool) => drop(sqlx::raw_sql(statement).execute(pool.unwrap()).await.unwrap()),
        }
    }
}

async fn is_ready(scene: &Scene) -> StatusCode {
    scene.http.get(format!("{}/readyz", scene.product)).send().await.unwrap().status()
}

both_databases! {
    async fn a_node_goes_on_beside_a_newer_schema_and_an_older_program_may_be_started_on_it(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark", LARK).await;
        let write = async |mid: &str| {
            let body = delivery(LARK.page, &[message(LARK.page, "7000000000000001", mid, mid)]);
            assert_eq!(messenger_signed(&scene, &body).await, 200);
        };
        write("m_1").await;
        scene.settle().await;
        // While the older node runs, and with statements that it has prepared before.
        migrated_by_a_newer_program(&scene.db.store, 9_000, "more of everything", ADDS).await;
        assert_eq!(is_ready(&scene).await, StatusCode::OK);
        write("m_2").await;
        scene.settle().await;
        // A rollback: the same older program begins on the newer schema.
        let settings = environment(&scene.settings, &scene.db.url);
        for (command, says) in [
            (&["migrate"][..], "The schema is newer than this program (migration 9000"),
            (&["migrate", "--check"][..], "and this program works with it"),
            (&["doctor"][..], "its schema is newer than this program, which works with it"),
        ] {
            let done = run(&settings, command).await;
            let told = String::from_utf8_lossy(&done.stdout);
            assert!(done.status.success() && told.contains(says), "{command:?}: {told}");
        }
        let again = Store::connect(&scene.db.url).await.unwrap();
        assert!(again.migrate().await.unwrap().is_newer());
        again.close().await;
        let said = lark.messages_all(&lark.conversation().await).await;
        assert_eq!(said.iter().filter(|m| m.0 == "customer").count(), 2, "{said:?}");
    }

    async fn a_schema_that_needs_a_newer_program_is_refused_by_name_and_number(db: TestDb) {
        let scene = Scene::on(db).await;
        assert_eq!(is_ready(&scene).await, StatusCode::OK);
        migrated_by_a_newer_program(&scene.db.store, 9_000, "add more", "SELECT 1").await;
        migrated_by_a_newer_program(&scene.db.store, 9_001, "drop former needs 9000", "SELECT 1").await;
        // Whoever balances the load takes it out, and the process runs on.
        assert_eq!(is_ready(&scene).await, StatusCode::SERVICE_UNAVAILABLE);
        let mut settings = environment(&scene.settings, &scene.db.url);
        settings.insert("AGENSTACK_LISTEN".into(), "127.0.0.1:0".into());
        for command in [&["serve"][..], &["migrate"], &["migrate", "--check"], &["doctor"]] {
            let done = run(&settings, command).await;
            let told = [done.stdout, done.stderr].concat();
            let told = String::from_utf8_lossy(&told);
            assert_eq!(done.status.code(), Some(1), "{command:?}: {told}");
            let why = "the database schema is too new for this program: migration 9001 needs a program that knows migration 9000";
            assert!(told.contains(why) && told.contains("start the newer program"), "{command:?}: {told}");
        }
    }
}
