//! What a database says about itself, in one shape for both.

use agenstack_core::id::OrgId;
use agenstack_store::Store;
use sqlx::AssertSqlSafe;
use std::collections::BTreeMap;

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// `TEXT`, `INTEGER` or `BLOB`, whatever the database calls it.
    pub kind: String,
    /// Whether it always holds a value.
    pub required: bool,
    /// Its place in the primary key, from 1; 0 if it is none.
    pub key: i64,
}

/// The product's tables, by name.
pub async fn tables(store: &Store) -> Vec<String> {
    let named: Result<Vec<String>, _> = match (store.sqlite(), store.postgres()) {
        (Some(pool), _) => {
            sqlx::query_scalar(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name",
            )
            .fetch_all(pool)
            .await
        }
        (None, pool) => {
            sqlx::query_scalar(
                "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
                 ORDER BY relname COLLATE \"C\"",
            )
            .fetch_all(pool.expect("a store is of one kind"))
            .await
        }
    };
    let mut named = named.expect("a database lists its tables");
    named.retain(|name| name != "_sqlx_migrations");
    named
}

/// The columns of a table, in their order.
pub async fn columns(store: &Store, table: &str) -> Vec<Column> {
    let rows: Result<Vec<(String, String, bool, i64)>, _> = match (store.sqlite(), store.postgres()) {
        (Some(pool), _) => {
            // What is part of the key of a STRICT table is never NULL, whether the pragma says so or not.
            sqlx::query_as(
                "SELECT name, type, \"notnull\" OR pk > 0, pk FROM pragma_table_info($1) ORDER BY cid",
            )
            .bind(table)
            .fetch_all(pool)
            .await
        }
        (None, pool) => {
            sqlx::query_as(
                "SELECT a.attname::text,
                    CASE format_type(a.atttypid, a.atttypmod) WHEN 'text' THEN 'TEXT' WHEN 'bigint' THEN 'INTEGER'
                        WHEN 'bytea' THEN 'BLOB' ELSE format_type(a.atttypid, a.atttypmod) END,
                    a.attnotnull, COALESCE(array_position(i.indkey::int2[], a.attnum) + 1, 0)::bigint
                 FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
                 WHERE a.attrelid = ('public.' || $1)::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            )
            .bind(table)
            .fetch_all(pool.expect("a store is of one kind"))
            .await
        }
    };
    let rows = rows.expect("a database lists the columns of a table");
    rows.into_iter().map(|(name, kind, required, key)| Column { name, kind, required, key }).collect()
}

/// The column that says whose a row is; `None` if the table belongs to no tenant.
pub async fn owner_column(store: &Store, table: &str) -> Option<&'static str> {
    let owned = columns(store, table).await.iter().any(|c| c.name == "organization_id");
    match (table, owned) {
        ("organizations", _) => Some("id"),
        (_, true) => Some("organization_id"),
        (_, false) => None,
    }
}

/// Everything stored of an organization: table -> rows as text, read past both walls.
pub async fn dump(store: &Store, org: &OrgId) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for table in tables(store).await {
        let Some(owner) = owner_column(store, &table).await else { continue };
        let quoted = |c: &Column| match store.sqlite() {
            Some(_) => format!("quote({})", c.name),
            None => format!("COALESCE({}::text, 'NULL')", c.name),
        };
        let text: Vec<_> = columns(store, &table).await.iter().map(quoted).collect();
        let sql = format!("SELECT {} FROM {table} WHERE {owner} = $1 ORDER BY 1", text.join(" || '|' || "));
        let rows: Result<Vec<String>, _> = match (store.sqlite(), store.postgres()) {
            (Some(pool), _) => {
                sqlx::query_scalar(AssertSqlSafe(sql)).bind(org.as_str()).fetch_all(pool).await
            }
            (None, pool) => {
                let pool = pool.expect("a store is of one kind");
                sqlx::query_scalar(AssertSqlSafe(sql)).bind(org.as_str()).fetch_all(pool).await
            }
        };
        all.insert(table, rows.expect("the tests may read everything"));
    }
    all
}
