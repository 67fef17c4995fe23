//! The master key: what the operator keeps, and the only secret that is not in the database.

use crate::error::KeyError;
use crate::material::Material;
use agenstack_core::entropy::Entropy;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// A master key. Holds only the keys derived from it, each for one use.
pub struct MasterKey {
    id: String,
    /// Wraps data keys.
    pub(crate) wrapping: Material,
    /// Seals rows that belong to no organization yet.
    pub(crate) platform: Material,
}

impl MasterKey {
    /// Reads what [`MasterKey::generate`] wrote: exactly 32 bytes in standard base64. Space around it, such as the
    /// newline at the end of a file, does not matter.
    pub fn parse(base64: &SecretString) -> Result<Self, KeyError> {
        let text = base64.expose_secret().trim();
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        // 32 bytes are 44 letters. Longer text is not decoded at all, so the buffer need not grow (and move).
        if text.len() > 64 {
            return Err(KeyError::TooLong);
        }
        let mut buffer = Zeroizing::new([0u8; 48]);
        let length =
            STANDARD.decode_slice(text, buffer.as_mut_slice()).map_err(|_not_shown| KeyError::NotBase64)?;
        let bytes = &buffer[..length];
        if length > 32 {
            return Err(KeyError::TooLong);
        }
        let root = Material::from_slice(bytes).ok_or(KeyError::TooShort { bytes: length })?;
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(KeyError::NotRandom);
        }
        Ok(Self::from_root(&root))
    }

    /// A new key, as the text that [`MasterKey::parse`] reads.
    pub fn generate(entropy: &dyn Entropy) -> SecretString {
        SecretString::from(STANDARD.encode(Material::random(entropy).expose()))
    }

    /// A name for this key that tells nothing about it: `mk_` and 16 hex digits. Sealed values carry it.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn from_root(root: &Material) -> Self {
        let fingerprint =
            Sha256::new().chain_update(b"agenstack/master-key-id/1\0").chain_update(root.expose());
        Self {
            id: format!("mk_{}", hex::encode(&fingerprint.finalize()[..8])),
            wrapping: root.derive("wrapping"),
            platform: root.derive("platform"),
        }
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agenstack_core::entropy::SeededEntropy;

    fn parse(text: &str) -> Result<MasterKey, KeyError> {
        MasterKey::parse(&SecretString::from(text))
    }

    #[test]
    fn a_generated_key_reads_back_with_a_stable_id_and_a_newline_does_not_matter() {
        let text = MasterKey::generate(&SeededEntropy::new(1));
        let key = MasterKey::parse(&text).unwrap();
        assert_eq!(key.id().len(), "mk_".len() + 16);
        assert!(key.id().starts_with("mk_"));
        for end in ["\n", "\r\n", ""] {
            assert_eq!(parse(&format!("{}{end}", text.expose_secret())).unwrap().id(), key.id());
        }
        let other = MasterKey::parse(&MasterKey::generate(&SeededEntropy::new(2))).unwrap();
        assert_ne!(other.id(), key.id());
    }

    #[test]
    fn only_exactly_32_random_bytes_are_a_master_key() {
        let random: Vec<u8> = (0..64).collect();
        for length in 1..32 {
            let found = parse(&STANDARD.encode(&random[..length])).unwrap_err();
            assert_eq!(found, KeyError::TooShort { bytes: length });
        }
        for length in 33..64 {
            assert_eq!(
                parse(&STANDARD.encode(&random[..length])).unwrap_err(),
                KeyError::TooLong,
                "{length}"
            );
        }
        for byte in 0..=255u8 {
            assert_eq!(parse(&STANDARD.encode([byte; 32])).unwrap_err(), KeyError::NotRandom);
        }
        assert_eq!(parse("").unwrap_err(), KeyError::Empty);
        assert_eq!(parse(" \n").unwrap_err(), KeyError::Empty);
        let good = STANDARD.encode(&random[1..33]);
        assert!(parse(&good).is_ok());
        for bad in
            [good.trim_end_matches('=').to_owned(), good.replace('A', "-"), "correct horse battery".into()]
        {
            assert_eq!(parse(&bad).unwrap_err(), KeyError::NotBase64, "{bad}");
        }
    }

    #[test]
    fn no_error_shows_the_value_and_each_says_what_to_do() {
        for bad in
            ["canary-canary", "Y2FuYXJ5Y2FuYXJ5", "", &"Y2FuYXJ5".repeat(9), &STANDARD.encode([7u8; 32])]
        {
            let error = parse(bad).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("agenstack keys generate"), "{shown}");
            assert!(!shown.contains("canary") && !shown.contains("Y2Fu"), "{shown}");
        }
    }
}
