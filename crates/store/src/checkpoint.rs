//! SQLite's log is written back into the file by a connection of its own, so that no writer does it while others wait.
//!
//! As a rule this stands in nobody's way. A log that is written all the time never comes to its end, though, and would grow
//! as long as that lasts: past a bound the one writer waits until the little that is left of it is written back, too, and
//! begins the log anew. SQLite's own way to that (`RESTART`) makes everybody sleep and ask again, for tens of milliseconds.

use crate::writer::Writer;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard, oneshot};
use tokio::task::JoinHandle;

/// How often the log is looked at while nothing is written.
const IDLE: Duration = Duration::from_millis(250);
/// How often while it is: a little each time, since whoever commits meanwhile waits for the same disk.
const BUSY: Duration = Duration::from_millis(20);
/// Pages of the log from which on the writer waits for its end: 64 MiB.
const MOST: i64 = 8_192;
/// How long the emptying of the log waits for readers, while writers wait for it; tried twice.
const PATIENCE: Duration = Duration::from_secs(1);
/// How soon it is tried again while another process writes the log back.
const NEXT_TRY: Duration = Duration::from_millis(20);

/// The task and the way to end it.
type Task = (oneshot::Sender<()>, JoinHandle<()>);

/// The task; it ends with the last copy of this.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoints {
    task: Arc<Mutex<Option<Task>>>,
    turn: Arc<Mutex<()>>,
    /// Whoever connects with them waits for other processes for [`PATIENCE`].
    options: Arc<SqliteConnectOptions>,
}

impl Checkpoints {
    /// Begins, on a connection of these options.
    pub(crate) fn start(options: SqliteConnectOptions, writer: Writer) -> Self {
        // That it takes long is no news: nobody waits for it.
        let options = options.disable_statement_logging();
        let (end, mut ended) = oneshot::channel();
        let to_empty = options.clone().busy_timeout(PATIENCE);
        let turn = Arc::new(Mutex::new(()));
        let turns = turn.clone();
        let task = tokio::spawn(async move {
            let (mut connection, mut pause, mut before) = (None, IDLE, 0);
            // An error means that the last copy is gone, which is an end as well.
            while tokio::time::timeout(pause, &mut ended).await.is_err() {
                let _turn = turns.lock().await;
                let outcome = async {
                    let connection = match &mut connection {
                        Some(open) => open,
                        none => none.insert(options.connect().await?),
                    };
                    write_back(connection, &writer, before).await
                };
                match outcome.await {
                    Ok(log) => {
                        pause = if log == before { IDLE } else { BUSY };
                        before = log;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the database's log could not be written back; it goes on later");
                        (connection, pause) = (None, IDLE);
                    }
                }
            }
            if let Some(open) = connection {
                // The log is written back by whoever closes the database last.
                let _ = open.close().await;
            }
        });
        Self { task: Arc::new(Mutex::new(Some((end, task)))), turn, options: Arc::new(to_empty) }
    }

    /// Nothing is written back as long as what this gives is held: the writer is busy with all of the file.
    pub(crate) async fn rest(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// How to connect for what is no request of anybody.
    pub(crate) fn options(&self) -> &SqliteConnectOptions {
        &self.options
    }

    /// Writes all of the log back and empties it; `false` if readers of old rows stood in the way.
    pub(crate) async fn empty(&self) -> Result<bool, sqlx::Error> {
        let _resting = self.rest().await;
        let mut connection = self.options.connect().await?;
        // Most of it stands in nobody's way.
        checkpoint(&mut connection).await?;
        let mut left = PATIENCE * 2;
        let emptied = loop {
            let (busy, log, _): (i64, i64, i64) =
                sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await?;
            if busy == 0 || left.is_zero() {
                break busy == 0;
            }
            if log < 0 {
                // Not even the log's length is known: another process writes it back, which SQLite says at once.
                left = left.saturating_sub(NEXT_TRY);
                tokio::time::sleep(NEXT_TRY).await;
            } else {
                left = left.saturating_sub(PATIENCE);
            }
        };
        connection.close().await?;
        Ok(emptied)
    }

    /// Ends, and waits for it.
    pub(crate) async fn end(&self) {
        if let Some((end, task)) = self.task.lock().await.take() {
            let _ = end.send(());
            let _ = task.await;
        }
    }
}

/// Gives how many pages the log has, which were `before` when it was asked last.
async fn write_back(
    connection: &mut SqliteConnection,
    writer: &Writer,
    before: i64,
) -> Result<i64, sqlx::Error> {
    let log = checkpoint(connection).await?;
    if log >= MOST && log != before {
        // What came in meanwhile is little; what came in during that, next to nothing.
        checkpoint(connection).await?;
        let _nobody_writes = writer.acquire().await?;
        checkpoint(connection).await?;
    }
    Ok(log)
}

/// Writes back what it may, without waiting for anybody.
async fn checkpoint(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let (_, log, _): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(connection).await?;
    Ok(log)
}
