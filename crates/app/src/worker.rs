//! The worker: leases what is due, does it, and records how it went. Any number of them work on one database.
//!
//! A lease is short and is extended while the work goes on, so that what a killed process held is free again after
//! [`LEASE_SECS`]. Whoever lost a lease cannot end the row: every end names the lease's token.
//!
//! Each batch is leased under a token of its own, which is extended only while somebody here works under it. So a row comes
//! back also to the process that leased it: when its failure could not be recorded, or the answer to the lease was lost.

mod outcome;

use crate::error::AppError;
use crate::metric::Attempted;
use crate::{App, care, handle, job, scrub, trace};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::{Actor, OrgCtx};
use agenstack_core::entropy::bytes;
use agenstack_core::id::{EventId, JobId, OrgId};
use agenstack_store::global::queue::{Attempt, Conversation, Due, Fronts, Leased, Queue, Wanted};
use outcome::{again_after, ended_with_its_process, failed};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

/// How long a row is held without an extension.
pub const LEASE_SECS: i64 = 15;
/// How often leases are extended, and what was left behind is looked for.
const EXTEND: Duration = Duration::from_secs(5);
/// How often the queue is asked when nobody says that there is work: the net below the wake-up, and what finds the attempts
/// whose time has come.
const POLL: Duration = Duration::from_secs(1);
/// How often what is over is forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(60);
/// How often connections are looked after.
const CARE: Duration = Duration::from_secs(20);
/// A row whose handler ended so many times in a row with the process is not handled any more: it may be the reason.
const MOST_EXPIRED: i64 = 5;
/// How often rows that cannot be taken are put back, at most.
const PUT_BACK_MILLIS: i64 = 1_000;
/// How often it is looked where waiting rows begin while there are some.
const LOOK: Duration = Duration::from_secs(1);
/// And from the very beginning: what was committed later after its rank than [`LATE_SECS`] is found then. Such a look may be long,
/// if somebody keeps PostgreSQL from forgetting what is done; then it takes a fiftieth of the time at most.
const LOOK_AT_ALL: Duration = Duration::from_secs(10);
const LOOK_SHARE: u32 = 50;
const LATE_SECS: i64 = 2;
/// Rows that one round of [`pass`] takes of each queue.
const ROUND: i64 = 16;
/// What is done first in a round, and in each fourth: deeds before events, since a customer waits for them longest, and
/// what was never tried before what is tried again.
const USUAL: [(Queue, Attempt); 4] = [
    (Queue::Jobs, Attempt::First),
    (Queue::Events, Attempt::First),
    (Queue::Jobs, Attempt::Again),
    (Queue::Events, Attempt::Again),
];
const FOURTH: [(Queue, Attempt); 4] = [
    (Queue::Jobs, Attempt::Again),
    (Queue::Events, Attempt::Again),
    (Queue::Jobs, Attempt::First),
    (Queue::Events, Attempt::First),
];

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

/// What is held under one name.
struct Held {
    token: Token,
    /// At least until then.
    until: Timestamp,
}

/// Rows that are being worked on, in so many places.
struct AtWork {
    slots: usize,
    rounds: usize,
    tasks: JoinSet<(OrgId, Attempt)>,
    held: HashMap<OrgId, usize>,
    again: usize,
    /// After which conversation of a queue the next look behind its front begins.
    last: HashMap<Queue, Conversation>,
    /// When rows that cannot be taken were put back last.
    put_back: HashMap<(Queue, Attempt), Timestamp>,
    /// The leases of what is at work.
    leases: Vec<Held>,
    /// Where waiting rows begin, when it is to be looked again, and when from the beginning.
    fronts: Fronts,
    look: Instant,
    look_at_all: Instant,
    /// Leases that had run out by then are free again.
    expired: Timestamp,
}

impl AtWork {
    fn new(slots: usize) -> Self {
        Self {
            slots,
            rounds: 0,
            tasks: JoinSet::new(),
            held: HashMap::new(),
            again: 0,
            last: HashMap::new(),
            put_back: HashMap::new(),
            leases: Vec::new(),
            fronts: Fronts::default(),
            look: Instant::now(),
            look_at_all: Instant::now(),
            expired: Timestamp::from_millis(0),
        }
    }

    /// Looks where waiting rows begin, if it is time for it.
    async fn look(&mut self, app: &App, now: Timestamp, worked: bool) -> Result<(), AppError> {
        let begun = Instant::now();
        let all = begun >= self.look_at_all;
        if !(all || worked && begun >= self.look) {
            return Ok(());
        }
        let from = if all { Fronts::default() } else { self.fronts };
        self.fronts = app.store().global_read().await?.fronts(from, now.plus_secs(-LATE_SECS)).await?;
        self.look = begun + LOOK;
        if all {
            self.expired = Timestamp::from_millis(0);
            self.look_at_all = begun + LOOK_AT_ALL.max(begun.elapsed() * LOOK_SHARE);
        }
        Ok(())
    }

    fn free(&self) -> usize {
        self.slots - self.tasks.len()
    }

    /// Places that one organization may take in one round; it may hold twice as many, a quarter of all. A provider that
    /// stalls for one organization leaves the other places free.
    fn each(&self) -> usize {
        (self.slots / 8).max(1)
    }

    /// Organizations that might hold more than they may if they took part in the next lease, with what was `taken` and is not
    /// begun yet.
    fn busy(&self, taken: &[(Queue, Attempt, Leased)]) -> Vec<OrgId> {
        let mut held: HashMap<&OrgId, usize> = self.held.iter().map(|(org, n)| (org, *n)).collect();
        for (_, _, leased) in taken {
            *held.entry(&leased.org).or_default() += 1;
        }
        let most = (self.slots / 4).max(1);
        held.into_iter().filter(|(_, n)| n + self.each() > most).map(|(org, _)| org.clone()).collect()
    }

    /// Whether it is time to put rows back. What comes in between is little to read past, and a write for each event is not.
    fn puts_back(&mut self, queue: Queue, attempt: Attempt, now: Timestamp) -> bool {
        let last = self.put_back.get(&(queue, attempt));
        let due = last.is_none_or(|last| !(*last..last.plus_millis(PUT_BACK_MILLIS)).contains(&now));
        if due {
            self.put_back.insert((queue, attempt), now);
        }
        due
    }

    /// Places for rows of this kind: what is tried again leaves half of them to what was never tried.
    fn places(&self, attempt: Attempt) -> usize {
        match attempt {
            Attempt::First => self.free(),
            Attempt::Again => self.free().min((self.slots / 2).max(1).saturating_sub(self.again)),
        }
    }

    fn begin(&mut self, app: &App, token: &Token, queue: Queue, attempt: Attempt, leased: Leased) {
        *self.held.entry(leased.org.clone()).or_default() += 1;
        self.again += usize::from(attempt == Attempt::Again);
        let org = leased.org.clone();
        let work = work(app.clone(), token.clone(), queue, leased);
        self.tasks.spawn(async move {
            work.await;
            (org, attempt)
        });
    }

    /// Clears away what has ended. `true` if anything has: the last look at the queue passed over rows for which there was no place then,
    /// and nobody will say anew that they are there.
    fn clear(&mut self) -> bool {
        let mut any = false;
        while let Some(done) = self.tasks.try_join_next() {
            self.ended(done);
            any = true;
        }
        any
    }

    fn ended(&mut self, outcome: Result<(OrgId, Attempt), tokio::task::JoinError>) {
        match outcome {
            Ok((org, attempt)) => {
                self.again -= usize::from(attempt == Attempt::Again);
                if let Some(held) = self.held.get_mut(&org) {
                    *held -= 1;
                    if *held == 0 {
                        self.held.remove(&org);
                    }
                }
            }
            // What a row does is a task of its own, so that this does not happen; if it did, counting anew would be wrong
            // for a moment only.
            Err(error) => {
                tracing::error!(%error, "a task of the worker ended badly");
                if self.tasks.is_empty() {
                    self.held.clear();
                    self.again = 0;
                }
            }
        }
    }
}

/// What is done beside the queue, so that a provider that stalls does not hold it up: one at a time of each kind.
#[derive(Default)]
struct Beside(Option<JoinHandle<()>>);

impl Beside {
    /// Begins it, unless the last one is still under way.
    fn begin(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        if self.0.as_ref().is_none_or(JoinHandle::is_finished) {
            self.0 = Some(tokio::spawn(work));
        }
    }
}

/// Works on up to `slots` rows at once until `shutdown` is done, then finishes what it is doing. What is not finished after
/// `grace` is dropped where it stands, as a crash would drop it, and handed back, so that others go on with it at once.
pub async fn run(app: App, slots: usize, shutdown: impl Future<Output = ()> + Send, grace: Duration) {
    let mut at_work = AtWork::new(slots.max(1));
    let every = |period| {
        let mut timer = tokio::time::interval(period);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timer
    };
    let (mut poll, mut extend, mut tidy, mut care) =
        (every(POLL), every(EXTEND), every(HOUSEKEEPING), every(CARE));
    let [mut renewing, mut probing, mut sealing, mut tidying, mut expiring, mut scrubbing] =
        std::array::from_fn(|_| Beside::default());
    tokio::pin!(shutdown);
    loop {
        let taken = take(&app, &mut at_work).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the queue could not be read");
            false
        });
        let more = at_work.clear() || taken;
        // Whoever waits for this loop has a turn in each round, also while there is always more to do: leases are extended and
        // an end is heard.
        tokio::select! {
            () = &mut shutdown => break,
            () = app.wake_up().notified(), if at_work.free() > 0 => {}
            _ = poll.tick(), if at_work.free() > 0 => {}
            () = tokio::task::yield_now(), if more && at_work.free() > 0 => {}
            Some(done) = at_work.tasks.join_next(), if !at_work.tasks.is_empty() => at_work.ended(done),
            _ = extend.tick() => keep(&app, &mut at_work).await,
            () = app.scrub_wanted().notified() => scrubbing.begin(scrub::run(app.clone())),
            _ = tidy.tick() => {
                let app = app.clone();
                scrubbing.begin(scrub::run(app.clone()));
                expiring.begin(expire(app.clone()));
                tidying.begin(async move { tidy_up(&app).await });
            }
            _ = care.tick() => {
                // Tokens end while all is probed, which takes its time.
                renewing.begin(care::renew(app.clone()));
                probing.begin(care::probe(app.clone()));
                sealing.begin(seal_anew(app.clone()));
            }
        }
    }
    tracing::info!(at_work = at_work.tasks.len(), "the worker stops");
    let over = tokio::time::sleep(grace);
    tokio::pin!(over);
    if let Some(expiring) = expiring.0 {
        // It keeps its place: whoever starts next goes on.
        expiring.abort();
    }
    loop {
        tokio::select! {
            done = at_work.tasks.join_next() => if done.is_none() { break },
            _ = extend.tick() => keep(&app, &mut at_work).await,
            () = &mut over => {
                tracing::warn!(at_work = at_work.tasks.len(), "some work was not finished in time; it is handed back");
                at_work.tasks.shutdown().await;
                break;
            }
        }
    }
    hand_back(&app, &at_work.leases).await;
}

/// One round: leases what is due, does all of it, and gives how many rows that were. Tests call it until it gives 0.
///
/// # Errors
/// If the queue cannot be read.
pub async fn pass(app: &App) -> Result<usize, AppError> {
    let token = Token::new(app);
    let mut total = 0;
    for queue in [Queue::Events, Queue::Jobs] {
        let mut at_work = JoinSet::new();
        for attempt in [Attempt::First, Attempt::Again] {
            let now = app.now();
            let wanted =
                Wanted { queue, attempt, limit: ROUND, each: ROUND, busy: &[], fronts: Fronts::default() };
            let mut tx = app.store().global().await?;
            let rows = tx.lease(wanted, &token.0, now, now.plus_secs(LEASE_SECS)).await?;
            tx.commit().await?;
            total += rows.len();
            for leased in rows {
                at_work.spawn(work(app.clone(), token.clone(), queue, leased));
            }
        }
        while at_work.join_next().await.is_some() {}
    }
    Ok(total)
}

/// Frees what processes hold that were not heard of for a while; gives how many rows that were.
///
/// # Errors
/// If the database is not available.
pub async fn reclaim(app: &App) -> Result<u64, AppError> {
    free_expired(app, Timestamp::from_millis(0), app.now()).await
}

async fn free_expired(app: &App, from: Timestamp, now: Timestamp) -> Result<u64, AppError> {
    let mut tx = app.store().global().await?;
    let freed = tx.lease_expire("", from, now, |expired| again_after(app, now, expired)).await?;
    tx.commit().await?;
    Ok(freed)
}

/// How many rows wait or run.
///
/// # Errors
/// If the queue cannot be read.
pub async fn waiting(app: &App) -> Result<i64, AppError> {
    Ok(app.store().global_read().await?.queue_waiting().await?)
}

/// Takes what is due and begins with it. `true` if there was anything.
async fn take(app: &App, at_work: &mut AtWork) -> Result<bool, AppError> {
    if at_work.free() == 0 {
        return Ok(false);
    }
    let now = app.now();
    at_work.look(app, now, false).await?;
    let fronts = at_work.fronts;
    // Asking first keeps an idle worker from taking SQLite's one place to write.
    let due = app.store().global_read().await?.due(now, fronts, &at_work.busy(&[])).await?;
    if due == Due::default() {
        return Ok(false);
    }
    let token = Token::new(app);
    let mut tx = app.store().global().await?;
    let (mut taken, mut free) = (Vec::new(), at_work.free());
    at_work.rounds = at_work.rounds.wrapping_add(1);
    for (queue, attempt) in if at_work.rounds.is_multiple_of(4) { FOURTH } else { USUAL } {
        let limit = at_work.places(attempt).min(free);
        if limit == 0 || !due.has(queue, attempt) {
            continue;
        }
        let (limit, each, busy) = (limit as i64, at_work.each() as i64, at_work.busy(&taken));
        let wanted = Wanted { queue, attempt, limit, each, busy: &busy, fronts };
        let (until, before) = (now.plus_secs(LEASE_SECS), taken.len());
        let leased = tx.lease(wanted, &token.0, now, until).await?;
        taken.extend(leased.into_iter().map(|leased| (queue, attempt, leased)));
        let mut in_the_way = !busy.is_empty() && taken.len() > before;
        let left = limit - (taken.len() - before) as i64;
        // What failed was the first of its conversation, so that nothing of that class is in the way of others.
        if attempt == Attempt::First && left > 0 {
            let wanted = Wanted { limit: left, busy: &at_work.busy(&taken), ..wanted };
            let last = at_work.last.entry(queue).or_default();
            if let Some(behind) = tx.lease_behind(wanted, last, &token.0, now, until).await? {
                taken.extend(behind.into_iter().map(|leased| (queue, attempt, leased)));
                in_the_way = true;
            }
        }
        if in_the_way && at_work.puts_back(queue, attempt, now) {
            tx.put_back(queue, attempt, now, fronts, &busy).await?;
        }
        free -= taken.len() - before;
    }
    tx.commit().await?;
    let any = !taken.is_empty();
    for (queue, attempt, leased) in taken {
        at_work.begin(app, &token, queue, attempt, leased);
    }
    if token.is_at_work() {
        at_work.leases.push(Held { token, until: now.plus_secs(LEASE_SECS) });
    }
    at_work.look(app, now, any).await?;
    Ok(any)
}

/// Does a leased row and records how it went.
async fn work(app: App, token: Token, queue: Queue, leased: Leased) {
    let attempts = leased.attempts;
    let org = OrgCtx::from_queue(app.ctx(Actor::Worker), &leased.queued_for);
    let work = {
        let (app, org, token, id) = (app.clone(), org.clone(), token.clone(), leased.id.clone());
        async move { perform(&app, &org, queue, &id, &token).await }
    };
    let outcome =
        if leased.expired < MOST_EXPIRED { apart(work).await } else { Err(ended_with_its_process()) };
    let Err(error) = outcome else {
        return app.metrics().attempted(name(queue), Attempted::Done, 1);
    };
    if let Err(error) = failed(&app, &org, queue, &leased.id, &token, attempts, &error).await {
        tracing::warn!(%error, row = leased.id, "a failure could not be recorded; the lease runs out by itself");
    }
}

/// What metrics call a queue.
fn name(queue: Queue) -> &'static str {
    match queue {
        Queue::Events => "events",
        Queue::Jobs => "jobs",
    }
}

/// In a task of its own: a handler that panics fails its row and nobody else's. It ends with whoever waits for it.
async fn apart(work: impl Future<Output = Result<(), AppError>> + Send + 'static) -> Result<(), AppError> {
    let mut task = JoinSet::new();
    task.spawn(work);
    let ended = task.join_next().await.expect("a task was just put in");
    ended.unwrap_or_else(|panic| Err(AppError::Internal(Box::new(panic))))
}

async fn perform(app: &App, org: &OrgCtx, queue: Queue, id: &str, token: &Token) -> Result<(), AppError> {
    match queue {
        Queue::Events => {
            let id = EventId::parse(id).ok_or(AppError::NotFound)?;
            let lease = handle::Lease { id: &id, token: &token.0, begun: org.now() };
            // On the heap: it is handed on by value, and without optimisation each hand on the way would keep a copy on the stack.
            let handling = Box::pin(handle::perform(app, org, &lease));
            trace::worked(app, org.org(), Some(&id), "handle", None, handling).await
        }
        Queue::Jobs => {
            let id = JobId::parse(id).ok_or(AppError::NotFound)?;
            job::perform(app, org, &job::Lease { id: &id, token: &token.0 }).await
        }
    }
}

/// Extends the leases of what is at work here and frees those whose holder is gone.
async fn keep(app: &App, at_work: &mut AtWork) {
    at_work.leases.retain(|held| held.token.is_at_work());
    let outcome = async {
        let now = app.now();
        let until = now.plus_secs(LEASE_SECS);
        let mut tx = app.store().global().await?;
        for held in &at_work.leases {
            tx.lease_extend(&held.token.0, held.until, until).await?;
        }
        tx.commit().await?;
        for held in &mut at_work.leases {
            held.until = until;
        }
        // What is at work here was extended a moment ago; what else was leased here is nobody's.
        let freed = free_expired(app, at_work.expired, now).await?;
        // A lease is there long before it runs out: none of before is added any more.
        at_work.expired = now;
        Ok::<_, AppError>(freed)
    };
    match outcome.await {
        Ok(0) => {}
        Ok(freed) => tracing::info!(freed, "rows that nobody works on any more are free again"),
        Err(error) => tracing::warn!(%error, "leases could not be extended"),
    }
}

async fn hand_back(app: &App, leases: &[Held]) {
    let outcome = async {
        let mut tx = app.store().global().await?;
        for held in leases {
            tx.lease_return(&held.token.0, held.until, app.now()).await?;
        }
        tx.commit().await
    };
    if let Err(error) = outcome.await {
        tracing::warn!(%error, "leases could not be handed back; they run out by themselves");
    }
}

/// Goes on with deleting what was kept long enough.
async fn expire(app: App) {
    match crate::retention::round(&app).await {
        Ok(0) => {}
        Ok(events) => tracing::info!(events, "events that were kept long enough are deleted"),
        Err(error) => {
            tracing::warn!(%error, "what was kept long enough could not be deleted; it goes on later")
        }
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
        tx.reset_sweep(now).await?;
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
    use super::outcome::state_after;
    use super::*;
    use agenstack_core::event::{EventState, MAX_ATTEMPTS};

    #[test]
    fn rows_are_put_back_once_a_second_at_most_whatever_the_clock_does() {
        let (mut at_work, at) = (AtWork::new(16), Timestamp::from_millis);
        let mut puts_back = |queue, ms| at_work.puts_back(queue, Attempt::First, at(ms));
        assert!(puts_back(Queue::Events, 50_000));
        assert!(puts_back(Queue::Jobs, 50_001), "each queue by itself");
        assert!(!puts_back(Queue::Events, 50_999));
        assert!(puts_back(Queue::Events, 51_000));
        assert!(puts_back(Queue::Events, 20_000), "the clock was set back");
    }

    #[tokio::test]
    async fn who_ended_while_the_queue_was_looked_at_is_a_reason_to_look_again() {
        let (mut at_work, org) = (AtWork::new(16), OrgId::parse("org_0000000000000000000000000a").unwrap());
        assert!(!at_work.clear(), "nobody was at work");
        let ends = Arc::new(tokio::sync::Notify::new());
        for attempt in [Attempt::First, Attempt::Again] {
            let (org, ends) = (org.clone(), ends.clone());
            *at_work.held.entry(org.clone()).or_default() += 1;
            at_work.again += usize::from(attempt == Attempt::Again);
            at_work.tasks.spawn(async move {
                ends.notified().await;
                (org, attempt)
            });
        }
        tokio::task::yield_now().await;
        assert!(!at_work.clear(), "both are at work");
        ends.notify_waiters();
        tokio::task::yield_now().await;
        assert!(at_work.clear(), "places are free that the look did not know of");
        assert_eq!((at_work.free(), at_work.again, at_work.held.len()), (16, 0, 0));
        assert!(!at_work.clear(), "once");
    }

    #[tokio::test]
    async fn a_handler_that_panics_fails_its_row_which_is_tried_again_and_given_up_at_last() {
        let error = apart(async { panic!("a handler of this test") }).await.unwrap_err();
        assert!(matches!(error, AppError::Internal(_)) && error.is_retryable(), "{error:?}");
        // What people read of it says nothing of the inside.
        assert!(!error.to_string().contains("handler of this test"), "{error}");
        assert_eq!(state_after(&error, MAX_ATTEMPTS - 1), EventState::Failed);
        assert_eq!(state_after(&error, MAX_ATTEMPTS), EventState::Dead);
        assert!(apart(async { Ok(()) }).await.is_ok());
        assert_eq!(state_after(&ended_with_its_process(), 1), EventState::Dead);
    }
}
