//! What is remembered for a while: bounded in number, and in age by the clock that everything goes by.

use agenstack_core::clock::{Clock, Timestamp};
use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Values by their keys, each for so long after it was put here.
pub(crate) struct Aging<K, V> {
    cache: Cache<K, (V, Timestamp)>,
    clock: Arc<dyn Clock>,
    secs: i64,
    /// When those that are too old were looked for, in milliseconds.
    swept: AtomicI64,
}

impl<K: Eq + Hash + Clone, V: Clone> Aging<K, V> {
    /// Remembers about `most` values, those that are asked for rather than others, for `secs` each.
    pub(crate) fn new(most: usize, secs: i64, clock: Arc<dyn Clock>) -> Self {
        Self { cache: Cache::new(most), clock, secs, swept: AtomicI64::new(0) }
    }

    /// What was put here, if it is not too old.
    pub(crate) fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        let (value, at) = self.cache.get(key)?;
        self.is_fresh(at, self.clock.now()).then_some(value)
    }

    /// Remembers it from now on. While others are put here, nothing is kept for twice as long as it is good.
    pub(crate) fn put(&self, key: K, value: V) {
        let now = self.clock.now();
        let swept = self.swept.load(Ordering::Relaxed);
        let due = !self.is_fresh(Timestamp::from_millis(swept), now);
        if due
            && self.swept.compare_exchange(swept, now.millis(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.cache.retain(|_, (_, at)| self.is_fresh(*at, now));
        }
        self.cache.insert(key, (value, now));
    }

    pub(crate) fn forget<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) {
        self.cache.remove(key);
    }

    pub(crate) fn forget_if(&self, which: impl Fn(&K) -> bool) {
        self.cache.retain(|key, _| !which(key));
    }

    pub(crate) fn forget_all(&self) {
        self.cache.clear();
    }

    /// What lies ahead is of a clock that was set back since, and its age is not known.
    fn is_fresh(&self, at: Timestamp, now: Timestamp) -> bool {
        at <= now && now < at.plus_secs(self.secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agenstack_core::clock::ManualClock;

    fn some() -> (Arc<ManualClock>, Aging<String, u8>) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000_000)));
        (clock.clone(), Aging::new(100, 60, clock))
    }

    #[test]
    fn a_value_is_remembered_for_its_time_and_not_a_moment_longer() {
        let (clock, all) = some();
        all.put("a".into(), 1);
        clock.advance_millis(59_000);
        assert_eq!((all.get("a"), all.get("b")), (Some(1), None));
        clock.advance_millis(1_000);
        assert_eq!(all.get("a"), None);
        all.put("a".into(), 2);
        assert_eq!(all.get("a"), Some(2), "what is put anew is new");
    }

    #[test]
    fn what_is_too_old_leaves_memory_when_something_else_is_put_there() {
        let (clock, all) = some();
        all.put("a".into(), 1);
        clock.advance_millis(60_000);
        all.put("b".into(), 2);
        assert_eq!(all.cache.len(), 1);
    }

    #[test]
    fn what_was_put_by_a_clock_that_was_set_back_since_is_not_believed() {
        let (clock, all) = some();
        all.put("a".into(), 1);
        clock.advance_millis(-1);
        assert_eq!(all.get("a"), None);
    }

    #[test]
    fn what_is_forgotten_is_gone_and_nothing_else_is() {
        let (_, all) = some();
        for (key, value) in [("a", 1), ("b", 2), ("bb", 3)] {
            all.put(key.into(), value);
        }
        all.forget("a");
        all.forget_if(|key| key.len() == 2);
        assert_eq!([all.get("a"), all.get("b"), all.get("bb")], [None, Some(2), None]);
        all.forget_all();
        assert_eq!(all.get("b"), None);
    }

    #[test]
    fn no_more_is_remembered_than_was_agreed() {
        let (_, all) = some();
        for n in 0..10_000 {
            all.put(n.to_string(), 0);
        }
        assert!(all.cache.len() <= 100, "{}", all.cache.len());
    }
}
