//! When one account is not called at all: a circuit breaker, a state machine without a clock.
//!
//! Closed, calls go through. After [`MOST`] failures in a row, or when the provider says how long to wait, it is open: nothing
//! is called. When the pause is over, one call goes through as a probe; what becomes of it closes or opens it again.

use agenstack_core::clock::Timestamp;
use agenstack_providers::{Kind, ProviderError};

/// So many calls in a row without an answer open it.
pub(crate) const MOST: u32 = 4;
/// The first pause, doubled with each probe that fails up to the longest; and up to a quarter more at random.
const FIRST_SECS: i64 = 10;
const LONGEST_SECS: i64 = 300;
/// While a probe is under way others ask again after so long.
const PROBE_MILLIS: i64 = 5_000;

/// Whether one account is called.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    until: Timestamp,
    why: Kind,
    /// How many pauses in a row.
    pauses: u32,
    is_probing: bool,
}

/// Why not, and in how many milliseconds to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) why: Kind,
    pub(crate) wait_millis: i64,
}

/// What a call that went through was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// One of many.
    Usual,
    /// The one that finds out whether it works again.
    Probe,
}

/// What a call says about the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// It answers.
    Answers,
    /// It does not; or says that there were too many calls, and not until when.
    Fails(Kind),
    /// It is not to be called for so long.
    Wait(Kind, u64),
    /// Nothing: the call was given up.
    Nothing,
}

impl Word {
    pub(crate) fn of(e: &ProviderError) -> Self {
        match (e.kind, e.retry_after_secs) {
            (Kind::RateLimited | Kind::Unavailable, Some(secs)) if secs > 0 => Self::Wait(e.kind, secs),
            (Kind::RateLimited | Kind::Unavailable, _) => Self::Fails(e.kind),
            // A refusal is an answer.
            _ => Self::Answers,
        }
    }
}

impl Breaker {
    /// Whether a call would go through, without letting one.
    pub(crate) fn look(&self, now: Timestamp) -> Result<Passed, Closed> {
        let Some(open) = self.open else { return Ok(Passed::Usual) };
        let left = open.until.millis().saturating_sub(now.millis());
        match (left > 0, open.is_probing) {
            (true, _) => Err(Closed { why: open.why, wait_millis: left }),
            (false, true) => Err(Closed { why: open.why, wait_millis: PROBE_MILLIS }),
            (false, false) => Ok(Passed::Probe),
        }
    }

    /// Lets a call through, or says why not.
    pub(crate) fn begin(&mut self, now: Timestamp) -> Result<Passed, Closed> {
        let passed = self.look(now)?;
        if let Some(open) = &mut self.open {
            open.is_probing = true;
        }
        Ok(passed)
    }

    /// A call has ended. `random` spreads the probes of several nodes.
    pub(crate) fn ended(&mut self, passed: Passed, now: Timestamp, word: Word, random: u8) {
        let before = self.open;
        if let (Some(open), Passed::Usual) = (before, passed) {
            // Begun before it was opened: only what asks to wait longer counts.
            if let Word::Wait(why, secs) = word {
                self.open = Some(Open { until: after(now, secs).max(open.until), why, ..open });
            }
            return;
        }
        match word {
            Word::Answers => *self = Self::default(),
            Word::Nothing => {
                if let Some(open) = &mut self.open {
                    open.is_probing = false;
                }
            }
            Word::Wait(why, secs) => {
                let pauses = before.map_or(0, |open| open.pauses);
                self.open = Some(Open { until: after(now, secs), why, pauses, is_probing: false });
            }
            Word::Fails(why) => {
                self.failures = self.failures.saturating_add(1);
                if before.is_some() || self.failures >= MOST {
                    let pauses = before.map_or(0, |open| open.pauses) + 1;
                    let pause = pause_millis(pauses, random);
                    self.open = Some(Open { until: now.plus_millis(pause), why, pauses, is_probing: false });
                }
            }
        }
    }

    /// Whether nothing but a probe goes through.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

fn after(now: Timestamp, secs: u64) -> Timestamp {
    now.plus_secs(i64::try_from(secs).unwrap_or(i64::MAX))
}

fn pause_millis(pauses: u32, random: u8) -> i64 {
    let doubled = FIRST_SECS << pauses.clamp(1, 10).saturating_sub(1);
    let millis = doubled.min(LONGEST_SECS) * 1000;
    millis + millis * i64::from(random) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use agenstack_core::integration::Provider;

    const DOWN: Word = Word::Fails(Kind::Unavailable);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_secs(1_000_000).plus_millis(millis)
    }

    /// A call at once, that ends so.
    fn call(it: &mut Breaker, now: i64, word: Word) -> Passed {
        let passed = it.begin(at(now)).expect("it goes through");
        it.ended(passed, at(now), word, 0);
        passed
    }

    fn wait(it: &Breaker, now: i64) -> Option<i64> {
        it.look(at(now)).err().map(|closed| closed.wait_millis)
    }

    #[test]
    fn four_failures_in_a_row_open_it_and_fewer_or_others_do_not() {
        let mut it = Breaker::default();
        for word in [DOWN, DOWN, DOWN, Word::Answers, DOWN, DOWN, Word::Nothing, DOWN] {
            assert_eq!(call(&mut it, 0, word), Passed::Usual);
        }
        assert!(!it.is_open());
        call(&mut it, 0, DOWN);
        assert!(it.is_open());
        assert_eq!(it.look(at(1)), Err(Closed { why: Kind::Unavailable, wait_millis: 9_999 }));
    }

    #[test]
    fn after_the_pause_one_probe_goes_through_and_closes_it_or_doubles_the_pause() {
        let mut it = Breaker::default();
        for _ in 0..4 {
            call(&mut it, 0, DOWN);
        }
        let mut now = 0;
        for pause in [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000] {
            assert_eq!(wait(&it, now), Some(pause));
            now += pause;
            assert_eq!(it.begin(at(now)), Ok(Passed::Probe));
            assert_eq!(wait(&it, now), Some(5_000), "the others wait for the probe");
            it.ended(Passed::Probe, at(now), DOWN, 0);
        }
        now += 300_000;
        assert_eq!(call(&mut it, now, Word::Nothing), Passed::Probe);
        assert_eq!(call(&mut it, now, Word::Answers), Passed::Probe, "one that was given up says nothing");
        assert_eq!(call(&mut it, now, DOWN), Passed::Usual);
        assert!(!it.is_open(), "and it is as if nothing had been");
    }

    #[test]
    fn what_the_provider_asks_for_is_kept_to_the_millisecond_and_jitter_is_only_added_to_our_own() {
        let mut it = Breaker::default();
        call(&mut it, 0, Word::Wait(Kind::RateLimited, 120));
        assert_eq!(it.look(at(119_999)), Err(Closed { why: Kind::RateLimited, wait_millis: 1 }));
        // A probe that is told to wait again, and then one that fails.
        assert_eq!(call(&mut it, 120_000, Word::Wait(Kind::RateLimited, 7)), Passed::Probe);
        assert_eq!(wait(&it, 120_000), Some(7_000));
        assert_eq!(call(&mut it, 127_000, DOWN), Passed::Probe);
        assert_eq!(wait(&it, 127_000), Some(10_000));
        for (random, millis) in [(0, 10_000), (128, 11_250), (255, 12_490)] {
            assert_eq!(pause_millis(1, random), millis);
        }
        assert!(
            (1..100)
                .all(|n| (pause_millis(n, 0)..pause_millis(n, 0) * 5 / 4).contains(&pause_millis(n, 255)))
        );
    }

    #[test]
    fn who_was_under_way_when_it_opened_neither_closes_it_nor_shortens_the_pause() {
        let mut it = Breaker::default();
        let early: Vec<_> = (0..4).map(|_| it.begin(at(0)).unwrap()).collect();
        it.ended(early[0], at(0), Word::Wait(Kind::RateLimited, 60), 0);
        it.ended(early[1], at(1), Word::Answers, 0);
        it.ended(early[2], at(2), Word::Wait(Kind::Unavailable, 5), 0);
        assert_eq!(wait(&it, 2), Some(59_998));
        it.ended(early[3], at(3), Word::Wait(Kind::RateLimited, 90), 0);
        assert_eq!(wait(&it, 3), Some(90_000));
    }

    #[test]
    fn a_refusal_is_an_answer_and_a_limit_without_a_time_is_a_failure() {
        for kind in Kind::ALL {
            let mut e = ProviderError::new(Provider::Shopify, kind, "x");
            let is_away = matches!(kind, Kind::RateLimited | Kind::Unavailable);
            assert_eq!(Word::of(&e), if is_away { Word::Fails(kind) } else { Word::Answers });
            e.retry_after_secs = Some(0);
            assert_eq!(Word::of(&e), if is_away { Word::Fails(kind) } else { Word::Answers });
            e.retry_after_secs = Some(3);
            assert_eq!(Word::of(&e), if is_away { Word::Wait(kind, 3) } else { Word::Answers });
        }
    }
}
