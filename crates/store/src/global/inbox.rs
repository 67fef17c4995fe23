//! Accepting webhooks: events of several organizations in one transaction.

use crate::db::{Conn, GlobalTx, Pools, Store, execute, rows, single};
use crate::error::StoreError;
use crate::notice::{self, Notice};
use crate::statement::statements;
use crate::writer::{Held, Writer};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::Route;
use agenstack_core::id::{EventId, IntegrationId, OrgId};
use agenstack_core::integration::Provider;
use agenstack_core::sealed::Sealed;
use sha2::{Digest, Sha256};
use sqlx::sqlite::SqliteArguments;
use sqlx::{PgConnection, Sqlite};
use std::collections::BTreeSet;

/// A text twice, with a comma between.
macro_rules! two {
    ($($text:tt)*) => { concat!($($text)*, ", ", $($text)*) };
}

/// Adds the rows of a batch in SQLite. Whoever runs it undoes all of it if it fails, so that SQLite need not be able to.
macro_rules! sqlite_accept {
    ($($rows:tt)*) => {
        concat!(
            "WITH r (organization_id, id, integration_id, generation, provider, topic, external_id, dedup, order_key, payload,
                received_at, triggered_at, body_digest, former_digest, held, rank, log_only) AS (VALUES ", $($rows)*, ")
            INSERT OR FAIL INTO events (organization_id, id, integration_id, generation, provider, topic, external_id, dedup,
                order_key, payload, state, attempts, next_at, received_at, triggered_at, body_digest, rank, done_at)
            SELECT i.organization_id, r.id, i.id, r.generation, r.provider, r.topic, r.external_id, r.dedup, r.order_key,
                r.payload, CASE r.log_only WHEN 1 THEN 'done' ELSE 'pending' END, 0, r.received_at, r.received_at, r.triggered_at,
                r.body_digest, r.rank, CASE r.log_only WHEN 1 THEN r.received_at END
            FROM r CROSS JOIN integrations i
            WHERE i.organization_id = r.organization_id AND i.id = r.integration_id
              AND (r.held OR (i.generation = r.generation AND i.status <> 'disconnected'))
              AND NOT EXISTS (SELECT 1 FROM events e WHERE e.organization_id = r.organization_id AND e.body_digest = r.former_digest)
            ON CONFLICT DO NOTHING RETURNING id"
        )
    };
}

/// The same as a whole transaction in one text.
macro_rules! sqlite_commit {
    ($($rows:tt)*) => {
        concat!("BEGIN IMMEDIATE; ", sqlite_accept!($($rows)*), "; COMMIT")
    };
}

/// One row of a batch.
macro_rules! row {
    () => {
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    };
}

statements! { Global;
    // An event is its own job: the row is claimable as soon as it is committed, or done by that if it is for the log only. It
    // goes to a connection that is still the one that was looked up, or (`held`) to one that may have ended; what was there
    // already, by the provider's id or by the digest of the body, is not added again.
    #[sqlite] EVENT_ACCEPT = sqlite_accept!(row!());
    // Many rows at once: each statement has a price of its own, and so has each way to SQLite's thread and back.
    #[sqlite] EVENTS_COMMIT_1 = sqlite_commit!(row!());
    #[sqlite] EVENTS_COMMIT_4 = sqlite_commit!(two!(two!(row!())));
    #[sqlite] EVENTS_COMMIT_16 = sqlite_commit!(two!(two!(two!(two!(row!())))));
    #[sqlite] EVENTS_COMMIT_32 = sqlite_commit!(two!(two!(two!(two!(two!(row!()))))));
    #[sqlite] EVENTS_COMMIT_64 = sqlite_commit!(two!(two!(two!(two!(two!(two!(row!())))))));
    #[sqlite] EVENTS_COMMIT_128 = sqlite_commit!(two!(two!(two!(two!(two!(two!(two!(row!()))))))));
    #[sqlite] EVENTS_COMMIT_256 = sqlite_commit!(two!(two!(two!(two!(two!(two!(two!(two!(row!())))))))));
    // `LIMIT 1` and `LATERAL` leave an index as the only way: of tables without statistics, as all are at first, PostgreSQL believes that
    // they are small, and would read all of them for each group, by a plan that it keeps until they are analysed.
    #[postgres] EVENTS_ACCEPT = "INSERT INTO events (organization_id, id, integration_id, generation, provider, topic, external_id, dedup,
            order_key, payload, state, attempts, next_at, received_at, triggered_at, body_digest, rank, done_at)
        SELECT i.organization_id, r.id, i.id, r.generation, r.provider, r.topic, r.external_id, r.dedup, r.order_key, r.payload,
            CASE r.log_only WHEN 1 THEN 'done' ELSE 'pending' END, 0, r.received_at, r.received_at, r.triggered_at, r.body_digest,
            r.rank, CASE r.log_only WHEN 1 THEN r.received_at END
        FROM UNNEST(CAST($1 AS TEXT[]), CAST($2 AS TEXT[]), CAST($3 AS TEXT[]), CAST($4 AS BIGINT[]), CAST($5 AS TEXT[]), CAST($6 AS TEXT[]),
            CAST($7 AS TEXT[]), CAST($8 AS BYTEA[]), CAST($9 AS TEXT[]), CAST($10 AS BYTEA[]), CAST($11 AS BIGINT[]), CAST($12 AS BIGINT[]),
            CAST($13 AS BYTEA[]), CAST($14 AS BYTEA[]), CAST($15 AS BOOLEAN[]), CAST($16 AS BIGINT[]), CAST($17 AS BIGINT[]))
            AS r(organization_id, id, integration_id, generation, provider, topic, external_id, dedup, order_key, payload,
                received_at, triggered_at, body_digest, former_digest, held, rank, log_only)
        CROSS JOIN LATERAL (SELECT i.organization_id, i.id, i.generation, i.status FROM integrations i
            WHERE i.organization_id = r.organization_id AND i.id = r.integration_id LIMIT 1) i
        WHERE (r.held OR (i.generation = r.generation AND i.status <> 'disconnected'))
          AND (SELECT 1 FROM events e WHERE e.organization_id = r.organization_id AND e.body_digest = r.former_digest LIMIT 1) IS NULL
        ORDER BY r.dedup, r.organization_id
        ON CONFLICT DO NOTHING RETURNING id";
    UNROUTED_OWNED = "SELECT DISTINCT u.provider, u.account, i.organization_id, i.id, i.generation FROM unrouted_events u
        JOIN integrations i ON i.provider = u.provider AND i.external_id = u.account AND i.status <> 'disconnected'
        ORDER BY u.provider, u.account LIMIT $1";
    UNROUTED_ADD = "INSERT INTO unrouted_events (id, provider, account, topic, external_id, dedup_key, order_key, payload, received_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (provider, dedup_key) DO NOTHING";
    UNROUTED_TAKE = "DELETE FROM unrouted_events WHERE provider = $1 AND account = $2 AND received_at > $3
        RETURNING id, topic, external_id, dedup_key, order_key, payload, received_at";
    UNROUTED_PAYLOADS = "SELECT payload FROM unrouted_events ORDER BY id LIMIT 10000";
    UNROUTED_SWEEP = "DELETE FROM unrouted_events WHERE received_at <= $1";
    // By age alone: what is exported cannot be read here.
    EXPORT_SWEEP = "UPDATE privacy_requests SET export = NULL, expires_at = NULL WHERE expires_at <= $1";
}

/// A verified event on its way in.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Its id; the payload is sealed for it.
    pub id: EventId,
    /// Who sent it.
    pub provider: Provider,
    /// What it is about.
    pub topic: String,
    /// The provider's id of it.
    pub external_id: String,
    /// What makes it the same event when it comes again.
    pub dedup_key: String,
    /// Events with the same key are done one after the other.
    pub order_key: String,
    /// `events.payload` (or `unrouted_events.payload`) of row `id`.
    pub payload: Sealed,
    /// When it came.
    pub received_at: Timestamp,
    /// When the provider says that it happened; unsigned.
    pub triggered_at: Option<Timestamp>,
    /// When that happened which it tells of, as the signed body says itself. What has no such time is found among all that has none.
    pub told_at: Option<Timestamp>,
    /// When its turn comes: when it came, or later if its organization has sent more than its share before it.
    pub rank: Timestamp,
    /// Nothing is to be done about it but to keep it in the log: it is done by being committed.
    pub log_only: bool,
    /// What the signed body is known again by, where the provider's id is not signed.
    pub body: Option<Body>,
}

/// What a signed body is known again by; each is a [`key_in_time`].
#[derive(Clone, Debug)]
pub struct Body {
    /// Kept with the event.
    pub digest: Vec<u8>,
    /// It is the same as one that was kept with this, too.
    pub former: Option<Vec<u8>>,
}

/// Sixteen bytes that make an event one of a kind in its organization: the second in which it happened, as far as its signed body
/// tells that, then twelve of a digest. Events of one moment are neighbours in an index of such keys, so that adding them
/// writes to pages that were written to just before, however many events there are.
pub fn key_in_time(happened_at: Option<Timestamp>, digest: &[u8; 32]) -> Vec<u8> {
    let second = happened_at.and_then(|at| u32::try_from(at.secs()).ok()).unwrap_or(0);
    [&second.to_be_bytes()[..], &digest[..12]].concat()
}

/// An event on its way to a connection.
#[derive(Clone, Debug)]
pub struct Addressed {
    /// The connection, as it was looked up.
    pub to: Route,
    /// Whether it is also for a connection that has ended.
    pub held: bool,
    /// The event.
    pub event: Incoming,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    topic: String,
    external_id: String,
    dedup_key: String,
    order_key: String,
    payload: Vec<u8>,
    received_at: i64,
}

/// What makes an event the same as another of its organization: each is looked for by it.
fn dedup(a: &Addressed) -> Vec<u8> {
    let text = [a.to.org.as_str(), a.event.provider.as_str(), &a.event.dedup_key].join(":");
    key_in_time(a.event.told_at, &Sha256::digest(text).into())
}

fn body(e: &Incoming) -> [Option<&[u8]>; 2] {
    e.body.as_ref().map_or([None, None], |body| [Some(&body.digest), body.former.as_deref()])
}

/// The texts by how many rows they take.
const COMMITS: [(usize, &str); 7] = [
    (1, EVENTS_COMMIT_1),
    (4, EVENTS_COMMIT_4),
    (16, EVENTS_COMMIT_16),
    (32, EVENTS_COMMIT_32),
    (64, EVENTS_COMMIT_64),
    (128, EVENTS_COMMIT_128),
    (256, EVENTS_COMMIT_256),
];

type Query<'a> = sqlx::query::QueryAs<'a, Sqlite, (String,), SqliteArguments>;

fn bind_row<'a>(query: Query<'a>, a: &'a Addressed) -> Query<'a> {
    let (e, [present, former]) = (&a.event, body(&a.event));
    query
        .bind(a.to.org.as_str())
        .bind(e.id.as_str())
        .bind(a.to.integration.as_str())
        .bind(a.to.generation)
        .bind(e.provider.as_str())
        .bind(e.topic.as_str())
        .bind(e.external_id.as_str())
        .bind(dedup(a))
        .bind(e.order_key.as_str())
        .bind(e.payload.as_bytes())
        .bind(e.received_at.millis())
        .bind(e.triggered_at.map(Timestamp::millis))
        .bind(present)
        .bind(former)
        .bind(a.held)
        .bind(e.rank.millis())
        .bind(i64::from(e.log_only))
}

/// How many values [`bind_row`] binds.
const COLUMNS: usize = 17;

/// One transaction, one way to SQLite's thread and back. `None` if there are too many rows for that.
async fn commit_sqlite(
    writer: &Writer,
    held: &mut Held,
    all: &[&Addressed],
) -> Result<Option<Vec<(String,)>>, sqlx::Error> {
    let Some((rows, sql)) = COMMITS.iter().find(|(rows, _)| *rows >= all.len()) else { return Ok(None) };
    let mut query = all.iter().fold(sqlx::query_as(*sql), |query, a| bind_row(query, a));
    // What is left of the text's rows is for no connection.
    for _ in 0..(rows - all.len()) * COLUMNS {
        query = query.bind(None::<&str>);
    }
    let connection = writer.held(held).await?;
    let outcome = query.fetch_all(&mut **connection).await;
    if outcome.is_err() {
        // SQLite may have ended the transaction by itself. Should this fail for another reason, the pool lets go of the connection.
        let _ = sqlx::query("ROLLBACK").execute(&mut **connection).await;
        held.let_go();
    }
    writer.yield_to_others(held);
    outcome.map(Some)
}

impl Store {
    /// Adds events for their owners, in a transaction of its own. Gives the ids of the events that are new; see
    /// [`GlobalTx::events_accept`]. Who commits again at once goes on with what is `held`; who does not lets go of it.
    ///
    /// # Errors
    /// If the database refuses; then none of them is there.
    pub async fn events_commit(
        &self,
        held: &mut Held,
        all: &[&Addressed],
    ) -> Result<BTreeSet<EventId>, StoreError> {
        match &self.pools {
            Pools::Sqlite { write, .. } => {
                if let Some(new) = commit_sqlite(write, held, all).await? {
                    return new.into_iter().map(event_id).collect();
                }
                held.let_go();
                let mut tx = self.global().await?;
                let new = tx.events_accept(all).await?;
                tx.commit().await?;
                Ok(new)
            }
            Pools::Postgres { single, .. } => {
                let new = single!(held, single, |c| accept_postgres(c, all).await)?;
                // They are there: whether others are told changes nothing about that, and they look by themselves.
                if self.tells_work() && is_work(all) && !new.is_empty() {
                    let told = single!(held, single, |c| notice::tell_postgres(c, &Notice::Work).await);
                    if let Err(error) = told {
                        tracing::warn!(%error, "other processes were not told of work; they look for it by themselves");
                    }
                }
                new.into_iter().map(event_id).collect()
            }
        }
    }
}

/// Adds events in one statement; the ids of those that are new.
async fn accept_postgres(c: &mut PgConnection, all: &[&Addressed]) -> Result<Vec<(String,)>, sqlx::Error> {
    fn each<'a, T>(all: &[&'a Addressed], of: impl Fn(&'a Addressed) -> T) -> Vec<T> {
        all.iter().map(|a| of(a)).collect()
    }
    if all.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as(EVENTS_ACCEPT)
        .bind(each(all, |a| a.to.org.as_str()))
        .bind(each(all, |a| a.event.id.as_str()))
        .bind(each(all, |a| a.to.integration.as_str()))
        .bind(each(all, |a| a.to.generation))
        .bind(each(all, |a| a.event.provider.as_str()))
        .bind(each(all, |a| a.event.topic.as_str()))
        .bind(each(all, |a| a.event.external_id.as_str()))
        .bind(each(all, dedup))
        .bind(each(all, |a| a.event.order_key.as_str()))
        .bind(each(all, |a| a.event.payload.as_bytes()))
        .bind(each(all, |a| a.event.received_at.millis()))
        .bind(each(all, |a| a.event.triggered_at.map(Timestamp::millis)))
        .bind(each(all, |a| body(&a.event)[0]))
        .bind(each(all, |a| body(&a.event)[1]))
        .bind(each(all, |a| a.held))
        .bind(each(all, |a| a.event.rank.millis()))
        .bind(each(all, |a| i64::from(a.event.log_only)))
        .fetch_all(c)
        .await
}

/// Whether there is anything to do about any of them.
fn is_work(all: &[&Addressed]) -> bool {
    all.iter().any(|a| !a.event.log_only)
}

fn event_id((text,): (String,)) -> Result<EventId, StoreError> {
    EventId::parse(&text).ok_or(StoreError::Corrupt { table: "events", column: "id" })
}

impl GlobalTx {
    /// Adds events for their owners, and gives the ids of those that are new. One that is missing was there already, or its
    /// connection is not any more what it was when it was looked up.
    ///
    /// # Errors
    /// If the database refuses; then none of them is there.
    pub async fn events_accept(&mut self, all: &[&Addressed]) -> Result<BTreeSet<EventId>, StoreError> {
        let mut new = Vec::with_capacity(all.len());
        match &mut self.conn {
            Conn::Sqlite(c) => {
                for one in all {
                    new.extend(bind_row(sqlx::query_as(EVENT_ACCEPT), one).fetch_all(&mut **c).await?);
                }
            }
            Conn::Postgres(c) => new = accept_postgres(c, all).await?,
        }
        if !new.is_empty() && is_work(all) {
            self.telling.work();
        }
        new.into_iter().map(event_id).collect()
    }

    /// Adds one event for its owner, whether or not its connection has changed meanwhile. `false` if it was there already.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_accept(&mut self, to: &Route, event: &Incoming) -> Result<bool, StoreError> {
        let one = Addressed { to: to.clone(), held: true, event: event.clone() };
        Ok(!self.events_accept(&[&one]).await?.is_empty())
    }

    /// Events that nobody owned when they came and whose accounts somebody owns now: account and owner, up to `limit`.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn unrouted_owned(&mut self, limit: i64) -> Result<Vec<(Provider, String, Route)>, StoreError> {
        let rows = rows!(fetch_all, self, (String, String, String, String, i64), UNROUTED_OWNED, limit)?;
        let corrupt = |column| StoreError::Corrupt { table: "unrouted_events", column };
        rows.into_iter()
            .map(|(provider, account, org, id, generation)| {
                let route = Route {
                    org: OrgId::parse(&org).ok_or_else(|| corrupt("organization_id"))?,
                    integration: IntegrationId::parse(&id).ok_or_else(|| corrupt("integration_id"))?,
                    generation,
                };
                Ok((Provider::parse(&provider).ok_or_else(|| corrupt("provider"))?, account, route))
            })
            .collect()
    }

    /// Keeps a verified event that nobody owns. `false` if it was there already.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn unrouted_add(&mut self, account: &str, e: &Incoming) -> Result<bool, StoreError> {
        let n = execute!(
            self,
            UNROUTED_ADD,
            e.id.as_str(),
            e.provider.as_str(),
            account,
            e.topic.as_str(),
            e.external_id.as_str(),
            e.dedup_key.as_str(),
            e.order_key.as_str(),
            e.payload.as_bytes(),
            e.received_at.millis(),
        )?;
        Ok(n == 1)
    }

    /// Takes out what was kept for an account that has just been connected, oldest first.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn unrouted_take(
        &mut self,
        provider: Provider,
        account: &str,
        since: Timestamp,
    ) -> Result<Vec<Incoming>, StoreError> {
        let mut rows =
            rows!(fetch_all, self, Row, UNROUTED_TAKE, provider.as_str(), account, since.millis())?;
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        rows.into_iter()
            .map(|r| {
                Ok(Incoming {
                    id: EventId::parse(&r.id)
                        .ok_or(StoreError::Corrupt { table: "unrouted_events", column: "id" })?,
                    provider,
                    topic: r.topic,
                    external_id: r.external_id,
                    dedup_key: r.dedup_key,
                    order_key: r.order_key,
                    payload: Sealed::from_bytes(r.payload),
                    received_at: Timestamp::from_millis(r.received_at),
                    triggered_at: None,
                    told_at: None,
                    rank: Timestamp::from_millis(r.received_at),
                    log_only: false,
                    body: None,
                })
            })
            .collect()
    }

    /// What is kept for nobody yet, up to ten thousand: for telling which master keys it needs.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn unrouted_payloads(&mut self) -> Result<Vec<Sealed>, StoreError> {
        let rows = rows!(fetch_all, self, (Vec<u8>,), UNROUTED_PAYLOADS)?;
        Ok(rows.into_iter().map(|(bytes,)| Sealed::from_bytes(bytes)).collect())
    }

    /// Forgets what nobody connected in time.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn unrouted_sweep(&mut self, until: Timestamp) -> Result<u64, StoreError> {
        execute!(self, UNROUTED_SWEEP, until.millis())
    }

    /// Forgets exports of privacy requests that were kept long enough.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn export_sweep(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        execute!(self, EXPORT_SWEEP, now.millis())
    }
}
