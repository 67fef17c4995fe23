//! SQLite's one writing connection, and what somebody who asks the database all the time keeps: giving a connection back to its
//! pool and taking it again costs as much as writing a dozen events. SQLite's writer is kept as long as nobody else waits for it.

use sqlx::pool::PoolConnection;
use sqlx::{Postgres, Sqlite, SqlitePool};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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
    read: Option<PoolConnection<Sqlite>>,
    /// One for single statements; nobody else wants it.
    pub(crate) single: Option<Single>,
}

/// A connection to PostgreSQL that does not go back to its pool, which would otherwise see to its age.
#[derive(Debug)]
pub(crate) struct Single {
    pub(crate) connection: PoolConnection<Postgres>,
    taken: Instant,
    pub(crate) used: Instant,
}

/// How long one is kept, and how long without being used: what lies between may forget a silent connection and tell neither end.
const LONGEST: Duration = Duration::from_secs(1_800);
const SILENT: Duration = Duration::from_secs(60);

impl Single {
    pub(crate) fn new(connection: PoolConnection<Postgres>, now: Instant) -> Self {
        Self { connection, taken: now, used: now }
    }
}

/// Whether a connection that was taken and used then is not to be used any more.
fn is_stale(taken: Instant, used: Instant, now: Instant) -> bool {
    now.duration_since(taken) > LONGEST || now.duration_since(used) > SILENT
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
    /// Gives back what others may wait for: there is nothing to commit, or to ask, just now.
    pub fn let_go(&mut self) {
        (self.write, self.read) = (None, None);
    }

    /// The connection to read from SQLite that is held, or another one.
    pub(crate) async fn reader(
        &mut self,
        pool: &SqlitePool,
    ) -> Result<&mut PoolConnection<Sqlite>, sqlx::Error> {
        Ok(match &mut self.read {
            Some(connection) => connection,
            none => none.insert(pool.acquire().await?),
        })
    }

    /// Closes the connection for single statements, for another to be opened; at all events, or only if it is stale.
    pub(crate) fn close_single(&mut self, stale_at: Option<Instant>) {
        let stays = |s: &Single| stale_at.is_some_and(|now| !is_stale(s.taken, s.used, now));
        if let Some(mut single) = self.single.take_if(|s| !stays(s)) {
            single.connection.close_on_drop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_connection_is_stale_after_half_an_hour_or_a_minute_of_silence() {
        let taken = Instant::now();
        let at = |secs| taken + Duration::from_secs(secs);
        assert!(!is_stale(taken, at(30), at(90)));
        assert!(is_stale(taken, at(30), at(91)));
        assert!(!is_stale(taken, at(1_800), at(1_800)));
        assert!(is_stale(taken, at(1_801), at(1_801)));
    }
}
