//! What one process tells the others over PostgreSQL, at the commit of what it tells of. SQLite has one process.
//!
//! Nothing depends on a notice: who misses one finds the work by polling, and a route that is out of date is found out
//! when an event is committed by it.

use crate::db::{Conn, Pools, Store};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::integration::Provider;
use sqlx::PgConnection;
use sqlx::postgres::PgListener;

const WORK: &str = "agenstack_work";
const ACCOUNT: &str = "agenstack_account";

statements! { Global;
    #[postgres] NOTICE = "SELECT pg_notify(CAST($1 AS TEXT), CAST($2 AS TEXT))";
}

/// What was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// There is something to do.
    Work,
    /// An account was connected, or its connection has ended.
    Account(Provider, String),
    /// The connection was lost for a moment: anything may have been told.
    Missed,
}

/// The notices of other processes, and of this one.
pub struct Notices(PgListener);

impl Store {
    /// Listens to what other processes tell; `None` in SQLite, where there are none.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn notices(&self) -> Result<Option<Notices>, StoreError> {
        let Pools::Postgres { pool, .. } = &self.pools else { return Ok(None) };
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen_all([WORK, ACCOUNT]).await?;
        Ok(Some(Notices(listener)))
    }
}

impl Notices {
    /// Waits for the next notice.
    ///
    /// # Errors
    /// If the connection is lost and cannot be made again; asking again tries again.
    pub async fn next(&mut self) -> Result<Notice, StoreError> {
        loop {
            let Some(told) = self.0.try_recv().await? else { return Ok(Notice::Missed) };
            match told.channel() {
                WORK => return Ok(Notice::Work),
                ACCOUNT => {
                    let account = told.payload().split_once(' ');
                    let known = account.and_then(|(provider, id)| Some((Provider::parse(provider)?, id)));
                    // A newer program may tell what this one does not know.
                    if let Some((provider, id)) = known {
                        return Ok(Notice::Account(provider, id.to_owned()));
                    }
                }
                _ => {}
            }
        }
    }
}

/// Tells everybody who listens, when the transaction is committed.
pub(crate) async fn tell(conn: &mut Conn, notice: &Notice) -> Result<(), StoreError> {
    let Conn::Postgres(c) = conn else { return Ok(()) };
    Ok(tell_postgres(c, notice).await?)
}

/// The same, at the end of the transaction that the connection is in; at once if there is none.
pub(crate) async fn tell_postgres(c: &mut PgConnection, notice: &Notice) -> Result<(), sqlx::Error> {
    let (channel, payload) = match notice {
        Notice::Work => (WORK, String::new()),
        Notice::Account(provider, id) => (ACCOUNT, format!("{} {id}", provider.as_str())),
        Notice::Missed => return Ok(()),
    };
    sqlx::query(NOTICE).bind(channel).bind(payload).execute(c).await?;
    Ok(())
}
