//! Opening, migrating, checking; what a transaction promises.

use crate::common::make::{conversation, message};
use agenstack_core::clock::Timestamp;
use agenstack_core::conversation::{Author, Delivery};
use agenstack_core::id::AuditId;
use agenstack_core::integration::Provider;
use agenstack_core::sealed::Sealed;
use agenstack_store::error::Kind;
use agenstack_store::tenant::message::StoredMessage;
use agenstack_store::testing::{World, postgres, postgres_empty, sealed};
use agenstack_store::{Store, StoreError, both_databases};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

fn holds(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|w| w == part)
}

/// Alters what is recorded of migrations.
async fn alter(store: &Store, sql: &str) {
    let sql = AssertSqlSafe(sql);
    match (store.sqlite(), store.postgres()) {
        (Some(pool), _) => drop(sqlx::raw_sql(sql).execute(pool).await.unwrap()),
        (None, pool) => drop(sqlx::raw_sql(sql).execute(pool.unwrap()).await.unwrap()),
    }
}

/// A newer program has been here.
async fn newer(store: &Store, version: i64, description: &str) {
    alter(
        store,
        &format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             SELECT {version}, '{description}', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1"
        ),
    )
    .await;
}

both_databases! {
    async fn a_migrated_database_answers_and_may_be_migrated_again(db: TestDb) {
        db.store.ping().await.unwrap();
        db.store.check().await.unwrap();
        db.store.migrate().await.unwrap();
        db.store.check().await.unwrap();
        assert!(db.url.starts_with(db.store.kind()));
    }

    async fn an_older_schema_is_refused_and_brought_up_to_date(db: TestDb) {
        let before = db.store.check().await.unwrap();
        assert!(!before.is_newer(), "{before:?}");
        // The newest adds; what it added stays, so that it is only forgotten for a moment.
        alter(&db.store, "UPDATE _sqlx_migrations SET version = -1 WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)").await;
        let older = db.store.check().await.unwrap_err();
        assert!(matches!(older, StoreError::Schema("older than this program")), "{older:?}");
        assert_eq!(older.kind(), Kind::Unavailable);
        let known = before.known;
        alter(&db.store, &format!("UPDATE _sqlx_migrations SET version = {known} WHERE version = -1")).await;
        assert_eq!(db.store.migrate().await.unwrap(), before);
    }

    async fn a_newer_schema_is_worked_with_until_one_of_its_migrations_needs_a_newer_program(db: TestDb) {
        let known = db.store.check().await.unwrap().known;
        newer(&db.store, 9_000, "something more").await;
        newer(&db.store, 9_001, &format!("drop something needs {known:04}")).await;
        let schema = db.store.check().await.unwrap();
        assert_eq!((schema.at, schema.known, schema.is_newer()), (9_001, known, true));
        // A start, or `migrate`, leaves it alone.
        assert_eq!(db.store.migrate().await.unwrap(), schema);
        newer(&db.store, 9_002, "drop more needs 9000").await;
        for refused in [db.store.check().await, db.store.migrate().await] {
            let refused = refused.unwrap_err();
            assert!(matches!(refused, StoreError::TooNew { at: 9_002, needs: 9_000, .. }), "{refused:?}");
            assert_eq!(refused.kind(), Kind::Unavailable);
        }
    }

    async fn a_dropped_transaction_leaves_nothing(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let id = w.id(AuditId::new);
        for _ in 0..2 {
            let mut tx = db.store.tenant(&org).await.unwrap();
            // The second time would be refused if the first had been kept.
            tx.audit_add(&id, "user", "x", "y", w.now()).await.unwrap();
            drop(tx);
        }
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.audit_add(&id, "user", "x", "y", w.now()).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = db.store.tenant(&org).await.unwrap();
        let again = tx.audit_add(&id, "user", "x", "y", w.now()).await.unwrap_err();
        assert_eq!(again.kind(), Kind::Conflict);
    }

    async fn a_reader_sees_what_was_committed_and_does_not_wait_for_a_writer(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let mut writer = db.store.tenant(&org).await.unwrap();
        writer.offer_replace(&[crate::common::make::offer(&w, "1", "Lark")]).await.unwrap();
        let long_ago = w.now().plus_secs(-1);
        let mut reader = db.store.tenant_read(&org).await.unwrap();
        assert!(reader.offer_list(long_ago).await.unwrap().is_empty());
        drop(reader);
        writer.commit().await.unwrap();
        let mut reader = db.store.tenant_read(&org).await.unwrap();
        assert_eq!(reader.offer_list(long_ago).await.unwrap().len(), 1);
    }

    async fn scrubbing_leaves_nothing_of_what_was_erased_in_file_and_log_unless_somebody_reads_old_rows(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let page = w.connection(&db.store, &org, Provider::Messenger, "1").await;
        let c = conversation(&db.store, &w, &org, &page, "7").await.conversation.id;
        let path = db.url.strip_prefix("sqlite://").map(str::to_owned);
        let files = || {
            let mut all = Vec::new();
            for end in ["", "-wal"] {
                all.extend(path.as_ref().map_or(Vec::new(), |p| std::fs::read(format!("{p}{end}")).unwrap()));
            }
            all
        };
        let (mut tx, mut ids) = (db.store.tenant(&org).await.unwrap(), Vec::new());
        for n in 0..60 {
            let text = Sealed::from_bytes(format!("<secret {n:03}>{}", "-".repeat(n * 37 % 500)).into_bytes());
            let m = StoredMessage { text, ..message(&w, &c, Author::Customer, Delivery::Received, None) };
            tx.message_add(&m).await.unwrap();
            ids.push(m.id);
        }
        tx.commit().await.unwrap();
        // Rows that grow out of order are moved from page to page: a copy may stay where they were.
        let mut random = 1_usize;
        let mut tx = db.store.tenant(&org).await.unwrap();
        for _ in 0..200 {
            random = random * 1_103_515_245 % 2_147_483_647;
            let (n, grown) = (random % 60, "x".repeat([0, 100, 500, 900][random / 60 % 4]));
            tx.message_delivery(&ids[n], Delivery::Failed, Some(&grown)).await.unwrap();
        }
        tx.commit().await.unwrap();
        let left = |all: &[u8]| (0..60).filter(|n| holds(all, format!("<secret {n:03}>").as_bytes())).count();
        assert_eq!(left(&files()), if path.is_some() { 60 } else { 0 });
        let mut tx = db.store.tenant(&org).await.unwrap();
        for id in &ids {
            assert!(tx.message_erase(id, &sealed("nothing")).await.unwrap());
        }
        tx.erased(w.now()).await.unwrap();
        tx.commit().await.unwrap();

        let mut reader = db.store.tenant_read(&org).await.unwrap();
        reader.organization_get().await.unwrap();
        w.organization(&db.store, "Ash").await;
        assert_eq!(db.store.scrub().await.unwrap(), path.is_none());
        // The file is clean, and its log is not.
        let erasure = db.store.erasure().await.unwrap();
        assert_eq!(erasure.map(|e| e.to_write), path.as_ref().map(|_| 0));
        drop(reader);
        assert!(db.store.scrub().await.unwrap());
        assert_eq!((left(&files()), db.store.erasure().await.unwrap()), (0, None));
        w.organization(&db.store, "Elm").await;
        if let Some(path) = path {
            // The copy is gone as well.
            let folder = std::path::Path::new(&path).parent().unwrap();
            let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
            names.retain(|name| !name.to_str().unwrap().starts_with(&path));
            assert!(names.is_empty(), "{names:?}");
        }
    }

    async fn an_erasure_is_remembered_with_its_transaction_since_the_oldest_until_the_file_was_written_anew(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let is_sqlite = db.store.sqlite().is_some();
        let since = async || db.store.erasure().await.unwrap().map(|e| e.since);
        let minute = |n: i64| is_sqlite.then(|| Timestamp::from_secs(n * 60));
        assert_eq!(since().await, None);
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.erased(Timestamp::from_secs(600)).await.unwrap();
        drop(tx);
        assert_eq!(since().await, None, "nothing of it was committed");
        for at in [659, 1_200] {
            let mut tx = db.store.global().await.unwrap();
            tx.erased(Timestamp::from_secs(at)).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(since().await, minute(10), "since the oldest");
        }
        // One that comes while only the log is left takes the log along with itself.
        let mut reader = db.store.tenant_read(&org).await.unwrap();
        reader.organization_get().await.unwrap();
        w.organization(&db.store, "Ash").await;
        assert_eq!(db.store.scrub().await.unwrap(), !is_sqlite);
        assert_eq!(since().await, minute(10));
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.erased(Timestamp::from_secs(1_800)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(since().await, minute(30));
        assert_eq!(db.store.erasure().await.unwrap().map(|e| e.to_write > 0), is_sqlite.then_some(true));
        drop(reader);
        // It outlives the process.
        let store = match is_sqlite {
            true => Store::connect(&db.url).await.unwrap(),
            false => db.store.clone(),
        };
        assert!(store.scrub().await.unwrap());
        assert_eq!((since().await, store.erasure().await.unwrap()), (None, None));
    }

    async fn a_copy_is_a_database_with_all_that_was_committed_and_only_into_an_empty_file(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        // What is written and not committed is not in it, and holds it up as little as it holds up others.
        let mut open = db.store.tenant(&org).await.unwrap();
        open.audit_add(&w.id(AuditId::new), "user", "x", "y", w.now()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("it's a copy.db");
        let copied = db.store.copy_to(&file).await.unwrap();
        assert_eq!(copied, db.store.sqlite().is_some());
        drop(open);
        if !copied {
            return;
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is beside it");
        assert!(db.store.copy_to(&file).await.is_err(), "it is not empty any more");
        let store = Store::connect(&format!("sqlite://{}", file.display())).await.unwrap();
        store.check().await.unwrap();
        let mut tx = store.tenant_read(&org).await.unwrap();
        assert_eq!(tx.organization_get().await.unwrap().name, "Lark");
        drop(tx);
        store.close().await;
        // A folder that is not there.
        assert!(db.store.copy_to(&folder.path().join("no/copy.db")).await.is_err());
    }

    async fn scrubbing_waits_for_another_process_that_writes_the_log_back(db: TestDb) {
        let w = World::new();
        if db.store.sqlite().is_none() {
            return;
        }
        let mut other = SqliteConnection::connect(&db.url).await.unwrap();
        let other = tokio::spawn(async move {
            loop {
                sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut other).await.unwrap();
            }
        });
        for _ in 0..20 {
            w.organization(&db.store, "Lark").await;
            let mut tx = db.store.global().await.unwrap();
            tx.erased(w.now()).await.unwrap();
            tx.commit().await.unwrap();
            assert!(db.store.scrub().await.unwrap());
        }
        other.abort();
    }

    async fn the_log_begins_anew_while_somebody_writes_all_the_time(db: TestDb) {
        let Some(path) = db.url.strip_prefix("sqlite://") else { return };
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let page = w.connection(&db.store, &org, Provider::Messenger, "1").await;
        let c = conversation(&db.store, &w, &org, &page, "7").await.conversation.id;
        for _ in 0..240 {
            let text = Sealed::from_bytes(vec![7; 1024 * 1024]);
            let m = StoredMessage { text, ..message(&w, &c, Author::Customer, Delivery::Received, None) };
            let mut tx = db.store.tenant(&org).await.unwrap();
            tx.message_add(&m).await.unwrap();
            tx.commit().await.unwrap();
        }
        let log = std::fs::metadata(format!("{path}-wal")).unwrap().len();
        assert!(log < 160 * 1024 * 1024, "{log} of 240 MiB that were written");
    }

    async fn a_closed_store_is_not_available(db: TestDb) {
        db.store.close().await;
        assert_eq!(db.store.ping().await.unwrap_err().kind(), Kind::Unavailable);
        assert_eq!(db.store.global().await.err().unwrap().kind(), Kind::Unavailable);
    }

    async fn a_stored_value_that_cannot_be_read_is_named_by_table_and_column(db: TestDb) {
        const SQL: &str = "UPDATE memberships SET role = 'emperor'";
        let w = World::new();
        let (_, lark) = w.organization(&db.store, "Lark").await;
        match (db.store.sqlite(), db.store.postgres()) {
            (Some(pool), _) => drop(sqlx::query(SQL).execute(pool).await.unwrap()),
            (None, pool) => drop(sqlx::query(SQL).execute(pool.unwrap()).await.unwrap()),
        }
        let mut tx = db.store.global_read().await.unwrap();
        let error = tx.membership_find(&lark.organization.id, &lark.user).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { table: "memberships", column: "role" }));
        assert_eq!(error.kind(), Kind::Internal);
    }
}

#[tokio::test]
async fn a_database_that_was_never_migrated_is_called_empty() {
    let file = free_name();
    let sqlite = Store::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    let postgres = postgres_empty().await;
    for store in [&sqlite, &postgres.store] {
        let checked = store.check().await;
        assert!(matches!(checked, Err(StoreError::Schema("empty"))), "{}: {checked:?}", store.kind());
    }
    sqlite.close().await;
    std::fs::remove_file(file).unwrap();
}

/// A file name that is not taken.
fn free_name() -> std::path::PathBuf {
    let n = std::process::id();
    std::env::temp_dir().join(format!("store-never-migrated-{n}.db"))
}

#[tokio::test]
async fn a_url_of_another_kind_is_refused_by_its_kind() {
    for url in ["mysql://x/y", "", "file.db", "http://postgres/"] {
        assert!(matches!(Store::connect(url).await, Err(StoreError::Url)), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_somebody_at_work_waits_for_and_is_waited_for_begins_anew() {
    let db = postgres().await;
    let (before, pool) = (db.store.check().await.unwrap(), db.store.postgres().unwrap());
    // It locks the table of events first, and then that of deeds.
    alter(&db.store, "DELETE FROM _sqlx_migrations WHERE version >= 20").await;
    let mut at_work = pool.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE jobs IN ROW EXCLUSIVE MODE").execute(&mut *at_work).await.unwrap();
    let comes_in_between = async {
        const WAITS: &str = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND relation IN ('jobs'::regclass, 'jobs_in_order'::regclass)";
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(10));
        while sqlx::query_scalar::<_, i64>(WAITS).fetch_one(pool).await.unwrap() == 0 {
            tick.tick().await;
        }
        // PostgreSQL undoes who has waited for a second, which is the migration.
        sqlx::raw_sql("LOCK TABLE events IN ROW EXCLUSIVE MODE").execute(&mut *at_work).await.unwrap();
        at_work.commit().await.unwrap();
    };
    let both = async { tokio::join!(db.store.migrate(), comes_in_between) };
    let (migrated, ()) = tokio::time::timeout(std::time::Duration::from_secs(60), both).await.unwrap();
    assert_eq!(migrated.unwrap(), before);
}
