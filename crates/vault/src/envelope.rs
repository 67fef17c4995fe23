//! The bytes of a sealed value.
//!
//! ```text
//! 1   mark and version   0xA0 | version; no UTF-8 text begins with such a byte
//! 1   algorithm          1: XChaCha20-Poly1305
//! 1   length of key id
//! n   key id             `dky_…` or `mk_…`
//! 24  nonce              random, so it needs no counter
//! m   ciphertext, then 16 bytes of tag
//! ```
//!
//! The associated data repeat the header and add where the value lives. The purpose keeps the three kinds of
//! value (row of an organization, wrapped data key, row of the platform) apart even under one key.

use crate::error::VaultError;
use crate::material::Material;
use agenstack_core::entropy::{self, Entropy};
use agenstack_core::id::DataKeyId;
use agenstack_core::sealed::{Place, Sealed};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

const MARK: u8 = 0xA0;
const MARK_BITS: u8 = 0xF0;
const VERSION: u8 = 1;
const XCHACHA20_POLY1305: u8 = 1;
const NONCE: usize = 24;
const TAG: usize = 16;

/// What a value is for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Row,
    DataKey,
    Platform,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Row => b"row",
            Self::DataKey => b"data-key",
            Self::Platform => b"platform",
        }
    }
}

/// Everything that a value is bound to.
#[derive(Clone, Copy)]
pub(crate) struct Binding<'a> {
    pub(crate) purpose: Purpose,
    pub(crate) key_id: &'a str,
    /// Empty for rows of the platform.
    pub(crate) organization: &'a str,
    pub(crate) place: Place<'a>,
}

impl Binding<'_> {
    /// Each part with its length in front: `("ab", "c")` and `("a", "bc")` are different bytes.
    fn associated_data(&self) -> Vec<u8> {
        let parts: [&[u8]; 8] = [
            &[VERSION],
            &[XCHACHA20_POLY1305],
            self.purpose.label(),
            self.key_id.as_bytes(),
            self.organization.as_bytes(),
            self.place.table.as_bytes(),
            self.place.row.as_bytes(),
            self.place.column.as_bytes(),
        ];
        let mut data = b"agenstack/sealed".to_vec();
        for part in parts {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part);
        }
        data
    }
}

/// Seals. Infallible: the only limit of the cipher is 256 GiB.
pub(crate) fn seal(key: &Material, binding: Binding<'_>, plaintext: &[u8], entropy: &dyn Entropy) -> Sealed {
    let id = binding.key_id.as_bytes();
    let id_length = u8::try_from(id.len()).expect("key ids are made here and are short");
    let nonce = XNonce::from(entropy::bytes::<NONCE>(entropy));
    // Room for everything up front: a vector that grew would leave plaintext behind in freed memory.
    let mut body = Zeroizing::new(Vec::with_capacity(plaintext.len() + TAG));
    body.extend_from_slice(plaintext);
    XChaCha20Poly1305::new(key.expose().into())
        .encrypt_in_place(&nonce, &binding.associated_data(), &mut *body)
        .expect("no value comes near 256 GiB");

    let mut out = Vec::with_capacity(3 + id.len() + NONCE + body.len());
    out.extend_from_slice(&[MARK | VERSION, XCHACHA20_POLY1305, id_length]);
    out.extend_from_slice(id);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&body);
    Sealed::from_bytes(out)
}

/// Opens, if key, place and every byte are the ones it was sealed with.
pub(crate) fn open(
    key: &Material,
    binding: Binding<'_>,
    sealed: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let parts = split(sealed)?;
    if parts.key_id != binding.key_id {
        return Err(VaultError::DoesNotOpen);
    }
    let mut body = Zeroizing::new(parts.body.to_vec());
    XChaCha20Poly1305::new(key.expose().into())
        .decrypt_in_place(&XNonce::from(parts.nonce), &binding.associated_data(), &mut *body)
        .map_err(|_says_nothing| VaultError::DoesNotOpen)?;
    Ok(body)
}

/// A sealed value, taken apart but not opened.
pub(crate) struct Parts<'a> {
    pub(crate) key_id: &'a str,
    nonce: [u8; NONCE],
    body: &'a [u8],
}

/// Takes a value apart. Everything that is not exactly the known format is refused here.
pub(crate) fn split(sealed: &Sealed) -> Result<Parts<'_>, VaultError> {
    let (first, rest) = sealed.as_bytes().split_first().ok_or(VaultError::NotSealed)?;
    if first & MARK_BITS != MARK {
        return Err(VaultError::NotSealed);
    }
    let version = first & !MARK_BITS;
    if version != VERSION {
        return Err(VaultError::UnknownVersion(version));
    }
    let (algorithm, rest) = rest.split_first().ok_or(VaultError::DoesNotOpen)?;
    if *algorithm != XCHACHA20_POLY1305 {
        return Err(VaultError::UnknownAlgorithm(*algorithm));
    }
    let (length, rest) = rest.split_first().ok_or(VaultError::DoesNotOpen)?;
    let (id, rest) = rest.split_at_checked(usize::from(*length)).ok_or(VaultError::DoesNotOpen)?;
    let key_id = std::str::from_utf8(id).map_err(|_not_shown| VaultError::DoesNotOpen)?;
    let (nonce, body) = rest.split_first_chunk::<NONCE>().ok_or(VaultError::DoesNotOpen)?;
    Ok(Parts { key_id, nonce: *nonce, body })
}

/// Which data key sealed this value, as its header says. Only opening it proves that this is true.
pub fn key_id_of(sealed: &Sealed) -> Result<DataKeyId, VaultError> {
    DataKeyId::parse(split(sealed)?.key_id).ok_or(VaultError::DoesNotOpen)
}

/// Which master key sealed this value: a wrapped data key, or a row of the platform.
pub fn master_key_id_of(sealed: &Sealed) -> Result<String, VaultError> {
    let id = split(sealed)?.key_id;
    if is_master_key_id(id) { Ok(id.to_owned()) } else { Err(VaultError::DoesNotOpen) }
}

/// Whether the text has the shape of a master key's id. What has not is never repeated in an error.
pub(crate) fn is_master_key_id(text: &str) -> bool {
    text.strip_prefix("mk_").is_some_and(|hex| {
        hex.len() == 16 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}
