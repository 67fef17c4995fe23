//! Which shops, people, pages and help desks there are. The same at every start; tokens and keys are not.

pub(crate) mod desk;
pub(crate) mod people;
pub(crate) mod shop;

use crate::settings::Settings;
use desk::Desk;
use people::{Page, Person};
use shop::Shop;
use std::collections::{BTreeMap, HashMap};

/// Everything that can change.
pub(crate) struct World {
    pub shops: BTreeMap<String, Shop>,
    pub persons: BTreeMap<String, Person>,
    pub pages: BTreeMap<String, Page>,
    pub desks: BTreeMap<String, Desk>,
    pub codes: HashMap<String, Code>,
    pub meta_tokens: HashMap<String, MetaToken>,
}

/// An authorization code: once, for a minute, for one account.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub provider: &'static str,
    /// The shop, the person or the account.
    pub account: String,
    pub redirect_uri: String,
    pub scopes: Vec<String>,
    /// Meta: the pages that were ticked.
    pub pages: Vec<String>,
    /// Kustomer: the app it was given to.
    pub client: Option<String>,
    /// Kustomer: the PKCE challenge.
    pub challenge: Option<String>,
    pub expires_at: i64,
}

/// A token of the Graph API.
#[derive(Clone, Debug)]
pub(crate) struct MetaToken {
    pub person: String,
    /// `None`: a user token.
    pub page: Option<String>,
    pub long_lived: bool,
    pub permissions: Vec<String>,
    /// The pages the person ticked.
    pub granted: Vec<String>,
    /// 0: no end.
    pub expires_at: i64,
    pub dead: bool,
}

impl MetaToken {
    /// A page's token whose page the person has since left unticked.
    pub(crate) fn is_unticked(&self) -> bool {
        self.page.as_ref().is_some_and(|page| !self.granted.contains(page))
    }
}

impl World {
    pub(crate) fn new(settings: &Settings) -> Self {
        let (persons, pages) = people::all();
        Self {
            shops: shop::all(),
            persons,
            pages,
            desks: desk::all(settings),
            codes: HashMap::new(),
            meta_tokens: HashMap::new(),
        }
    }

    /// Uses a code up. `None` if there is none, it is of another provider, or too old.
    pub(crate) fn take_code(&mut self, provider: &str, code: &str, now: i64) -> Option<Code> {
        let taken = self.codes.remove(code)?;
        (taken.provider == provider && taken.expires_at > now).then_some(taken)
    }
}
