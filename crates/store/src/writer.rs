//! SQLite's one writing connection, and what somebody who asks the database all the time keeps: giving a connection back to its
//! pool and taking it again costs as much as writing a dozen events. SQLite's writer is kept as long as nobody else waits for it.

use sqlx::pool::PoolConnection;
use sqlx::{Postgres, Sqlite, SqlitePool};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The pool of one, and how many wait for it.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pool: SqlitePool,
    waiting: Arc<AtomicUsize>,
}

/// The connection of somebody who asks the database all the time; nothing at first.
#[derive(Debug, Default)]
pub struct Held {
    write: Option<PoolConnection<Sqlite>>,
    /// One for single statements; nobody else wants it.
    pub(crate) single: Option<PoolConnection<Postgres>>,
}

/// Somebody who waits.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Writer {
    pub(crate) fn new(pool: SqlitePool) -> Self {
        Self { pool, waiting: Arc::default() }
    }

    /// The pool, for what does not hurry.
    pub(crate) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// The connection, when its turn comes.
    pub(crate) async fn acquire(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        self.pool.acquire().await
    }

    /// The connection that is held, or the next one.
    pub(crate) async fn held<'a>(
        &self,
        held: &'a mut Held,
    ) -> Result<&'a mut PoolConnection<Sqlite>, sqlx::Error> {
        Ok(match &mut held.write {
            Some(connection) => connection,
            none => none.insert(self.pool.acquire().await?),
        })
    }

    /// Lets go of it if somebody else waits.
    pub(crate) fn yield_to_others(&self, held: &mut Held) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            held.let_go();
        }
    }
}

impl Held {
    /// Gives back what others may wait for: there is nothing to commit just now.
    pub fn let_go(&mut self) {
        self.write = None;
    }
}
