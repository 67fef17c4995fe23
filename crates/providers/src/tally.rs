//! How many calls were made, how they ended and how long they took: numbers only, for whoever watches the process.

use crate::error::{Kind, ProviderError};
use agenstack_core::integration::Provider;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// One place for success, and one for each kind of failure.
const OUTCOMES: usize = 1 + Kind::ALL.len();
/// The word for success.
const OK: &str = "ok";

/// The count of all calls through one [`Http`](crate::Http). Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Inner>);

#[derive(Default)]
struct Inner {
    counts: [[AtomicU64; OUTCOMES]; Provider::ALL.len()],
    watch: OnceLock<Watch>,
}

/// Hears of each call: whose it was, the word of how it ended, and how long it took.
type Watch = Box<dyn Fn(Provider, &'static str, Duration) + Send + Sync>;

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tally").field(&self.counts).finish()
    }
}

impl Tally {
    pub(crate) fn add<T>(&self, provider: Provider, outcome: &Result<T, ProviderError>, took: Duration) {
        let kind = outcome.as_ref().err().map(|e| e.kind);
        self.0.counts[provider as usize][kind.map_or(0, |kind| 1 + kind as usize)]
            .fetch_add(1, Ordering::Relaxed);
        if let Some(watch) = self.0.watch.get() {
            watch(provider, kind.map_or(OK, Kind::as_str), took);
        }
    }

    /// From now on `watch` hears of each call; only the first that asks is told.
    pub fn watch(&self, watch: impl Fn(Provider, &'static str, Duration) + Send + Sync + 'static) {
        // Whoever comes second would count the same calls again.
        let _ = self.0.watch.set(Box::new(watch));
    }

    /// Every provider with every outcome (`ok`, or the word of a [`Kind`]) and how often it was met, also if never.
    pub fn all(&self) -> impl Iterator<Item = (Provider, &'static str, u64)> {
        let words = || std::iter::once(OK).chain(Kind::ALL.iter().map(|k| k.as_str()));
        Provider::ALL.iter().zip(self.0.counts.iter()).flat_map(move |(provider, counts)| {
            words().zip(counts).map(|(word, n)| (*provider, word, n.load(Ordering::Relaxed)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_is_counted_under_its_own_word_and_provider() {
        let tally = Tally::default();
        let counted = tally.clone();
        let (told, took) = (Arc::new(AtomicU64::new(0)), Duration::from_millis(3));
        let hears = told.clone();
        tally.watch(move |_, _, took| {
            hears.fetch_add(took.subsec_millis().into(), Ordering::Relaxed);
        });
        tally.watch(|_, _, _| panic!("the second is not told"));
        counted.add(Provider::Messenger, &Ok(()), took);
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at, "{kind:?} stands where it is declared");
            for _ in 0..=at {
                let error = ProviderError::new(Provider::Kustomer, kind, "x");
                counted.add::<()>(Provider::Kustomer, &Err(error), took);
            }
        }
        let all: Vec<_> = tally.all().collect();
        let calls: u64 = all.iter().map(|(_, _, n)| n).sum();
        assert_eq!(told.load(Ordering::Relaxed), 3 * calls);
        assert_eq!(all.len(), Provider::ALL.len() * OUTCOMES);
        for (provider, word, n) in all {
            let expected = match provider {
                Provider::Shopify => 0,
                Provider::Messenger => u64::from(word == "ok"),
                Provider::Kustomer => {
                    Kind::ALL.iter().position(|k| k.as_str() == word).map_or(0, |at| at as u64 + 1)
                }
            };
            assert_eq!(n, expected, "{provider} {word}");
        }
    }
}
