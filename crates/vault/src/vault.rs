//! The vault: wraps and unwraps data keys, and seals what belongs to no organization yet.

use crate::data_key::DataKey;
use crate::envelope::{self, Binding, Purpose, is_master_key_id};
use crate::error::VaultError;
use crate::master::MasterKey;
use crate::material::Material;
use agenstack_core::entropy::Entropy;
use agenstack_core::id::{DataKeyId, OrgId};
use agenstack_core::sealed::{Place, Sealed};
use zeroize::Zeroizing;

/// Holds the current master key and, while a rotation runs, the one before it.
#[derive(Debug)]
pub struct Vault {
    current: MasterKey,
    previous: Option<MasterKey>,
}

/// A data key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// Which master key wrapped it.
    pub master_key_id: String,
    /// The data key, sealed for its organization and its id.
    pub wrapped: Sealed,
}

impl Vault {
    /// A vault that seals with `current` and still opens what `previous` sealed.
    pub fn new(current: MasterKey, previous: Option<MasterKey>) -> Self {
        Self { current, previous }
    }

    /// The id of the master key that wraps from now on.
    pub fn current_key_id(&self) -> &str {
        self.current.id()
    }

    /// Whether a master key with this id was given.
    pub fn knows(&self, id: &str) -> bool {
        self.master(id).is_ok()
    }

    /// A new data key for an organization, already wrapped. Its plaintext exists only inside this call.
    pub fn create_data_key(&self, org: &OrgId, id: &DataKeyId, entropy: &dyn Entropy) -> WrappedKey {
        self.wrap(org, id, Material::random(entropy).expose(), entropy)
    }

    /// The data key that follows `former`, already wrapped. It seals with a key of its own and digests with the same:
    /// digests outlive the keys that sealed beside them.
    pub fn create_successor(&self, former: &DataKey, id: &DataKeyId, entropy: &dyn Entropy) -> WrappedKey {
        let root = Material::random(entropy);
        let mut both = Zeroizing::new([0u8; 64]);
        both[..32].copy_from_slice(root.expose());
        both[32..].copy_from_slice(former.digesting().expose());
        self.wrap(former.org(), id, both.as_slice(), entropy)
    }

    /// Unwraps the data key of an organization. A key that was wrapped for another organization, or under another
    /// id, does not open.
    pub fn unwrap_data_key(
        &self,
        org: &OrgId,
        id: &DataKeyId,
        master_key_id: &str,
        wrapped: &Sealed,
    ) -> Result<DataKey, VaultError> {
        let bytes = self.unwrap_bytes(org, id, master_key_id, wrapped)?;
        DataKey::from_wrapped(org.clone(), id.clone(), &bytes).ok_or(VaultError::DoesNotOpen)
    }

    /// Wraps a data key anew with the current master key. The data key stays the same, so no row has to be sealed
    /// again.
    pub fn rewrap(
        &self,
        org: &OrgId,
        id: &DataKeyId,
        master_key_id: &str,
        wrapped: &Sealed,
        entropy: &dyn Entropy,
    ) -> Result<WrappedKey, VaultError> {
        let bytes = self.unwrap_bytes(org, id, master_key_id, wrapped)?;
        Ok(self.wrap(org, id, &bytes, entropy))
    }

    /// Seals a row that belongs to no organization yet, such as an event whose account nobody has connected.
    pub fn seal_platform(&self, place: Place<'_>, plaintext: &[u8], entropy: &dyn Entropy) -> Sealed {
        envelope::seal(&self.current.platform, platform(self.current.id(), place), plaintext, entropy)
    }

    /// Opens what [`Vault::seal_platform`] sealed, with the current or the previous master key.
    pub fn open_platform(&self, place: Place<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let key = self.master(envelope::split(sealed)?.key_id)?;
        envelope::open(&key.platform, platform(key.id(), place), sealed)
    }

    /// A keyed digest of the platform, under the current master key: a mark that nobody else can make.
    pub fn platform_digest(&self, label: &str, data: &[u8]) -> [u8; 32] {
        self.current.platform.mac(&[b"agenstack/digest/1", label.as_bytes(), data])
    }

    /// Whether a digest is the platform's, under the current or the previous master key. In constant time.
    pub fn is_platform_digest(&self, label: &str, data: &[u8], digest: &[u8]) -> bool {
        [Some(&self.current), self.previous.as_ref()].into_iter().flatten().any(|key| {
            let own = key.platform.mac(&[b"agenstack/digest/1", label.as_bytes(), data]);
            // Compared as MACs of the two, so that the time tells nothing of where they differ.
            digest.len() <= own.len()
                && !digest.is_empty()
                && key.platform.mac(&[b"agenstack/compare/1", digest])
                    == key.platform.mac(&[b"agenstack/compare/1", &own[..digest.len()]])
        })
    }

    fn wrap(&self, org: &OrgId, id: &DataKeyId, bytes: &[u8], entropy: &dyn Entropy) -> WrappedKey {
        let binding = wrapping(self.current.id(), org, id);
        WrappedKey {
            master_key_id: self.current.id().to_owned(),
            wrapped: envelope::seal(&self.current.wrapping, binding, bytes, entropy),
        }
    }

    fn unwrap_bytes(
        &self,
        org: &OrgId,
        id: &DataKeyId,
        master_key_id: &str,
        wrapped: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        // The column beside the wrapped key and its header have to name the same key; `open` compares them.
        let key = self.master(master_key_id)?;
        envelope::open(&key.wrapping, wrapping(key.id(), org, id), wrapped)
    }

    fn master(&self, id: &str) -> Result<&MasterKey, VaultError> {
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|key| key.id() == id)
            .ok_or_else(|| {
                // Text of any other shape is damage, and is not repeated.
                if is_master_key_id(id) {
                    VaultError::UnknownMasterKey(id.to_owned())
                } else {
                    VaultError::DoesNotOpen
                }
            })
    }
}

fn wrapping<'a>(key_id: &'a str, org: &'a OrgId, id: &'a DataKeyId) -> Binding<'a> {
    let place = Place { table: "organization_keys", row: id.as_str(), column: "wrapped" };
    Binding { purpose: Purpose::DataKey, key_id, organization: org.as_str(), place }
}

fn platform<'a>(key_id: &'a str, place: Place<'a>) -> Binding<'a> {
    Binding { purpose: Purpose::Platform, key_id, organization: "", place }
}
