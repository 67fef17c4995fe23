//! The inbox of one organization.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::event::{Event, EventState};
use agenstack_core::id::{EventId, IntegrationId};
use agenstack_core::integration::Provider;
use agenstack_core::sealed::Sealed;

macro_rules! columns {
    () => {
        "id, integration_id, generation, provider, topic, external_id, state, attempts, received_at, triggered_at, done_at, next_at, last_error"
    };
}

/// Of a bounded number of the newest events before an id, those that fit: what fits nowhere must not be looked for
/// through a million rows. The id says when an event came, give or take what clocks differ by.
macro_rules! list {
    ($and:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM (SELECT ",
            columns!(),
            " FROM events
                WHERE organization_id = $1 AND id < $7 AND id >= $10",
            $and,
            " ORDER BY id DESC LIMIT $11) w
             WHERE ($2 = '' OR provider = $2) AND ($3 = '' OR topic = $3) AND ($4 = '' OR state = $4)
               AND received_at >= $5 AND received_at < $6 AND ($8 = '' OR integration_id = $8)
               AND ($12 = '' OR external_id = $12) AND ($13 = '' OR LOWER(last_error) LIKE $13 ESCAPE '!')
             ORDER BY id DESC LIMIT $9"
        )
    };
}

/// How far such a look comes.
macro_rules! list_end {
    ($and:literal) => {
        concat!(
            "SELECT COALESCE(MIN(id), ''), COUNT(*) FROM (SELECT id FROM events
                WHERE organization_id = $1 AND id < $2 AND id >= $3",
            $and,
            " ORDER BY id DESC LIMIT $4) w"
        )
    };
}

/// Events that one look for a few of them reads.
pub const LOOK: i64 = 20_000;
/// What clocks of several processes may differ by.
const SKEW_SECS: i64 = 60;
/// Behind every id.
const LAST: &str = "evt_~";

/// The events that are given up with a connection.
macro_rules! cancelled {
    () => {
        "organization_id = $1 AND integration_id = $2 AND generation <= $3 AND state IN ('pending', 'failed')
          AND topic NOT IN ('customers/data_request', 'customers/redact', 'shop/redact')"
    };
}
pub(super) use cancelled;

statements! { Tenant;
    // The dead are few among many, and have an index: its condition stands as text, or it would not be used.
    EVENT_LIST = list!("");
    EVENT_LIST_DEAD = list!(" AND state = 'dead'");
    EVENT_LIST_END = list_end!("");
    EVENT_LIST_END_DEAD = list_end!(" AND state = 'dead'");
    EVENT_FIND = concat!("SELECT ", columns!(), " FROM events WHERE organization_id = $1 AND id = $2");
    EVENT_PAYLOAD = "SELECT payload FROM events WHERE organization_id = $1 AND id = $2";
    // A row that waits no more has no other use of when it is due.
    EVENT_DONE = "UPDATE events SET state = 'done', done_at = $4, next_at = $5, lease = NULL, lease_token = NULL, last_error = NULL
        WHERE organization_id = $1 AND id = $2 AND lease_token = $3";
    EVENT_FAILED = "UPDATE events SET state = $4, expired = 0, next_at = $5, rank = $5, last_error = $6, lease = NULL, lease_token = NULL
        WHERE organization_id = $1 AND id = $2 AND lease_token = $3";
    EVENT_PUT_OFF = "UPDATE events SET state = 'failed', attempts = attempts - 1, expired = 0, next_at = $4, rank = $4, last_error = $5,
            lease = NULL, lease_token = NULL
        WHERE organization_id = $1 AND id = $2 AND lease_token = $3";
    EVENT_REPLAY = "UPDATE events SET state = 'pending', attempts = 0, expired = 0, next_at = $3, rank = $3, done_at = NULL
        WHERE organization_id = $1 AND id = $2 AND state IN ('done', 'dead', 'failed')";
    // That it waits is said twice: so it is looked for among what waits, and not among all that ever came.
    EVENT_WAKE = "UPDATE events SET next_at = $2, rank = $2
        WHERE organization_id = $1 AND state IN ('pending', 'failed', 'running') AND state = 'failed' AND next_at > $3";
    EVENT_CANCEL = concat!("UPDATE events SET state = 'dead', last_error = $4, next_at = $5 WHERE ", cancelled!());
    EVENT_SCAN = concat!("SELECT ", columns!(), ", payload FROM events
        WHERE organization_id = $1 AND provider = $2 AND id > $3 ORDER BY id LIMIT $4");
    EVENT_OF_CONVERSATION = "SELECT id FROM events WHERE organization_id = $1 AND state IN ('done', 'dead')
          AND (order_key = $2 OR (provider = 'kustomer' AND order_key = integration_id || ':' || $3)) ORDER BY id";
    // What is ended needs no order any more, and the key may name an order or a customer.
    EVENT_ERASE = "UPDATE events SET payload = $3, order_key = CASE WHEN state IN ('done', 'dead') THEN id ELSE order_key END
        WHERE organization_id = $1 AND id = $2";
}

/// What a list of events is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only this provider.
    pub provider: Option<Provider>,
    /// Only of this connection.
    pub integration: Option<IntegrationId>,
    /// Only this topic.
    pub topic: Option<String>,
    /// Only in this state.
    pub state: Option<EventState>,
    /// Received at or after.
    pub since: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
    /// Only what the provider calls so.
    pub external_id: Option<String>,
    /// Only where this stands in the reason of the last failure, in large letters or small.
    pub error: Option<String>,
}

impl EventFilter {
    /// Whether few of many events may fit, so that the look for them has to be bounded.
    fn is_sparse(&self) -> bool {
        self.provider.is_some()
            || self.integration.is_some()
            || self.topic.is_some()
            || self.state.is_some_and(|state| state != EventState::Dead)
            || self.external_id.is_some()
            || self.error.is_some()
    }
}

/// Events that were found.
#[derive(Debug)]
pub struct Found {
    /// Newest first.
    pub events: Vec<Event>,
    /// Where to go on looking, if not all was looked at for want of as many as were asked for.
    pub searched_to: Option<EventId>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    integration_id: String,
    generation: i64,
    provider: String,
    topic: String,
    external_id: String,
    state: String,
    attempts: i64,
    received_at: i64,
    triggered_at: Option<i64>,
    done_at: Option<i64>,
    next_at: i64,
    last_error: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Full {
    #[sqlx(flatten)]
    row: Row,
    payload: Vec<u8>,
}

/// An event with its sealed payload (`events.payload` of row `id`).
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// The event.
    pub event: Event,
    /// What it carried, sealed.
    pub payload: Sealed,
}

/// A pattern for texts in which this stands.
fn within(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern + "%"
}

fn corrupt(column: &'static str) -> StoreError {
    StoreError::Corrupt { table: "events", column }
}

impl TenantTx {
    fn event(&self, r: Row) -> Result<Event, StoreError> {
        Ok(Event {
            id: EventId::parse(&r.id).ok_or_else(|| corrupt("id"))?,
            organization_id: self.org.clone(),
            integration_id: IntegrationId::parse(&r.integration_id)
                .ok_or_else(|| corrupt("integration_id"))?,
            generation: r.generation,
            provider: Provider::parse(&r.provider).ok_or_else(|| corrupt("provider"))?,
            topic: r.topic,
            external_id: r.external_id,
            state: EventState::parse(&r.state).ok_or_else(|| corrupt("state"))?,
            attempts: r.attempts,
            received_at: Timestamp::from_millis(r.received_at),
            triggered_at: r.triggered_at.map(Timestamp::from_millis),
            done_at: r.done_at.map(Timestamp::from_millis),
            next_at: Timestamp::from_millis(r.next_at),
            last_error: r.last_error,
        })
    }

    /// Newest first; `before` is the id of the last one seen.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_list(
        &mut self,
        filter: &EventFilter,
        before: Option<&EventId>,
        limit: i64,
    ) -> Result<Vec<Event>, StoreError> {
        Ok(self.event_search(filter, before, limit).await?.events)
    }

    /// The same, and how far was looked: at [`LOOK`] events at most.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_search(
        &mut self,
        filter: &EventFilter,
        before: Option<&EventId>,
        limit: i64,
    ) -> Result<Found, StoreError> {
        let look = if filter.is_sparse() { LOOK.max(limit) } else { limit };
        self.event_search_within(filter, before, limit, look).await
    }

    /// The same with a bound of the caller's.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_search_within(
        &mut self,
        filter: &EventFilter,
        before: Option<&EventId>,
        limit: i64,
        look: i64,
    ) -> Result<Found, StoreError> {
        let (list, end) = match filter.state {
            Some(EventState::Dead) => (EVENT_LIST_DEAD, EVENT_LIST_END_DEAD),
            _ => (EVENT_LIST, EVENT_LIST_END),
        };
        let until = filter.until.map(|at| EventId::first_of(at.plus_secs(SKEW_SECS)));
        let before = before.into_iter().chain(&until).min().map_or(LAST, EventId::as_str);
        let since = filter.since.map(|at| EventId::first_of(at.plus_secs(-SKEW_SECS)));
        let since = since.as_ref().map_or("", EventId::as_str);
        let rows = rows!(
            fetch_all,
            self,
            Row,
            list,
            self.org.as_str(),
            filter.provider.map_or("", Provider::as_str),
            filter.topic.as_deref().unwrap_or(""),
            filter.state.map_or("", EventState::as_str),
            filter.since.map_or(0, Timestamp::millis),
            filter.until.map_or(i64::MAX, Timestamp::millis),
            before,
            filter.integration.as_ref().map_or("", |id| id.as_str()),
            limit,
            since,
            look,
            filter.external_id.as_deref().unwrap_or(""),
            filter.error.as_deref().map_or_else(String::new, within),
        )?;
        let events = rows.into_iter().map(|r| self.event(r)).collect::<Result<Vec<_>, _>>()?;
        let mut searched_to = None;
        if (events.len() as i64) < limit {
            let (last, n) =
                rows!(fetch_one, self, (String, i64), end, self.org.as_str(), before, since, look)?;
            if n == look {
                searched_to = Some(EventId::parse(&last).ok_or_else(|| corrupt("id"))?);
            }
        }
        Ok(Found { events, searched_to })
    }

    /// One event.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_find(&mut self, id: &EventId) -> Result<Option<Event>, StoreError> {
        let row = rows!(fetch_optional, self, Row, EVENT_FIND, self.org.as_str(), id.as_str())?;
        row.map(|r| self.event(r)).transpose()
    }

    /// The sealed payload: `events.payload` of row `id`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it is not this organization's.
    pub async fn event_payload(&mut self, id: &EventId) -> Result<Sealed, StoreError> {
        let row = rows!(fetch_optional, self, (Vec<u8>,), EVENT_PAYLOAD, self.org.as_str(), id.as_str())?;
        row.map(|(b,)| Sealed::from_bytes(b)).ok_or(StoreError::NotFound("event"))
    }

    /// The effects of an event are in this transaction: closes it, with when the attempt began.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another worker took it; then the transaction must be dropped.
    pub async fn event_done(
        &mut self,
        id: &EventId,
        lease_token: &str,
        begun_at: Timestamp,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let (org, begun) = (self.org.as_str(), begun_at.millis());
        let n = execute!(self, EVENT_DONE, org, id.as_str(), lease_token, at.millis(), begun)?;
        if n == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
    }

    /// An attempt failed: the event waits until `next_at`, or is dead.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another worker took it.
    pub async fn event_failed(
        &mut self,
        id: &EventId,
        lease_token: &str,
        state: EventState,
        next_at: Timestamp,
        error: &str,
    ) -> Result<(), StoreError> {
        let n = execute!(
            self,
            EVENT_FAILED,
            self.org.as_str(),
            id.as_str(),
            lease_token,
            state.as_str(),
            next_at.millis(),
            error
        )?;
        if n == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
    }

    /// Nothing was done: the event waits until `next_at`, and the attempt does not count.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another worker took it.
    pub async fn event_put_off(
        &mut self,
        id: &EventId,
        lease_token: &str,
        next_at: Timestamp,
        why: &str,
    ) -> Result<(), StoreError> {
        let org = self.org.as_str();
        let n = execute!(self, EVENT_PUT_OFF, org, id.as_str(), lease_token, next_at.millis(), why)?;
        if n == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
    }

    /// Puts an ended or failed event back into the queue. `false` if it is queued or running already.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_replay(&mut self, id: &EventId, at: Timestamp) -> Result<bool, StoreError> {
        self.telling.work();
        Ok(execute!(self, EVENT_REPLAY, self.org.as_str(), id.as_str(), at.millis())? == 1)
    }

    /// Makes events due now that wait for another attempt until after `beyond`: what stood in their way was mended.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_wake(&mut self, now: Timestamp, beyond: Timestamp) -> Result<u64, StoreError> {
        self.telling.work();
        execute!(self, EVENT_WAKE, self.org.as_str(), now.millis(), beyond.millis())
    }

    /// Gives up the waiting events of a connection up to `generation`, for `reason`. What a shop's customers ask for
    /// stays: it has to be done after the connection has ended, too.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_cancel(
        &mut self,
        integration: &IntegrationId,
        generation: i64,
        reason: &str,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.event_history_cancel(integration, generation, reason, now).await?;
        let (org, it) = (self.org.as_str(), integration.as_str());
        execute!(self, EVENT_CANCEL, org, it, generation, reason, now.millis())
    }

    /// All events of a provider with what they carried, in the order of their ids, after the last one seen.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_scan(
        &mut self,
        provider: Provider,
        after: Option<&EventId>,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let (org, after) = (self.org.as_str(), after.map_or("", EventId::as_str));
        let rows = rows!(fetch_all, self, Full, EVENT_SCAN, org, provider.as_str(), after, limit)?;
        rows.into_iter()
            .map(|f| Ok(StoredEvent { event: self.event(f.row)?, payload: Sealed::from_bytes(f.payload) }))
            .collect()
    }

    /// The ended events of a conversation: by their order key, and those of its conversation in Kustomer, if it has one.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_of_conversation(
        &mut self,
        order_key: &str,
        kustomer_id: Option<&str>,
    ) -> Result<Vec<EventId>, StoreError> {
        let (org, desk) = (self.org.as_str(), kustomer_id.unwrap_or(""));
        let rows = rows!(fetch_all, self, (String,), EVENT_OF_CONVERSATION, org, order_key, desk)?;
        rows.iter().map(|(id,)| EventId::parse(id).ok_or_else(|| corrupt("id"))).collect()
    }

    /// Puts another payload, sealed for this row, in the place of what the event carried. The row stays: it is the
    /// log, and keeps a repeat of the delivery from coming in anew.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn event_erase(&mut self, id: &EventId, payload: &Sealed) -> Result<bool, StoreError> {
        Ok(execute!(self, EVENT_ERASE, self.org.as_str(), id.as_str(), payload.as_bytes())? == 1)
    }
}
