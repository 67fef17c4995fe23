//! Prefixed, sortable text ids: `org_` and 26 letters that begin with the time.

use crate::clock::Timestamp;
use crate::entropy::{Entropy, bytes};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Mutex;

/// Crockford's base 32 in lower case: sorts like the number it writes, without look-alike letters.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Whether it is of the alphabet. Each event that is accepted asks this a few hundred times.
fn is_letter(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'h' | b'j' | b'k' | b'm' | b'n' | b'p'..=b't' | b'v'..=b'z')
}

/// Letters of the prefix, and of all.
const PREFIX: usize = 4;
const LENGTH: usize = PREFIX + 26;

/// A prefix and what follows it: 48 bits of milliseconds, then 80 random bits.
fn encode(prefix: &str, value: u128) -> [u8; LENGTH] {
    let mut text = [0; LENGTH];
    text[..PREFIX].copy_from_slice(prefix.as_bytes());
    for (i, letter) in text[PREFIX..].iter_mut().rev().enumerate() {
        *letter = ALPHABET[((value >> (i * 5)) & 31) as usize];
    }
    text
}

/// Makes ids. Two ids of one maker in the same millisecond still sort in the order of making.
#[derive(Debug, Default)]
pub struct IdMaker(Mutex<u128>);

impl IdMaker {
    /// A maker that has made nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the next id holds.
    fn next(&self, now: Timestamp, entropy: &dyn Entropy) -> u128 {
        let ms = u128::from(now.millis().max(0).unsigned_abs()) & ((1 << 48) - 1);
        let mut random = [0u8; 16];
        random[6..].copy_from_slice(&bytes::<10>(entropy));
        let fresh = (ms << 80) | u128::from_be_bytes(random);
        let mut last = self.0.lock().expect("no holder of this lock can panic");
        // Within one millisecond (or when the clock stepped back) count on from the last id, by a random step,
        // so that neighbours stay hard to guess.
        *last = if fresh >> 80 > *last >> 80 { fresh } else { *last + 1 + (fresh & 0xffff_ffff) };
        *last
    }
}

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        // Its letters are in it: thousands of ids are remembered, and each event takes many along.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; LENGTH]);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;
            /// A new id.
            pub fn new(maker: &IdMaker, now: Timestamp, entropy: &dyn Entropy) -> Self {
                Self::from_bits(maker.next(now, entropy))
            }
            /// Reads an id; `None` unless it is the prefix and 26 letters of the alphabet.
            pub fn parse(text: &str) -> Option<Self> {
                let body = text.strip_prefix($prefix)?;
                if !body.bytes().all(is_letter) {
                    return None;
                }
                text.as_bytes().try_into().ok().map(Self)
            }
            /// The id of 128 bits that came from elsewhere, such as a UUID.
            pub fn from_bits(bits: u128) -> Self {
                Self(encode($prefix, bits))
            }
            /// The first id of an instant: those made before it sort before it, and those made after it behind it.
            pub fn first_of(at: Timestamp) -> Self {
                let ms = u128::from(at.millis().max(0).unsigned_abs()) & ((1 << 48) - 1);
                Self::from_bits(ms << 80)
            }
            /// The instant in which the id was made.
            pub fn made_at(&self) -> Timestamp {
                let digit = |b: &u8| ALPHABET.iter().position(|a| a == b).unwrap_or(0) as u128;
                let bits = self.0[PREFIX..].iter().fold(0_u128, |n, b| (n << 5) | digit(b));
                Timestamp::from_millis(i64::try_from(bits >> 80).unwrap_or(i64::MAX))
            }
            /// The id as text.
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).expect("each letter is of the alphabet or of the prefix")
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.as_str()).finish()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                Self::parse(&text).ok_or_else(|| serde::de::Error::custom(concat!("expected an id that begins with ", $prefix)))
            }
        }
    )*};
}

id! {
    /// An organization: the tenant.
    OrgId = "org_";
    /// A person who signs in.
    UserId = "usr_";
    /// A connection of an organization to a provider account.
    IntegrationId = "int_";
    /// A webhook event in the inbox.
    EventId = "evt_";
    /// A conversation with one customer on one channel.
    ConversationId = "cnv_";
    /// A message in a conversation.
    MessageId = "msg_";
    /// A customer of an organization.
    ContactId = "con_";
    /// A data key of an organization.
    DataKeyId = "dky_";
    /// A queued deed.
    JobId = "job_";
    /// An authorization that was begun.
    FlowId = "flo_";
    /// A signed-in browser.
    SessionId = "ses_";
    /// An entry of the audit log.
    AuditId = "aud_";
    /// A change of a connection's state.
    HistoryId = "his_";
    /// A provider that is still to be told that a connection has ended.
    FarewellId = "bye_";
    /// An account that one organization releases to another.
    TransferId = "trf_";
    /// A mail on its way out.
    MailId = "mai_";
    /// A request for a customer's data, or to erase what is held.
    PrivacyRequestId = "prv_";
    /// A replay of many events.
    ReplayId = "rpl_";
    /// A way to a new password, good once.
    ResetId = "rst_";
    /// A bot's setting or a piece of knowledge that was brought along from an older platform.
    BroughtId = "bro_";
    /// One request, for finding it in the log.
    RequestId = "req_";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn ids_sort_in_the_order_of_making_even_within_a_millisecond_and_when_the_clock_steps_back() {
        let (maker, entropy) = (IdMaker::new(), SeededEntropy::new(1));
        let times = [5, 5, 5, 6, 4, 7];
        let ids: Vec<_> =
            times.iter().map(|ms| OrgId::new(&maker, Timestamp::from_millis(*ms), &entropy)).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len());
    }

    #[test]
    fn an_id_tells_when_it_was_made_and_an_instant_where_its_ids_begin() {
        let (maker, entropy) = (IdMaker::new(), SeededEntropy::new(1));
        let at = Timestamp::from_millis(1_795_521_600_123);
        let id = OrgId::new(&maker, at, &entropy);
        assert_eq!(id.made_at(), at);
        assert_eq!(OrgId::first_of(at).made_at(), at);
        assert!(OrgId::first_of(at) <= id && id < OrgId::first_of(at.plus_millis(1)));
    }

    #[test]
    fn a_letter_is_one_of_the_alphabet() {
        for byte in 0..=u8::MAX {
            assert_eq!(is_letter(byte), ALPHABET.contains(&byte), "{byte}");
        }
    }

    #[test]
    fn an_id_of_another_kind_or_shape_is_refused() {
        let id = OrgId::new(&IdMaker::new(), Timestamp::from_millis(1), &SeededEntropy::new(1));
        assert_eq!(OrgId::parse(id.as_str()), Some(id.clone()));
        for bad in [
            "",
            "org_",
            "usr_00000000000000000000000000",
            "org_0000000000000000000000000U",
            &format!("{id}0"),
        ] {
            assert_eq!(OrgId::parse(bad), None, "{bad}");
        }
    }
}
