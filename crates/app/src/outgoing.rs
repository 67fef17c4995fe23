//! What goes out to providers, connection by connection: how many calls at once, how fast, and when none at all.
//!
//! Each process keeps its own count, bounded. What a provider said about waiting is in the database besides
//! (`integration_wait`), for all of them. A call that is not made now is [`ProviderError::not_asked`]: a queued row is put off by
//! it and has spent no attempt.

mod breaker;
mod pace;

use agenstack_core::clock::{Clock, Timestamp};
use agenstack_core::entropy::{Entropy, bytes};
use agenstack_core::id::IntegrationId;
use agenstack_core::integration::{Integration, Provider};
use agenstack_providers::pace::{Budget, Ended, Pacer};
use agenstack_providers::{Kind, ProviderError};
use breaker::{Breaker, Passed, Word};
use pace::Pace;
use quick_cache::sync::Cache;
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls that one connection may have under way at once.
pub(crate) const AT_ONCE: usize = 4;
/// How long a call waits for a place, or for its turn; what has to wait longer is put off.
const PATIENCE: Duration = Duration::from_millis(1_000);
/// After how long a call that found no place is tried again.
const BUSY_SECS: u64 = 2;

/// Connections that are remembered, at most. What is forgotten is called as if nothing had been.
const LINES: usize = 10_000;
/// What is put off while a connection is not called comes by itself within so long.
pub(crate) const PUT_OFF_SECS: i64 = 450;
/// After how long without use its breaker is forgotten. Longer than the longest pause.
const LATELY_SECS: i64 = 900;

/// The connections that were used.
pub(crate) struct Outgoing {
    /// By their generation, too: what is authorized anew begins anew.
    lines: Cache<(IntegrationId, i64), Arc<Line>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// One connection's way out.
pub(crate) struct Line {
    provider: Provider,
    places: Arc<Semaphore>,
    state: Mutex<State>,
    recovered: AtomicBool,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

struct State {
    used: Timestamp,
    breaker: Breaker,
    pace: Pace,
    /// What each call under way was to the breaker, by its number.
    under_way: HashMap<u64, Passed>,
}

impl State {
    fn was_used_lately(&self, now: Timestamp) -> bool {
        self.used.plus_secs(LATELY_SECS) > now
    }
}

impl Outgoing {
    pub(crate) fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { lines: Cache::new(LINES), clock, entropy }
    }

    /// The way out of a connection.
    pub(crate) fn line(&self, it: &Integration) -> Arc<Line> {
        let new = || Arc::new(Line::new(it.provider, self.clock.clone(), self.entropy.clone()));
        let key = (it.id.clone(), it.generation);
        let Ok(line) = self.lines.get_or_insert_with(&key, || Ok::<_, Infallible>(new()));
        line.begin();
        line
    }

    /// How many connections of each provider are not called just now, but for a probe.
    pub(crate) fn open(&self) -> HashMap<Provider, usize> {
        let mut open = HashMap::new();
        for (_, line) in self.lines.iter() {
            *open.entry(line.provider).or_default() += usize::from(line.is_open());
        }
        open
    }
}

impl Line {
    fn new(provider: Provider, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let (breaker, pace) = (Breaker::default(), Pace::new(provider));
        let state = Mutex::new(State { used: clock.now(), breaker, pace, under_way: HashMap::new() });
        let (places, recovered) = (Arc::new(Semaphore::new(AT_ONCE)), AtomicBool::new(false));
        Self { provider, places, state, recovered, clock, entropy }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock can panic")
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// It is used from now on; if it was not for long, as if it never had been.
    fn begin(&self) {
        let (now, mut state) = (self.now(), self.state());
        if !state.was_used_lately(now) && state.under_way.is_empty() {
            state.breaker = Breaker::default();
        }
        state.used = now;
    }

    fn is_open(&self) -> bool {
        let state = self.state();
        state.was_used_lately(self.now()) && state.breaker.is_open()
    }

    /// Whether it is called again since this was asked last, after it was not.
    pub(crate) fn has_recovered(&self) -> bool {
        self.recovered.swap(false, Ordering::Relaxed)
    }

    /// Whether the provider may be asked at all.
    ///
    /// # Errors
    /// It may not, for so long.
    pub(crate) fn look(&self) -> Result<(), ProviderError> {
        self.state().breaker.look(self.now()).map(drop).map_err(|closed| self.later(closed))
    }

    fn later(&self, closed: breaker::Closed) -> ProviderError {
        let code = if closed.why == Kind::RateLimited { "rate_limited" } else { "circuit_open" };
        ProviderError::not_asked(self.provider, closed.why, code, secs(closed.wait_millis))
    }

    /// Takes a place for one deed, in which calls are made one after the other; waits for it a moment.
    ///
    /// # Errors
    /// There is none, or the provider is not to be asked.
    pub(crate) async fn enter(self: Arc<Self>) -> Result<Arc<Deed>, ProviderError> {
        self.look()?;
        let place = tokio::time::timeout(PATIENCE, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(ProviderError::not_asked(self.provider, Kind::RateLimited, "busy_here", BUSY_SECS));
        };
        // Those who held the places may have found out that nobody answers.
        self.look()?;
        Ok(Arc::new(Deed { line: self, has_called: AtomicBool::new(false), _place: place }))
    }
}

/// Rounded up, and at least one: nobody asks before.
fn secs(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0).div_ceil(1000).max(1)
}

/// What holds a place.
pub(crate) struct Deed {
    line: Arc<Line>,
    has_called: AtomicBool,
    _place: OwnedSemaphorePermit,
}

impl Deed {
    /// Begins a call, or says in how many milliseconds to ask again and what to tell if that is too long.
    fn begin(&self, writes: bool) -> Result<u64, (i64, ProviderError)> {
        let now = self.line.now();
        let mut state = self.line.state();
        // Looked at first: what the pace allows is counted as begun.
        if let Err(closed) = state.breaker.look(now) {
            return Err((closed.wait_millis, self.line.later(closed)));
        }
        let number = state.pace.begin(now, writes).map_err(|millis| {
            let kind = Kind::RateLimited;
            (millis, ProviderError::not_asked(self.line.provider, kind, "rate_limited", secs(millis)))
        })?;
        let passed =
            state.breaker.begin(now).map_err(|closed| (closed.wait_millis, self.line.later(closed)))?;
        state.under_way.insert(number, passed);
        Ok(number)
    }
}

impl Pacer for Deed {
    fn turn(&self, writes: bool) -> Pin<Box<dyn Future<Output = Result<u64, ProviderError>> + Send + '_>> {
        Box::pin(async move {
            let mut patience = PATIENCE;
            loop {
                let (millis, mut later) = match self.begin(writes) {
                    Ok(number) => {
                        self.has_called.store(true, Ordering::Relaxed);
                        return Ok(number);
                    }
                    Err(later) => later,
                };
                let wait = Duration::from_millis(u64::try_from(millis).unwrap_or(0).max(1));
                let Some(left) = patience.checked_sub(wait) else {
                    // What has asked once has made an attempt, or it might go on without end.
                    later.not_asked = !self.has_called.load(Ordering::Relaxed);
                    return Err(later);
                };
                patience = left;
                tokio::time::sleep(wait).await;
            }
        })
    }

    fn ended(&self, number: u64, how: Ended<'_>, budget: Option<Budget>) {
        let now = self.line.now();
        let random = bytes::<1>(self.line.entropy.as_ref())[0];
        let word = match how {
            Ended::Well => Word::Answers,
            Ended::Badly(e) => Word::of(e),
            Ended::Dropped => Word::Nothing,
        };
        let mut state = self.line.state();
        state.pace.ended(number, now, budget);
        if let Some(passed) = state.under_way.remove(&number) {
            let was_open = state.breaker.is_open();
            state.breaker.ended(passed, now, word, random);
            if was_open != state.breaker.is_open() {
                self.line.recovered.store(was_open, Ordering::Relaxed);
                let provider = self.line.provider;
                tracing::info!(%provider, is_open = !was_open, "whether a connection is called has changed");
            }
        }
    }
}

#[cfg(test)]
mod tests;
