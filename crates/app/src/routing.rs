//! Who owns an account, remembered for a while. Other processes say when an account changes hands; should that be missed,
//! what is remembered is wrong for a moment only: a commit compares the connection again, and what was kept for nobody finds
//! its owner within a minute.

use agenstack_core::ctx::Route;
use agenstack_core::integration::Provider;
use moka::sync::Cache;
use std::time::Duration;

/// Accounts that are remembered, at most, and for how long after the last delivery. One entry is about 420 bytes; of 100,000 shops
/// these are nineteen of twenty deliveries (Zipf). How old it is does not matter, since the commit compares it with what is: this keeps only those that are of use.
const KNOWN: u64 = 50_000;
const KNOWN_SECS: u64 = 600;
/// Accounts that nobody owns: a stranger's shop must not ask the database for each of its deliveries, and an account that
/// was just connected must not wait.
const UNKNOWN: u64 = 20_000;
const UNKNOWN_SECS: u64 = 2;

type Account = (Provider, Box<str>);

/// The remembered routes of one process.
#[derive(Debug)]
pub(crate) struct Routes {
    known: Cache<Account, Route>,
    unknown: Cache<Account, ()>,
}

impl Routes {
    pub(crate) fn new() -> Self {
        let known = Cache::builder().max_capacity(KNOWN).time_to_idle(Duration::from_secs(KNOWN_SECS));
        let unknown = Cache::builder().max_capacity(UNKNOWN).time_to_live(Duration::from_secs(UNKNOWN_SECS));
        Self { known: known.build(), unknown: unknown.build() }
    }

    /// What is remembered: `None` if nothing is, `Some(None)` if nobody owned it a moment ago.
    pub(crate) fn get(&self, provider: Provider, account: &str) -> Option<Option<Route>> {
        let key = (provider, account.into());
        match self.known.get(&key) {
            Some(route) => Some(Some(route)),
            None => self.unknown.contains_key(&key).then_some(None),
        }
    }

    pub(crate) fn put(&self, provider: Provider, account: &str, route: Option<&Route>) {
        let key = (provider, account.into());
        match route {
            Some(route) => {
                self.unknown.invalidate(&key);
                self.known.insert(key, route.clone());
            }
            None => {
                self.known.invalidate(&key);
                self.unknown.insert(key, ());
            }
        }
    }

    /// The account was connected or has ended here.
    pub(crate) fn forget(&self, provider: Provider, account: &str) {
        let key = (provider, account.into());
        self.known.invalidate(&key);
        self.unknown.invalidate(&key);
    }

    /// Anything may have changed elsewhere.
    pub(crate) fn forget_all(&self) {
        self.known.invalidate_all();
        self.unknown.invalidate_all();
    }
}
