//! Key bytes, and how one key gives birth to another.

use agenstack_core::entropy::Entropy;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

/// 32 bytes of key. Boxed, so that moving it leaves no copy behind; wiped on drop.
pub(crate) struct Material(Box<Zeroizing<[u8; 32]>>);

impl Material {
    /// Random bytes.
    pub(crate) fn random(entropy: &dyn Entropy) -> Self {
        let mut this = Self(Box::default());
        entropy.fill(this.0.as_mut_slice());
        this
    }

    /// `None` unless there are exactly 32 bytes.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != 32 {
            return None;
        }
        let mut this = Self(Box::default());
        this.0.copy_from_slice(bytes);
        Some(this)
    }

    /// The bytes, for the one call that needs them.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for one use. HMAC-SHA-256 over a label is HKDF's expansion for one block: this key is uniform already,
    /// so there is nothing to extract.
    pub(crate) fn derive(&self, label: &str) -> Self {
        let bytes = Zeroizing::new(self.mac(&[b"agenstack/derive/1", label.as_bytes()]));
        Self::from_slice(bytes.as_slice()).expect("HMAC-SHA-256 gives 32 bytes")
    }

    /// HMAC-SHA-256 over the parts, each with its length in front, so that no two lists of parts give one input.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.expose()).expect("HMAC takes a key of any length");
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Material([redacted])")
    }
}
