//! Whose an account is, looked up for deliveries that arrive together by one question to the database, with the key that seals
//! for its owner. After a start, and with many organizations, most deliveries have to ask.

use crate::group;
use crate::keyring::Keyring;
use crate::routing::Routes;
use agenstack_core::ctx::Route;
use agenstack_core::integration::Provider;
use agenstack_store::{Held, Store, StoreError};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Questions that may wait. Each is of a delivery that waits for its answer, and no longer than that.
const WAITING: usize = 1_024;
/// Accounts of one question.
const BATCH: usize = 256;

struct Asked {
    provider: Provider,
    account: String,
    answer: oneshot::Sender<Result<Option<Route>, Arc<StoreError>>>,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Unknown {
    /// Too much waits already; it is to be asked again.
    #[error("too many look-ups wait")]
    Full,
    /// The database refused.
    #[error(transparent)]
    Store(Arc<StoreError>),
}

/// The way to the task.
#[derive(Debug)]
pub(crate) struct Lookup(mpsc::Sender<Asked>);

impl Lookup {
    /// Starts the task; it ends when this is dropped. While one question is under way, the next gathers.
    pub(crate) fn start(store: &Store, keyring: &Arc<Keyring>, routes: &Arc<Routes>) -> Self {
        let (asked, mut waiting) = mpsc::channel::<Asked>(WAITING);
        let (store, keyring, routes) = (store.clone(), keyring.clone(), routes.clone());
        tokio::spawn(async move {
            let mut held = Held::default();
            while let Some(first) = waiting.recv().await {
                // Whoever else is about to ask asks first: with many deliveries at hand, that makes one question of several.
                tokio::task::yield_now().await;
                let batch = group::with(first, &mut waiting, BATCH, |_| 1);
                if !group::survive(answer(&store, &mut held, &keyring, &routes, batch)).await {
                    held = Held::default();
                }
                if waiting.is_empty() {
                    held.let_go();
                }
            }
        });
        Self(asked)
    }

    /// The owner of an account as it is now. It is remembered, and so is the key to seal for it with.
    ///
    /// # Errors
    /// [`Unknown`].
    pub(crate) async fn owner(&self, provider: Provider, account: &str) -> Result<Option<Route>, Unknown> {
        let (answer, told) = oneshot::channel();
        let asked = Asked { provider, account: account.to_owned(), answer };
        self.0.try_send(asked).map_err(|_| Unknown::Full)?;
        // Everybody is answered; that nobody is there to do so means that the look-up, or the process, has failed.
        told.await.map_err(|_| Unknown::Full)?.map_err(Unknown::Store)
    }
}

async fn answer(store: &Store, held: &mut Held, keyring: &Keyring, routes: &Routes, batch: Vec<Asked>) {
    let mut by_provider = BTreeMap::<Provider, Vec<Asked>>::new();
    for asked in batch {
        by_provider.entry(asked.provider).or_default().push(asked);
    }
    for (provider, batch) in by_provider {
        let found = owners(store, held, keyring, provider, &batch).await.map_err(Arc::new);
        for asked in batch {
            let route = found.as_ref().map(|found| found.get(&asked.account).cloned()).map_err(Arc::clone);
            if let Ok(route) = &route {
                routes.put(provider, &asked.account, route.as_ref());
            }
            // Nobody waits any more: the provider has hung up.
            let _ = asked.answer.send(route);
        }
    }
}

async fn owners(
    store: &Store,
    held: &mut Held,
    keyring: &Keyring,
    provider: Provider,
    batch: &[Asked],
) -> Result<HashMap<String, Route>, StoreError> {
    let accounts: Vec<_> = batch.iter().map(|asked| asked.account.as_str()).collect();
    let found = store.routes_by_accounts(held, provider, &accounts).await?;
    let mut owners = HashMap::new();
    for one in found {
        if let Some((key, made)) = one.key {
            // A key that does not open is told of when something is to be sealed with it.
            let _ = keyring.keep(&one.route.org, &key, made);
        }
        owners.insert(one.external_id, one.route);
    }
    Ok(owners)
}

#[cfg(test)]
mod tests {
    use super::*;
    use agenstack_core::clock::ManualClock;
    use agenstack_core::entropy::{OsEntropy, SeededEntropy};
    use agenstack_store::testing::World;
    use agenstack_vault::{MasterKey, Vault};

    agenstack_store::both_databases! {
        async fn an_owner_comes_with_its_key_also_when_only_the_key_was_forgotten(db: TestDb) {
            let w = World::new();
            let clock = Arc::new(ManualClock::at(w.now()));
            let master = MasterKey::parse(&MasterKey::generate(&SeededEntropy::new(1))).unwrap();
            let vault = Vault::new(master, None);
            let keyring = Arc::new(Keyring::new(db.store.clone(), vault, clock.clone(), Arc::new(OsEntropy)));
            let routes = Arc::new(Routes::new(clock.clone()));
            let (org, _) = w.organization(&db.store, "Lark").await;
            let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
            let mut tx = db.store.global().await.unwrap();
            keyring.create(&mut tx, org.org(), &w.ids, &OsEntropy, keyring.now()).await.unwrap();
            tx.commit().await.unwrap();

            let lookup = Lookup::start(&db.store, &keyring, &routes);
            for _ in 0..2 {
                assert!(!keyring.remembers(org.org()));
                let owner = lookup.owner(Provider::Shopify, "lark.myshopify.com").await.unwrap();
                assert_eq!(owner.map(|route| route.integration), Some(shop.id.clone()));
                assert!(keyring.remembers(org.org()));
                clock.advance_millis(300_000);
            }
            assert!(routes.get(Provider::Shopify, "lark.myshopify.com").is_some(), "an owner does not age");
        }
    }
}
