//! The worker: leases what is due, does it, and records how it went. Any number of them work on one database.
//!
//! A lease is short and is extended while the work goes on, so that what a killed process held is free again after
//! [`LEASE_SECS`]. Whoever lost a lease cannot end the row: every end names the lease's token.
//!
//! Each batch is leased under a token of its own, which is extended only while somebody here works under it. So a row comes
//! back also to the process that leased it: when its failure could not be recorded, or the answer to the lease was lost.

use crate::error::AppError;
use crate::{App, handle, job};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::{Actor, OrgCtx};
use agenstack_core::entropy::bytes;
use agenstack_core::event::{EventState, MAX_ATTEMPTS, backoff_millis};
use agenstack_core::id::{EventId, JobId};
use agenstack_store::StoreError;
use agenstack_store::global::queue::{Leased, Queue};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

/// How long a row is held without an extension.
pub const LEASE_SECS: i64 = 15;
/// How often leases are extended, and what was left behind is looked for.
const EXTEND: Duration = Duration::from_secs(5);
/// How often the queue is asked when nobody says that there is work: the net below the wake-up.
const POLL: Duration = Duration::from_millis(500);
/// How often what is over is forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(60);
/// How often connections are looked after.
const CARE: Duration = Duration::from_secs(20);
/// Rows that one round of [`pass`] takes of each queue.
const ROUND: usize = 16;

/// The name on the leases of one batch. Whoever works under it holds a copy.
#[derive(Clone)]
struct Token(Arc<str>);

impl Token {
    fn new(app: &App) -> Self {
        Self(hex::encode(bytes::<16>(app.entropy())).into())
    }

    /// Whether anybody works under it beside whoever asks.
    fn is_at_work(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// Works on up to `slots` rows at once until `shutdown` is done, then finishes what it is doing and hands back what it
/// has not begun.
pub async fn run(app: App, slots: usize, shutdown: impl Future<Output = ()> + Send) {
    let mut tokens = Vec::new();
    let mut at_work = JoinSet::new();
    let every = |period| {
        let mut timer = tokio::time::interval(period);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timer
    };
    let (mut poll, mut extend, mut tidy, mut care) =
        (every(POLL), every(EXTEND), every(HOUSEKEEPING), every(CARE));
    let mut caring: Option<JoinHandle<()>> = None;
    let mut sealing: Option<JoinHandle<()>> = None;
    tokio::pin!(shutdown);
    loop {
        let free = slots - at_work.len();
        let taken = if free == 0 { 0 } else { take(&app, &mut tokens, free, &mut at_work).await };
        // A full batch means that there is more.
        if taken == free && free > 0 {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = &mut shutdown => break,
            () = app.wake_up().notified() => {}
            _ = poll.tick(), if at_work.len() < slots => {}
            Some(_) = at_work.join_next(), if !at_work.is_empty() => {}
            _ = extend.tick() => keep(&app, &mut tokens).await,
            _ = tidy.tick() => tidy_up(&app).await,
            _ = care.tick() => {
                // Beside the queue: a provider that stalls must not hold it up.
                if caring.as_ref().is_none_or(JoinHandle::is_finished) {
                    caring = Some(tokio::spawn(crate::care::round(app.clone())));
                }
                if sealing.as_ref().is_none_or(JoinHandle::is_finished) {
                    sealing = Some(tokio::spawn(seal_anew(app.clone())));
                }
            }
        }
    }
    tracing::info!(at_work = at_work.len(), "the worker stops");
    loop {
        tokio::select! {
            done = at_work.join_next() => if done.is_none() { break },
            _ = extend.tick() => keep(&app, &mut tokens).await,
        }
    }
    hand_back(&app, &tokens).await;
}

/// One round: leases what is due, does all of it, and gives how many rows that were. Tests call it until it gives 0.
///
/// # Errors
/// If the queue cannot be read.
pub async fn pass(app: &App) -> Result<usize, AppError> {
    let mut at_work = JoinSet::new();
    let mut total = 0;
    for queue in [Queue::Events, Queue::Jobs] {
        let token = Token::new(app);
        for leased in lease(app, &token, queue, ROUND).await? {
            start(app, &token, queue, leased, &mut at_work);
            total += 1;
        }
        while at_work.join_next().await.is_some() {}
    }
    Ok(total)
}

/// How many rows wait or run.
///
/// # Errors
/// If the queue cannot be read.
pub async fn waiting(app: &App) -> Result<i64, AppError> {
    Ok(app.store().global_read().await?.queue_waiting().await?)
}

async fn take(app: &App, tokens: &mut Vec<Token>, free: usize, at_work: &mut JoinSet<()>) -> usize {
    let mut taken = 0;
    // Deeds first: a customer waits for them longest.
    for queue in [Queue::Jobs, Queue::Events] {
        let token = Token::new(app);
        match lease(app, &token, queue, free - taken).await {
            Ok(rows) => {
                taken += rows.len();
                for leased in rows {
                    start(app, &token, queue, leased, at_work);
                }
                if token.is_at_work() {
                    tokens.push(token);
                }
            }
            Err(error) => {
                tracing::warn!(%error, ?queue, "the queue could not be read");
                break;
            }
        }
    }
    taken
}

async fn lease(app: &App, token: &Token, queue: Queue, limit: usize) -> Result<Vec<Leased>, AppError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let now = app.now();
    // Asking first keeps an idle worker from taking SQLite's one place to write.
    if !app.store().global_read().await?.is_due(queue, now).await? {
        return Ok(Vec::new());
    }
    let mut tx = app.store().global().await?;
    let rows = tx.lease(queue, &token.0, now, now.plus_secs(LEASE_SECS), limit as i64).await?;
    tx.commit().await?;
    Ok(rows)
}

fn start(app: &App, token: &Token, queue: Queue, leased: Leased, at_work: &mut JoinSet<()>) {
    let (app, token) = (app.clone(), token.clone());
    at_work.spawn(async move {
        let attempts = leased.attempts;
        let org = OrgCtx::from_queue(app.ctx(Actor::Worker), &leased.queued_for);
        let work = {
            let (app, org, token, id) = (app.clone(), org.clone(), token.clone(), leased.id.clone());
            async move { perform(&app, &org, queue, &id, &token).await }
        };
        let Err(error) = apart(work).await else { return };
        if let Err(error) = failed(&app, &org, queue, &leased.id, &token, attempts, &error).await {
            tracing::warn!(%error, row = leased.id, "a failure could not be recorded; the lease runs out by itself");
        }
    });
}

/// In a task of its own: a handler that panics fails its row and nobody else's.
async fn apart(work: impl Future<Output = Result<(), AppError>> + Send + 'static) -> Result<(), AppError> {
    tokio::spawn(work).await.unwrap_or_else(|panic| Err(AppError::Internal(Box::new(panic))))
}

async fn perform(app: &App, org: &OrgCtx, queue: Queue, id: &str, token: &Token) -> Result<(), AppError> {
    match queue {
        Queue::Events => {
            let id = EventId::parse(id).ok_or(AppError::NotFound)?;
            handle::perform(app, org, &handle::Lease { id: &id, token: &token.0 }).await
        }
        Queue::Jobs => {
            let id = JobId::parse(id).ok_or(AppError::NotFound)?;
            job::perform(app, org, &job::Lease { id: &id, token: &token.0 }).await
        }
    }
}

async fn failed(
    app: &App,
    org: &OrgCtx,
    queue: Queue,
    id: &str,
    token: &Token,
    attempts: i64,
    error: &AppError,
) -> Result<(), AppError> {
    if error.is_lease_lost() {
        // Another worker has it; what was done here was not committed.
        return Ok(());
    }
    let state = state_after(error, attempts);
    let next_at = next_attempt(app, attempts, error);
    tracing::warn!(org.id = %org.org(), row = id, attempts, state = state.as_str(), code = error.code(), error = ?error, "a row failed");
    let mut tx = app.store().tenant(org).await?;
    let text = error.to_string();
    match queue {
        Queue::Events => {
            let id = EventId::parse(id).ok_or(AppError::NotFound)?;
            tx.event_failed(&id, &token.0, state, next_at, &text).await?;
        }
        Queue::Jobs => {
            let id = JobId::parse(id).ok_or(AppError::NotFound)?;
            if state == EventState::Dead {
                job::given_up(app, org, &mut tx, &job::Lease { id: &id, token: &token.0 }, &text).await?;
            }
            tx.job_failed(&id, &token.0, state, next_at, &text).await?;
        }
    }
    tx.commit().await?;
    app.live().changed(org.org(), crate::live::Topic::Events);
    Ok(())
}

fn state_after(error: &AppError, attempts: i64) -> EventState {
    if error.is_retryable() && attempts < MAX_ATTEMPTS { EventState::Failed } else { EventState::Dead }
}

/// Never before the provider said; jitter is only added.
fn next_attempt(app: &App, attempts: i64, error: &AppError) -> Timestamp {
    let backoff = backoff_millis(attempts, bytes::<1>(app.entropy())[0]);
    let asked = match error {
        AppError::Provider(e) => e.retry_after_secs.unwrap_or(0),
        _ => 0,
    };
    app.now().plus_millis(backoff.max(i64::try_from(asked).unwrap_or(0).saturating_mul(1000)))
}

/// Extends the leases of what is at work here and frees those whose holder is gone.
async fn keep(app: &App, tokens: &mut Vec<Token>) {
    tokens.retain(Token::is_at_work);
    let outcome = async {
        let now = app.now();
        let mut tx = app.store().global().await?;
        for token in tokens.iter() {
            tx.lease_extend(&token.0, now.plus_secs(LEASE_SECS)).await?;
        }
        // What is at work here was extended a moment ago; what else was leased here is nobody's.
        let freed = tx.lease_expire("", now).await?;
        tx.commit().await?;
        Ok::<_, StoreError>(freed)
    };
    match outcome.await {
        Ok(0) => {}
        Ok(freed) => tracing::info!(freed, "rows that nobody works on any more are free again"),
        Err(error) => tracing::warn!(%error, "leases could not be extended"),
    }
}

async fn hand_back(app: &App, tokens: &[Token]) {
    let outcome = async {
        let mut tx = app.store().global().await?;
        for token in tokens {
            tx.lease_return(&token.0, app.now()).await?;
        }
        tx.commit().await
    };
    if let Err(error) = outcome.await {
        tracing::warn!(%error, "leases could not be handed back; they run out by themselves");
    }
}

/// Goes on with replacing data keys.
async fn seal_anew(app: App) {
    if let Err(error) = crate::renewal::round(app.keyring()).await {
        tracing::warn!(%error, "values could not be sealed anew; it goes on later");
    }
}

/// Forgets what is over: sessions, authorizations, events that nobody connected in time, full limit buckets.
pub async fn tidy_up(app: &App) {
    let outcome = async {
        let now = app.now();
        let mut tx = app.store().global().await?;
        tx.session_sweep(now).await?;
        tx.flow_sweep(now).await?;
        tx.offer_sweep(now.plus_secs(-crate::connect::OFFER_SECS)).await?;
        tx.outbox_sweep(now.plus_secs(-crate::mail::KEPT_SECS)).await?;
        tx.unrouted_sweep(now.plus_secs(-crate::ingest::UNROUTED_SECS)).await?;
        tx.commit().await
    };
    if let Err(error) = outcome.await {
        tracing::warn!(%error, "what is over could not be forgotten");
    }
    if let Err(error) = crate::account::erase_closed(app).await {
        tracing::warn!(%error, "rows of a deleted organization could not be deleted; it goes on later");
    }
    match crate::ingest::adopt_owned(app, &app.ctx(Actor::Worker)).await {
        Ok(0) => {}
        Ok(adopted) => tracing::info!(adopted, "events that came early have their owner"),
        Err(error) => tracing::warn!(%error, "events that came early could not be looked through"),
    }
    if let Err(error) = crate::compliance::sweep(app).await {
        tracing::warn!(%error, "exports of privacy requests could not be forgotten");
    }
    app.limits().sweep();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_fails_its_row_which_is_tried_again_and_given_up_at_last() {
        let error = apart(async { panic!("a handler of this test") }).await.unwrap_err();
        assert!(matches!(error, AppError::Internal(_)) && error.is_retryable(), "{error:?}");
        // What people read of it says nothing of the inside.
        assert!(!error.to_string().contains("handler of this test"), "{error}");
        assert_eq!(state_after(&error, MAX_ATTEMPTS - 1), EventState::Failed);
        assert_eq!(state_after(&error, MAX_ATTEMPTS), EventState::Dead);
        assert!(apart(async { Ok(()) }).await.is_ok());
    }
}
