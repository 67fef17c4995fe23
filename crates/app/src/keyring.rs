//! Data keys by organization, opened for a few minutes at a time.
//!
//! A key that has sealed for [`RENEW_SECS`] is followed by a new one at the next seal. Another process may go on with the
//! former for as long as it remembers it; that does no harm, because a former key is destroyed only when it was out of
//! use for an hour (see [`crate::renewal`]).

use crate::aging::Aging;
use crate::error::AppError;
use agenstack_core::clock::{Clock, Timestamp};
use agenstack_core::entropy::Entropy;
use agenstack_core::id::{DataKeyId, IdMaker, OrgId};
use agenstack_core::sealed::{Place, Sealed};
use agenstack_store::global::key::StoredKey;
use agenstack_store::{GlobalTx, Store};
use agenstack_vault::{DataKey, Vault, VaultError, key_id_of};
use secrecy::SecretString;
use std::sync::Arc;
use zeroize::Zeroizing;

/// How long a data key seals before another follows: 90 days.
pub const RENEW_SECS: i64 = 90 * 86_400;

/// How long one is remembered.
const KEPT_SECS: i64 = 300;
/// Organizations whose newest keys are remembered, at most: as many as owners of accounts are.
const NEWEST: usize = 100_000;
/// Other keys that are remembered, at most: few organizations have some.
const FORMER: usize = 10_000;

/// Opens and caches data keys for at most five minutes: the newest of each organization, and others by their names.
pub struct Keyring {
    store: Store,
    vault: Vault,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    ids: IdMaker,
    /// With when the key was made.
    newest: Aging<OrgId, (DataKey, Timestamp)>,
    by_id: Aging<(OrgId, DataKeyId), DataKey>,
}

/// Whether there is a key of an organization to open anything with, in the database or in memory. For tests.
#[doc(hidden)]
pub async fn opens(app: &crate::App, org: &OrgId) -> bool {
    app.keyring().key(org).await.is_ok()
}

impl Keyring {
    /// Remembers nothing yet.
    pub fn new(store: Store, vault: Vault, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            newest: Aging::new(NEWEST, KEPT_SECS, clock.clone()),
            by_id: Aging::new(FORMER, KEPT_SECS, clock.clone()),
            store,
            vault,
            clock,
            entropy,
            ids: IdMaker::new(),
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

    /// Whether the newest key of an organization is at hand, and need not be asked for.
    pub(crate) fn remembers(&self, org: &OrgId) -> bool {
        self.newest.get(org).is_some()
    }

    /// The key to seal with.
    pub(crate) async fn key(&self, org: &OrgId) -> Result<DataKey, AppError> {
        if let Some((key, made)) = self.newest.get(org)
            && self.is_new(made)
        {
            return Ok(key);
        }
        // On the heap: whoever seals carries what this needs along, and needs it hardly ever.
        Box::pin(self.look_up(org)).await
    }

    /// The key to seal with, as it is stored; a new one if it is old.
    async fn look_up(&self, org: &OrgId) -> Result<DataKey, AppError> {
        let (stored, made) = self.store.global_read().await?.key_newest(org).await?;
        if !self.is_new(made) {
            match self.renew(org, &stored.id).await {
                Ok(_) => return self.newest(org).await,
                // What is to be sealed now can still be sealed with the former one; the next seal tries again.
                Err(error) => tracing::warn!(org.id = %org, %error, "a data key could not be renewed"),
            }
        }
        self.keep(org, &stored, made)
    }

    fn is_new(&self, made: Timestamp) -> bool {
        made.plus_secs(RENEW_SECS) > self.clock.now()
    }

    /// The newest key as it is stored now, whatever is remembered.
    pub(crate) async fn newest(&self, org: &OrgId) -> Result<DataKey, AppError> {
        let (stored, made) = self.store.global_read().await?.key_newest(org).await?;
        self.keep(org, &stored, made)
    }

    /// Opens the newest key of an organization and remembers it.
    pub(crate) fn keep(&self, org: &OrgId, stored: &StoredKey, made: Timestamp) -> Result<DataKey, AppError> {
        let key = self.unwrap(org, stored)?;
        self.newest.put(org.clone(), (key.clone(), made));
        Ok(key)
    }

    /// A key that the organization has, or once sealed with.
    ///
    /// # Errors
    /// [`AppError::NotFound`] if it has no such key.
    pub(crate) async fn key_by_id(&self, org: &OrgId, id: &DataKeyId) -> Result<DataKey, AppError> {
        match self.newest.get(org) {
            Some((key, _)) if key.id() == id => return Ok(key),
            _ => {}
        }
        match self.by_id.get(&(org.clone(), id.clone())) {
            Some(key) => Ok(key),
            None => self.load(org, id).await,
        }
    }

    /// Forgets the keys of an organization that has ended. Other processes do within five minutes, when what they remember
    /// is too old.
    pub(crate) fn forget(&self, org: &OrgId) {
        self.newest.forget(org);
        self.by_id.forget_if(|(of, _)| of == org);
    }

    /// Makes the key that follows `former`, and lets the values be sealed anew. `false` if somebody else did it.
    pub(crate) async fn renew(&self, org: &OrgId, former: &DataKeyId) -> Result<bool, AppError> {
        let now = self.clock.now();
        // The newest id is the key to seal with: a clock that is behind the one that named the former must not hide this one.
        let mut ahead = 0;
        let id = loop {
            let id = DataKeyId::new(&self.ids, now.plus_millis(ahead), self.entropy.as_ref());
            if id > *former {
                break id;
            }
            ahead = ahead * 2 + 1;
        };
        let made = self.vault.create_successor(&self.load(org, former).await?, &id, self.entropy.as_ref());
        let next = StoredKey { id, master_key_id: made.master_key_id, wrapped: made.wrapped };
        let mut tx = self.store.global().await?;
        if !tx.key_succeed(org, former, &next, now).await? {
            return Ok(false);
        }
        tx.reseal_begin(org, &next.id, now).await?;
        tx.commit().await?;
        tracing::info!(org.id = %org, key.id = %next.id, "a new data key seals from now on");
        Ok(true)
    }

    async fn load(&self, org: &OrgId, id: &DataKeyId) -> Result<DataKey, AppError> {
        let stored = self.store.global_read().await?.key_get(org, Some(id)).await?;
        let key = self.unwrap(org, &stored)?;
        self.by_id.put((org.clone(), stored.id), key.clone());
        Ok(key)
    }

    fn unwrap(&self, org: &OrgId, stored: &StoredKey) -> Result<DataKey, VaultError> {
        self.vault.unwrap_data_key(org, &stored.id, &stored.master_key_id, &stored.wrapped)
    }

    /// Opens a sealed column of the organization.
    ///
    /// # Errors
    /// If it does not open with a key of the organization, at this place.
    pub async fn open(
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

    /// The database that the keys are in.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        self.entropy.as_ref()
    }

    /// For rows that belong to no organization yet.
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }
}
