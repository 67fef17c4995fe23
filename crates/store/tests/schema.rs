//! The migrations of both databases make the same schema, and one that can be sharded by organization.

mod common;

use agenstack_store::tenant::sealed::{RUNS_OUT, SEALED};
use agenstack_store::testing::{postgres, sqlite};
use common::catalog::{columns, owner_column, tables};
use std::collections::BTreeSet;

/// Uniqueness, columns and whether it covers a part of the rows.
type Index = (String, bool, String, bool);

fn names(dialect: &str) -> Vec<String> {
    let folder = format!("{}/migrations/{dialect}", env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder of migrations")
        .map(|entry| entry.expect("a readable entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn migrations_come_in_pairs_with_equal_names() {
    assert!(!names("sqlite").is_empty());
    assert_eq!(names("sqlite"), names("postgres"));
}

/// The tables that were there before and that a migration locks for as long as it lasts.
fn locked(sql: &str) -> BTreeSet<String> {
    let (mut made, mut locked) = (BTreeSet::new(), BTreeSet::new());
    let sql: Vec<&str> = sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    for statement in sql.join(" ").split(';') {
        let mut words = statement
            .split_whitespace()
            .filter(|word| !matches!(*word, "IF" | "NOT" | "EXISTS" | "ONLY" | "UNIQUE"));
        match (words.next(), words.next()) {
            (Some("CREATE"), Some("TABLE")) => made.extend(words.next().map(str::to_owned)),
            (Some("ALTER" | "DROP"), Some("TABLE")) => locked.extend(words.next().map(str::to_owned)),
            (Some("CREATE"), Some("INDEX")) => {
                locked.extend(words.skip_while(|word| *word != "ON").nth(1).map(str::to_owned));
            }
            _ => {}
        }
    }
    locked.difference(&made).cloned().collect()
}

/// Two that are locked one after the other may meet a node at work that holds them the other way round (`docs/upgrading.md`).
#[test]
fn a_migration_locks_one_table_that_was_there_before() {
    const SINCE: u32 = 21;
    let of = |name: &str| {
        let path = format!("{}/migrations/postgres/{name}", env!("CARGO_MANIFEST_DIR"));
        locked(&std::fs::read_to_string(path).expect("a migration"))
    };
    // What was released before there was the rule shows that this sees.
    assert_eq!(of("0020_by_conversation.sql"), BTreeSet::from(["events".to_owned(), "jobs".to_owned()]));
    for name in names("postgres") {
        let number: u32 =
            name.split('_').next().and_then(|n| n.parse().ok()).expect("it begins with a number");
        assert!(
            number < SINCE || of(&name).len() <= 1,
            "{name} locks {:?}: make it several migrations",
            of(&name)
        );
    }
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    let (one, two) = (sqlite().await, postgres().await);
    let all = tables(&one.store).await;
    assert_eq!(all, tables(&two.store).await);
    assert!(all.len() >= 15, "{all:?}");
    for table in all {
        assert_eq!(columns(&one.store, &table).await, columns(&two.store, &table).await, "{table}");
    }
}

#[tokio::test]
async fn both_databases_have_the_same_indexes() {
    let (one, two) = (sqlite().await, postgres().await);
    let in_sqlite: Vec<Index> = sqlx::query_as(
        "SELECT t.name, i.\"unique\", (SELECT group_concat(COALESCE(c.name, 'an expression')) FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno) c),
            i.partial
         FROM sqlite_schema t, pragma_index_list(t.name) i WHERE t.type = 'table' AND t.name <> '_sqlx_migrations'",
    )
    .fetch_all(one.store.sqlite().expect("this is SQLite"))
    .await
    .expect("SQLite lists its indexes");
    let in_postgres: Vec<Index> = sqlx::query_as(
        "SELECT t.relname::text, i.indisunique,
            (SELECT string_agg(COALESCE(a.attname, 'an expression'), ',' ORDER BY k.n)
             FROM unnest(i.indkey) WITH ORDINALITY k(attnum, n) LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum), i.indpred IS NOT NULL
         FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
         WHERE t.relnamespace = 'public'::regnamespace AND t.relname <> '_sqlx_migrations'",
    )
    .fetch_all(two.store.postgres().expect("this is PostgreSQL"))
    .await
    .expect("PostgreSQL lists its indexes");
    assert_eq!(BTreeSet::from_iter(in_sqlite), BTreeSet::from_iter(in_postgres));
}

#[tokio::test]
async fn both_databases_tie_rows_to_the_same_parents() {
    let (one, two) = (sqlite().await, postgres().await);
    let in_sqlite: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT t.name, f.\"from\", f.\"table\", f.on_delete FROM sqlite_schema t, pragma_foreign_key_list(t.name) f WHERE t.type = 'table'",
    )
    .fetch_all(one.store.sqlite().expect("this is SQLite"))
    .await
    .expect("SQLite lists its foreign keys");
    let in_postgres: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT conrelid::regclass::text, a.attname::text, confrelid::regclass::text,
            CASE confdeltype WHEN 'c' THEN 'CASCADE' ELSE confdeltype::text END
         FROM pg_constraint JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = conkey[1] WHERE contype = 'f'",
    )
    .fetch_all(two.store.postgres().expect("this is PostgreSQL"))
    .await
    .expect("PostgreSQL lists its foreign keys");
    // An event is added by joining the connection it is for, which is tied.
    assert!(!in_sqlite.is_empty() && in_sqlite.iter().all(|r| r.0 != "events"));
    assert_eq!(BTreeSet::from_iter(in_sqlite), BTreeSet::from_iter(in_postgres));
}

#[tokio::test]
async fn every_table_of_a_tenant_begins_its_primary_key_with_the_organization() {
    let of_nobody = ["minutes", "password_resets", "sessions", "unrouted_events", "upkeep", "users"];
    for db in [sqlite().await, postgres().await] {
        for table in tables(&db.store).await {
            let key = columns(&db.store, &table).await.into_iter().find(|c| c.key == 1).map(|c| c.name);
            match owner_column(&db.store, &table).await {
                Some(owner) => assert_eq!(key.as_deref(), Some(owner), "{table}"),
                None => assert!(of_nobody.contains(&table.as_str()), "{table} says not whose its rows are"),
            }
        }
    }
}

#[tokio::test]
async fn every_table_in_sqlite_is_strict_about_types() {
    let db = sqlite().await;
    let loose: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM pragma_table_list WHERE type = 'table' AND schema = 'main' AND NOT strict
            AND name NOT LIKE 'sqlite!_%' ESCAPE '!' AND name <> '_sqlx_migrations'",
    )
    .fetch_all(db.store.sqlite().expect("this is SQLite"))
    .await
    .expect("SQLite lists its tables");
    assert!(loose.is_empty(), "{loose:?}");
}

/// Bytes that no data key sealed, and what they are.
const NOT_SEALED: &[(&str, &str, &str)] = &[
    ("events", "body_digest", "a keyed digest"),
    ("events", "dedup", "a digest"),
    ("oauth_flows", "state_hash", "a hash"),
    ("organization_keys", "wrapped_key", "wrapped by the master key"),
    ("password_resets", "token_hash", "a hash"),
    ("sessions", "token_hash", "a hash"),
    ("unrouted_events", "payload", "sealed by the platform"),
];

#[tokio::test]
async fn every_column_of_bytes_is_sealed_anew_or_says_why_not() {
    let db = sqlite().await;
    let mut found = BTreeSet::new();
    for table in tables(&db.store).await {
        for column in columns(&db.store, &table).await.into_iter().filter(|c| c.kind == "BLOB") {
            found.insert((table.clone(), column.name));
        }
    }
    let text = |table: &str, column: &str| (table.to_owned(), column.to_owned());
    let sealed = SEALED.iter().map(|c| text(c.table, c.column));
    let over = RUNS_OUT.iter().map(|(table, column)| text(table, column));
    let others = NOT_SEALED.iter().map(|(table, column, _)| text(table, column));
    assert_eq!(found, sealed.chain(over).chain(others).collect());
    for c in SEALED {
        let key: Vec<_> = columns(&db.store, c.table).await.into_iter().filter(|c| c.key > 0).collect();
        let names: Vec<_> = key.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["organization_id", c.row], "{}", c.table);
    }
}

/// Version 0.1.0 is not released, and nobody runs a program that is older than these.
const BEFORE_THE_FIRST_RELEASE: i64 = 20;

/// What a program that does not know of it would stumble over: the statements of a migration that do more than add.
fn takes_away(sql: &str) -> Vec<String> {
    let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
    let text = lines.collect::<Vec<_>>().join(" ").to_uppercase();
    let statements = text.split(';').map(|s| s.split_whitespace().collect::<Vec<_>>().join(" "));
    let words: Vec<String> = statements.filter(|s| !s.is_empty()).collect();
    let made = |name: &str| words.iter().any(|s| s.starts_with(&format!("CREATE TABLE {name} ")));
    let takes = |s: &String| {
        // What fills a table is of its own making; and what is anew is nobody's yet.
        let on_new = s.split_once(" ON ").and_then(|(_, on)| on.split([' ', '(']).next()).is_some_and(made);
        let away = ["DROP ", " RENAME ", " SET NOT NULL", " ALTER COLUMN ", " ADD CONSTRAINT ", "REVOKE "];
        let starts = |s: &str, w: &&str| {
            if w.starts_with(' ') {
                s.contains(*w)
            } else {
                s.starts_with(*w) || s.contains(&format!(" {w}"))
            }
        };
        away.iter().any(|w| starts(s, w)) && !s.contains("DROP DEFAULT")
            || s.contains(" ADD COLUMN ") && s.contains(" NOT NULL") && !s.contains(" DEFAULT ")
            || s.starts_with("CREATE UNIQUE INDEX ") && !on_new
    };
    words.iter().filter(|s| takes(s)).cloned().collect()
}

#[test]
fn a_migration_that_does_more_than_add_says_in_its_name_which_program_it_needs() {
    for dialect in ["sqlite", "postgres"] {
        for name in names(dialect) {
            let number: i64 = name.split('_').next().and_then(|n| n.parse().ok()).expect("a number");
            let path = format!("{}/migrations/{dialect}/{name}", env!("CARGO_MANIFEST_DIR"));
            let sql = std::fs::read_to_string(path).expect("a readable migration");
            let needs = name.trim_end_matches(".sql").rsplit_once("_needs_").map(|(_, n)| n.to_owned());
            if let Some(needs) = &needs {
                let needs: i64 = needs.parse().expect("the number of a migration");
                assert!(needs < number, "{name}: a program that knows it cannot be older than it");
            }
            let taken = takes_away(&sql);
            assert!(
                number <= BEFORE_THE_FIRST_RELEASE || needs.is_some() || taken.is_empty(),
                "{dialect}/{name}: running nodes do not know of this; see docs/upgrading.md: {taken:#?}"
            );
        }
    }
}

#[test]
fn what_only_adds_is_told_from_what_takes_away() {
    for adds in [
        "CREATE TABLE a (x TEXT NOT NULL, PRIMARY KEY (x)); CREATE UNIQUE INDEX a_once ON a (x)",
        "ALTER TABLE a ADD COLUMN y TEXT -- not NOT NULL: DROP nothing\n; CREATE INDEX a_y ON a (y)",
        "ALTER TABLE a ADD COLUMN z BIGINT NOT NULL DEFAULT 0; GRANT SELECT ON a TO agenstack_platform",
        "UPDATE a SET y = x WHERE y IS NULL",
    ] {
        assert!(takes_away(adds).is_empty(), "{adds}: {:?}", takes_away(adds));
    }
    for takes in [
        "DROP TABLE a",
        "DROP INDEX a_y",
        "ALTER TABLE a DROP COLUMN y",
        "alter table a\n  rename column y to w",
        "ALTER TABLE a ALTER COLUMN y SET NOT NULL",
        "ALTER TABLE a ALTER COLUMN y TYPE BIGINT",
        "ALTER TABLE a ADD COLUMN z BIGINT NOT NULL",
        "CREATE UNIQUE INDEX a_once ON a (x)",
        "ALTER TABLE a ADD CONSTRAINT a_short CHECK (length(x) < 9)",
        "REVOKE SELECT ON a FROM agenstack_platform",
        "ALTER TABLE events DROP CONSTRAINT events_organization_id_fkey",
    ] {
        assert_eq!(takes_away(takes).len(), 1, "{takes}");
    }
}
