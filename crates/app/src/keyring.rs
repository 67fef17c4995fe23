//! Data keys by organization, opened for a few minutes at a time.

use crate::error::AppError;
use agenstack_core::clock::Timestamp;
use agenstack_core::entropy::Entropy;
use agenstack_core::id::{DataKeyId, IdMaker, OrgId};
use agenstack_core::sealed::{Place, Sealed};
use agenstack_store::global::key::StoredKey;
use agenstack_store::{GlobalTx, Store};
use agenstack_vault::{DataKey, Vault, VaultError, key_id_of};
use moka::sync::Cache;
use secrecy::SecretString;
use std::time::Duration;
use zeroize::Zeroizing;

/// Opens and caches data keys: at most 10,000, for at most five minutes. Keyed by organization and key.
pub struct Keyring {
    store: Store,
    vault: Vault,
    newest: Cache<OrgId, DataKey>,
    by_id: Cache<(OrgId, DataKeyId), DataKey>,
}

/// Whether there is a key of an organization to open anything with, in the database or in memory. For tests.
#[doc(hidden)]
pub async fn opens(app: &crate::App, org: &OrgId) -> bool {
    app.keyring().key(org).await.is_ok()
}

impl Keyring {
    pub(crate) fn new(store: Store, vault: Vault) -> Self {
        let cache = || Cache::builder().max_capacity(10_000);
        let age = Duration::from_secs(300);
        Self {
            store,
            vault,
            newest: cache().time_to_live(age).build(),
            by_id: Cache::builder()
                .max_capacity(10_000)
                .time_to_live(age)
                .support_invalidation_closures()
                .build(),
        }
    }

    /// Makes an organization's first data key in the transaction that makes the organization.
    pub(crate) async fn create(
        &self,
        tx: &mut GlobalTx,
        org: &OrgId,
        ids: &IdMaker,
        entropy: &dyn Entropy,
        now: Timestamp,
    ) -> Result<(), AppError> {
        let id = DataKeyId::new(ids, now, entropy);
        let made = self.vault.create_data_key(org, &id, entropy);
        Ok(tx
            .key_add(org, &StoredKey { id, master_key_id: made.master_key_id, wrapped: made.wrapped }, now)
            .await?)
    }

    /// The key to seal with.
    pub(crate) async fn key(&self, org: &OrgId) -> Result<DataKey, AppError> {
        if let Some(key) = self.newest.get(org) {
            return Ok(key);
        }
        let key = self.load(org, None).await?;
        self.newest.insert(org.clone(), key.clone());
        Ok(key)
    }

    /// A key that the organization has, or once sealed with.
    ///
    /// # Errors
    /// [`AppError::NotFound`] if it has no such key.
    pub(crate) async fn key_by_id(&self, org: &OrgId, id: &DataKeyId) -> Result<DataKey, AppError> {
        match self.by_id.get(&(org.clone(), id.clone())) {
            Some(key) => Ok(key),
            None => self.load(org, Some(id)).await,
        }
    }

    /// Forgets the keys of an organization that has ended. Other processes do within five minutes, when what they remember
    /// is too old.
    pub(crate) fn forget(&self, org: &OrgId) {
        self.newest.invalidate(org);
        let of = org.clone();
        // A cache that was not made for it remembers them until they are too old.
        let _ = self.by_id.invalidate_entries_if(move |(org, _), _| *org == of);
    }

    async fn load(&self, org: &OrgId, id: Option<&DataKeyId>) -> Result<DataKey, AppError> {
        let mut tx = self.store.global_read().await?;
        let stored = tx.key_get(org, id).await?;
        let key = self.vault.unwrap_data_key(org, &stored.id, &stored.master_key_id, &stored.wrapped)?;
        self.by_id.insert((org.clone(), stored.id), key.clone());
        Ok(key)
    }

    /// Opens a sealed column of the organization.
    pub(crate) async fn open(
        &self,
        org: &OrgId,
        place: Place<'_>,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, AppError> {
        let key = match self.key_by_id(org, &key_id_of(sealed)?).await {
            // A value that names a key this organization has not was sealed for somebody else.
            Err(AppError::NotFound) => return Err(AppError::Sealed(VaultError::DoesNotOpen)),
            key => key?,
        };
        Ok(key.open(place, sealed)?)
    }

    /// Opens a sealed column that holds text.
    pub(crate) async fn open_text(
        &self,
        org: &OrgId,
        place: Place<'_>,
        sealed: &Sealed,
    ) -> Result<String, AppError> {
        let bytes = self.open(org, place, sealed).await?;
        String::from_utf8(bytes.to_vec()).map_err(|_| AppError::Sealed(VaultError::DoesNotOpen))
    }

    /// Opens a sealed token.
    pub(crate) async fn open_secret(
        &self,
        org: &OrgId,
        place: Place<'_>,
        sealed: &Sealed,
    ) -> Result<SecretString, AppError> {
        let bytes = self.open(org, place, sealed).await?;
        let text = std::str::from_utf8(&bytes).map_err(|_| AppError::Sealed(VaultError::DoesNotOpen))?;
        Ok(SecretString::from(text.to_owned()))
    }

    /// For rows that belong to no organization yet.
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }
}
