//! What we do: the use cases of the product.
//!
//! `store`, `providers` and `vault` meet only here. `web` and `cli` ask this crate, never those three. Every use
//! case takes a [`Ctx`] or, for rows of an organization, an [`OrgCtx`](agenstack_core::ctx::OrgCtx); the permission check stands in the line
//! above the deed.
//!
//! May import `core`, `store`, `providers` and `vault`. Look first at [`connect`] (a shop is connected),
//! [`ingest`] (a webhook arrives) and [`event`] (a customer asks).

pub mod account;
mod aging;
pub mod bot;
pub mod care;
mod commit;
pub mod compliance;
pub mod connect;
pub mod conversation;
pub mod error;
pub mod event;
mod farewell;
pub mod former;
mod group;
pub mod handle;
pub mod home;
pub mod import;
pub mod ingest;
pub mod integration;
pub mod job;
pub mod keyring;
pub mod limit;
pub mod live;
mod lookup;
pub mod mail;
pub mod metric;
pub mod operator;
mod outgoing;
pub mod password;
pub mod privacy;
pub mod pulse;
mod reach;
pub mod renewal;
pub mod replay;
pub mod reset;
pub mod retention;
pub mod rotation;
mod routing;
pub mod scrub;
pub mod seed;
mod seen;
mod share;
mod state;
pub mod timeline;
pub mod token;
pub mod trace;
pub mod transfer;
pub mod worker;

pub use error::AppError;

/// A stretch of a list and where it goes on.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Page<T> {
    /// The stretch.
    pub items: Vec<T>,
    /// What to pass for the next stretch; `None` at the end.
    pub next_cursor: Option<String>,
}

/// How many items a list gives when the caller does not say, and at most.
pub(crate) fn page_size(limit: Option<i64>) -> Result<i64, AppError> {
    match limit {
        None => Ok(50),
        Some(n) if (1..=200).contains(&n) => Ok(n),
        Some(_) => Err(AppError::invalid("limit", "The limit must be between 1 and 200.")),
    }
}

use agenstack_core::clock::{Clock, Timestamp};
use agenstack_core::ctx::{Actor, Ctx};
use agenstack_core::entropy::Entropy;
use agenstack_core::id::{IdMaker, RequestId};
use agenstack_core::integration::Provider;
use agenstack_providers::Tally;
use agenstack_providers::kustomer::Kustomer;
use agenstack_providers::messenger::Messenger;
use agenstack_providers::shopify::Shopify;
use agenstack_store::notice::Notice;
use agenstack_store::{Store, StoreError};
use agenstack_vault::Vault;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait before listening to other processes is tried again.
const HEARING_AGAIN: Duration = Duration::from_secs(1);

/// The providers, as the operator set them up.
pub struct Providers {
    /// `None`: no Shopify app credentials.
    pub shopify: Option<Shopify>,
    /// `None`: no Meta app credentials.
    pub messenger: Option<Messenger>,
    /// Always there: an API key needs no app of ours.
    pub kustomer: Kustomer,
    /// Whether Kustomer app credentials were given, so that OAuth can be offered.
    pub kustomer_oauth: bool,
    /// The count of their calls.
    pub calls: Tally,
}

/// What an [`App`] is made of.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The master key.
    pub vault: Vault,
    /// The providers.
    pub providers: Providers,
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub entropy: Arc<dyn Entropy>,
    /// How browsers and providers reach us, without a closing slash.
    pub public_url: String,
    /// How mails leave; `None`: they are kept for the operator to read.
    pub mailer: Option<mail::Mailer>,
    /// For how long is kept what is over.
    pub retention: retention::Retention,
    /// Who takes the spans of events; `None`: nobody, and none are made.
    pub collector: Option<Arc<dyn trace::Collector>>,
}

/// The application: everything a use case may need. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    store: Store,
    keyring: Arc<keyring::Keyring>,
    providers: Providers,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    ids: IdMaker,
    public_url: String,
    mailer: Option<mail::Mailer>,
    retention: retention::Retention,
    collector: Option<Arc<dyn trace::Collector>>,
    limits: limit::Limits,
    passwords: password::Hasher,
    live: live::Live,
    metrics: Arc<metric::Metrics>,
    refreshing: token::Refreshing,
    outgoing: outgoing::Outgoing,
    wake: tokio::sync::Notify,
    scrub_wanted: tokio::sync::Notify,
    committer: commit::Committer,
    routes: Arc<routing::Routes>,
    lookup: lookup::Lookup,
    reach: reach::Reach,
    shares: share::Shares,
}

impl App {
    /// Puts the parts together. Within a runtime: it starts the task that commits what comes in.
    pub fn new(parts: Parts) -> Self {
        let keyring = Arc::new(keyring::Keyring::new(
            parts.store.clone(),
            parts.vault,
            parts.clock.clone(),
            parts.entropy.clone(),
        ));
        let routes = Arc::new(routing::Routes::new(parts.clock.clone()));
        let metrics = Arc::new(metric::Metrics::new());
        let (calls, counted) = (&parts.providers.calls, metrics.clone());
        calls.watch(move |provider, outcome, took| counted.called(provider, outcome, took));
        let reach = reach::Reach::new(parts.store.clone());
        let committer = commit::Committer::start(parts.store.clone(), parts.clock.clone(), metrics.clone());
        let lookup = lookup::Lookup::start(&parts.store, &keyring, &routes);
        Self(Arc::new(Inner {
            store: parts.store,
            keyring,
            providers: parts.providers,
            passwords: password::Hasher::new(parts.entropy.as_ref()),
            committer,
            routes,
            lookup,
            reach,
            shares: share::Shares::default(),
            outgoing: outgoing::Outgoing::new(parts.clock.clone(), parts.entropy.clone()),
            clock: parts.clock,
            entropy: parts.entropy,
            ids: IdMaker::new(),
            public_url: parts.public_url,
            mailer: parts.mailer,
            retention: parts.retention,
            collector: parts.collector,
            limits: limit::Limits::new(),
            live: live::Live::new(),
            metrics,
            refreshing: token::Refreshing::new(),
            wake: tokio::sync::Notify::new(),
            scrub_wanted: tokio::sync::Notify::new(),
        }))
    }

    /// Begins an operation at an edge.
    pub fn ctx(&self, actor: Actor) -> Ctx {
        let now = self.now();
        Ctx { actor, request: RequestId::new(&self.0.ids, now, self.entropy()), now }
    }

    /// The present instant. Use cases take theirs from the context; this is for edges and long work.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// How browsers and providers reach us, without a closing slash.
    pub fn public_url(&self) -> &str {
        &self.0.public_url
    }

    /// Who takes the spans of events.
    pub fn collector(&self) -> Option<&Arc<dyn trace::Collector>> {
        self.0.collector.as_ref()
    }

    /// Changes that pages show as they happen.
    pub fn live(&self) -> &live::Live {
        &self.0.live
    }

    /// Whether the database answers and its schema is this program's.
    ///
    /// # Errors
    /// Says which does not hold.
    pub async fn ready(&self) -> Result<(), AppError> {
        self.store().check().await?;
        Ok(())
    }

    /// Whether the operator has set a provider up.
    pub fn is_set_up(&self, provider: Provider) -> bool {
        match provider {
            Provider::Shopify => self.0.providers.shopify.is_some(),
            Provider::Messenger => self.0.providers.messenger.is_some(),
            Provider::Kustomer => true,
        }
    }

    /// Whether Kustomer can be connected by OAuth with the platform's own app.
    pub fn kustomer_oauth(&self) -> bool {
        self.0.providers.kustomer_oauth
    }

    /// The permissions that an account of a provider is asked for.
    pub fn asked_scopes(&self, provider: Provider) -> Vec<String> {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        match provider {
            Provider::Shopify => {
                self.0.providers.shopify.as_ref().map(|s| s.scopes().to_vec()).unwrap_or_default()
            }
            Provider::Messenger => owned(agenstack_providers::messenger::PERMISSIONS),
            Provider::Kustomer => {
                let scopes = agenstack_providers::kustomer::SCOPES.iter().filter(|s| **s != "offline_access");
                owned(&scopes.copied().collect::<Vec<_>>())
            }
        }
    }

    /// The exact address a provider sends the browser back to.
    pub fn redirect_uri(&self, provider: Provider) -> String {
        format!("{}/api/oauth/{provider}/callback", self.0.public_url)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }
    pub(crate) fn keyring(&self) -> &keyring::Keyring {
        &self.0.keyring
    }
    pub(crate) fn entropy(&self) -> &dyn Entropy {
        self.0.entropy.as_ref()
    }
    pub(crate) fn ids(&self) -> &IdMaker {
        &self.0.ids
    }
    pub(crate) fn limits(&self) -> &limit::Limits {
        &self.0.limits
    }
    pub(crate) fn passwords(&self) -> &password::Hasher {
        &self.0.passwords
    }
    pub(crate) fn refreshing(&self) -> &token::Refreshing {
        &self.0.refreshing
    }
    pub(crate) fn outgoing(&self) -> &outgoing::Outgoing {
        &self.0.outgoing
    }
    pub(crate) fn mailer(&self) -> Option<&mail::Mailer> {
        self.0.mailer.as_ref()
    }
    pub(crate) fn retention(&self) -> retention::Retention {
        self.0.retention
    }
    pub(crate) fn reach(&self) -> &reach::Reach {
        &self.0.reach
    }
    pub(crate) fn committer(&self) -> &commit::Committer {
        &self.0.committer
    }
    pub(crate) fn lookup(&self) -> &lookup::Lookup {
        &self.0.lookup
    }
    pub(crate) fn routes(&self) -> &routing::Routes {
        &self.0.routes
    }
    pub(crate) fn shares(&self) -> &share::Shares {
        &self.0.shares
    }
    pub(crate) fn metrics(&self) -> &metric::Metrics {
        &self.0.metrics
    }
    pub(crate) fn calls(&self) -> &Tally {
        &self.0.providers.calls
    }
    pub(crate) fn wake_up(&self) -> &tokio::sync::Notify {
        &self.0.wake
    }
    /// Told when something was erased whose bytes may still be on the disk.
    pub(crate) fn scrub_wanted(&self) -> &tokio::sync::Notify {
        &self.0.scrub_wanted
    }
    /// Work was committed: tells an idle worker of this process. Others find it by polling, or are told by a process that has
    /// no worker ([`App::tell_work`]).
    pub(crate) fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Work was committed that is due a little at a time within the next second: tells the worker again and again.
    pub(crate) fn wake_for_a_second(&self) {
        const EVERY: Duration = Duration::from_millis(50);
        let app = self.clone();
        tokio::spawn(async move {
            let over = tokio::time::Instant::now() + Duration::from_secs(1);
            let mut due = tokio::time::interval(EVERY);
            while due.tick().await < over {
                app.wake();
            }
        });
    }

    /// From now on the workers of other processes are told of what is to be done: this one has none.
    pub fn tell_work(&self) {
        self.store().tell_work();
    }

    /// Hears what other processes tell, for as long as this one lives.
    pub async fn listen(self) {
        loop {
            let heard = async {
                let Some(mut notices) = self.store().notices().await? else { return Ok(()) };
                // Whatever was told before is not heard any more.
                self.hear(&Notice::Missed);
                loop {
                    self.hear(&notices.next().await?);
                }
            };
            match heard.await {
                Ok(()) => return,
                Err::<(), StoreError>(error) => {
                    tracing::warn!(%error, "other processes are not heard; what they do is found by asking");
                    tokio::time::sleep(HEARING_AGAIN).await;
                }
            }
        }
    }

    fn hear(&self, notice: &Notice) {
        match notice {
            Notice::Work => self.wake(),
            Notice::Account(provider, account) => self.routes().forget(*provider, account),
            Notice::Missed => {
                self.routes().forget_all();
                self.wake();
            }
        }
    }

    pub(crate) fn shopify(&self) -> Result<&Shopify, AppError> {
        self.0.providers.shopify.as_ref().ok_or(AppError::NotSetUp(Provider::Shopify))
    }
    pub(crate) fn messenger(&self) -> Result<&Messenger, AppError> {
        self.0.providers.messenger.as_ref().ok_or(AppError::NotSetUp(Provider::Messenger))
    }
    pub(crate) fn kustomer(&self) -> &Kustomer {
        &self.0.providers.kustomer
    }
}

/// Makes an id of this application: `new_id!(app, MessageId, now)`.
macro_rules! new_id {
    ($app:expr, $id:ident, $now:expr) => {
        agenstack_core::id::$id::new($app.ids(), $now, $app.entropy())
    };
}
pub(crate) use new_id;
