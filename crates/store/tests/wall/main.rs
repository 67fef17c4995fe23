//! The second wall: what PostgreSQL refuses even when our own code is at fault.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;

mod catalog;
mod row;
mod transaction;

use agenstack_store::testing::TestDb;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction};

const APP: &str = "agenstack_app";
const PLATFORM: &str = "agenstack_platform";

fn pool(db: &TestDb) -> &PgPool {
    db.store.postgres().unwrap()
}

/// A transaction in a role; the organization is left unset if there is none.
async fn acting<'a>(pool: &'a PgPool, role: &str, org: Option<&str>) -> Transaction<'a, Postgres> {
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("SELECT set_config('role', $1, true)").bind(role).execute(&mut *tx).await.unwrap();
    if let Some(org) = org {
        let set = sqlx::query("SELECT set_config('agenstack.organization', $1, true)").bind(org);
        set.execute(&mut *tx).await.unwrap();
    }
    tx
}

/// Runs a text built from names of the catalog and says how many rows it touched, or which code refused it.
async fn touch(connection: &mut PgConnection, sql: &str) -> Result<u64, String> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    done.map(|d| d.rows_affected()).map_err(|e| match e.as_database_error() {
        // Both refusals have code 42501; the words tell which of them it was.
        Some(e) if e.message().contains("row-level security") => "row-level security".to_owned(),
        Some(e) if e.message().contains("permission denied") => "permission denied".to_owned(),
        _ => e.to_string(),
    })
}

async fn may(pool: &PgPool, role: &str, table: &str, deed: &str) -> bool {
    sqlx::query_scalar("SELECT has_table_privilege($1, $2, $3)")
        .bind(role)
        .bind(table)
        .bind(deed)
        .fetch_one(pool)
        .await
        .unwrap()
}
