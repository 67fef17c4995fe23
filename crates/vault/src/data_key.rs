//! The key of one organization.

use crate::envelope::{self, Binding, Purpose};
use crate::error::VaultError;
use crate::material::Material;
use agenstack_core::entropy::Entropy;
use agenstack_core::id::{DataKeyId, OrgId};
use agenstack_core::sealed::{Place, Sealed};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// An unwrapped data key. Cheap to clone; wiped when the last clone is dropped. Keep it for minutes, not longer.
#[derive(Clone)]
pub struct DataKey(Arc<Inner>);

struct Inner {
    org: OrgId,
    id: DataKeyId,
    sealing: Material,
    digesting: Material,
}

impl DataKey {
    /// From what is wrapped: 32 bytes, and, for a key that followed another, the digesting key that it took over.
    pub(crate) fn from_wrapped(org: OrgId, id: DataKeyId, bytes: &[u8]) -> Option<Self> {
        let (root, taken_over) = bytes.split_at_checked(32)?;
        let root = Material::from_slice(root)?;
        let digesting = match taken_over {
            [] => root.derive("digesting"),
            bytes => Material::from_slice(bytes)?,
        };
        Some(Self(Arc::new(Inner { org, id, sealing: root.derive("sealing"), digesting })))
    }

    /// What the key that follows takes over, so that what was digested before is still recognised.
    pub(crate) fn digesting(&self) -> &Material {
        &self.0.digesting
    }

    /// Its id, which every value that it seals carries.
    pub fn id(&self) -> &DataKeyId {
        &self.0.id
    }

    /// The organization whose values it seals, and nobody else's.
    pub fn org(&self) -> &OrgId {
        &self.0.org
    }

    /// Seals a value for one column of one row.
    pub fn seal(&self, place: Place<'_>, plaintext: &[u8], entropy: &dyn Entropy) -> Sealed {
        envelope::seal(&self.0.sealing, self.binding(place), plaintext, entropy)
    }

    /// Opens a value that this key sealed for this place.
    pub fn open(&self, place: Place<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        envelope::open(&self.0.sealing, self.binding(place), sealed)
    }

    /// A keyed digest, for recognising what was seen before. Equal data of two organizations, or under two labels,
    /// have digests that do not match.
    pub fn digest(&self, label: &str, data: &[u8]) -> [u8; 32] {
        self.0.digesting.mac(&[label.as_bytes(), data])
    }

    fn binding<'a>(&'a self, place: Place<'a>) -> Binding<'a> {
        Binding {
            purpose: Purpose::Row,
            key_id: self.0.id.as_str(),
            organization: self.0.org.as_str(),
            place,
        }
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("org", &self.0.org).field("id", &self.0.id).finish_non_exhaustive()
    }
}
