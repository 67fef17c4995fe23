//! A copy of SQLite's database while others use it. Its file alone is none: what was committed last is in the log beside it.

use crate::db::{Pools, Store};
use crate::error::StoreError;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::path::Path;

impl Store {
    /// Writes SQLite's database, as it is when this begins, into an empty `file`, and looks whether the copy is whole. Nobody waits for
    /// it. `false` with PostgreSQL, which has programs of its own for this.
    ///
    /// # Errors
    /// If the file cannot be written, or the copy is not whole.
    pub async fn copy_to(&self, file: &Path) -> Result<bool, StoreError> {
        let Pools::Sqlite { checkpoints, .. } = &self.pools else { return Ok(false) };
        let mut from = checkpoints.options().connect().await?;
        let done = sqlx::query("VACUUM INTO $1").bind(file.to_string_lossy()).execute(&mut from).await;
        from.close().await?;
        done?;
        let options = SqliteConnectOptions::new().filename(file).immutable(true).read_only(true);
        let mut copy = options.connect().await?;
        let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut copy).await?;
        copy.close().await?;
        match found.as_str() {
            "ok" => Ok(true),
            other => Err(sqlx::Error::Protocol(format!("the copy is not whole: {other}")).into()),
        }
    }
}
