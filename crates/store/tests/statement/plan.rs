//! What PostgreSQL and SQLite read for what is asked all day.

use crate::binds;
use agenstack_core::ctx::Route;
use agenstack_core::id::{EventId, JobId};
use agenstack_core::integration::Provider;
use agenstack_store::global::queue::{Attempt, Fronts, Queue, Wanted};
use agenstack_store::statement::all;
use agenstack_store::testing::{World, postgres, sqlite};
use sqlx::AssertSqlSafe;

/// A plan is kept for as long as its tables are not analysed, and the first one is made while they are empty, or nearly. Where few
/// rows were counted in a queue, reading and sorting all of them looks cheaper than its index.
#[tokio::test]
async fn what_is_asked_all_day_on_postgres_reads_no_table_whole_though_little_is_known_of_it() {
    const HOT: [&str; 12] = [
        "KEY_MASTERS",
        "EVENTS_ACCEPT",
        "EVENTS_BEHIND_POSTGRES",
        "EVENTS_TAKE_POSTGRES",
        "EVENT_FIRST_POSTGRES",
        "EVENT_AGAIN_POSTGRES",
        "EVENT_FIRST_BACK_POSTGRES",
        "QUEUE_DUE",
        "QUEUE_DUE_BESIDE_POSTGRES",
        "RENEWAL_CLAIM",
        "PROBE_OFTEN",
        "PROBE_SELDOM",
    ];
    const QUEUES: [(&str, &str); 2] =
        [("EVENT_FIRST_POSTGRES", "events_first"), ("EVENT_AGAIN_POSTGRES", "events_again")];
    let (db, w) = (postgres().await, World::new());
    let pool = db.store.postgres().unwrap();
    let mut looked = 0;
    for tenants in 0..3 {
        for s in all().filter(|s| HOT.contains(&s.name)) {
            let mut tx = pool.begin().await.unwrap();
            let prepare = format!("PREPARE the_statement AS {}", s.sql);
            for sql in [
                "SET LOCAL ROLE agenstack_platform",
                "SET LOCAL plan_cache_mode = force_generic_plan",
                &prepare,
            ] {
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
            }
            let nulls = match binds(s) {
                0 => String::new(),
                n => format!("({})", vec!["NULL"; n].join(", ")),
            };
            let explain = format!("EXPLAIN EXECUTE the_statement{nulls}");
            let plan: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&mut *tx).await.unwrap();
            let plan = plan.join("\n");
            assert!(plan.contains("Index"), "{}, {tenants} tenants: {plan}", s.name);
            let whole = ["Seq Scan", "Bitmap"].iter().any(|way| plan.contains(way));
            assert!(!whole, "{}, {tenants} tenants: {plan}", s.name);
            if let Some((_, queue)) = QUEUES.iter().find(|(name, _)| *name == s.name) {
                assert!(plan.contains(&format!("using {queue} on events")), "{}: {plan}", s.name);
            }
            sqlx::raw_sql("DEALLOCATE the_statement").execute(&mut *tx).await.unwrap();
            looked += 1;
        }
        let (org, _) = w.organization(&db.store, "Lark").await;
        let shop =
            w.connection(&db.store, &org, Provider::Shopify, &format!("lark-{tenants}.myshopify.com")).await;
        let to = Route { org: org.org().clone(), integration: shop.id.clone(), generation: shop.generation };
        let mut tx = db.store.global().await.unwrap();
        for n in 0..60 {
            let waiting = w.incoming(Provider::Shopify, &format!("{tenants}-{n}"), &n.to_string());
            assert!(tx.event_accept(&to, &waiting).await.unwrap());
        }
        tx.commit().await.unwrap();
        sqlx::raw_sql("ANALYZE").execute(pool).await.unwrap();
    }
    assert_eq!(looked, 3 * HOT.len());
}

/// What looks for work, for leases of it, and for whether there is any.
const LOOKS: [&str; 15] = [
    "JOB_FIRST_POSTGRES",
    "JOB_FIRST_BACK_POSTGRES",
    "JOBS_BEHIND_POSTGRES",
    "JOB_LEASE_EXTEND",
    "JOB_LEASE_RETURN",
    "JOB_LEASE_EXPIRE",
    "QUEUE_DUE",
    "QUEUE_DUE_BESIDE_POSTGRES",
    "QUEUE_FRONTS",
    "EVENT_FIRST_POSTGRES",
    "EVENT_FIRST_BACK_POSTGRES",
    "EVENTS_BEHIND_POSTGRES",
    "EVENT_LEASE_EXTEND",
    "EVENT_LEASE_RETURN",
    "EVENT_LEASE_EXPIRE",
];

/// As long as a snapshot is open, PostgreSQL keeps what was done since: a dump of the database, a session that was forgotten.
#[tokio::test]
async fn what_is_done_while_a_snapshot_is_kept_is_not_read_by_each_look_for_work_on_postgres() {
    let (db, w) = (postgres().await, World::new());
    let (store, pool) = (&db.store, db.store.postgres().unwrap());
    let (org, _) = w.organization(store, "Lark").await;
    let shop = w.connection(store, &org, Provider::Shopify, "lark.myshopify.com").await;
    let to = Route { org: org.org().clone(), integration: shop.id.clone(), generation: shop.generation };
    // Counts when the test says so, and not when autovacuum likes.
    let quiet = "ALTER TABLE events SET (autovacuum_enabled = false); ALTER TABLE jobs SET (autovacuum_enabled = false)";
    sqlx::raw_sql(quiet).execute(pool).await.unwrap();
    let mut dump = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    sqlx::raw_sql("SELECT COUNT(*) FROM events").execute(&mut *dump).await.unwrap();
    let (now, until) = (w.now(), w.now().plus_secs(15));
    for round in 0..8 {
        let mut tx = store.global().await.unwrap();
        for n in 0..250 {
            let key = format!("{round}-{n}");
            assert!(tx.event_accept(&to, &w.incoming(Provider::Shopify, &key, &key)).await.unwrap());
        }
        tx.commit().await.unwrap();
        let mut tx = store.tenant(&org).await.unwrap();
        for n in 0..250 {
            tx.job_add(&w.id(JobId::new), "send", "{}", &format!("{round}-{n}"), now, now).await.unwrap();
        }
        tx.commit().await.unwrap();
        let of = |queue| Wanted {
            queue,
            attempt: Attempt::First,
            limit: 250,
            each: 250,
            busy: &[],
            fronts: Fronts::default(),
        };
        let mut tx = store.global().await.unwrap();
        let events = tx.lease(of(Queue::Events), "t", now, until).await.unwrap();
        let jobs = tx.lease(of(Queue::Jobs), "t", now, until).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!((events.len(), jobs.len()), (250, 250));
        let mut tx = store.tenant(&org).await.unwrap();
        for (event, job) in events.iter().zip(&jobs) {
            tx.event_done(&EventId::parse(&event.id).unwrap(), "t", now, now).await.unwrap();
            tx.job_done(&JobId::parse(&job.id).unwrap(), "t").await.unwrap();
        }
        tx.commit().await.unwrap();
    }
    // One of whom all would have to be read, if it were looked for among all of its organization.
    let mut waiting = w.incoming(Provider::Shopify, "waiting", "waiting");
    waiting.rank = until.plus_millis(1);
    let mut tx = store.global().await.unwrap();
    assert!(tx.event_accept(&to, &waiting).await.unwrap());
    tx.commit().await.unwrap();
    let mut tx = store.tenant(&org).await.unwrap();
    tx.job_add(&w.id(JobId::new), "send", "{}", "waiting", until.plus_millis(1), now).await.unwrap();
    tx.commit().await.unwrap();
    // Most organizations have one event.
    let others = "INSERT INTO organizations (id, name, created_at) SELECT 'org_' || n, 'x', 1 FROM generate_series(1, 3000) n;
        INSERT INTO events (organization_id, id, integration_id, generation, provider, topic, external_id, dedup, order_key, payload, state,
            attempts, next_at, received_at, rank)
        SELECT 'org_' || n, 'evt_' || n, 'int_' || n, 1, 'shopify', 'orders/create', 'x', CAST(CAST(n AS TEXT) AS BYTEA), 'x', '', 'pending', 1, 1, 1, 1
        FROM generate_series(1, 3000) n;
        UPDATE events SET state = 'done' WHERE provider = 'shopify' AND topic = 'orders/create' AND rank = 1";
    sqlx::raw_sql(others).execute(pool).await.unwrap();
    let at = now.plus_secs(60).millis();
    // From `front` on, or from leases that end `front` or later.
    let arguments = |name: &str, front: i64| match name {
        "QUEUE_DUE" => format!("{at}, {front}, {front}, {front}, {front}"),
        "QUEUE_DUE_BESIDE_POSTGRES" => format!("{at}, {front}, {front}, {front}, {front}, ARRAY['x']"),
        "QUEUE_FRONTS" => format!("{front}, {front}, {front}, {front}"),
        "EVENT_FIRST_POSTGRES" | "JOB_FIRST_POSTGRES" => {
            format!("{at}, {at}, 'u', 9, 9, ARRAY[]::TEXT[], 72, {front}")
        }
        "EVENT_FIRST_BACK_POSTGRES" | "JOB_FIRST_BACK_POSTGRES" => {
            format!("{at}, {at}, ARRAY['x'], 512, {front}")
        }
        "EVENTS_BEHIND_POSTGRES" | "JOBS_BEHIND_POSTGRES" => {
            format!("{at}, ARRAY['x'], '', '', 128, {front}")
        }
        "EVENT_LEASE_EXTEND" | "EVENT_LEASE_RETURN" | "JOB_LEASE_EXTEND" | "JOB_LEASE_RETURN" => {
            format!("'t', {at}, {front}")
        }
        "EVENT_LEASE_EXPIRE" | "JOB_LEASE_EXPIRE" => format!("{at}, 'u', {front}"),
        other => panic!("{other} is not among those that are looked at"),
    };
    // Also when PostgreSQL has counted that hardly anything waits.
    for before in ["SELECT 1", "ANALYZE"] {
        sqlx::raw_sql(before).execute(pool).await.unwrap();
        let mut looked = 0;
        for s in all().filter(|s| LOOKS.contains(&s.name)) {
            let (mut read, mut last) = (Vec::new(), Vec::new());
            for front in [0, until.millis() + 1] {
                let mut tx = pool.begin().await.unwrap();
                let prepare = format!("PREPARE the_statement AS {}", s.sql);
                let plan = "SET LOCAL plan_cache_mode = force_generic_plan";
                for sql in ["SET LOCAL ROLE agenstack_platform", plan, &prepare] {
                    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
                }
                let explain = format!(
                    "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) EXECUTE the_statement({})",
                    arguments(s.name, front)
                );
                let plan: Vec<String> =
                    sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&mut *tx).await.unwrap();
                sqlx::raw_sql("DEALLOCATE the_statement").execute(&mut *tx).await.unwrap();
                // The first line of the kind tells of all that was done.
                let buffers = plan.iter().find(|line| line.contains("Buffers:")).map_or("", String::as_str);
                let pages =
                    buffers.split([' ', '=']).filter_map(|word| word.parse::<i64>().ok()).sum::<i64>();
                read.push(pages);
                last = plan;
            }
            let (from_the_beginning, from_the_front) = (read[0], read[1]);
            assert!(from_the_beginning > 50, "{}: what is done is not in the way: {read:?}", s.name);
            assert!(from_the_front < 40, "{}: {read:?} {before}\n{}", s.name, last.join("\n"));
            looked += 1;
        }
        assert_eq!(looked, LOOKS.len());
    }
    // Whoever looks at the metrics sees that all of it is kept.
    for table in ["VACUUM events", "VACUUM jobs"] {
        sqlx::raw_sql(table).execute(pool).await.unwrap();
    }
    let kept = store.global_read().await.unwrap().table_rows().await.unwrap();
    assert!(kept.len() == 2 && kept.iter().all(|it| it.dead >= 2_000), "{kept:?}");
    dump.rollback().await.unwrap();
}

/// It has all rows that wait, those of a minute ago too while a snapshot is kept. PostgreSQL would read all of it for what is due if it had
/// counted the rows in an unlucky moment; so it must not be able to, not even where the index of what is due is missing.
#[tokio::test]
async fn only_who_names_an_order_key_can_use_the_index_by_conversation_on_postgres() {
    let db = postgres().await;
    let mut tx = db.store.postgres().unwrap().begin().await.unwrap();
    let without = "DROP INDEX events_first, events_again, events_leased, jobs_first, jobs_again, jobs_leased;
        SET LOCAL ROLE agenstack_platform; SET LOCAL plan_cache_mode = force_generic_plan";
    sqlx::raw_sql(without).execute(&mut *tx).await.unwrap();
    let mut looked = 0;
    for s in all().filter(|s| LOOKS.contains(&s.name)) {
        let prepare = format!("PREPARE the_statement AS {}", s.sql);
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *tx).await.unwrap();
        let explain = format!("EXPLAIN EXECUTE the_statement({})", vec!["NULL"; binds(s)].join(", "));
        let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&mut *tx).await.unwrap();
        sqlx::raw_sql("DEALLOCATE the_statement").execute(&mut *tx).await.unwrap();
        // In front of `p` stands a conversation's first row; a look behind the front goes from conversation to conversation.
        let by_conversation =
            plan.iter().filter(|step| step.contains("_in_order on ") && !step.contains(" p ")).count();
        let may = if s.name.contains("BEHIND") { 2 } else { 0 };
        assert_eq!(by_conversation, may, "{}: {}", s.name, plan.join("\n"));
        looked += 1;
    }
    assert_eq!(looked, LOOKS.len());
}

#[tokio::test]
async fn what_is_asked_all_day_on_sqlite_reads_what_is_due_and_nothing_else() {
    // Each finds what is due by an index of its own, and not by one in which much else has the same beginning.
    const UPKEEP: [(&str, &str); 13] = [
        ("KEY_MASTERS", "organization_keys_by_master"),
        ("RENEWAL_CLAIM", "integrations_by_renewal"),
        ("PROBE_OFTEN", "integrations_by_probe_often"),
        ("PROBE_SELDOM", "integrations_by_probe_seldom"),
        ("PROBE_SOON", "integrations_by_actor"),
        ("SESSION_SWEEP", "sessions_by_expiry"),
        ("RESET_SWEEP", "password_resets_by_expiry"),
        ("FLOW_SWEEP", "oauth_flows_by_expiry"),
        ("OFFER_SWEEP", "page_offers_by_age"),
        ("OUTBOX_SWEEP", "outbox_by_age"),
        ("UNROUTED_SWEEP", "unrouted_events_by_age"),
        ("EXPORT_SWEEP", "privacy_requests_by_expiry"),
        ("ORGANIZATIONS_CLOSED", "organizations_deleted"),
    ];
    let db = sqlite().await;
    let mut looked = 0;
    for s in all() {
        let Some((_, index)) = UPKEEP.iter().find(|(name, _)| *name == s.name) else { continue };
        let explain = format!("EXPLAIN QUERY PLAN {}", s.sql);
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(AssertSqlSafe(explain)).fetch_all(db.store.sqlite().unwrap()).await.unwrap();
        assert!(plan.iter().any(|step| step.3.contains(&format!("INDEX {index}"))), "{}: {plan:?}", s.name);
        looked += 1;
    }
    assert_eq!(looked, UPKEEP.len());
}

/// SQLite reads each page anew for each look, as long as others write.
#[tokio::test]
async fn whose_an_account_is_and_its_key_are_found_on_sqlite_without_a_row_elsewhere() {
    let db = sqlite().await;
    let s = all().find(|s| s.name == "ROUTES_BY_ACCOUNTS_SQLITE").unwrap();
    let explain = format!("EXPLAIN QUERY PLAN {}", s.sql);
    let plan: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(AssertSqlSafe(explain)).fetch_all(db.store.sqlite().unwrap()).await.unwrap();
    let searched: Vec<_> =
        plan.iter().map(|step| step.3.as_str()).filter(|s| s.starts_with("SEARCH")).collect();
    assert_eq!(
        searched,
        [
            "SEARCH i USING COVERING INDEX integrations_by_account (provider=? AND external_id=?)",
            "SEARCH k USING PRIMARY KEY (organization_id=? AND id=?) LEFT-JOIN",
            "SEARCH n USING PRIMARY KEY (organization_id=?)",
        ]
    );
}
