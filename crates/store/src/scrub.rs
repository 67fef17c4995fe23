//! Leaves nothing of what was erased in SQLite's file and log. Overwriting alone (`secure_delete`) does not: where a row grew,
//! its page may have kept a copy in its unused part, so that the file is written anew (`VACUUM`).
//!
//! Nobody else can write meanwhile, for seconds in each gigabyte. So it is not done with each erasure: whoever erases writes down
//! that it has to be done, and it is done for all of them once its time has come. PostgreSQL cleans up by itself.

use crate::db::{Conn, GlobalTx, Pools, Store, TenantTx};
use crate::error::StoreError;
use agenstack_core::clock::Timestamp;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use std::path::Path;
use tokio::sync::Mutex;

/// The number that SQLite keeps in a file for whoever it belongs to: the minute of the oldest erasure (since 1970) as long as bytes of it may
/// be in the file, that minute below zero once only the log may hold them, and zero when nothing is left.
const READ: &str = "PRAGMA user_version";
const MINUTE_MILLIS: i64 = 60_000;

/// Where SQLite makes a copy is told to all of the process.
static COPYING: Mutex<()> = Mutex::const_new(());

/// What was erased and may still be in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// When the oldest was, to the minute.
    pub since: Timestamp,
    /// Bytes of the file, which is written anew; nothing if that was done, and only the log is left to be emptied.
    pub to_write: u64,
}

impl TenantTx {
    /// Writes down, with this transaction, that bytes of something erased may still be in the file.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn erased(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.conn.erased(now).await
    }
}

impl GlobalTx {
    /// Writes down, with this transaction, that bytes of something erased may still be in the file.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn erased(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.conn.erased(now).await
    }
}

impl Conn {
    async fn erased(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let Self::Sqlite(tx) = self else { return Ok(()) };
        // An older one that is left in the log only goes together with this one.
        if left(tx).await? <= 0 {
            set(tx, (now.millis() / MINUTE_MILLIS).clamp(1, i64::from(i32::MAX))).await?;
        }
        Ok(())
    }
}

impl Store {
    /// What was erased and may still be in SQLite's file or log; `None` if nothing is, and always in PostgreSQL.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn erasure(&self) -> Result<Option<Erasure>, StoreError> {
        let Pools::Sqlite { read, .. } = &self.pools else { return Ok(None) };
        let mut connection = read.acquire().await?;
        let left = left(&mut connection).await?;
        let since = Timestamp::from_millis(left.abs() * MINUTE_MILLIS);
        Ok(match left {
            0 => None,
            ..0 => Some(Erasure { since, to_write: 0 }),
            1.. => {
                let sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
                let bytes: i64 = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
                Some(Erasure { since, to_write: bytes.unsigned_abs() })
            }
        })
    }

    /// Leaves nothing of what was erased in SQLite's file and log; nobody writes meanwhile. `false` if readers stood in the way
    /// of emptying the log: try again. In PostgreSQL this does nothing.
    ///
    /// # Errors
    /// If the database refuses, or the disk has no room for two more of the file: a copy, and what it changes in the log.
    pub async fn scrub(&self) -> Result<bool, StoreError> {
        let Pools::Sqlite { write, checkpoints, .. } = &self.pools else { return Ok(true) };
        {
            let _resting = checkpoints.rest().await;
            let _nobody_writes = write.acquire().await?;
            let mut own = checkpoints.options().connect().await?;
            let done = write_anew(&mut own, checkpoints.options().get_filename()).await;
            own.close().await?;
            done?;
        }
        let emptied = self.empty_log().await?;
        if emptied {
            let mut writer = write.acquire().await?;
            if left(&mut writer).await? < 0 {
                set(&mut writer, 0).await?;
            }
        }
        Ok(emptied)
    }

    /// Writes SQLite's log back and empties it; `false` if readers stood in the way. In PostgreSQL this does nothing.
    ///
    /// # Errors
    /// If the database refuses.
    #[doc(hidden)]
    pub async fn empty_log(&self) -> Result<bool, StoreError> {
        match &self.pools {
            Pools::Sqlite { checkpoints, .. } => Ok(checkpoints.empty().await?),
            Pools::Postgres { .. } => Ok(true),
        }
    }
}

/// Writes the file anew, unless that was done since the last erasure.
async fn write_anew(connection: &mut SqliteConnection, file: &Path) -> Result<(), sqlx::Error> {
    let left = left(connection).await?;
    if left <= 0 {
        return Ok(());
    }
    // The copy is as large as the file: not in memory, where what is temporary is kept otherwise, and on the disk that holds the data
    // already.
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.to_string_lossy().replace('\'', "''");
    let _copying = COPYING.lock().await;
    let sql = format!("PRAGMA temp_store_directory = '{folder}'; PRAGMA temp_store = FILE; VACUUM");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    set(connection, -left).await
}

async fn left(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(READ).fetch_one(connection).await
}

async fn set(connection: &mut SqliteConnection, to: i64) -> Result<(), sqlx::Error> {
    let sql = format!("PRAGMA user_version = {to}");
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}
