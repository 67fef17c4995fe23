//! What becomes of a row whose handling did not end well: it is tried again, put off, or given up with the reason.

use super::{MOST_EXPIRED, Token, name};
use crate::App;
use crate::error::AppError;
use crate::job;
use crate::metric::Attempted;
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::entropy::bytes;
use agenstack_core::event::{EventHistory, EventState, EventStep, MAX_ATTEMPTS, backoff_millis};
use agenstack_core::id::{EventId, JobId};
use agenstack_store::global::queue::Queue;

/// Records a failure.
pub(super) async fn failed(
    app: &App,
    org: &OrgCtx,
    queue: Queue,
    id: &str,
    token: &Token,
    attempts: i64,
    error: &AppError,
) -> Result<(), AppError> {
    let name = name(queue);
    if error.is_lease_lost() {
        // Another worker has it; what was done here was not committed.
        app.metrics().attempted(name, Attempted::LeaseLost, 1);
        return Ok(());
    }
    if let Some(at) = put_off_until(app, error) {
        app.metrics().attempted(name, Attempted::PutOff, 1);
        return put_off(app, org, queue, id, token, at, &error.to_string()).await;
    }
    let state = state_after(error, attempts);
    let outcome = if state == EventState::Failed { Attempted::Failed } else { Attempted::Dead };
    app.metrics().attempted(name, outcome, 1);
    let next_at = next_attempt(app, attempts, error);
    tracing::warn!(org.id = %org.org(), row = id, attempts, state = state.as_str(), code = error.code(), error = ?error, "a row failed");
    let mut tx = app.store().tenant(org).await?;
    let text = error.to_string();
    match queue {
        Queue::Events => {
            let id = EventId::parse(id).ok_or(AppError::NotFound)?;
            tx.event_failed(&id, &token.0, state, next_at, &text).await?;
            let step = if state == EventState::Dead { EventStep::Dead } else { EventStep::Failed };
            let (begun_at, reason) = (Some(org.now()), Some(text));
            let it = EventHistory { step, begun_at, at: app.now(), reason, actor: None };
            tx.event_history_add(&id, &it).await?;
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

pub(super) fn state_after(error: &AppError, attempts: i64) -> EventState {
    if error.is_retryable() && attempts < MAX_ATTEMPTS { EventState::Failed } else { EventState::Dead }
}

/// Never before the provider said; jitter is only added.
fn next_attempt(app: &App, attempts: i64, error: &AppError) -> Timestamp {
    let [ours, theirs] = bytes::<2>(app.entropy());
    let backoff = backoff_millis(attempts, ours);
    let asked = match error {
        AppError::Provider(e) => e.retry_after_secs.map_or(0, |secs| asked_millis(secs, theirs)),
        _ => 0,
    };
    app.now().plus_millis(backoff.max(asked))
}

/// What a provider asked for, and up to a quarter more at random, so that all that waited for it does not come at once: at least
/// up to a second, and at most up to a minute.
fn asked_millis(secs: u64, random: u8) -> i64 {
    let asked = i64::try_from(secs).unwrap_or(i64::MAX).saturating_mul(1000);
    asked.saturating_add((asked / 4).clamp(1_000, 60_000) * i64::from(random) / 256)
}

/// When a row goes on of which nothing was done, because the provider is not to be asked now.
fn put_off_until(app: &App, error: &AppError) -> Option<Timestamp> {
    match error {
        AppError::Provider(e) if e.not_asked => {
            let random = bytes::<1>(app.entropy())[0];
            Some(app.now().plus_millis(asked_millis(e.retry_after_secs.unwrap_or(1), random)))
        }
        _ => None,
    }
}

async fn put_off(
    app: &App,
    org: &OrgCtx,
    queue: Queue,
    id: &str,
    token: &Token,
    at: Timestamp,
    why: &str,
) -> Result<(), AppError> {
    let mut tx = app.store().tenant(org).await?;
    match queue {
        Queue::Events => {
            let id = EventId::parse(id).ok_or(AppError::NotFound)?;
            tx.event_put_off(&id, &token.0, at, why).await?;
        }
        Queue::Jobs => {
            let id = JobId::parse(id).ok_or(AppError::NotFound)?;
            tx.job_put_off(&id, &token.0, at, why).await?;
        }
    }
    Ok(tx.commit().await?)
}

/// Why a row is dead that was never heard of again. Trying again by itself is no use, and may end the next process.
pub(super) fn ended_with_its_process() -> AppError {
    AppError::conflict(
        "process_ended",
        format!(
            "Its handling ended together with the process, {MOST_EXPIRED} times in a row. It is not tried again by itself; tell the operator."
        ),
    )
}

/// When a row goes on whose lease ran out so many times in a row: at once, then later each time, so that it meets others
/// that were at work beside it no more.
pub(super) fn again_after(app: &App, now: Timestamp, expired: i64) -> Timestamp {
    match expired {
        ..=1 => now,
        more => now.plus_millis(backoff_millis(more - 1, bytes::<1>(app.entropy())[0])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_asks_for_is_never_shortened_and_at_most_a_quarter_is_added() {
        for (secs, most) in
            [(0, 996), (1, 1_996), (8, 9_992), (120, 149_882), (300, 359_765), (86_400, 86_459_765)]
        {
            let base = secs as i64 * 1000;
            assert_eq!((asked_millis(secs, 0), asked_millis(secs, 255)), (base, most));
            assert!((0..=255).all(|random| (base..=most).contains(&asked_millis(secs, random))));
        }
        assert_eq!(asked_millis(u64::MAX, 255), i64::MAX);
    }
}
