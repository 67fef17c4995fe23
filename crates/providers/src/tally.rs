//! How many calls were made, and how they ended: numbers only, for whoever watches the process.

use crate::error::{Kind, ProviderError};
use agenstack_core::integration::Provider;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One place for success, and one for each kind of failure.
const OUTCOMES: usize = 1 + Kind::ALL.len();

/// The count of all calls through one [`Http`](crate::Http). Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<[[AtomicU64; OUTCOMES]; Provider::ALL.len()]>);

impl Tally {
    pub(crate) fn add<T>(&self, provider: Provider, outcome: &Result<T, ProviderError>) {
        let at = outcome.as_ref().err().map_or(0, |e| 1 + e.kind as usize);
        self.0[provider as usize][at].fetch_add(1, Ordering::Relaxed);
    }

    /// Every provider with every outcome (`ok`, or the word of a [`Kind`]) and how often it was met, also if never.
    pub fn all(&self) -> impl Iterator<Item = (Provider, &'static str, u64)> {
        let words = || std::iter::once("ok").chain(Kind::ALL.iter().map(|k| k.as_str()));
        Provider::ALL.iter().zip(self.0.iter()).flat_map(move |(provider, counts)| {
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
        counted.add(Provider::Messenger, &Ok(()));
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at, "{kind:?} stands where it is declared");
            for _ in 0..=at {
                counted
                    .add::<()>(Provider::Kustomer, &Err(ProviderError::new(Provider::Kustomer, kind, "x")));
            }
        }
        let all: Vec<_> = tally.all().collect();
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
