//! The kept inputs, and new ones made of them.

use crate::vector;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::LazyLock;

/// Each with its name.
pub type Inputs = Vec<(String, Vec<u8>)>;

/// The files of the corpus.
pub fn files() -> Inputs {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus"));
    let mut all: Inputs = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|file| file.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    all.sort();
    all
}

/// Every text of the vectors, and what it is in base64.
fn vectors() -> Inputs {
    fn texts(name: &str, value: &Value, into: &mut Inputs) {
        match value {
            Value::String(text) => {
                into.push((name.to_owned(), text.clone().into_bytes()));
                into.extend(STANDARD.decode(text).ok().map(|bytes| (name.to_owned(), bytes)));
            }
            Value::Array(all) => all.iter().for_each(|one| texts(name, one, into)),
            Value::Object(all) => all.values().for_each(|one| texts(name, one, into)),
            _ => {}
        }
    }
    let mut all = Inputs::new();
    for name in ["shopify", "messenger", "kustomer"] {
        texts(name, &vector::file(name), &mut all);
    }
    all
}

/// All of them.
pub static SEEDS: LazyLock<Inputs> = LazyLock::new(|| [files(), vectors()].concat());

/// What readers stumble over, wherever it stands.
const TOKENS: [&[u8]; 32] = [
    b"\\ud83d",
    b"\\ude00",
    b"\\u0000",
    b"\\\\",
    b"\\",
    b"\0",
    b"\xff\xfe",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"[[[[[[[[",
    b"{\"a\":",
    b"]",
    b"}",
    b"\"id\":",
    b"\"id\":1,\"id\":2,",
    b"1e999999",
    b"-0",
    b"9223372036854775808",
    b"18446744073709551616",
    b"0.1e-400",
    b"null",
    b"true",
    b"\"\"",
    b"\xe2\x80\xae",
    b"%00",
    b"%",
    b"&hmac=",
    b"=",
    b"+",
    b"\r\n",
    b".",
    b".myshopify.com",
];

#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Cut(Index, usize),
    Repeat(Index, usize, usize),
    Insert(Index, usize),
    Take(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (at(), 1..64_usize).prop_map(|(at, n)| Change::Cut(at, n)),
        (at(), 1..32_usize, 1..200_usize).prop_map(|(at, n, times)| Change::Repeat(at, n, times)),
        (at(), 0..TOKENS.len()).prop_map(|(at, token)| Change::Insert(at, token)),
        (at(), at()).prop_map(|(seed, at)| Change::Take(seed, at)),
    ]
}

fn changed(mut bytes: Vec<u8>, change: &Change) -> Vec<u8> {
    match change {
        Change::Flip(at, bit) => {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
        }
        Change::Cut(at, n) => {
            let at = at.index(bytes.len() + 1);
            bytes.drain(at..(at + n).min(bytes.len()));
        }
        Change::Repeat(at, n, times) => {
            let at = at.index(bytes.len() + 1);
            let piece = bytes[at..(at + n).min(bytes.len())].repeat(*times);
            bytes.splice(at..at, piece);
        }
        Change::Insert(at, token) => {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, TOKENS[*token].iter().copied());
        }
        Change::Take(seed, at) => {
            let other = &seed.get(&SEEDS).1;
            let at = at.index(bytes.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[at.min(other.len())..]);
        }
    }
    bytes
}

/// Bytes out of nowhere, or a kept input with a few changes.
pub fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let of_seed = (any::<Index>(), vec(change(), 0..6))
        .prop_map(|(seed, changes)| changes.iter().fold(seed.get(&SEEDS).1.clone(), changed));
    prop_oneof![1 => vec(any::<u8>(), 0..300), 6 => of_seed]
}

/// JSON of any shape, without fractions: these are read to the nearest, and not back to the same.
pub fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let key = prop_oneof![any::<String>(), "id|entry|messaging|message|sender|text|mid|data|org|name"];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((key.clone(), inner), 0..6).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}
