//! Replays of many events of one organization.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::event::{EventState, Replay, ReplayStatus};
use agenstack_core::id::{EventId, ReplayId};
use agenstack_core::integration::Provider;

macro_rules! columns {
    () => {
        "id, provider, topic, state, since, until, per_second, status, total, done, position, created_at, ended_at"
    };
}

/// The events that a replay means.
macro_rules! meant {
    () => {
        "organization_id = $1 AND ($2 = '' OR provider = $2) AND ($3 = '' OR topic = $3) AND state = $4
          AND received_at >= $5 AND received_at < $6"
    };
}

pub(super) use meant;

statements! { Tenant;
    REPLAY_COUNT = concat!("SELECT COUNT(*) FROM events WHERE ", meant!());
    REPLAY_ADD = "INSERT INTO replays (organization_id, id, provider, topic, state, since, until, per_second, status, total, done,
            position, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, '', $11)";
    REPLAY_FIND = concat!("SELECT ", columns!(), " FROM replays WHERE organization_id = $1 AND id = $2");
    REPLAY_LIST = concat!("SELECT ", columns!(), " FROM replays WHERE organization_id = $1 ORDER BY id DESC LIMIT $2");
    // What was done is due again one after the other, spread over the second: whoever is written to meanwhile goes in between.
    REPLAY_STEP = concat!("UPDATE events SET state = 'pending', attempts = 0, next_at = $9 + step.turn, rank = $9 + step.turn, done_at = NULL
        FROM (SELECT id, (ROW_NUMBER() OVER (ORDER BY id) - 1) * 1000 / $8 AS turn
            FROM (SELECT id FROM events WHERE ", meant!(), " AND id > $7 ORDER BY id LIMIT $8) e) step
        WHERE events.organization_id = $1 AND events.id = step.id AND events.state = $4 RETURNING events.id");
    REPLAY_MOVED = "UPDATE replays SET done = done + $3, position = $4 WHERE organization_id = $1 AND id = $2 AND status = 'running'";
    REPLAY_TURN = "UPDATE replays SET status = $4, ended_at = $5 WHERE organization_id = $1 AND id = $2 AND status = $3";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    provider: String,
    topic: String,
    state: String,
    since: i64,
    until: i64,
    per_second: i64,
    status: String,
    total: i64,
    done: i64,
    position: String,
    created_at: i64,
    ended_at: Option<i64>,
}

fn replay(r: Row) -> Result<Replay, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "replays", column };
    let provider = match r.provider.as_str() {
        "" => None,
        word => Some(Provider::parse(word).ok_or_else(|| corrupt("provider"))?),
    };
    let position = match r.position.as_str() {
        "" => None,
        id => Some(EventId::parse(id).ok_or_else(|| corrupt("position"))?),
    };
    Ok(Replay {
        id: ReplayId::parse(&r.id).ok_or_else(|| corrupt("id"))?,
        provider,
        topic: Some(r.topic).filter(|t| !t.is_empty()),
        state: EventState::parse(&r.state).ok_or_else(|| corrupt("state"))?,
        since: Some(r.since).filter(|at| *at > 0).map(Timestamp::from_millis),
        until: Timestamp::from_millis(r.until),
        per_second: r.per_second,
        status: ReplayStatus::parse(&r.status).ok_or_else(|| corrupt("status"))?,
        total: r.total,
        done: r.done,
        position,
        created_at: Timestamp::from_millis(r.created_at),
        ended_at: r.ended_at.map(Timestamp::from_millis),
    })
}

impl TenantTx {
    /// How many events a replay means now.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn replay_count(&mut self, r: &Replay) -> Result<i64, StoreError> {
        let (provider, topic) = (r.provider.map_or("", Provider::as_str), r.topic.as_deref().unwrap_or(""));
        let (since, until) = (r.since.map_or(0, Timestamp::millis), r.until.millis());
        let org = self.org.as_str();
        let (n,) = rows!(
            fetch_one,
            self,
            (i64,),
            REPLAY_COUNT,
            org,
            provider,
            topic,
            r.state.as_str(),
            since,
            until
        )?;
        Ok(n)
    }

    /// Begins a replay.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn replay_add(&mut self, r: &Replay) -> Result<(), StoreError> {
        execute!(
            self,
            REPLAY_ADD,
            self.org.as_str(),
            r.id.as_str(),
            r.provider.map_or("", Provider::as_str),
            r.topic.as_deref().unwrap_or(""),
            r.state.as_str(),
            r.since.map_or(0, Timestamp::millis),
            r.until.millis(),
            r.per_second,
            r.status.as_str(),
            r.total,
            r.created_at.millis(),
        )?;
        Ok(())
    }

    /// One replay.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn replay_find(&mut self, id: &ReplayId) -> Result<Option<Replay>, StoreError> {
        rows!(fetch_optional, self, Row, REPLAY_FIND, self.org.as_str(), id.as_str())?.map(replay).transpose()
    }

    /// Newest first.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn replay_list(&mut self, limit: i64) -> Result<Vec<Replay>, StoreError> {
        rows!(fetch_all, self, Row, REPLAY_LIST, self.org.as_str(), limit)?.into_iter().map(replay).collect()
    }

    /// Puts the next events of a running replay back into the queue, and gives how many these were.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn replay_step(&mut self, r: &Replay, limit: i64, now: Timestamp) -> Result<i64, StoreError> {
        self.event_history_replay_step(r, limit, now).await?;
        let ids = rows!(
            fetch_all,
            self,
            (String,),
            REPLAY_STEP,
            self.org.as_str(),
            r.provider.map_or("", Provider::as_str),
            r.topic.as_deref().unwrap_or(""),
            r.state.as_str(),
            r.since.map_or(0, Timestamp::millis),
            r.until.millis(),
            r.position.as_ref().map_or("", EventId::as_str),
            limit,
            now.millis(),
        )?;
        let Some((last,)) = ids.iter().max() else { return Ok(0) };
        let first = ids.iter().min().map_or(last, |(id,)| id);
        self.event_history_trim(first, last).await?;
        let n = ids.len() as i64;
        execute!(self, REPLAY_MOVED, self.org.as_str(), r.id.as_str(), n, last.as_str())?;
        self.telling.work();
        Ok(n)
    }

    /// Turns a replay from one status to another. `false` if it is not in the first.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn replay_turn(
        &mut self,
        id: &ReplayId,
        from: ReplayStatus,
        to: ReplayStatus,
        ended_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let (org, ended) = (self.org.as_str(), ended_at.map(Timestamp::millis));
        Ok(execute!(self, REPLAY_TURN, org, id.as_str(), from.as_str(), to.as_str(), ended)? == 1)
    }
}
