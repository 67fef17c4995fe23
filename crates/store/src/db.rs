//! Pools, transactions and the two walls.
//!
//! The first wall is in code: tenant statements bind `organization_id` from an [`OrgCtx`]. The second is
//! PostgreSQL's: each transaction takes one of two roles that own nothing, under forced row-level security.

use crate::checkpoint::Checkpoints;
use crate::error::StoreError;
use crate::notice::{self, Notice};
use crate::writer::{Held, Single, Writer};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::OrgId;
use agenstack_core::integration::Provider;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Postgres, SqlSafeStr, Sqlite, SqlitePool,
    Transaction,
};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Connections to PostgreSQL for transactions, at most.
const CONNECTIONS: u32 = 12;

/// Connections to it for single statements, at most.
pub(crate) const SINGLE: u32 = 4;

/// Each statement that is asked all day has an index that gives its rows in their order. PostgreSQL, which believes what it counted last,
/// would rather read all rows of a queue and sort them as long as it believes that there are few: all of a backlog, for each lease. What
/// is joined is joined by an index, too.
const BY_INDEX: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off";

/// How long a caller waits for a connection before it is told that the database is not available.
const ACQUIRE: Duration = Duration::from_secs(5);

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pools: Pools,
    /// Whether other processes are told of work: this one has no worker of its own.
    tells_work: Arc<AtomicBool>,
}

#[derive(Clone, Debug)]
pub(crate) enum Pools {
    /// SQLite has one writer; readers do not wait for it (WAL).
    Sqlite { write: Writer, read: SqlitePool, checkpoints: Checkpoints },
    Postgres {
        pool: PgPool,
        /// Connections that are in the role of what crosses tenants from their beginning: each statement is a transaction by
        /// itself, which takes one way to the server and back instead of three.
        single: PgPool,
    },
}

impl Pools {
    fn postgres(pool: PgPool) -> Self {
        // Not before it is needed: the first migration makes the role.
        let single = PgPoolOptions::new()
            .max_connections(SINGLE)
            .acquire_timeout(ACQUIRE)
            .test_before_acquire(false)
            .after_connect(|connection, _| {
                let so = format!("{BY_INDEX}; SET ROLE {PLATFORM_ROLE}");
                Box::pin(async move { connection.execute(AssertSqlSafe(so)).await.map(drop) })
            })
            .connect_lazy_with(PgConnectOptions::clone(&pool.connect_options()));
        Self::Postgres { pool, single }
    }
}

pub(crate) enum Conn {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// A transaction on the rows of one organization.
pub struct TenantTx {
    pub(crate) conn: Conn,
    pub(crate) org: OrgId,
    pub(crate) telling: Telling,
}

/// A transaction for the few deeds that cross tenants; see [`crate::global`].
pub struct GlobalTx {
    pub(crate) conn: Conn,
    pub(crate) telling: Telling,
}

/// What other processes are told when a transaction is committed.
#[derive(Default)]
pub(crate) struct Telling {
    /// Whether they are told of work at all.
    tells_work: bool,
    work: bool,
    accounts: Vec<Notice>,
}

impl Telling {
    /// There is something new to do.
    pub(crate) fn work(&mut self) {
        self.work = self.tells_work;
    }
}

impl Store {
    /// Opens `sqlite:///path/file.db` (created if absent) or `postgres://…`.
    ///
    /// # Errors
    /// If the URL is of another kind or the database cannot be reached.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let pools = if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url)?
                .create_if_missing(true)
                // Three events to a page of the log of events instead of one: a third less of disk.
                .page_size(8192)
                .journal_mode(SqliteJournalMode::Wal)
                // An acknowledged webhook must survive a power cut: sync at every commit, not at checkpoints.
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .pragma("secure_delete", "ON")
                // The log begins anew in the room that it has: a commit that makes the file longer waits for the file system's
                // journal. What an old tail still holds of something erased goes with [`Store::scrub`].
                .pragma("journal_size_limit", "134217728")
                // The system's own memory holds what was read last.
                .pragma("cache_size", "-2048")
                .pragma("temp_store", "MEMORY")
                // Somebody else writes the log back: a writer that did would let everybody behind it wait.
                .pragma("wal_autocheckpoint", "0")
                // All rows that a statement gives wait for who asked: SQLite's thread would go to sleep for each that does not.
                .row_buffer_size(256)
                .busy_timeout(ACQUIRE);
            // A connection to a file does not break while nobody looks: asking it each time would only cost time. But on a full
            // disk SQLite ends a transaction by itself, and the driver believes in it for ever: it would begin no other one on
            // the only connection that writes. Such a connection is let go.
            let pool = SqlitePoolOptions::new()
                .test_before_acquire(false)
                .acquire_timeout(ACQUIRE)
                .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }));
            let (write, read) = (pool.clone().max_connections(1), pool.max_connections(4));
            // Pages that events of the last minutes were written to: the next are often written there, too. Each commit looks
            // at all of them.
            let written = options.clone().pragma("cache_size", "-8192");
            let write = Writer::new(write.connect_with(written).await?);
            let read = read.connect_with(options.clone()).await?;
            let checkpoints = Checkpoints::start(options, write.clone());
            Pools::Sqlite { write, read, checkpoints }
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let pool = PgPoolOptions::new()
                .max_connections(CONNECTIONS)
                .acquire_timeout(ACQUIRE)
                // The first statement tells whether it lives; see `begin_postgres`.
                .test_before_acquire(false)
                .after_connect(|connection, _| {
                    Box::pin(async move { connection.execute(BY_INDEX).await.map(drop) })
                })
                .connect_with(PgConnectOptions::from_str(url)?)
                .await?;
            Pools::postgres(pool)
        } else {
            return Err(StoreError::Url);
        };
        Ok(Self::of(pools))
    }

    /// A store over a pool of the test's making.
    #[cfg(feature = "testing")]
    pub(crate) fn over(pool: PgPool) -> Self {
        Self::of(Pools::postgres(pool))
    }

    fn of(pools: Pools) -> Self {
        Self { pools, tells_work: Arc::default() }
    }

    /// From now on other processes are told of work that is committed here: this one has nobody to do it.
    pub fn tell_work(&self) {
        self.tells_work.store(true, Ordering::Relaxed);
    }

    pub(crate) fn tells_work(&self) -> bool {
        self.tells_work.load(Ordering::Relaxed)
    }

    fn telling(&self) -> Telling {
        Telling { tells_work: self.tells_work(), ..Telling::default() }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// If it does not, within the time a caller waits for a connection.
    pub async fn ping(&self) -> Result<(), StoreError> {
        match &self.pools {
            Pools::Sqlite { read, .. } => sqlx::query("SELECT 1").execute(read).await.map(drop)?,
            Pools::Postgres { pool, .. } => sqlx::query("SELECT 1").execute(pool).await.map(drop)?,
        }
        Ok(())
    }

    /// Begins a transaction that may write the organization's rows.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn tenant(&self, ctx: &OrgCtx) -> Result<TenantTx, StoreError> {
        self.tenant_on(ctx, true).await
    }

    /// Begins a transaction that reads the organization's rows; in SQLite it never waits for the writer.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn tenant_read(&self, ctx: &OrgCtx) -> Result<TenantTx, StoreError> {
        self.tenant_on(ctx, false).await
    }

    async fn tenant_on(&self, ctx: &OrgCtx, write: bool) -> Result<TenantTx, StoreError> {
        let org = ctx.org().clone();
        let conn = self.begin(write, org.as_str()).await?;
        Ok(TenantTx { conn, org, telling: self.telling() })
    }

    /// Begins a transaction for what crosses tenants.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn global(&self) -> Result<GlobalTx, StoreError> {
        let conn = self.begin(true, "").await?;
        Ok(GlobalTx { conn, telling: self.telling() })
    }

    /// Begins a reading transaction for what crosses tenants.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn global_read(&self) -> Result<GlobalTx, StoreError> {
        let conn = self.begin(false, "").await?;
        Ok(GlobalTx { conn, telling: Telling::default() })
    }

    async fn begin(&self, write: bool, org: &str) -> Result<Conn, StoreError> {
        Ok(match &self.pools {
            // Taking the write lock at once avoids a failed upgrade in the middle.
            Pools::Sqlite { write: writer, .. } if write => {
                let connection = writer.acquire().await?;
                Conn::Sqlite(Transaction::begin(connection, Some("BEGIN IMMEDIATE".into_sql_str())).await?)
            }
            Pools::Sqlite { read, .. } => Conn::Sqlite(read.begin().await?),
            // One way to the server and back. The settings are local to the transaction: a connection goes back to the pool
            // without them.
            Pools::Postgres { pool, .. } => {
                let role = if org.is_empty() { PLATFORM_ROLE } else { "agenstack_app" };
                // An id is letters and digits, however it was come by.
                assert!(
                    org.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
                    "the id of an organization"
                );
                let begin =
                    format!("BEGIN; SET LOCAL ROLE {role}; SET LOCAL agenstack.organization = '{org}'");
                Conn::Postgres(begin_postgres(pool, begin).await?)
            }
        })
    }

    /// What time the database's machine has; nothing for SQLite, which has no machine of its own. What is stored carries the
    /// caller's time, which is [`Store::clock`]'s.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        const CLOCK: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
        match &self.pools {
            Pools::Sqlite { .. } => Ok(None),
            Pools::Postgres { pool, .. } => {
                Ok(Some(Timestamp::from_millis(sqlx::query_scalar(CLOCK).fetch_one(pool).await?)))
            }
        }
    }

    /// Whether the database's server answers to a connection of its own within that time. An embedded one is always there.
    pub async fn reachable(&self, patience: Duration) -> bool {
        /// Neither at its start nor at its end does PostgreSQL take anybody.
        const NOT_NOW: &str = "57P03";
        let Pools::Postgres { pool, .. } = &self.pools else { return true };
        let options = pool.connect_options();
        match tokio::time::timeout(patience, PgConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => {
                // It was there, however it takes leave.
                let _ = connection.close().await;
                true
            }
            // It has no place for one more, or does not like us any more: all the same it answers.
            Ok(Err(sqlx::Error::Database(error))) => error.code().as_deref() != Some(NOT_NOW),
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Closes all connections, and in SQLite writes the log back into the file.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { write, read, checkpoints } => {
                checkpoints.end().await;
                read.close().await;
                write.pool().close().await;
            }
            Pools::Postgres { pool, single } => {
                single.close().await;
                pool.close().await;
            }
        }
    }

    /// `sqlite` or `postgres`.
    pub fn kind(&self) -> &'static str {
        match self.pools {
            Pools::Sqlite { .. } => "sqlite",
            Pools::Postgres { .. } => "postgres",
        }
    }

    /// The pool itself, for tests of the walls. Not for the product.
    #[doc(hidden)]
    pub fn postgres(&self) -> Option<&PgPool> {
        match &self.pools {
            Pools::Postgres { pool, .. } => Some(pool),
            Pools::Sqlite { .. } => None,
        }
    }

    /// The pool itself, for tests that alter rows behind the product's back. Not for the product.
    #[doc(hidden)]
    pub fn sqlite(&self) -> Option<&SqlitePool> {
        match &self.pools {
            Pools::Sqlite { write, .. } => Some(write.pool()),
            Pools::Postgres { .. } => None,
        }
    }
}

/// The role of what crosses tenants.
const PLATFORM_ROLE: &str = "agenstack_platform";

/// Begins a transaction on a connection that lives. One that broke while nobody used it, as all do when the server is
/// restarted, is found out here, where nothing is lost by trying the next.
async fn begin_postgres(
    pool: &PgPool,
    statement: String,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let statement = AssertSqlSafe(statement).into_sql_str();
    let mut left = CONNECTIONS;
    loop {
        match pool.begin_with(statement.clone()).await {
            Err(error) if left > 0 && is_broken(&error) => left -= 1,
            other => return other,
        }
    }
}

impl Held {
    /// The connection for single statements that is held, or another one.
    pub(crate) async fn single(&mut self, pool: &PgPool) -> Result<&mut PgConnection, sqlx::Error> {
        let now = Instant::now();
        self.close_single(Some(now));
        let single = match &mut self.single {
            Some(single) => single,
            none => none.insert(Single::new(pool.acquire().await?, now)),
        };
        single.used = now;
        Ok(&mut single.connection)
    }

    /// Whether it turned out to be broken, as all are when the server was restarted; then it is not held any more. Nor is one to
    /// a server that only reads: the next may lead to another server.
    pub(crate) fn broke(&mut self, error: &sqlx::Error) -> bool {
        let broke = is_broken(error);
        let reads_only = error.as_database_error().and_then(|e| e.code()).is_some_and(|code| code == "25006");
        if broke || reads_only {
            self.close_single(None);
        }
        broke
    }
}

/// Runs a statement that crosses tenants on the connection to PostgreSQL that is held, and on another if that one turns out to be
/// broken: `single!(held, pool, |c| run(c).await)`. What may run twice by that must not do more than once.
macro_rules! single {
    ($held:expr, $pool:expr, |$c:ident| $run:expr) => {{
        let mut left = $crate::db::SINGLE;
        loop {
            let $c = $held.single($pool).await?;
            match $run {
                Err(error) if $held.broke(&error) && left > 0 => left -= 1,
                other => break other,
            }
        }
    }};
}

/// Whether the connection is of no more use, as opposed to the server refusing.
fn is_broken(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        // Told to go: by an administrator, by a server that stops or crashed.
        sqlx::Error::Database(e) => matches!(e.code().as_deref(), Some("57P01" | "57P02")),
        _ => false,
    }
}

/// Refuses to run with roles that pass or own the second wall.
pub(crate) async fn check_roles(pool: &PgPool) -> Result<(), StoreError> {
    let unsafe_roles: Vec<String> = sqlx::query_scalar(
        "SELECT r.rolname::text FROM pg_roles r
         WHERE r.rolname IN ('agenstack_app', 'agenstack_platform')
           AND (r.rolsuper OR r.rolbypassrls OR r.rolcanlogin
                OR EXISTS (SELECT 1 FROM pg_shdepend d
                    WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'o'
                      AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())))
                OR EXISTS (SELECT 1 FROM pg_auth_members m WHERE m.member = r.oid))",
    )
    .fetch_all(pool)
    .await?;
    if unsafe_roles.is_empty() {
        return Ok(());
    }
    Err(StoreError::UnsafeRole(format!(
        "{} must own nothing, be a member of no role, and have neither SUPERUSER, BYPASSRLS nor LOGIN",
        unsafe_roles.join(" and ")
    )))
}

impl Conn {
    async fn commit(mut self, telling: Telling) -> Result<(), StoreError> {
        let work = telling.work.then_some(Notice::Work);
        for notice in telling.accounts.iter().chain(&work) {
            notice::tell(&mut self, notice).await?;
        }
        match self {
            Conn::Sqlite(tx) => tx.commit().await?,
            Conn::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

impl TenantTx {
    /// Makes everything since `begin` durable. Dropping the transaction instead undoes it.
    ///
    /// # Errors
    /// If the database could not; then nothing of it holds.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.conn.commit(self.telling).await
    }

    /// Tells other processes, at the commit, that an account was connected or that its connection has ended.
    pub fn tell_account(&mut self, provider: Provider, external_id: &str) {
        self.telling.accounts.push(Notice::Account(provider, external_id.to_owned()));
    }

    /// The organization.
    pub fn org(&self) -> &OrgId {
        &self.org
    }
}

impl GlobalTx {
    /// Makes everything since `begin` durable. Dropping the transaction instead undoes it.
    ///
    /// # Errors
    /// If the database could not; then nothing of it holds.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.conn.commit(self.telling).await
    }
}

/// Runs one SQL text on either database: `execute!(tx, SQL, a, b)` -> rows touched.
macro_rules! execute {
    ($tx:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match &mut $tx.conn {
            $crate::db::Conn::Sqlite(c) => sqlx::query($sql)$(.bind($bind))*.execute(&mut **c).await.map(|r| r.rows_affected()),
            $crate::db::Conn::Postgres(c) => sqlx::query($sql)$(.bind($bind))*.execute(&mut **c).await.map(|r| r.rows_affected()),
        }
        .map_err($crate::error::StoreError::from)
    };
}

/// Reads rows as structs on either database: `rows!(fetch_all, tx, Row, SQL, a, b)`.
macro_rules! rows {
    ($fetch:ident, $tx:expr, $row:ty, $sql:expr $(, $bind:expr)* $(,)?) => {
        match &mut $tx.conn {
            $crate::db::Conn::Sqlite(c) => sqlx::query_as::<_, $row>($sql)$(.bind($bind))*.$fetch(&mut **c).await,
            $crate::db::Conn::Postgres(c) => sqlx::query_as::<_, $row>($sql)$(.bind($bind))*.$fetch(&mut **c).await,
        }
        .map_err($crate::error::StoreError::from)
    };
}

pub(crate) use {execute, rows, single};
