//! Rows behind the front of a queue, from conversation to conversation: what a lease finds when the rows in front follow others of their
//! conversations and cannot be taken.

use super::{Attempt, Leased, Queue, Wanted, json, leased, texts};
use crate::db::{Conn, GlobalTx};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use std::collections::HashMap;

/// Conversations that one look reads.
const CONVERSATIONS: i64 = 128;

/// Of the conversations from one on, in the order of their keys: the first row of each, and whether it can be taken. Nothing
/// if there are so few rows that a lease has looked at all of them.
macro_rules! behind {
    (postgres $table:literal, $and:literal) => {
        concat!(
            "WITH RECURSIVE k (organization_id, order_key, id, due) AS (
                (SELECT q.organization_id, q.order_key, q.id, q.state = 'pending' AND q.next_at <= $1", $and, " FROM ", $table, " q
                    WHERE q.state IN ('pending', 'failed', 'running') AND q.order_key >= '' AND (q.organization_id, q.order_key) > ($3, $4)
                      AND (SELECT COUNT(*) FROM (SELECT 1 FROM ", $table, " q WHERE q.state = 'pending' AND q.rank >= $6 AND q.next_at <= $1", $and, "
                            AND q.organization_id <> ALL(CAST($2 AS TEXT[])) ORDER BY q.rank, q.id LIMIT ", front!(), ") f) = ", front!(), "
                    ORDER BY q.organization_id, q.order_key, q.id LIMIT 1)
                UNION ALL
                SELECT n.organization_id, n.order_key, n.id, n.due FROM k CROSS JOIN LATERAL (
                    SELECT q.organization_id, q.order_key, q.id, q.state = 'pending' AND q.next_at <= $1", $and, " AS due FROM ", $table, " q
                    WHERE q.state IN ('pending', 'failed', 'running') AND q.order_key >= ''
                      AND (q.organization_id, q.order_key) > (k.organization_id, k.order_key)
                    ORDER BY q.organization_id, q.order_key, q.id LIMIT 1) n
            ) SELECT organization_id, order_key, id, due FROM k LIMIT $5"
        )
    };
    // Two subqueries, since SQLite finds no place in an index by two columns at once.
    (sqlite $table:literal, $and:literal) => {
        concat!(
            "WITH RECURSIVE k (organization_id, order_key, id, due) AS (
                SELECT q.organization_id, q.order_key, q.id, q.state = 'pending' AND q.next_at <= $1", $and, " FROM ", $table, " q
                WHERE q.rowid = ", behind!(next $table, "$3", "$4"), "
                  AND (SELECT COUNT(*) FROM (SELECT 1 FROM ", $table, " q WHERE q.state = 'pending' AND q.rank >= $6 AND q.next_at <= $1", $and, "
                        AND q.organization_id NOT IN (SELECT value FROM json_each($2)) ORDER BY q.rank, q.id LIMIT ", front!(), ") f) = ", front!(), "
                UNION ALL
                SELECT q.organization_id, q.order_key, q.id, q.state = 'pending' AND q.next_at <= $1", $and, "
                FROM k CROSS JOIN ", $table, " q ON q.rowid = ", behind!(next $table, "k.organization_id", "k.order_key"), "
                LIMIT $5
            ) SELECT organization_id, order_key, id, due FROM k"
        )
    };
    (next $table:literal, $org:literal, $key:literal) => {
        concat!(
            "COALESCE(
                (SELECT e.rowid FROM ", $table, " e WHERE e.state IN ('pending', 'failed', 'running')
                    AND e.organization_id = ", $org, " AND e.order_key > ", $key, " ORDER BY e.order_key, e.id LIMIT 1),
                (SELECT e.rowid FROM ", $table, " e WHERE e.state IN ('pending', 'failed', 'running')
                    AND e.organization_id > ", $org, " ORDER BY e.organization_id, e.order_key, e.id LIMIT 1))"
        )
    };
}

/// Leases rows that were found so, unless another worker was faster.
macro_rules! take {
    (postgres $table:literal) => {
        concat!(
            "UPDATE ", $table, " SET state = 'running', attempts = attempts + 1, lease = $1, lease_token = $2
             WHERE ", found!($table, "pending", "SELECT r.organization_id, r.id FROM UNNEST(CAST($3 AS TEXT[]), CAST($4 AS TEXT[])) AS r(organization_id, id)", ""), "
             RETURNING organization_id, id, attempts, expired"
        )
    };
    (sqlite $table:literal) => {
        concat!(
            "UPDATE ", $table, " SET state = 'running', attempts = attempts + 1, lease = $1, lease_token = $2
             WHERE (organization_id, id) IN (SELECT o.value, i.value FROM json_each($3) o JOIN json_each($4) i ON i.key = o.key)
               AND state = 'pending'
             RETURNING organization_id, id, attempts, expired"
        )
    };
}

statements! { Global;
    #[sqlite] EVENTS_BEHIND_SQLITE = behind!(sqlite "events", "");
    #[postgres] EVENTS_BEHIND_POSTGRES = behind!(postgres "events", "");
    #[sqlite] JOBS_BEHIND_SQLITE = behind!(sqlite "jobs", " AND q.rank <= $1 + 60000");
    #[postgres] JOBS_BEHIND_POSTGRES = behind!(postgres "jobs", " AND q.rank <= $1 + 60000");
    #[sqlite] EVENTS_TAKE_SQLITE = take!(sqlite "events");
    #[postgres] EVENTS_TAKE_POSTGRES = take!(postgres "events");
    #[sqlite] JOBS_TAKE_SQLITE = take!(sqlite "jobs");
    #[postgres] JOBS_TAKE_POSTGRES = take!(postgres "jobs");
}

/// After which conversation the next look behind the front begins; the default is before the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    org: String,
    key: String,
}

/// Organization, order key and id of the first row of a conversation, and whether it can be taken.
type First = (String, String, String, bool);

impl GlobalTx {
    /// Leases rows that were never tried from behind those that [`GlobalTx::lease`] looks at, from conversation to conversation
    /// beginning after `last`, which is moved on: each has its turn. `None` if there is nothing behind them.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn lease_behind(
        &mut self,
        wanted: Wanted<'_>,
        last: &mut Conversation,
        token: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Vec<Leased>>, StoreError> {
        let mut found = self.behind(&wanted, last, now).await?;
        if found.is_empty() && *last != Conversation::default() {
            // It had come to the end.
            *last = Conversation::default();
            found = self.behind(&wanted, last, now).await?;
        }
        if found.is_empty() {
            return Ok(None);
        }
        let all = found.len() as i64;
        *last = Conversation::default();
        let (mut orgs, mut ids, mut places) = (Vec::new(), Vec::new(), HashMap::<&str, i64>::new());
        for (n, (org, key, id, due)) in (1..).zip(&found) {
            let place = places.entry(org).or_default();
            if *due && *place < wanted.each && wanted.busy.iter().all(|busy| busy.as_str() != org) {
                *place += 1;
                orgs.push(org.as_str());
                ids.push(id.as_str());
            }
            if ids.len() as i64 == wanted.limit || n == CONVERSATIONS {
                let is_end = n == all && all < CONVERSATIONS;
                if !is_end {
                    *last = Conversation { org: org.clone(), key: key.clone() };
                }
                break;
            }
        }
        if ids.is_empty() {
            return Ok(Some(Vec::new()));
        }
        self.take(wanted.queue, &orgs, &ids, token, until).await.map(Some)
    }

    /// The first rows of the next conversations.
    async fn behind(
        &mut self,
        wanted: &Wanted<'_>,
        last: &Conversation,
        now: Timestamp,
    ) -> Result<Vec<First>, StoreError> {
        let (sqlite, postgres) = match wanted.queue {
            Queue::Events => (EVENTS_BEHIND_SQLITE, EVENTS_BEHIND_POSTGRES),
            Queue::Jobs => (JOBS_BEHIND_SQLITE, JOBS_BEHIND_POSTGRES),
        };
        let (at, busy, from) = (now.millis(), wanted.busy, wanted.fronts.of(wanted.queue, Attempt::First));
        Ok(match &mut self.conn {
            Conn::Sqlite(c) => {
                let found = sqlx::query_as(sqlite).bind(at).bind(json(busy)).bind(&last.org).bind(&last.key);
                found.bind(CONVERSATIONS).bind(from).fetch_all(&mut **c).await?
            }
            Conn::Postgres(c) => {
                let found =
                    sqlx::query_as(postgres).bind(at).bind(texts(busy)).bind(&last.org).bind(&last.key);
                found.bind(CONVERSATIONS).bind(from).fetch_all(&mut **c).await?
            }
        })
    }

    /// Leases rows that were found.
    async fn take(
        &mut self,
        queue: Queue,
        orgs: &[&str],
        ids: &[&str],
        token: &str,
        until: Timestamp,
    ) -> Result<Vec<Leased>, StoreError> {
        let (sqlite, postgres) = match queue {
            Queue::Events => (EVENTS_TAKE_SQLITE, EVENTS_TAKE_POSTGRES),
            Queue::Jobs => (JOBS_TAKE_SQLITE, JOBS_TAKE_POSTGRES),
        };
        let until = until.millis();
        let mut rows: Vec<(String, String, i64, i64)> = match &mut self.conn {
            Conn::Sqlite(c) => {
                let (orgs, ids) = (serde_json::json!(orgs).to_string(), serde_json::json!(ids).to_string());
                let taken = sqlx::query_as(sqlite).bind(until).bind(token).bind(orgs).bind(ids);
                taken.fetch_all(&mut **c).await?
            }
            Conn::Postgres(c) => {
                let taken = sqlx::query_as(postgres).bind(until).bind(token).bind(orgs).bind(ids);
                taken.fetch_all(&mut **c).await?
            }
        };
        rows.sort_by(|a, b| a.1.cmp(&b.1));
        rows.into_iter().map(leased).collect()
    }
}
