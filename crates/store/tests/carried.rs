//! What a database held before a migration that builds a table anew is there afterwards.

use agenstack_store::Store;
use agenstack_store::testing::postgres_empty;
use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;

/// The texts of the migrations before, and of, the one of that name.
fn migrations(dialect: &str, name: &str) -> (Vec<String>, String) {
    let folder = format!("{}/migrations/{dialect}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let at = files.iter().position(|file| file.ends_with(name)).expect("the migration");
    let texts: Vec<_> = files.iter().map(|file| std::fs::read_to_string(file).expect("text")).collect();
    (texts[..at].to_vec(), texts[at].clone())
}

const LEAN: &str = "0013_lean_events.sql";

/// Two organizations that were told of the same order, one of them of another, too: waiting, done and dead.
fn events(bytes: fn(&str) -> String) -> String {
    let event = |org: &str, id: &str, dedup: &str, state: &str, digest: String| {
        format!(
            "INSERT INTO events (organization_id, id, integration_id, generation, provider, topic, external_id, dedup_key, order_key,
                payload, state, attempts, next_at, received_at, done_at, last_error, body_digest, rank)
             VALUES ('{org}', '{id}', 'int_1', 1, 'shopify', 'orders/create', 'w-{dedup}', '{dedup}', 'line', {}, '{state}', 2, 20, 10,
                30, 'why', {digest}, 40)",
            bytes("5ea1ed")
        )
    };
    let digest = bytes("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let organization =
        |id: &str| format!("INSERT INTO organizations (id, name, created_at) VALUES ('{id}', 'x', 1)");
    [
        organization("org_a"),
        organization("org_b"),
        event("org_a", "evt_1", "one", "pending", digest.clone()),
        event("org_a", "evt_2", "two", "done", "NULL".into()),
        event("org_b", "evt_3", "one", "dead", digest),
    ]
    .join(";\n")
}

type Row = (String, String, String, String, Vec<u8>, i64, i64, Option<i64>, Option<Vec<u8>>, i64, Vec<u8>);
const ROWS: &str = "SELECT organization_id, id, external_id, state, payload, attempts, received_at, done_at, body_digest, rank, dedup
    FROM events ORDER BY id";

fn are_whole(rows: &[Row]) {
    let ids: Vec<_> = rows.iter().map(|r| (r.0.as_str(), r.1.as_str(), r.2.as_str(), r.3.as_str())).collect();
    assert_eq!(
        ids,
        [
            ("org_a", "evt_1", "w-one", "pending"),
            ("org_a", "evt_2", "w-two", "done"),
            ("org_b", "evt_3", "w-one", "dead")
        ]
    );
    for r in rows {
        assert_eq!((r.4.as_slice(), r.5, r.6, r.7, r.9), (&[0x5e, 0xa1, 0xed][..], 2, 10, Some(30), 40));
    }
    let digests: Vec<_> = rows.iter().map(|r| r.8.as_ref().map(Vec::len)).collect();
    assert_eq!(digests, [Some(16), None, Some(16)]);
    let mut dedup: Vec<_> = rows.iter().map(|r| &r.10).collect();
    dedup.sort();
    dedup.dedup();
    assert_eq!(dedup.len(), 3, "each is one of a kind");
}

/// A database of SQLite after those migrations and statements.
async fn sqlite_after(name: &str, texts: impl IntoIterator<Item = String>) -> (Store, std::path::PathBuf) {
    let folder = std::env::temp_dir().join(format!("store-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let url = format!("sqlite://{}", folder.join("a.db").display());
    let store = Store::connect(&url).await.expect("a database");
    for text in texts {
        let pool = store.sqlite().expect("it is SQLite");
        sqlx::raw_sql(AssertSqlSafe(text)).execute(pool).await.expect("it applies");
    }
    (store, folder)
}

#[tokio::test]
async fn events_that_were_there_before_are_whole_on_sqlite() {
    let (before, lean) = migrations("sqlite", LEAN);
    let all = before.into_iter().chain([events(|hex| format!("x'{hex}'")), lean]);
    let (store, folder) = sqlite_after("lean", all).await;
    are_whole(&sqlx::query_as(ROWS).fetch_all(store.sqlite().unwrap()).await.unwrap());
    store.close().await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn keys_that_were_there_before_are_whole_on_sqlite_and_go_with_their_organization() {
    const KEYS: &str = "SELECT organization_id, id, master_key_id, wrapped_key, created_at FROM organization_keys ORDER BY id";
    let key = |org: &str, id: &str, master: &str, wrapped: &str| {
        format!("INSERT INTO organization_keys VALUES ('{org}', '{id}', '{master}', x'{wrapped}', 7)")
    };
    let held = [
        "INSERT INTO organizations (id, name, created_at) VALUES ('org_a', 'x', 1), ('org_b', 'x', 1)"
            .to_owned(),
        key("org_b", "dky_1", "one", "01"),
        key("org_a", "dky_2", "one", "02"),
        key("org_a", "dky_3", "two", "03"),
    ];
    let (before, at_hand) = migrations("sqlite", "0021_owner_at_hand_needs_0020.sql");
    let (store, folder) = sqlite_after("keys", before.into_iter().chain(held).chain([at_hand])).await;
    let pool = store.sqlite().unwrap();
    type Key = (String, String, String, Vec<u8>, i64);
    let expected = [("org_b", "dky_1", "one", 1), ("org_a", "dky_2", "one", 2), ("org_a", "dky_3", "two", 3)]
        .map(|(org, id, master, byte)| (org.to_owned(), id.to_owned(), master.to_owned(), vec![byte], 7));
    let keys: Vec<Key> = sqlx::query_as(KEYS).fetch_all(pool).await.unwrap();
    assert_eq!(keys, expected);

    let twice = sqlx::query("INSERT INTO organization_keys VALUES ('org_b', 'dky_1', 'x', x'09', 7)")
        .execute(pool)
        .await;
    assert!(twice.unwrap_err().as_database_error().unwrap().is_unique_violation());
    let nobodys = sqlx::query("INSERT INTO organization_keys VALUES ('org_c', 'dky_9', 'x', x'09', 7)")
        .execute(pool)
        .await;
    assert!(nobodys.unwrap_err().as_database_error().unwrap().is_foreign_key_violation());
    sqlx::query("DELETE FROM organizations WHERE id = 'org_a'").execute(pool).await.unwrap();
    let keys: Vec<Key> = sqlx::query_as(KEYS).fetch_all(pool).await.unwrap();
    assert_eq!(keys, expected[..1]);
    store.close().await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn events_that_were_there_before_are_whole_and_known_by_their_digest_on_postgres() {
    let db = postgres_empty().await;
    let pool = db.store.postgres().unwrap();
    let (before, lean) = migrations("postgres", LEAN);
    for text in before.into_iter().chain([events(|hex| format!("'\\x{hex}'::bytea")), lean]) {
        sqlx::raw_sql(AssertSqlSafe(text)).execute(pool).await.unwrap();
    }
    let rows: Vec<Row> = sqlx::query_as(ROWS).fetch_all(pool).await.unwrap();
    are_whole(&rows);
    assert_eq!(rows[0].10, Sha256::digest("org_a:shopify:one")[..16]);
}
