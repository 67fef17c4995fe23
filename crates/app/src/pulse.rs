//! How it goes, minute by minute: what was accepted, what failed, and how long events took.
//!
//! For one organization this is counted from its newest events, a bounded number of them. For the whole installation
//! each process keeps a few numbers, and says them in a row of its own every few seconds in which they changed: nothing is
//! written for an event, and nothing at all while nothing happens.

use crate::App;
use crate::error::AppError;
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::entropy::bytes;
use agenstack_core::policy::Action;
use agenstack_store::global::minute::Minute;
use agenstack_store::tenant::event_minute::BOUNDS;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Minutes that are shown, the present one among them.
pub const SHOWN: i64 = 60;
/// How often a process says its numbers, if they have changed.
pub const SAID: Duration = Duration::from_secs(10);
/// For how long they are kept.
const KEPT_MINUTES: i64 = 24 * 60;
/// Events of one organization that are counted: the newest.
const COUNTED: i64 = 10_000;
/// Waiting events of one organization that are looked at for the oldest.
const WAITING: i64 = 1_000;
const MINUTE_MS: i64 = 60_000;

/// Counts by bound, and of what takes longer than the last.
type Lags<T> = [T; BOUNDS.len() + 1];

/// What this process has counted since it began.
#[derive(Default)]
pub(crate) struct Counts {
    pub accepted: AtomicU64,
    pub refused: AtomicU64,
    pub failed: AtomicU64,
    pub dead: AtomicU64,
    lags: Lags<AtomicU64>,
}

impl Counts {
    /// An event was done so long after it came.
    pub fn took(&self, ms: i64) {
        let at = BOUNDS.iter().position(|bound| ms <= *bound).unwrap_or(BOUNDS.len());
        self.lags[at].fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> Counted {
        let n = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let [accepted, refused, failed, dead] =
            [&self.accepted, &self.refused, &self.failed, &self.dead].map(n);
        Counted { accepted, refused, failed, dead, lags: self.lags.each_ref().map(n) }
    }
}

/// The counts at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counted {
    accepted: u64,
    refused: u64,
    failed: u64,
    dead: u64,
    lags: Lags<u64>,
}

/// One minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Beat {
    /// When it began.
    pub at: Option<Timestamp>,
    /// Events that were accepted.
    pub accepted: i64,
    /// Failures: of one organization, events that came then and failed or were given up; of all, attempts that failed or were
    /// the last.
    pub failed: i64,
    /// What was refused; of one organization nothing is known of that.
    pub refused: i64,
    /// What 95 of 100 events that were done took at most, in milliseconds.
    pub p95_ms: Option<i64>,
}

/// The last hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pulse {
    /// Minute by minute, oldest first.
    pub minutes: Vec<Beat>,
    /// How long the oldest event that waits has been waiting, in milliseconds.
    pub oldest_ms: Option<i64>,
    /// How many events wait, if that was counted; more, if `waits_more`.
    pub waits: i64,
    /// There are more than were counted.
    pub waits_more: bool,
    /// From here on all events are counted; what came before in this hour is too much to be.
    pub since: Option<Timestamp>,
}

/// The bound that so many of a hundred stay under.
fn percentile(counts: &[i64], of_hundred: i64) -> Option<i64> {
    let all: i64 = counts.iter().sum();
    let mut seen = 0;
    let at = counts.iter().position(|n| {
        seen += n;
        all > 0 && seen * 100 >= all * of_hundred
    })?;
    Some(BOUNDS.get(at).copied().unwrap_or(BOUNDS[BOUNDS.len() - 1]))
}

/// The hour that is shown: the first minute, and its beats.
fn hour(now: Timestamp) -> (i64, Vec<(Beat, Lags<i64>)>) {
    let first = now.millis().div_euclid(MINUTE_MS) - SHOWN + 1;
    let beat = |n| Beat { at: Some(Timestamp::from_millis((first + n) * MINUTE_MS)), ..Beat::default() };
    (first, (0..SHOWN).map(|n| (beat(n), [0; BOUNDS.len() + 1])).collect())
}

fn beats(hour: Vec<(Beat, Lags<i64>)>) -> Vec<Beat> {
    hour.into_iter().map(|(beat, lags)| Beat { p95_ms: percentile(&lags, 95), ..beat }).collect()
}

/// How it goes for one organization.
///
/// # Errors
/// If the role is too small.
pub async fn of_organization(app: &App, org: &OrgCtx) -> Result<Pulse, AppError> {
    org.require(Action::EventRead)?;
    let now = app.now();
    let (first, mut all) = hour(now);
    let mut tx = app.store().tenant_read(org).await?;
    let since = Timestamp::from_millis(first * MINUTE_MS);
    let (rows, counted_from) = tx.event_minutes(since, COUNTED).await?;
    let waiting = tx.event_waiting(WAITING).await?;
    drop(tx);
    for row in rows {
        let at = usize::try_from(row.minute - first).ok().and_then(|n| all.get_mut(n));
        // A clock that is ahead on another node.
        let Some((beat, lags)) = at else { continue };
        beat.accepted += row.count;
        beat.failed += if row.failed { row.count } else { 0 };
        if let Some(n) = row.bound.and_then(|n| lags.get_mut(n)) {
            *n += row.count;
        }
    }
    Ok(Pulse {
        minutes: beats(all),
        oldest_ms: waiting.oldest.map(|at| (now.millis() - at.millis()).max(0)),
        waits: waiting.count,
        waits_more: waiting.more,
        since: counted_from,
    })
}

/// How it goes for all of them.
///
/// # Errors
/// If the database is not available.
pub async fn of_all(app: &App) -> Result<Pulse, AppError> {
    let now = app.now();
    let (first, mut all) = hour(now);
    let mut tx = app.store().global_read().await?;
    let rows = tx.minute_list(first).await?;
    let oldest = tx.queue_front().await?;
    drop(tx);
    for row in rows {
        let at = usize::try_from(row.minute - first).ok().and_then(|n| all.get_mut(n));
        let Some((beat, lags)) = at else { continue };
        beat.accepted += row.accepted;
        beat.refused += row.refused;
        beat.failed += row.failed + row.dead;
        lags.iter_mut().zip(row.lags).for_each(|(n, more)| *n += more);
    }
    let oldest_ms = oldest.map(|at| (now.millis() - at.millis()).max(0));
    Ok(Pulse { minutes: beats(all), oldest_ms, waits: 0, waits_more: false, since: None })
}

/// Says what this process does, until it is dropped.
pub async fn say(app: App) {
    let mut speaker = Speaker::new(&app);
    let mut timer = tokio::time::interval(SAID);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        app.metrics().add_up();
        if let Err(error) = speaker.say(&app).await {
            tracing::warn!(%error, "how it goes could not be written down; it is tried again");
        }
    }
}

/// What a process has said so far.
pub struct Speaker {
    process: String,
    minute: i64,
    /// What was counted when this minute began, and when it was last said.
    began: Counted,
    said: Counted,
}

impl Speaker {
    /// Nothing was said yet.
    pub fn new(app: &App) -> Self {
        let (began, process) = (app.metrics().counts().read(), hex::encode(bytes::<8>(app.entropy())));
        Self { process, minute: minute(app), said: began.clone(), began }
    }

    /// Writes down what was counted in this minute, if that has changed. What is counted between the last time in a minute
    /// and the first in the next counts for the next.
    ///
    /// # Errors
    /// If the database is not available.
    pub async fn say(&mut self, app: &App) -> Result<(), AppError> {
        let (minute, counted) = (minute(app), app.metrics().counts().read());
        if minute != self.minute {
            (self.minute, self.began) = (minute, self.said.clone());
        }
        if counted == self.said {
            return Ok(());
        }
        let row = counted.since(&self.began, minute);
        let mut tx = app.store().global().await?;
        tx.minute_put(&self.process, &row).await?;
        tx.minute_sweep(minute - KEPT_MINUTES).await?;
        tx.commit().await?;
        self.said = counted;
        Ok(())
    }
}

fn minute(app: &App) -> i64 {
    app.now().millis().div_euclid(MINUTE_MS)
}

impl Counted {
    fn since(&self, before: &Counted, minute: i64) -> Minute {
        let n = |now: u64, then: u64| i64::try_from(now.saturating_sub(then)).unwrap_or(i64::MAX);
        Minute {
            minute,
            accepted: n(self.accepted, before.accepted),
            refused: n(self.refused, before.refused),
            failed: n(self.failed, before.failed),
            dead: n(self.dead, before.dead),
            lags: self.lags.iter().zip(&before.lags).map(|(now, then)| n(*now, *then)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_that_ninety_five_of_a_hundred_stay_under() {
        let mut counts = [0; BOUNDS.len() + 1];
        assert_eq!(percentile(&counts, 95), None);
        counts[2] = 95;
        counts[7] = 5;
        assert_eq!(percentile(&counts, 95), Some(50));
        counts[7] = 6;
        assert_eq!(percentile(&counts, 95), Some(2_500));
        let mut beyond = [0; BOUNDS.len() + 1];
        beyond[BOUNDS.len()] = 1;
        assert_eq!(percentile(&beyond, 95), Some(86_400_000));
    }

    #[test]
    fn an_hour_has_sixty_minutes_and_ends_with_this_one() {
        let now = Timestamp::from_millis(1_795_521_659_999);
        let (first, all) = hour(now);
        assert_eq!((all.len(), all[59].0.at), (60, Some(Timestamp::from_millis(1_795_521_600_000))));
        assert_eq!(all[0].0.at, Some(Timestamp::from_millis(first * 60_000)));
    }
}
