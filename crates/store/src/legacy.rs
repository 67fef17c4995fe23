//! The database of the platform that this one replaces, read and never written: `agenstack import`.
//!
//! There is no single schema of it, so that the catalogue is read first and each table is asked for the columns it has. No
//! column that holds a token, a password or a key is ever named: see [`shape`].
//!
//! Look first at [`shape`], the list of what is read.

pub mod shape;

use crate::error::StoreError;
use crate::legacy::shape::Shape;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, PgPool, Postgres, Row, Transaction};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

/// How long the old server may take to let us in.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rows that are fetched at once from a table that may be long.
const FETCH: usize = 500;

const COLUMNS: &str =
    "SELECT c.table_name::text, c.column_name::text, c.data_type::text FROM information_schema.columns c
    JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
    WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'";

/// The old database, in one reading transaction: what it gives is of one moment.
pub struct Legacy {
    tx: Transaction<'static, Postgres>,
    /// Table -> column -> type.
    catalogue: BTreeMap<String, BTreeMap<String, String>>,
    _pool: PgPool,
}

/// A row, as text by column. What the table does not have is not there either.
#[derive(Clone, Debug, Default)]
pub struct LegacyRow(BTreeMap<&'static str, String>);

impl LegacyRow {
    /// A value; `None` where it is NULL or the table has no such column.
    pub fn get(&self, column: &str) -> Option<&str> {
        self.0.get(column).map(String::as_str)
    }

    /// The first of several columns that has a value that is not only space.
    pub fn first(&self, columns: &[&str]) -> Option<&str> {
        columns.iter().filter_map(|c| self.get(c)).find(|text| !text.trim().is_empty())
    }
}

impl Legacy {
    /// Begins to read `postgres://…`.
    ///
    /// # Errors
    /// If the URL is of another kind, or the server does not answer.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(StoreError::Url);
        }
        let options = PgConnectOptions::from_str(url)?;
        let pool =
            PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).connect_with(options).await?;
        let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        // Where policies would hide rows from this role it is an error, rather than a half-empty import.
        sqlx::query(
            "SELECT set_config('row_security', 'off', true), set_config('search_path', 'pg_catalog', true)",
        )
        .execute(&mut *tx)
        .await?;
        let rows: Vec<(String, String, String)> = sqlx::query_as(COLUMNS).fetch_all(&mut *tx).await?;
        let mut catalogue: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (table, column, kind) in rows {
            catalogue.entry(table).or_default().insert(column, kind);
        }
        Ok(Self { tx, catalogue, _pool: pool })
    }

    /// Whether there is such a table.
    pub fn has_table(&self, table: &str) -> bool {
        self.catalogue.contains_key(table)
    }

    /// Whether a table has such a column.
    pub fn has(&self, table: &str, column: &str) -> bool {
        self.catalogue.get(table).is_some_and(|columns| columns.contains_key(column))
    }

    /// Every row of a table; none if there is no such table.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn rows(&mut self, shape: &'static Shape) -> Result<Vec<LegacyRow>, StoreError> {
        if !self.has_table(shape.table) {
            return Ok(Vec::new());
        }
        // Only names that `shape` lists are written into the text; PostgreSQL binds no names.
        let sql = AssertSqlSafe(self.select(shape));
        let rows = sqlx::query(sql).fetch_all(&mut *self.tx).await?;
        rows.iter().map(|row| read(shape, row)).collect()
    }

    /// Opens a table that may be long, to be fetched bit by bit. `false` if there is no such table.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn open(&mut self, shape: &'static Shape) -> Result<bool, StoreError> {
        if !self.has_table(shape.table) {
            return Ok(false);
        }
        let sql = format!("DECLARE \"read_{}\" NO SCROLL CURSOR FOR {}", shape.table, self.select(shape));
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *self.tx).await?;
        Ok(true)
    }

    /// The next rows of an opened table; none at its end.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn fetch(&mut self, shape: &'static Shape) -> Result<Vec<LegacyRow>, StoreError> {
        let sql = format!("FETCH {FETCH} FROM \"read_{}\"", shape.table);
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *self.tx).await?;
        rows.iter().map(|row| read(shape, row)).collect()
    }

    /// How many rows of a table each organization has. Nothing else of them is read.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn count(&mut self, table: &'static str) -> Result<Vec<(Option<String>, i64)>, StoreError> {
        if !self.has(table, "organization_id") {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT \"organization_id\"::text, COUNT(*) FROM public.\"{table}\" GROUP BY 1 ORDER BY 1 NULLS FIRST"
        );
        Ok(sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut *self.tx).await?)
    }

    /// What is read of a table, each value as text.
    fn select(&self, shape: &Shape) -> String {
        let columns = self.catalogue.get(shape.table);
        let value = |column: &&str| {
            let name = format!("\"{column}\"");
            match columns.and_then(|c| c.get(*column)).map(String::as_str) {
                None => "NULL::text".to_owned(),
                Some("ARRAY") => format!("array_to_json({name})::text"),
                Some("date" | "timestamp with time zone" | "timestamp without time zone") => {
                    format!("(extract(epoch FROM {name}) * 1000)::bigint::text")
                }
                Some(_) => format!("{name}::text"),
            }
        };
        let values: Vec<String> = shape.columns.iter().map(value).collect();
        let mut sql = format!("SELECT {} FROM public.\"{}\"", values.join(", "), shape.table);
        let mut order = Vec::new();
        for name in shape.order {
            let Some(kind) = columns.and_then(|c| c.get(*name)) else { continue };
            // Times keep their order; everything else has that of bytes, as the reader compares.
            let plain = kind.starts_with("timestamp");
            let value = if plain { format!("\"{name}\"") } else { format!("\"{name}\"::text COLLATE \"C\"") };
            order.push(format!("{value} NULLS FIRST"));
        }
        if !order.is_empty() {
            sql += " ORDER BY ";
            sql += &order.join(", ");
        }
        sql
    }
}

fn read(shape: &'static Shape, row: &PgRow) -> Result<LegacyRow, StoreError> {
    let mut read = LegacyRow::default();
    for (index, column) in shape.columns.iter().enumerate() {
        if let Some(text) = row.try_get::<Option<String>, _>(index)? {
            read.0.insert(column, text);
        }
    }
    Ok(read)
}
