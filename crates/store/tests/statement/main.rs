//! Every SQL text: it runs on its databases, its role may run it, and a tenant's names the organization.

mod plan;

use agenstack_store::statement::{Dialect, Scope, Statement, all};
use agenstack_store::testing::{postgres, sqlite};
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};
use std::collections::BTreeSet;

#[tokio::test]
async fn each_statement_can_be_prepared_on_sqlite() {
    let db = sqlite().await;
    let mut connection = db.store.sqlite().unwrap().acquire().await.unwrap();
    for s in all().filter(|s| s.dialect != Dialect::Postgres) {
        let prepared = connection.prepare(s.sql.into_sql_str()).await;
        assert!(prepared.is_ok(), "{}: {}", s.name, prepared.err().unwrap());
    }
}

/// A column that a newer program has added would alter what such a statement gives, also one that was prepared before.
#[test]
fn no_statement_asks_for_whatever_columns_there_are() {
    for s in all() {
        let words = s.sql.split_whitespace().collect::<Vec<_>>().join(" ");
        let whatever = ["SELECT *", "SELECT DISTINCT *", ".*", "RETURNING *", ", *"];
        assert!(!whatever.iter().any(|w| words.contains(w)), "{}: {words}", s.name);
        assert!(!words.starts_with("INSERT INTO") || words.contains(") "), "{}: names no columns", s.name);
    }
}

#[tokio::test]
async fn each_statement_can_be_prepared_on_postgres() {
    let db = postgres().await;
    let mut connection = db.store.postgres().unwrap().acquire().await.unwrap();
    for s in all().filter(|s| s.dialect != Dialect::Sqlite) {
        let prepared = connection.prepare(s.sql.into_sql_str()).await;
        assert!(prepared.is_ok(), "{}: {}", s.name, prepared.err().unwrap());
    }
}

/// How many values a text binds.
fn binds(s: &Statement) -> usize {
    (1..).take_while(|n| s.sql.contains(&format!("${n}"))).count()
}

#[tokio::test]
async fn each_statement_is_granted_to_its_role_by_column() {
    let db = postgres().await;
    let pool = db.store.postgres().unwrap();
    for s in all().filter(|s| s.dialect != Dialect::Sqlite) {
        let role = match s.scope {
            Scope::Tenant => "agenstack_app",
            Scope::Global => "agenstack_platform",
        };
        let nulls = vec!["NULL"; binds(s)].join(", ");
        // Preparing asks for no permission; explaining an execution does, without executing.
        let sql = format!(
            "SET LOCAL ROLE {role}; PREPARE the_statement AS {}; EXPLAIN EXECUTE the_statement{}; DEALLOCATE the_statement",
            s.sql,
            if nulls.is_empty() { String::new() } else { format!("({nulls})") },
        );
        let mut tx = pool.begin().await.unwrap();
        let explained = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await;
        assert!(explained.is_ok(), "{}: {}", s.name, explained.err().unwrap());
        tx.rollback().await.unwrap();
    }
}

#[test]
fn no_two_statements_have_one_name() {
    let mut seen = BTreeSet::new();
    for s in all() {
        assert!(seen.insert(s.name), "{} is there twice", s.name);
    }
    assert!(seen.len() > 80, "the list is not whole: {}", seen.len());
}

#[test]
fn each_statement_of_a_tenant_binds_the_organization_first() {
    for s in all().filter(|s| s.scope == Scope::Tenant) {
        let text = s.sql.split_whitespace().collect::<Vec<_>>().join(" ");
        let named = if text.starts_with("INSERT INTO ") {
            let values = text.contains(" VALUES ($1, ");
            // Or rows made from the organization's own.
            let made = text.contains(" SELECT e.organization_id, ")
                && text.contains(" WHERE e.organization_id = $1 AND ");
            text.contains(" (organization_id, ") && (values || made)
        } else if text.contains(" FROM organizations ") {
            text.contains(" WHERE id = $1")
        } else {
            text.contains("organization_id = $1")
        };
        assert!(named, "{} does not bind organization_id as $1: {text}", s.name);
        assert!(!text.contains(" OR organization_id"), "{} reaches around the organization: {text}", s.name);
    }
}

/// Grows only in a change that says why: what stands here crosses tenants.
#[test]
fn the_statements_that_cross_tenants_are_these() {
    let names: Vec<_> = all().filter(|s| s.scope == Scope::Global).map(|s| s.name).collect();
    insta::assert_snapshot!(names.join("\n"), @r"
    USER_ADD
    USER_BY_EMAIL
    SESSION_ADD
    SESSION_FIND
    SESSION_END
    SESSION_SWEEP
    ORGANIZATION_ADD
    ORGANIZATION_BY_ID
    ORGANIZATION_ANY
    ORGANIZATION_CLOSE
    ORGANIZATION_KEYS_DESTROY
    MEMBERSHIPS_END
    ORGANIZATIONS_CLOSED
    ORGANIZATION_REMOVE
    MEMBERSHIP_ADD
    MEMBERSHIP_LIST
    MEMBERSHIP_FIND
    FLOW_CONSUME
    FLOW_SWEEP
    ORGANIZATION_IMPORT
    ORGANIZATION_IMPORTED
    EVENT_ACCEPT
    EVENTS_COMMIT_1
    EVENTS_COMMIT_4
    EVENTS_COMMIT_16
    EVENTS_COMMIT_32
    EVENTS_COMMIT_64
    EVENTS_COMMIT_128
    EVENTS_COMMIT_256
    EVENTS_ACCEPT
    UNROUTED_OWNED
    UNROUTED_ADD
    UNROUTED_TAKE
    UNROUTED_PAYLOADS
    UNROUTED_SWEEP
    EXPORT_SWEEP
    KEY_ADD
    KEY_FIND
    KEY_NEWEST
    KEY_SUCCEED
    KEY_DESTROY_OLDER
    KEY_MADE_UNTIL
    KEY_OVERDUE
    KEY_STALE
    KEY_REWRAP
    KEY_MASTERS
    KEY_COUNT
    MINUTE_PUT
    MINUTE_LIST
    MINUTE_SWEEP
    QUEUE_FRONT
    RECIPIENTS
    OUTBOX_LIST
    OUTBOX_SWEEP
    EVENT_FIRST_SQLITE
    EVENT_FIRST_POSTGRES
    EVENT_AGAIN_SQLITE
    EVENT_AGAIN_POSTGRES
    JOB_FIRST_SQLITE
    JOB_FIRST_POSTGRES
    JOB_AGAIN_SQLITE
    JOB_AGAIN_POSTGRES
    EVENT_FIRST_BACK_SQLITE
    EVENT_FIRST_BACK_POSTGRES
    EVENT_AGAIN_BACK_SQLITE
    EVENT_AGAIN_BACK_POSTGRES
    JOB_FIRST_BACK_SQLITE
    JOB_FIRST_BACK_POSTGRES
    JOB_AGAIN_BACK_SQLITE
    JOB_AGAIN_BACK_POSTGRES
    QUEUE_DUE
    QUEUE_FRONTS
    QUEUE_DUE_BESIDE_SQLITE
    QUEUE_DUE_BESIDE_POSTGRES
    JOB_KIND
    EVENTS_BEHIND_SQLITE
    EVENTS_BEHIND_POSTGRES
    JOBS_BEHIND_SQLITE
    JOBS_BEHIND_POSTGRES
    EVENTS_TAKE_SQLITE
    EVENTS_TAKE_POSTGRES
    JOBS_TAKE_SQLITE
    JOBS_TAKE_POSTGRES
    EVENT_LEASE_EXTEND
    EVENT_LEASE_EXPIRE
    EVENT_LATER
    JOB_LEASE_EXTEND
    JOB_LEASE_EXPIRE
    JOB_LATER
    EVENT_LEASE_RETURN
    JOB_LEASE_RETURN
    EVENTS_BY_ORGANIZATION
    QUEUE_STATE
    QUEUE_WAITING
    TABLE_ROWS
    RESEAL_BEGIN
    RESEAL_CLAIM
    RESEAL_SAVE
    RESEAL_END
    RESEAL_COUNT
    RESEAL_WAITING
    RESET_ADD
    RESET_FIND
    RESET_CONSUME
    RESET_END
    RESET_SWEEP
    USER_PASSWORD
    SESSIONS_END
    ROUTE_BY_ACCOUNT
    ROUTES_BY_ACCOUNTS_SQLITE
    ROUTES_BY_ACCOUNTS_POSTGRES
    ROUTES_HELD
    ROUTE_BY_ID
    ROUTES_BY_ACTOR
    RENEWAL_CLAIM
    PROBE_OFTEN
    PROBE_SELDOM
    PROBE_SOON
    OFFER_SWEEP
    CONNECTION_COUNT
    ROUTES_SEEN_SQLITE
    ROUTES_SEEN_POSTGRES
    TRANSFER_OFFERS
    TRANSFER_DECLINE
    UPKEEP_READ
    UPKEEP_CLAIM
    UPKEEP_SAVE
    RETENTION_LOOK
    NOTICE
    ");
}

/// Whether a text touches the rows of one organization, whose id it binds.
fn is_bound_to_one(s: &Statement) -> bool {
    // Another organization's id in a row does not say where the row lives.
    let text =
        s.sql.split_whitespace().collect::<Vec<_>>().join(" ").replace("to_organization_id", "another");
    let inserts = text.starts_with("INSERT INTO ")
        && text.contains(" (organization_id, ")
        && text.contains(" VALUES ($1, ");
    inserts
        || s.scope == Scope::Tenant
        || text.contains("organization_id = $1 AND ")
        || text.contains("organization_id = $1 ORDER ")
}

/// What a database that is split by organization would have to ask of every part, or keep in one place: log-in and
/// membership by person, routing by account, and the queues with their sweeps. Everything else has a part to go to.
#[test]
fn the_statements_that_are_not_bound_to_one_organization_are_these() {
    let names: Vec<_> = all().filter(|s| !is_bound_to_one(s)).map(|s| s.name).collect();
    insta::assert_snapshot!(names.join("\n"), @r"
    USER_ADD
    USER_BY_EMAIL
    SESSION_ADD
    SESSION_FIND
    SESSION_END
    SESSION_SWEEP
    ORGANIZATION_ADD
    ORGANIZATION_BY_ID
    ORGANIZATION_ANY
    ORGANIZATION_CLOSE
    ORGANIZATION_KEYS_DESTROY
    MEMBERSHIPS_END
    ORGANIZATIONS_CLOSED
    ORGANIZATION_REMOVE
    MEMBERSHIP_LIST
    FLOW_CONSUME
    FLOW_SWEEP
    ORGANIZATION_IMPORT
    ORGANIZATION_IMPORTED
    EVENT_ACCEPT
    EVENTS_COMMIT_1
    EVENTS_COMMIT_4
    EVENTS_COMMIT_16
    EVENTS_COMMIT_32
    EVENTS_COMMIT_64
    EVENTS_COMMIT_128
    EVENTS_COMMIT_256
    EVENTS_ACCEPT
    UNROUTED_OWNED
    UNROUTED_ADD
    UNROUTED_TAKE
    UNROUTED_PAYLOADS
    UNROUTED_SWEEP
    EXPORT_SWEEP
    KEY_MADE_UNTIL
    KEY_OVERDUE
    KEY_STALE
    KEY_MASTERS
    KEY_COUNT
    MINUTE_PUT
    MINUTE_LIST
    MINUTE_SWEEP
    QUEUE_FRONT
    OUTBOX_LIST
    OUTBOX_SWEEP
    EVENT_FIRST_SQLITE
    EVENT_FIRST_POSTGRES
    EVENT_AGAIN_SQLITE
    EVENT_AGAIN_POSTGRES
    JOB_FIRST_SQLITE
    JOB_FIRST_POSTGRES
    JOB_AGAIN_SQLITE
    JOB_AGAIN_POSTGRES
    EVENT_FIRST_BACK_SQLITE
    EVENT_FIRST_BACK_POSTGRES
    EVENT_AGAIN_BACK_SQLITE
    EVENT_AGAIN_BACK_POSTGRES
    JOB_FIRST_BACK_SQLITE
    JOB_FIRST_BACK_POSTGRES
    JOB_AGAIN_BACK_SQLITE
    JOB_AGAIN_BACK_POSTGRES
    QUEUE_DUE
    QUEUE_FRONTS
    QUEUE_DUE_BESIDE_SQLITE
    QUEUE_DUE_BESIDE_POSTGRES
    EVENTS_BEHIND_SQLITE
    EVENTS_BEHIND_POSTGRES
    JOBS_BEHIND_SQLITE
    JOBS_BEHIND_POSTGRES
    EVENTS_TAKE_SQLITE
    EVENTS_TAKE_POSTGRES
    JOBS_TAKE_SQLITE
    JOBS_TAKE_POSTGRES
    EVENT_LEASE_EXTEND
    EVENT_LEASE_EXPIRE
    JOB_LEASE_EXTEND
    JOB_LEASE_EXPIRE
    EVENT_LEASE_RETURN
    JOB_LEASE_RETURN
    EVENTS_BY_ORGANIZATION
    QUEUE_STATE
    QUEUE_WAITING
    TABLE_ROWS
    RESEAL_CLAIM
    RESEAL_COUNT
    RESEAL_WAITING
    RESET_ADD
    RESET_FIND
    RESET_CONSUME
    RESET_END
    RESET_SWEEP
    USER_PASSWORD
    SESSIONS_END
    ROUTE_BY_ACCOUNT
    ROUTES_BY_ACCOUNTS_SQLITE
    ROUTES_BY_ACCOUNTS_POSTGRES
    ROUTES_HELD
    ROUTE_BY_ID
    ROUTES_BY_ACTOR
    RENEWAL_CLAIM
    PROBE_OFTEN
    PROBE_SELDOM
    PROBE_SOON
    OFFER_SWEEP
    CONNECTION_COUNT
    ROUTES_SEEN_SQLITE
    ROUTES_SEEN_POSTGRES
    TRANSFER_OFFERS
    TRANSFER_DECLINE
    UPKEEP_READ
    UPKEEP_CLAIM
    UPKEEP_SAVE
    RETENTION_LOOK
    NOTICE
    ");
}
