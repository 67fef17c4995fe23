//! What was kept long enough goes: ended events with their history, deeds that were given up, replays that are over.
//!
//! One node at a time goes through the organizations, in the order of their ids, and keeps its place in the database:
//! whoever stops is followed by whoever comes next. Each batch is a short transaction, and is followed by a pause several
//! times as long, so that most of the time the writer is free for what comes in.

use crate::App;
use crate::error::AppError;
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::{Actor, OrgCtx};
use agenstack_core::id::{EventId, OrgId};
use agenstack_store::global::upkeep::{Holding, Upkeep};
use agenstack_store::tenant::retention::Kept;
use std::time::{Duration, Instant};

/// How long a claimed step is held without being extended.
const LEASE_SECS: i64 = 120;
/// How long after a whole pass the next one begins.
pub const PASS_SECS: i64 = 3_600;
/// Organizations that a step looks at.
const ORGANIZATIONS: i64 = 500;
/// Rows that one transaction looks at.
const BATCH: i64 = 500;
/// How many times as long as a transaction took nothing is deleted after it.
const PAUSE: u32 = 4;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// For how long is kept what is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Days for which an event is kept after it was done.
    pub done_days: i64,
    /// Days for which is kept what was given up, so that people can see why, and have it handled again.
    pub dead_days: i64,
}

/// The least: providers come again for two days at most, and it is by an event that its repeat is known.
pub const LEAST_DAYS: i64 = 7;

impl Default for Retention {
    fn default() -> Self {
        Self { done_days: 30, dead_days: 90 }
    }
}

impl Retention {
    fn until(self, now: Timestamp) -> Kept {
        let days = |n: i64| now.plus_secs(-n.max(LEAST_DAYS) * 86_400);
        Kept { done: days(self.done_days), dead: days(self.dead_days) }
    }
}

/// Steps until nothing is due, or somebody else is at it. Gives how many events were deleted. May be dropped at any time:
/// what was committed is gone, and the place is kept.
///
/// # Errors
/// If the database is not available; the claimed step is free again after a while.
pub async fn round(app: &App) -> Result<u64, AppError> {
    let mut events = 0;
    // Asking first keeps an idle worker from taking SQLite's one place to write.
    while app.store().global_read().await?.upkeep().await?.next_at <= app.now() {
        let held = app.now().plus_secs(LEASE_SECS);
        let mut tx = app.store().global().await?;
        let claimed = tx.upkeep_claim(app.now(), held).await?;
        tx.commit().await?;
        let Some(it) = claimed else { break };
        let Some(n) = (Pass { app, kept: app.retention().until(app.now()), it, held }).step().await? else {
            break;
        };
        events += n;
    }
    Ok(events)
}

/// When the oldest event came that the last whole pass left, and when that pass ended.
pub(crate) async fn seen(app: &App) -> Result<(Option<Timestamp>, Option<Timestamp>), AppError> {
    let it = app.store().global_read().await?.upkeep().await?;
    Ok((it.oldest.map(|id| id.made_at()), it.ended_at))
}

/// A claimed step.
struct Pass<'a> {
    app: &'a App,
    kept: Kept,
    it: Upkeep,
    held: Timestamp,
}

impl Pass<'_> {
    /// Looks at the next organizations. `None` if somebody else went on meanwhile.
    async fn step(mut self) -> Result<Option<u64>, AppError> {
        let mut reading = self.app.store().global_read().await?;
        let all = reading.retention_look(self.it.place.as_ref(), self.kept.dead, ORGANIZATIONS).await?;
        drop(reading);
        let mut events = 0;
        for holding in &all {
            let mut left = holding.oldest.clone();
            if holding.dead_jobs || left.as_ref().is_some_and(|id| *id < EventId::first_of(self.kept.done)) {
                let Some((n, oldest)) = self.expire(holding).await? else { return Ok(None) };
                events += n;
                left = oldest;
            }
            self.it.found = [self.it.found.take(), left].into_iter().flatten().min();
            self.it.place = Some(holding.org.clone());
        }
        let now = self.app.now();
        self.it.next_at = now;
        if (all.len() as i64) < ORGANIZATIONS {
            let found = self.it.found.take();
            self.it = Upkeep {
                place: None::<OrgId>,
                found: None,
                oldest: found,
                next_at: now.plus_secs(PASS_SECS),
                ended_at: Some(now),
            };
        }
        Ok(self.save().await?.then_some(events))
    }

    /// Deletes what one organization has kept long enough: how many events, and the oldest that stays.
    async fn expire(&mut self, holding: &Holding) -> Result<Option<(u64, Option<EventId>)>, AppError> {
        let org = OrgCtx::from_queue(self.app.ctx(Actor::Worker), &holding.proof);
        let (mut events, mut after) = (0, None);
        loop {
            let begun = Instant::now();
            let mut tx = self.app.store().tenant(&org).await?;
            let batch = tx.event_expire(after.as_ref(), self.kept, BATCH).await?;
            let jobs = tx.job_expire(self.kept.dead, BATCH).await?;
            let replays = tx.replay_expire(self.kept.done).await?;
            tx.commit().await?;
            self.app.metrics().expired(batch.events, jobs, replays);
            events += batch.events;
            tokio::time::sleep((begun.elapsed() * PAUSE).min(LONGEST_PAUSE)).await;
            if self.app.now() > self.held.plus_secs(-LEASE_SECS / 2) {
                self.it.next_at = self.app.now().plus_secs(LEASE_SECS);
                if !self.save().await? {
                    return Ok(None);
                }
                self.held = self.it.next_at;
            }
            after = batch.more;
            if after.is_none() && (jobs as i64) < BATCH {
                let oldest = self.app.store().tenant_read(&org).await?.event_oldest().await?;
                return Ok(Some((events, oldest)));
            }
        }
    }

    async fn save(&self) -> Result<bool, AppError> {
        let mut tx = self.app.store().global().await?;
        let ours = tx.upkeep_save(&self.it, self.held).await?;
        tx.commit().await?;
        Ok(ours)
    }
}
