//! Who owns an account, remembered for a while. Other processes say when an account changes hands; should that be missed,
//! what is remembered is wrong for a moment only: a commit compares the connection again, and what was kept for nobody finds
//! its owner within a minute.

use crate::aging::Aging;
use agenstack_core::clock::Clock;
use agenstack_core::ctx::Route;
use agenstack_core::integration::Provider;
use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use std::sync::Arc;

/// Accounts that are remembered, at most. How old it is does not matter, since the commit compares it with what is: this keeps only
/// those that are of use.
const KNOWN: usize = 100_000;
/// Accounts that nobody owns: a stranger's shop must not ask the database for each of its deliveries, and an account that
/// was just connected must not wait.
const UNKNOWN: usize = 20_000;
const UNKNOWN_SECS: i64 = 2;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Account(Provider, Box<str>);

/// The same to look for it by; its hash is an [`Account`]'s.
#[derive(Hash)]
struct Named<'a>(Provider, &'a str);

impl Equivalent<Account> for Named<'_> {
    fn equivalent(&self, it: &Account) -> bool {
        self.0 == it.0 && *self.1 == *it.1
    }
}

/// The remembered routes of one process.
pub(crate) struct Routes {
    known: Cache<Account, Route>,
    unknown: Aging<Account, ()>,
}

impl Routes {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { known: Cache::new(KNOWN), unknown: Aging::new(UNKNOWN, UNKNOWN_SECS, clock) }
    }

    /// What is remembered: `None` if nothing is, `Some(None)` if nobody owned it a moment ago.
    pub(crate) fn get(&self, provider: Provider, account: &str) -> Option<Option<Route>> {
        let account = Named(provider, account);
        match self.known.get(&account) {
            Some(route) => Some(Some(route)),
            None => self.unknown.get(&account).map(|()| None),
        }
    }

    pub(crate) fn put(&self, provider: Provider, account: &str, route: Option<&Route>) {
        let (named, owned) = (Named(provider, account), Account(provider, account.into()));
        match route {
            Some(route) => {
                self.unknown.forget(&named);
                self.known.insert(owned, route.clone());
            }
            None => {
                self.known.remove(&named);
                self.unknown.put(owned, ());
            }
        }
    }

    /// The account was connected or has ended here.
    pub(crate) fn forget(&self, provider: Provider, account: &str) {
        let account = Named(provider, account);
        self.known.remove(&account);
        self.unknown.forget(&account);
    }

    /// Anything may have changed elsewhere.
    pub(crate) fn forget_all(&self) {
        self.known.clear();
        self.unknown.forget_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agenstack_core::clock::{ManualClock, Timestamp};
    use agenstack_core::id::{IntegrationId, OrgId};

    const SHOP: (Provider, &str) = (Provider::Shopify, "lark.myshopify.com");

    fn some() -> (Arc<ManualClock>, Routes, Route) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000_000)));
        let org = OrgId::parse(&format!("org_{:0>26}", 1)).unwrap();
        let integration = IntegrationId::parse(&format!("int_{:0>26}", 2)).unwrap();
        (clock.clone(), Routes::new(clock), Route { org, integration, generation: 3 })
    }

    /// The generation that is remembered.
    fn known(routes: &Routes, provider: Provider) -> Option<Option<i64>> {
        routes.get(provider, SHOP.1).map(|owner| owner.map(|route| route.generation))
    }

    #[test]
    fn an_owner_is_remembered_by_provider_and_account_until_it_is_to_be_forgotten() {
        let (clock, routes, route) = some();
        routes.put(SHOP.0, SHOP.1, Some(&route));
        clock.advance_millis(86_400_000);
        assert_eq!(known(&routes, SHOP.0), Some(Some(3)));
        assert_eq!(known(&routes, Provider::Messenger), None);
        routes.forget(SHOP.0, SHOP.1);
        assert_eq!(known(&routes, SHOP.0), None);
        routes.put(SHOP.0, SHOP.1, Some(&route));
        routes.forget_all();
        assert_eq!(known(&routes, SHOP.0), None);
    }

    #[test]
    fn that_nobody_owns_an_account_is_believed_for_two_seconds() {
        let (clock, routes, route) = some();
        routes.put(SHOP.0, SHOP.1, Some(&route));
        routes.put(SHOP.0, SHOP.1, None);
        clock.advance_millis(1_999);
        assert_eq!(known(&routes, SHOP.0), Some(None));
        clock.advance_millis(1);
        assert_eq!(known(&routes, SHOP.0), None);
        routes.put(SHOP.0, SHOP.1, None);
        routes.put(SHOP.0, SHOP.1, Some(&route));
        assert_eq!(known(&routes, SHOP.0), Some(Some(3)));
    }
}
