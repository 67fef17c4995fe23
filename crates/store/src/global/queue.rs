//! Leasing queued rows: events and jobs have the same queue columns and the same rules.
//!
//! Due rows are leased by rank, and of the rows with one order key only the first that is not ended, so that a conversation
//! is worked in order while others go on. A lease carries a token; only its holder can end the row.
//!
//! The rank is when a row's turn comes: when it is due, or later if its organization has queued more than its share
//! before it (`Incoming::rank`). An organization that has all the places it may have is named by the caller and passed
//! over.
//!
//! A lease looks at the rows in front only. What stands there and cannot be taken, because its organization has no place free or
//! because it follows another row of its conversation, is put back by a minute ([`GlobalTx::put_back`]), so that nobody reads past it
//! again and again. While it is in the way, rows are found by conversation instead, one after the other
//! ([`GlobalTx::lease_behind`]): somebody who writes a hundred thousand messages costs others a look at a few rows.
//!
//! Each look begins where rows that wait begin ([`Fronts`]). What was before them is done; but as long as somebody reads from a
//! snapshot of an hour ago (a dump of the database, a session that was forgotten), PostgreSQL keeps what those rows were, and would
//! go past all of it for each lease.

use crate::db::{Conn, GlobalTx, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::QueuedFor;
use agenstack_core::id::OrgId;

/// Rows that a lease looks at for each that it may take: those past an organization's share are passed over.
const LOOK: i64 = 8;
/// Rows in front, as text: more than these a lease does not look at. And as many are put back at a time, and by how much.
macro_rules! front {
    () => {
        "512"
    };
}
const PUT_BACK: i64 = 512;
const PUT_BACK_SECS: i64 = 60;

/// Locks rows that were found, and says that a row is one of them. PostgreSQL is left no choice: it looks for each by its id, locks it and
/// writes it where it stands. Otherwise it would begin with all rows that wait, or with all of the table, as long as it has counted few of
/// them; and with a state that stands there as an equation it would look among all that wait of the organization.
macro_rules! found {
    ($table:literal, $class:literal, $rows:expr, $limit:literal) => {
        concat!(
            "ctid = ANY(ARRAY(SELECT e.at FROM (",
            $rows,
            ") w
                CROSS JOIN LATERAL (SELECT e.ctid AS at FROM ",
            $table,
            " e WHERE e.organization_id = w.organization_id AND e.id = w.id AND e.state IS NOT DISTINCT FROM '",
            $class,
            "' LIMIT 1 FOR UPDATE SKIP LOCKED) e ",
            $limit,
            "))"
        )
    };
}

// After the macros, which the first of them uses.
pub(crate) mod behind;
pub(crate) mod held;
pub(crate) mod state;

pub use behind::Conversation;
pub use state::{Backlog, TableRows};

/// Whether nothing of its conversation stands before a row `q`: whether it is the first one from the beginning of its conversation on. The
/// order is that of one index only. If rows before it were asked for, PostgreSQL would look among all rows of the organization as long as
/// it has counted few.
macro_rules! first_of_its_conversation {
    ($table:literal) => {
        concat!(
            "(SELECT p.id FROM ",
            $table,
            " p WHERE p.organization_id = q.organization_id AND p.order_key >= q.order_key
                AND p.state IN ('pending', 'failed', 'running') ORDER BY p.order_key, p.id LIMIT 1) = q.id"
        )
    };
}

/// Rows of the front that may be taken, and which of its organization each is.
macro_rules! turns {
    ($table:literal, $class:literal, $and:literal, $not_busy:literal) => {
        concat!(
            "SELECT organization_id, id, rank, ROW_NUMBER() OVER (PARTITION BY organization_id ORDER BY rank, id) AS place
                    FROM (SELECT q.organization_id, q.id, q.rank FROM (
                            SELECT organization_id, id, rank, order_key FROM ",
            $table,
            " q
                            WHERE q.state = '",
            $class,
            "' AND q.rank >= $8 AND q.next_at <= $1",
            $and,
            " AND ",
            $not_busy,
            "
                            ORDER BY q.rank, q.id LIMIT ",
            front!(),
            ") q
                        WHERE ",
            first_of_its_conversation!($table),
            "
                        ORDER BY q.rank, q.id LIMIT $7) front"
        )
    };
}

/// `$class` and `$and` stand as text, because an index of only some rows is used only for a condition that is its own.
macro_rules! lease {
    ($table:literal, $found:expr) => {
        concat!(
            "UPDATE ",
            $table,
            " SET state = 'running', attempts = attempts + 1, lease = $2, lease_token = $3
             WHERE ",
            $found,
            "
             RETURNING organization_id, id, attempts, expired"
        )
    };
    (sqlite $table:literal, $class:literal, $and:literal) => {
        lease!(
            $table,
            concat!(
                "(organization_id, id) IN (SELECT organization_id, id FROM (",
                turns!($table, $class, $and, "q.organization_id NOT IN (SELECT value FROM json_each($6))"),
                ") w WHERE w.place <= $5 ORDER BY w.rank, w.id LIMIT $4)"
            )
        )
    };
    (postgres $table:literal, $class:literal, $and:literal) => {
        lease!(
            $table,
            found!(
                $table,
                $class,
                concat!(
                    "SELECT organization_id, id FROM (",
                    turns!($table, $class, $and, "q.organization_id <> ALL(CAST($6 AS TEXT[]))"),
                    ") w WHERE w.place <= $5 ORDER BY w.rank, w.id"
                ),
                "LIMIT $4"
            )
        )
    };
}

/// Rows in front.
macro_rules! in_front {
    ($table:literal, $class:literal, $and:literal) => {
        concat!(
            "SELECT organization_id, id, order_key FROM ",
            $table,
            " q WHERE q.state = '",
            $class,
            "' AND q.rank BETWEEN $5 AND $1",
            $and,
            "
                    ORDER BY q.rank, q.id LIMIT $4"
        )
    };
}

macro_rules! put_back {
    (sqlite $table:literal, $class:literal, $and:literal) => {
        concat!(
            "UPDATE ",
            $table,
            " SET rank = $2 WHERE (organization_id, id) IN (SELECT q.organization_id, q.id FROM (",
            in_front!($table, $class, $and),
            ") q WHERE q.organization_id IN (SELECT value FROM json_each($3)) OR NOT ",
            first_of_its_conversation!($table),
            ")"
        )
    };
    (postgres $table:literal, $class:literal, $and:literal) => {
        concat!(
            "UPDATE ",
            $table,
            " SET rank = $2 WHERE ",
            found!(
                $table,
                $class,
                concat!(
                    "SELECT q.organization_id, q.id FROM (",
                    in_front!($table, $class, $and),
                    ") q WHERE q.organization_id = ANY(CAST($3 AS TEXT[])) OR NOT ",
                    first_of_its_conversation!($table)
                ),
                ""
            )
        )
    };
}

macro_rules! due {
    ($table:literal, $class:literal, $and:literal) => {
        concat!(
            "(SELECT 1 FROM ",
            $table,
            " q WHERE q.state = '",
            $class,
            "'",
            $and,
            " AND q.next_at <= $1 ORDER BY q.rank, q.id LIMIT 1) IS NOT NULL"
        )
    };
}

/// The rank of the first row that waits.
macro_rules! front_of {
    ($table:literal, $class:literal, $from:literal) => {
        concat!(
            "(SELECT q.rank FROM ",
            $table,
            " q WHERE q.state = '",
            $class,
            "' AND q.rank >= ",
            $from,
            " ORDER BY q.rank, q.id LIMIT 1)"
        )
    };
}

/// The same beside organizations that have no place free: whether anybody else has a row among the first. More are not looked at;
/// if all of those are of the former, there may be something behind them.
macro_rules! due_beside {
    ($table:literal, $class:literal, $and:literal, $not_busy:literal) => {
        concat!(
            "(SELECT COUNT(*) >= 64 OR COUNT(CASE WHEN ",
            $not_busy,
            " THEN 1 END) > 0 FROM (
                SELECT q.organization_id FROM ",
            $table,
            " q WHERE q.state = '",
            $class,
            "'",
            $and,
            " AND q.next_at <= $1
                ORDER BY q.rank, q.id LIMIT 64) q)"
        )
    };
    ($not_busy:literal) => {
        concat!(
            "SELECT ",
            due_beside!("events", "pending", " AND q.rank >= $2", $not_busy),
            ", ",
            due_beside!("events", "failed", " AND q.rank BETWEEN $3 AND $1 + 60000", $not_busy),
            ", ",
            due_beside!("jobs", "pending", " AND q.rank BETWEEN $4 AND $1 + 60000", $not_busy),
            ", ",
            due_beside!("jobs", "failed", " AND q.rank BETWEEN $5 AND $1 + 60000", $not_busy)
        )
    };
}

statements! { Global;
    // What is due may be taken before its rank has come, if nobody else waits. What was put back is found within its minute;
    // further on stands only what is not due, which need not be read.
    #[sqlite] EVENT_FIRST_SQLITE = lease!(sqlite "events", "pending", "");
    #[postgres] EVENT_FIRST_POSTGRES = lease!(postgres "events", "pending", "");
    #[sqlite] EVENT_AGAIN_SQLITE = lease!(sqlite "events", "failed", " AND q.rank <= $1 + 60000");
    #[postgres] EVENT_AGAIN_POSTGRES = lease!(postgres "events", "failed", " AND q.rank <= $1 + 60000");
    #[sqlite] JOB_FIRST_SQLITE = lease!(sqlite "jobs", "pending", " AND q.rank <= $1 + 60000");
    #[postgres] JOB_FIRST_POSTGRES = lease!(postgres "jobs", "pending", " AND q.rank <= $1 + 60000");
    #[sqlite] JOB_AGAIN_SQLITE = lease!(sqlite "jobs", "failed", " AND q.rank <= $1 + 60000");
    #[postgres] JOB_AGAIN_POSTGRES = lease!(postgres "jobs", "failed", " AND q.rank <= $1 + 60000");
    #[sqlite] EVENT_FIRST_BACK_SQLITE = put_back!(sqlite "events", "pending", "");
    #[postgres] EVENT_FIRST_BACK_POSTGRES = put_back!(postgres "events", "pending", "");
    #[sqlite] EVENT_AGAIN_BACK_SQLITE = put_back!(sqlite "events", "failed", "");
    #[postgres] EVENT_AGAIN_BACK_POSTGRES = put_back!(postgres "events", "failed", "");
    #[sqlite] JOB_FIRST_BACK_SQLITE = put_back!(sqlite "jobs", "pending", "");
    #[postgres] JOB_FIRST_BACK_POSTGRES = put_back!(postgres "jobs", "pending", "");
    #[sqlite] JOB_AGAIN_BACK_SQLITE = put_back!(sqlite "jobs", "failed", "");
    #[postgres] JOB_AGAIN_BACK_POSTGRES = put_back!(postgres "jobs", "failed", "");
    QUEUE_DUE = concat!("SELECT ", due!("events", "pending", " AND q.rank >= $2"), ", ", due!("events", "failed", " AND q.rank BETWEEN $3 AND $1 + 60000"), ",
        ", due!("jobs", "pending", " AND q.rank BETWEEN $4 AND $1 + 60000"), ", ", due!("jobs", "failed", " AND q.rank BETWEEN $5 AND $1 + 60000"));
    QUEUE_FRONTS = concat!("SELECT ", front_of!("events", "pending", "$1"), ", ", front_of!("events", "failed", "$2"), ",
        ", front_of!("jobs", "pending", "$3"), ", ", front_of!("jobs", "failed", "$4"));
    #[sqlite] QUEUE_DUE_BESIDE_SQLITE = due_beside!("q.organization_id NOT IN (SELECT value FROM json_each($6))");
    #[postgres] QUEUE_DUE_BESIDE_POSTGRES = due_beside!("q.organization_id <> ALL(CAST($6 AS TEXT[]))");
    JOB_KIND = "SELECT kind FROM jobs WHERE organization_id = $1 AND id = $2";
}

/// Which queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// The inbox.
    Events,
    /// Queued deeds.
    Jobs,
}

/// Which rows of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attempt {
    /// Those that were never tried, or that a person asked for again.
    First,
    /// Those whose last attempt failed.
    Again,
}

/// Where the rows that wait begin, by rank, in each class of each queue: a lower bound. By default it is before all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fronts {
    events_first: i64,
    events_again: i64,
    jobs_first: i64,
    jobs_again: i64,
}

impl Fronts {
    fn of(&self, queue: Queue, attempt: Attempt) -> i64 {
        match (queue, attempt) {
            (Queue::Events, Attempt::First) => self.events_first,
            (Queue::Events, Attempt::Again) => self.events_again,
            (Queue::Jobs, Attempt::First) => self.jobs_first,
            (Queue::Jobs, Attempt::Again) => self.jobs_again,
        }
    }
}

/// What is to be leased.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// From which queue.
    pub queue: Queue,
    /// Which of its rows.
    pub attempt: Attempt,
    /// How many at most.
    pub limit: i64,
    /// How many at most of one organization.
    pub each: i64,
    /// Organizations that have no place free.
    pub busy: &'a [OrgId],
    /// Where to begin.
    pub fronts: Fronts,
}

/// What is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Events that were never tried.
    pub events_first: bool,
    /// Events that are to be tried again.
    pub events_again: bool,
    /// Deeds that were never tried.
    pub jobs_first: bool,
    /// Deeds that are to be tried again.
    pub jobs_again: bool,
}

impl Due {
    /// Whether there is anything to lease for these.
    pub fn has(&self, queue: Queue, attempt: Attempt) -> bool {
        match (queue, attempt) {
            (Queue::Events, Attempt::First) => self.events_first,
            (Queue::Events, Attempt::Again) => self.events_again,
            (Queue::Jobs, Attempt::First) => self.jobs_first,
            (Queue::Jobs, Attempt::Again) => self.jobs_again,
        }
    }
}

/// A leased row.
#[derive(Clone, Debug)]
pub struct Leased {
    /// Whose it is: what an [`agenstack_core::ctx::OrgCtx`] is made from.
    pub queued_for: QueuedFor,
    /// The organization's id.
    pub org: OrgId,
    /// The row's id.
    pub id: String,
    /// Which attempt this is, from 1.
    pub attempts: i64,
    /// How many times in a row its lease ran out before.
    pub expired: i64,
}

impl GlobalTx {
    /// Leases due rows until `until`, under `token`.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn lease(
        &mut self,
        wanted: Wanted<'_>,
        token: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Leased>, StoreError> {
        let Wanted { queue, attempt, limit, each, busy, fronts } = wanted;
        let (sqlite, postgres) = match (queue, attempt) {
            (Queue::Events, Attempt::First) => (EVENT_FIRST_SQLITE, EVENT_FIRST_POSTGRES),
            (Queue::Events, Attempt::Again) => (EVENT_AGAIN_SQLITE, EVENT_AGAIN_POSTGRES),
            (Queue::Jobs, Attempt::First) => (JOB_FIRST_SQLITE, JOB_FIRST_POSTGRES),
            (Queue::Jobs, Attempt::Again) => (JOB_AGAIN_SQLITE, JOB_AGAIN_POSTGRES),
        };
        let (at, until, look) = (now.millis(), until.millis(), limit.saturating_mul(LOOK));
        let from = fronts.of(queue, attempt);
        let mut rows: Vec<(String, String, i64, i64)> = match &mut self.conn {
            Conn::Sqlite(c) => {
                let leased = sqlx::query_as(sqlite).bind(at).bind(until).bind(token).bind(limit).bind(each);
                leased.bind(json(busy)).bind(look).bind(from).fetch_all(&mut **c).await?
            }
            Conn::Postgres(c) => {
                let leased = sqlx::query_as(postgres).bind(at).bind(until).bind(token).bind(limit).bind(each);
                leased.bind(texts(busy)).bind(look).bind(from).fetch_all(&mut **c).await?
            }
        };
        rows.sort_by(|a, b| a.1.cmp(&b.1));
        rows.into_iter().map(leased).collect()
    }

    /// Makes room in front of the queue: rows that cannot be taken, those of organizations that have no place free and those that
    /// follow another of their conversation, come later. Worth its write if others wait, who would be reached past them again and
    /// again.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn put_back(
        &mut self,
        queue: Queue,
        attempt: Attempt,
        now: Timestamp,
        fronts: Fronts,
        busy: &[OrgId],
    ) -> Result<(), StoreError> {
        let (sqlite, postgres) = match (queue, attempt) {
            (Queue::Events, Attempt::First) => (EVENT_FIRST_BACK_SQLITE, EVENT_FIRST_BACK_POSTGRES),
            (Queue::Events, Attempt::Again) => (EVENT_AGAIN_BACK_SQLITE, EVENT_AGAIN_BACK_POSTGRES),
            (Queue::Jobs, Attempt::First) => (JOB_FIRST_BACK_SQLITE, JOB_FIRST_BACK_POSTGRES),
            (Queue::Jobs, Attempt::Again) => (JOB_AGAIN_BACK_SQLITE, JOB_AGAIN_BACK_POSTGRES),
        };
        let (later, now) = (now.plus_secs(PUT_BACK_SECS).millis(), now.millis());
        let from = fronts.of(queue, attempt);
        match &mut self.conn {
            Conn::Sqlite(c) => {
                let put =
                    sqlx::query(sqlite).bind(now).bind(later).bind(json(busy)).bind(PUT_BACK).bind(from);
                put.execute(&mut **c).await.map(drop)?;
            }
            Conn::Postgres(c) => {
                let put =
                    sqlx::query(postgres).bind(now).bind(later).bind(texts(busy)).bind(PUT_BACK).bind(from);
                put.execute(&mut **c).await.map(drop)?;
            }
        }
        Ok(())
    }

    /// What kind of deed a leased job is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it ended meanwhile.
    pub async fn job_kind(&mut self, leased: &Leased) -> Result<String, StoreError> {
        let row = rows!(fetch_optional, self, (String,), JOB_KIND, leased.org.as_str(), leased.id.as_str())?;
        row.map(|(kind,)| kind).ok_or(StoreError::NotFound("job"))
    }

    /// What is due, for others than the organizations that have no place free; it may say that something is where there is
    /// nothing. Cheap, and takes no lock.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn due(&mut self, now: Timestamp, fronts: Fronts, busy: &[OrgId]) -> Result<Due, StoreError> {
        type Row = (bool, bool, bool, bool);
        let (at, f) = (now.millis(), fronts);
        let row: Row = if busy.is_empty() {
            rows!(
                fetch_one,
                self,
                Row,
                QUEUE_DUE,
                at,
                f.events_first,
                f.events_again,
                f.jobs_first,
                f.jobs_again
            )?
        } else {
            match &mut self.conn {
                Conn::Sqlite(c) => {
                    let due = sqlx::query_as(QUEUE_DUE_BESIDE_SQLITE).bind(at);
                    let due =
                        due.bind(f.events_first).bind(f.events_again).bind(f.jobs_first).bind(f.jobs_again);
                    due.bind(json(busy)).fetch_one(&mut **c).await?
                }
                Conn::Postgres(c) => {
                    let due = sqlx::query_as(QUEUE_DUE_BESIDE_POSTGRES).bind(at);
                    let due =
                        due.bind(f.events_first).bind(f.events_again).bind(f.jobs_first).bind(f.jobs_again);
                    due.bind(texts(busy)).fetch_one(&mut **c).await?
                }
            }
        };
        let (events_first, events_again, jobs_first, jobs_again) = row;
        Ok(Due { events_first, events_again, jobs_first, jobs_again })
    }

    /// Where rows that wait begin, looked for from `from` on. A row that is added later with a rank of before `latest` may stand
    /// before them: it takes a look from the beginning to find it.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn fronts(&mut self, from: Fronts, latest: Timestamp) -> Result<Fronts, StoreError> {
        type Row = (Option<i64>, Option<i64>, Option<i64>, Option<i64>);
        let Fronts { events_first: a, events_again: b, jobs_first: c, jobs_again: d } = from;
        let found = rows!(fetch_one, self, Row, QUEUE_FRONTS, a, b, c, d)?;
        let latest = latest.millis();
        let front = |found: Option<i64>, from: i64| found.unwrap_or(latest).min(latest).max(from);
        Ok(Fronts {
            events_first: front(found.0, a),
            events_again: front(found.1, b),
            jobs_first: front(found.2, c),
            jobs_again: front(found.3, d),
        })
    }
}

fn leased((org, id, attempts, expired): (String, String, i64, i64)) -> Result<Leased, StoreError> {
    let org = OrgId::parse(&org).ok_or(StoreError::Corrupt { table: "events", column: "organization_id" })?;
    Ok(Leased { queued_for: QueuedFor::row(org.clone()), org, id, attempts, expired })
}

fn texts(orgs: &[OrgId]) -> Vec<&str> {
    orgs.iter().map(OrgId::as_str).collect()
}

/// The same for SQLite, which has no arrays. An id holds nothing that JSON would have to escape.
fn json(orgs: &[OrgId]) -> String {
    format!("[{}]", orgs.iter().map(|org| format!("\"{}\"", org.as_str())).collect::<Vec<_>>().join(","))
}
