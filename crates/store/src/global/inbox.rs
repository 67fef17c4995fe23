//! Accepting webhooks: events of several organizations in one transaction.

use crate::db::{GlobalTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::Route;
use agenstack_core::id::EventId;
use agenstack_core::integration::Provider;
use agenstack_core::sealed::Sealed;

statements! { Global;
    // An event is its own job: the row is claimable as soon as it is committed.
    EVENT_ACCEPT = "INSERT INTO events (organization_id, id, integration_id, generation, provider, topic, external_id, dedup_key,
            order_key, payload, state, attempts, next_at, received_at, triggered_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'pending', 0, $11, $11, $12)
        ON CONFLICT (provider, dedup_key, organization_id) DO NOTHING";
    UNROUTED_ADD = "INSERT INTO unrouted_events (id, provider, account, topic, external_id, dedup_key, order_key, payload, received_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (provider, dedup_key) DO NOTHING";
    UNROUTED_TAKE = "DELETE FROM unrouted_events WHERE provider = $1 AND account = $2 AND received_at > $3
        RETURNING id, topic, external_id, dedup_key, order_key, payload, received_at";
    UNROUTED_PAYLOADS = "SELECT payload FROM unrouted_events ORDER BY id LIMIT 10000";
    UNROUTED_SWEEP = "DELETE FROM unrouted_events WHERE received_at <= $1";
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

impl GlobalTx {
    /// Adds an event for its owner. `false` if it was there already.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_accept(&mut self, to: &Route, e: &Incoming) -> Result<bool, StoreError> {
        let n = execute!(
            self,
            EVENT_ACCEPT,
            to.org.as_str(),
            e.id.as_str(),
            to.integration.as_str(),
            to.generation,
            e.provider.as_str(),
            e.topic.as_str(),
            e.external_id.as_str(),
            e.dedup_key.as_str(),
            e.order_key.as_str(),
            e.payload.as_bytes(),
            e.received_at.millis(),
            e.triggered_at.map(Timestamp::millis),
        )?;
        Ok(n == 1)
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
}
