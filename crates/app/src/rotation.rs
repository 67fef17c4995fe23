//! Rotation of the master key: every data key is wrapped anew, online, a few at a time.
//!
//! The data keys stay the same, so that no row has to be sealed again and running nodes, which know both master keys,
//! notice nothing. It can be stopped at any moment and begun again: what is done is done, row by row.

use crate::error::AppError;
use agenstack_core::entropy::Entropy;
use agenstack_store::Store;
use agenstack_vault::{Vault, master_key_id_of};
use std::collections::BTreeMap;

/// Data keys that one transaction wraps anew.
const BATCH: i64 = 100;

/// How far a rotation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Wrapped anew by this run.
    pub done: i64,
    /// Of so many in all.
    pub total: i64,
    /// Left as they are: neither the current nor the previous master key opens them.
    pub stuck: i64,
}

/// Which master keys are in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The id of the master key that wraps from now on.
    pub current: String,
    /// How many data keys each master key wraps.
    pub data_keys: BTreeMap<String, i64>,
    /// How many events that belong to nobody yet are sealed under each; they are gone after a day.
    pub unrouted: BTreeMap<String, i64>,
}

impl Status {
    /// Whether nothing needs another master key than the current one, so that the previous one can go.
    pub fn only_current(&self) -> bool {
        let other = |m: &BTreeMap<String, i64>| m.iter().any(|(id, n)| *id != self.current && *n > 0);
        !other(&self.data_keys) && !other(&self.unrouted)
    }
}

/// The ids of master keys that data keys need and that were not given. A server without them would answer, and open
/// nothing.
///
/// # Errors
/// If the database is not available.
pub async fn missing(store: &Store, vault: &Vault) -> Result<Vec<String>, AppError> {
    let used = store.global_read().await?.key_masters().await?;
    Ok(used.into_iter().filter(|id| !vault.knows(id)).collect())
}

/// Tells which master keys are in use.
///
/// # Errors
/// If the database is not available.
pub async fn status(store: &Store, vault: &Vault) -> Result<Status, AppError> {
    let mut tx = store.global_read().await?;
    let data_keys = tx.key_count().await?.into_iter().collect();
    let mut unrouted = BTreeMap::new();
    for payload in tx.unrouted_payloads().await? {
        let id = master_key_id_of(&payload).unwrap_or_else(|_| "unreadable".to_owned());
        *unrouted.entry(id).or_insert(0) += 1;
    }
    Ok(Status { current: vault.current_key_id().to_owned(), data_keys, unrouted })
}

/// Wraps every data key with the current master key. Calls `told` after each batch.
///
/// # Errors
/// If the database is not available; what was done before stays done.
pub async fn rotate(
    store: &Store,
    vault: &Vault,
    entropy: &dyn Entropy,
    mut told: impl FnMut(Progress),
) -> Result<Progress, AppError> {
    let before = status(store, vault).await?;
    let total = before.data_keys.iter().filter(|(id, _)| **id != before.current).map(|(_, n)| n).sum();
    let mut progress = Progress { total, ..Progress::default() };
    let mut after = None;
    loop {
        let mut tx = store.global().await?;
        let place = after.as_ref().map(|(org, id)| (org, id));
        let batch = tx.key_stale(vault.current_key_id(), place, BATCH).await?;
        let Some(last) = batch.last() else { return Ok(progress) };
        after = Some((last.org.clone(), last.key.id.clone()));
        for old in &batch {
            let key = &old.key;
            match vault.rewrap(&old.org, &key.id, &key.master_key_id, &key.wrapped, entropy) {
                Ok(new) => {
                    // Another run may have been faster; then it is done as well.
                    tx.key_rewrap(old, &new.master_key_id, &new.wrapped).await?;
                    progress.done += 1;
                }
                Err(error) => {
                    tracing::error!(org.id = %old.org, key.id = %key.id, %error, "a data key could not be wrapped anew");
                    progress.stuck += 1;
                }
            }
        }
        tx.commit().await?;
        told(progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agenstack_core::entropy::SeededEntropy;
    use agenstack_core::id::DataKeyId;
    use agenstack_core::sealed::Place;
    use agenstack_store::global::key::StoredKey;
    use agenstack_store::testing::World;
    use agenstack_vault::MasterKey;

    fn master(seed: u64) -> MasterKey {
        MasterKey::parse(&MasterKey::generate(&SeededEntropy::new(seed))).expect("a generated key is a key")
    }

    const PLACE: Place<'static> = Place { table: "integrations", row: "int_1", column: "access_token" };

    agenstack_store::both_databases! {
        async fn after_a_rotation_the_new_master_key_alone_opens_everything(db: TestDb) {
            let world = World::new();
            let old = Vault::new(master(1), None);
            let mut sealed = Vec::new();
            for n in 0..250 {
                let (org, _) = world.organization(&db.store, &format!("Org {n}")).await;
                let id = world.id(DataKeyId::new);
                let made = old.create_data_key(org.org(), &id, &world.entropy);
                let key = old.unwrap_data_key(org.org(), &id, &made.master_key_id, &made.wrapped).unwrap();
                sealed.push((org.org().clone(), key.seal(PLACE, b"token", &world.entropy)));
                let stored = StoredKey { id, master_key_id: made.master_key_id, wrapped: made.wrapped };
                let mut tx = db.store.global().await.unwrap();
                tx.key_add(org.org(), &stored, world.now()).await.unwrap();
                tx.commit().await.unwrap();
            }
            let both = Vault::new(master(2), Some(master(1)));
            assert!(!status(&db.store, &both).await.unwrap().only_current());
            let mut steps = Vec::new();
            let done = rotate(&db.store, &both, &world.entropy, |p| steps.push(p.done)).await.unwrap();
            assert_eq!(done, Progress { done: 250, total: 250, stuck: 0 });
            assert_eq!(steps, [100, 200, 250]);
            let again = rotate(&db.store, &both, &world.entropy, |_| ()).await.unwrap();
            assert_eq!(again, Progress::default());
            assert!(status(&db.store, &both).await.unwrap().only_current());

            let new = Vault::new(master(2), None);
            for (org, value) in sealed {
                let key = db.store.global_read().await.unwrap().key_get(&org, None).await.unwrap();
                let key = new.unwrap_data_key(&org, &key.id, &key.master_key_id, &key.wrapped).unwrap();
                assert_eq!(key.open(PLACE, &value).unwrap().as_slice(), b"token");
            }
        }

        async fn a_key_that_neither_master_key_opens_is_told_and_stops_nothing(db: TestDb) {
            let world = World::new();
            for seed in [1, 9] {
                let (org, _) = world.organization(&db.store, "Org").await;
                let id = world.id(DataKeyId::new);
                let made = Vault::new(master(seed), None).create_data_key(org.org(), &id, &world.entropy);
                let stored = StoredKey { id, master_key_id: made.master_key_id, wrapped: made.wrapped };
                let mut tx = db.store.global().await.unwrap();
                tx.key_add(org.org(), &stored, world.now()).await.unwrap();
                tx.commit().await.unwrap();
            }
            let both = Vault::new(master(2), Some(master(1)));
            assert_eq!(missing(&db.store, &both).await.unwrap(), [master(9).id()]);
            let done = rotate(&db.store, &both, &world.entropy, |_| ()).await.unwrap();
            assert_eq!(done, Progress { done: 1, total: 2, stuck: 1 });
            assert!(!status(&db.store, &both).await.unwrap().only_current());
        }
    }
}
