//! What a sealed value withstands.

use agenstack_core::clock::Timestamp;
use agenstack_core::entropy::{OsEntropy, SeededEntropy};
use agenstack_core::id::{DataKeyId, IdMaker, OrgId};
use agenstack_core::sealed::{Place, Sealed};
use agenstack_vault::{DataKey, MasterKey, Vault, VaultError, WrappedKey, key_id_of, master_key_id_of};
use base64::Engine;
use proptest::prelude::*;
use secrecy::ExposeSecret;

const TOKEN: &[u8] = b"shpat_canary_0123456789abcdef";
const PLACE: Place<'static> = Place { table: "integrations", row: "int_1", column: "access_token" };

fn master(seed: u64) -> MasterKey {
    MasterKey::parse(&MasterKey::generate(&SeededEntropy::new(seed)))
        .expect("what generate writes, parse reads")
}

struct Tenant {
    org: OrgId,
    id: DataKeyId,
    wrapped: WrappedKey,
    key: DataKey,
}

fn tenant(vault: &Vault, seed: u64) -> Tenant {
    let (maker, entropy) = (IdMaker::new(), SeededEntropy::new(seed));
    let org = OrgId::new(&maker, Timestamp::from_millis(1), &entropy);
    let id = DataKeyId::new(&maker, Timestamp::from_millis(1), &entropy);
    let wrapped = vault.create_data_key(&org, &id, &entropy);
    let key =
        vault.unwrap_data_key(&org, &id, &wrapped.master_key_id, &wrapped.wrapped).expect("just wrapped");
    Tenant { org, id, wrapped, key }
}

fn vault() -> Vault {
    Vault::new(master(1), None)
}

#[test]
fn a_sealed_value_opens_in_its_place_and_names_its_key() {
    let tenant = tenant(&vault(), 10);
    let sealed = tenant.key.seal(PLACE, TOKEN, &OsEntropy);
    assert_eq!(tenant.key.open(PLACE, &sealed).unwrap().as_slice(), TOKEN);
    assert_eq!(key_id_of(&sealed).unwrap(), tenant.id);
    assert_eq!((tenant.key.org(), tenant.key.id()), (&tenant.org, &tenant.id));
    assert!(!sealed.as_bytes().windows(6).any(|window| window == b"canary"));
}

#[test]
fn no_value_opens_after_any_of_its_bytes_was_changed() {
    let vault = vault();
    let tenant = tenant(&vault, 10);
    let platform = vault.seal_platform(PLACE, TOKEN, &OsEntropy);
    let sealed = tenant.key.seal(PLACE, TOKEN, &OsEntropy);
    let (open_row, open_wrapped, open_platform) = (
        |s: &Sealed| tenant.key.open(PLACE, s).map(drop),
        |s: &Sealed| {
            let id = &tenant.wrapped.master_key_id;
            vault.unwrap_data_key(&tenant.org, &tenant.id, id, s).map(drop)
        },
        |s: &Sealed| vault.open_platform(PLACE, s).map(drop),
    );
    type Open<'a> = &'a dyn Fn(&Sealed) -> Result<(), VaultError>;
    let all: [(&Sealed, Open<'_>); 3] =
        [(&sealed, &open_row), (&tenant.wrapped.wrapped, &open_wrapped), (&platform, &open_platform)];
    for (value, open) in all {
        assert_eq!(open(value), Ok(()));
        for at in 0..value.as_bytes().len() {
            for bit in 0..8 {
                let mut bytes = value.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                let found = open(&Sealed::from_bytes(bytes)).unwrap_err();
                // Behind version and algorithm there is only one answer, except that a platform value may come to
                // name a master key that does not exist.
                if at > 1 && !matches!(found, VaultError::UnknownMasterKey(_)) {
                    assert_eq!(found, VaultError::DoesNotOpen, "byte {at} bit {bit}");
                }
            }
        }
    }
}

#[test]
fn no_value_opens_when_it_was_cut_short_or_made_longer() {
    let tenant = tenant(&vault(), 10);
    let sealed = tenant.key.seal(PLACE, TOKEN, &OsEntropy);
    for length in 0..sealed.as_bytes().len() {
        let cut = Sealed::from_bytes(sealed.as_bytes()[..length].to_vec());
        let expected = if length == 0 { VaultError::NotSealed } else { VaultError::DoesNotOpen };
        assert_eq!(tenant.key.open(PLACE, &cut).unwrap_err(), expected, "{length}");
    }
    let longer = Sealed::from_bytes([sealed.as_bytes(), b"\0"].concat());
    assert_eq!(tenant.key.open(PLACE, &longer).unwrap_err(), VaultError::DoesNotOpen);
}

#[test]
fn a_value_opens_in_no_other_organization_table_row_or_column() {
    let vault = vault();
    let tenants = [tenant(&vault, 10), tenant(&vault, 11), tenant(&vault, 12)];
    let mut values = Vec::new();
    for (owner, tenant) in tenants.iter().enumerate() {
        // The last two tables and rows differ only in where one word ends and the next begins.
        for table in ["integrations", "events", "a", "ab"] {
            for row in ["int_1", "int_2", "bc", "c"] {
                for column in ["access_token", "refresh_token", ""] {
                    let place = Place { table, row, column };
                    values.push((owner, place, tenant.key.seal(place, TOKEN, &OsEntropy)));
                }
            }
        }
    }
    for (from, (_, _, sealed)) in values.iter().enumerate() {
        for (to, (owner, place, _)) in values.iter().enumerate() {
            let opened = tenants[*owner].key.open(*place, sealed).map(|text| text.to_vec());
            let expected = if from == to { Ok(TOKEN.to_vec()) } else { Err(VaultError::DoesNotOpen) };
            assert_eq!(opened, expected, "{from} -> {to}");
        }
    }
}

#[test]
fn a_wrapped_key_serves_neither_another_organization_nor_another_id() {
    let vault = vault();
    let (a, b) = (tenant(&vault, 10), tenant(&vault, 11));
    for (org, id, wrapped) in [
        (&b.org, &a.id, &a.wrapped),
        (&a.org, &b.id, &a.wrapped),
        (&b.org, &b.id, &a.wrapped),
        (&a.org, &a.id, &b.wrapped),
    ] {
        let found = vault.unwrap_data_key(org, id, &wrapped.master_key_id, &wrapped.wrapped);
        assert_eq!(found.unwrap_err(), VaultError::DoesNotOpen);
        let found = vault.rewrap(org, id, &wrapped.master_key_id, &wrapped.wrapped, &OsEntropy);
        assert_eq!(found.unwrap_err(), VaultError::DoesNotOpen);
    }
}

#[test]
fn another_key_with_the_same_names_opens_nothing() {
    let (one, two) = (vault(), Vault::new(master(2), None));
    let tenant = tenant(&one, 10);
    let other = two.create_data_key(&tenant.org, &tenant.id, &OsEntropy);
    let other = two.unwrap_data_key(&tenant.org, &tenant.id, &other.master_key_id, &other.wrapped).unwrap();
    let sealed = tenant.key.seal(PLACE, TOKEN, &OsEntropy);
    assert_eq!(other.open(PLACE, &sealed).unwrap_err(), VaultError::DoesNotOpen);
}

#[test]
fn plain_text_and_unknown_formats_are_refused() {
    let vault = vault();
    let tenant = tenant(&vault, 10);
    let sealed = tenant.key.seal(PLACE, TOKEN, &OsEntropy);
    for text in ["", "shpat_0123456789abcdef0123456789abcdef", "{\"token\":1}", "é"] {
        let plain = Sealed::from_bytes(text.as_bytes().to_vec());
        assert_eq!(tenant.key.open(PLACE, &plain).unwrap_err(), VaultError::NotSealed);
        assert_eq!(vault.open_platform(PLACE, &plain).unwrap_err(), VaultError::NotSealed);
        assert_eq!(key_id_of(&plain).unwrap_err(), VaultError::NotSealed);
    }
    let with = |at: usize, byte: u8| {
        let mut bytes = sealed.as_bytes().to_vec();
        bytes[at] = byte;
        tenant.key.open(PLACE, &Sealed::from_bytes(bytes)).unwrap_err()
    };
    assert_eq!(with(0, 0xA2), VaultError::UnknownVersion(2));
    assert_eq!(with(0, 0xA0), VaultError::UnknownVersion(0));
    assert_eq!(with(1, 0), VaultError::UnknownAlgorithm(0));
    assert_eq!(with(1, 2), VaultError::UnknownAlgorithm(2));
}

#[test]
fn values_of_the_platform_open_in_their_place_only_and_never_as_values_of_an_organization() {
    let vault = vault();
    let tenant = tenant(&vault, 10);
    let sealed = vault.seal_platform(PLACE, TOKEN, &OsEntropy);
    assert_eq!(vault.open_platform(PLACE, &sealed).unwrap().as_slice(), TOKEN);
    assert_eq!(master_key_id_of(&sealed).unwrap(), vault.current_key_id());
    assert_eq!(key_id_of(&sealed).unwrap_err(), VaultError::DoesNotOpen);
    for place in
        [Place { row: "int_2", ..PLACE }, Place { table: "x", ..PLACE }, Place { column: "x", ..PLACE }]
    {
        assert_eq!(vault.open_platform(place, &sealed).unwrap_err(), VaultError::DoesNotOpen);
    }
    assert_eq!(tenant.key.open(PLACE, &sealed).unwrap_err(), VaultError::DoesNotOpen);
    let row = tenant.key.seal(PLACE, TOKEN, &OsEntropy);
    assert_eq!(vault.open_platform(PLACE, &row).unwrap_err(), VaultError::DoesNotOpen);
    // A wrapped data key read as a platform row would hand out the key itself.
    let place = Place { table: "organization_keys", row: tenant.id.as_str(), column: "wrapped" };
    assert_eq!(vault.open_platform(place, &tenant.wrapped.wrapped).unwrap_err(), VaultError::DoesNotOpen);
}

#[test]
fn after_a_rotation_the_previous_master_key_still_opens_until_everything_is_wrapped_anew() {
    let before = vault();
    let tenant = tenant(&before, 10);
    let row = tenant.key.seal(PLACE, TOKEN, &OsEntropy);
    let unrouted = before.seal_platform(PLACE, TOKEN, &OsEntropy);
    let old = &tenant.wrapped;

    let during = Vault::new(master(2), Some(master(1)));
    let key = during.unwrap_data_key(&tenant.org, &tenant.id, &old.master_key_id, &old.wrapped).unwrap();
    assert_eq!(key.open(PLACE, &row).unwrap().as_slice(), TOKEN);
    assert_eq!(during.open_platform(PLACE, &unrouted).unwrap().as_slice(), TOKEN);
    let new = during.rewrap(&tenant.org, &tenant.id, &old.master_key_id, &old.wrapped, &OsEntropy).unwrap();
    assert_eq!(new.master_key_id, during.current_key_id());
    // A name that does not fit the bytes is not believed.
    let mixed = during.unwrap_data_key(&tenant.org, &tenant.id, &new.master_key_id, &old.wrapped);
    assert_eq!(mixed.unwrap_err(), VaultError::DoesNotOpen);

    let after = Vault::new(master(2), None);
    let key = after.unwrap_data_key(&tenant.org, &tenant.id, &new.master_key_id, &new.wrapped).unwrap();
    assert_eq!(key.open(PLACE, &row).unwrap().as_slice(), TOKEN);
    let unknown = VaultError::UnknownMasterKey(old.master_key_id.clone());
    let found = after.unwrap_data_key(&tenant.org, &tenant.id, &old.master_key_id, &old.wrapped);
    assert_eq!(found.unwrap_err(), unknown);
    assert_eq!(after.open_platform(PLACE, &unrouted).unwrap_err(), unknown);
    assert!(unknown.to_string().contains(&old.master_key_id));
    // What is not even the id of a key is not repeated.
    let found = after.unwrap_data_key(&tenant.org, &tenant.id, "canary\r\n", &old.wrapped);
    assert_eq!(found.unwrap_err(), VaultError::DoesNotOpen);
}

#[test]
fn equal_texts_are_sealed_differently_and_digested_differently_by_two_organizations() {
    let vault = vault();
    let (a, b) = (tenant(&vault, 10), tenant(&vault, 11));
    assert_ne!(a.key.seal(PLACE, TOKEN, &OsEntropy), a.key.seal(PLACE, TOKEN, &OsEntropy));
    assert_eq!(a.key.digest("event", TOKEN), a.key.clone().digest("event", TOKEN));
    let others = [
        b.key.digest("event", TOKEN),
        a.key.digest("message", TOKEN),
        a.key.digest("event", b""),
        // The line between label and data cannot be moved.
        a.key.digest("eventshpat", &TOKEN[5..]),
    ];
    for other in others {
        assert_ne!(a.key.digest("event", TOKEN), other);
    }
}

#[test]
fn nothing_shows_a_byte_of_a_key_or_of_a_text() {
    let text = MasterKey::generate(&SeededEntropy::new(1));
    let master = MasterKey::parse(&text).unwrap();
    let raw = base64::engine::general_purpose::STANDARD.decode(text.expose_secret()).unwrap();
    let mut shown = format!("{master:?} {master:#?}");
    let vault = Vault::new(master, Some(self::master(2)));
    let tenant = tenant(&vault, 10);
    let sealed = tenant.key.seal(PLACE, TOKEN, &OsEntropy);
    shown += &format!("{vault:?} {:?} {:?} {sealed:?} {text:?}", tenant.key, tenant.wrapped);
    assert!(!shown.contains("canary") && !shown.contains(text.expose_secret()));
    // No derived key either, however it would be printed: nothing that looks like a list of numbers or long hex.
    let bytes = format!("{raw:?}");
    assert!(!shown.contains(&bytes[1..bytes.len() - 1]) && !shown.contains(&bytes[1..12]));
    let longest = shown.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
    assert!(longest <= Some(26), "{shown}");
    assert!(!shown.contains(", 1"), "{shown}");
}

proptest! {
    #[test]
    fn every_text_in_every_place_comes_back_as_it_was(
        text: Vec<u8>, table: String, row: String, column: String, seed: u64,
    ) {
        let vault = vault();
        let tenant = tenant(&vault, 10);
        let place = Place { table: &table, row: &row, column: &column };
        let entropy = SeededEntropy::new(seed);
        let sealed = tenant.key.seal(place, &text, &entropy);
        prop_assert_eq!(tenant.key.open(place, &sealed).unwrap().to_vec(), text.clone());
        let sealed = vault.seal_platform(place, &text, &entropy);
        prop_assert_eq!(vault.open_platform(place, &sealed).unwrap().to_vec(), text);
    }

    #[test]
    fn no_bytes_at_all_make_the_vault_panic_or_open(bytes: Vec<u8>, marked: bool) {
        let tenant = tenant(&vault(), 10);
        let mut bytes = bytes;
        if marked {
            bytes.splice(0..0, [0xA1, 1]);
        }
        prop_assert!(tenant.key.open(PLACE, &Sealed::from_bytes(bytes)).is_err());
    }
}

#[test]
fn a_key_that_follows_seals_with_its_own_and_digests_with_the_same_key() {
    let vault = vault();
    let former = tenant(&vault, 10);
    let mut id = former.id.clone();
    let mut key = former.key.clone();
    for seed in 20..23 {
        id = DataKeyId::new(
            &IdMaker::new(),
            Timestamp::from_millis(i64::try_from(seed).unwrap()),
            &SeededEntropy::new(seed),
        );
        let made = vault.create_successor(&key, &id, &OsEntropy);
        let anew = vault.rewrap(&former.org, &id, &made.master_key_id, &made.wrapped, &OsEntropy).unwrap();
        let next = vault.unwrap_data_key(&former.org, &id, &anew.master_key_id, &anew.wrapped).unwrap();
        assert_eq!(next.digest("body", b"seen"), former.key.digest("body", b"seen"));
        let sealed = next.seal(PLACE, TOKEN, &OsEntropy);
        assert_eq!(next.open(PLACE, &sealed).unwrap().as_slice(), TOKEN);
        assert_eq!(key.open(PLACE, &sealed).unwrap_err(), VaultError::DoesNotOpen);
        key = next;
    }
    assert_ne!(id, former.id);
}
