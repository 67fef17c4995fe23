//! The one way from bytes to JSON, for verifying, routing and handling alike.

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt;

/// The bytes are not JSON. Says nothing of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not JSON")]
pub struct NotJson;

/// Reads a signed body. Every reader of a body gets this value, so two of them cannot see different things: of a
/// repeated key the last one counts, everywhere. Depth is bounded by the parser; the size by who read the bytes.
///
/// A cut emoji (half of a surrogate pair) in one customer's text would make the whole batch unreadable
/// (`messenger.md` 2.2: one bad event must not spoil the others), so such halves are read as U+FFFD.
pub fn parse(body: &[u8]) -> Result<Value, NotJson> {
    mending(body, |bytes| serde_json::from_slice(bytes))
}

/// Reads a signed body as [`parse`] does, and refuses what it refuses, but keeps of an object only the fields of its own:
/// what is inside them is left empty. For finding an owner, where nobody looks further and every delivery pays for it.
pub fn outline(body: &[u8]) -> Result<Value, NotJson> {
    mending(body, read_outline)
}

fn mending(body: &[u8], read: impl Fn(&[u8]) -> Result<Value, serde_json::Error>) -> Result<Value, NotJson> {
    match read(body) {
        Ok(value) => Ok(value),
        Err(_) => read(&mend_surrogates(body).ok_or(NotJson)?).map_err(|_| NotJson),
    }
}

/// What of a value is kept. The inside is read to its last byte all the same: the parser's own way of skipping looks less
/// closely than its way of reading.
#[derive(Clone, Copy)]
enum Keep {
    Outline,
    Field,
    Nothing,
}

fn read_outline(body: &[u8]) -> Result<Value, serde_json::Error> {
    let mut from = serde_json::Deserializer::from_slice(body);
    let value = Keep::Outline.deserialize(&mut from)?;
    from.end()?;
    Ok(value)
}

impl<'de> DeserializeSeed<'de> for Keep {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keep {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(if matches!(self, Self::Nothing) { Value::Null } else { text.into() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        while seq.next_element_seed(Self::Nothing)?.is_some() {}
        Ok(Value::Array(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        if matches!(self, Self::Outline) {
            while let Some(name) = map.next_key::<String>()? {
                fields.insert(name, map.next_value_seed(Self::Field)?);
            }
        } else {
            while map.next_key_seed(Self::Nothing)?.is_some() {
                map.next_value_seed(Self::Nothing)?;
            }
        }
        Ok(Value::Object(fields))
    }
}

/// Replaces `\uD8xx` escapes without their second half, and second halves without their first; `None` if there
/// are none.
fn mend_surrogates(body: &[u8]) -> Option<Vec<u8>> {
    let mut out = body.to_vec();
    let mut mended = false;
    let mut at = 0;
    while at < out.len() {
        if out[at] != b'\\' {
            at += 1;
            continue;
        }
        match unit(&out, at) {
            Some(0xD800..=0xDBFF) if matches!(unit(&out, at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(0xD800..=0xDFFF) => {
                out[at + 2..at + 6].copy_from_slice(b"fffd");
                mended = true;
                at += 6;
            }
            // Any other escape takes two bytes; `\\` must not lend its second one to what follows.
            _ => at += 2,
        }
    }
    mended.then_some(out)
}

/// The UTF-16 unit of a `\uXXXX` escape that begins at `at`.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let escape = bytes.get(at..at + 6)?;
    let digits = escape.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Text at a JSON pointer; a number counts as its decimal digits, because ids come as both.
pub(crate) fn text(value: &Value, pointer: &str) -> Option<String> {
    as_text(value.pointer(pointer)?)
}

/// A value as an id or text: a non-empty string or a whole number.
///
/// JSON may hold a NUL and PostgreSQL's text may not: one such id would keep a whole delivery from being stored, again and
/// again. It is read as U+FFFD, as half a surrogate pair is.
pub(crate) fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.replace('\0', "\u{fffd}")),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

/// Longer ids are kept as their digest: a key of the database has a bound, and what cannot be stored comes again for ever.
const LONGEST_ID: usize = 256;

/// An id at a JSON pointer.
pub(crate) fn id(value: &Value, pointer: &str) -> Option<String> {
    let id = text(value, pointer)?;
    Some(if id.len() <= LONGEST_ID { id } else { format!("sha256:{}", hex::encode(Sha256::digest(id))) })
}

/// A whole number that may be written as text.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|f| f as i64)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// The strings of an array at a JSON pointer; what is not a string is left out.
pub(crate) fn strings(value: &Value, pointer: &str) -> Vec<String> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten().filter_map(as_text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cut_emoji_does_not_spoil_the_batch() {
        let body = br#"{"a":"cut \ud83d","b":"whole \ud83d\ude00","c":"back \\ud83d","d":"\ude00"}"#;
        assert_eq!(
            parse(body).unwrap(),
            json!({"a": "cut \u{fffd}", "b": "whole \u{1f600}", "c": "back \\ud83d", "d": "\u{fffd}"})
        );
    }

    #[test]
    fn an_id_can_be_stored_whatever_it_holds() {
        let (long, longer) = ("a".repeat(256), "a".repeat(257));
        let value =
            json!({"nul": "a\0b", "number": 7, "long": long, "longer": longer, "empty": "", "list": []});
        assert_eq!(id(&value, "/nul").as_deref(), Some("a\u{fffd}b"));
        assert_eq!(id(&value, "/number").as_deref(), Some("7"));
        assert_eq!(id(&value, "/long"), Some(long));
        assert_eq!(id(&value, "/longer").map(|id| id.len()), Some("sha256:".len() + 64));
        assert_eq!((id(&value, "/empty"), id(&value, "/list")), (None, None));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for bad in [&b""[..], b"{", b"\xff\xfe", b"{\"a\":\"\xff\"}", b"[1]x", &b"[".repeat(200)] {
            assert_eq!(parse(bad), Err(NotJson));
        }
    }

    #[test]
    fn an_outline_has_the_fields_of_the_whole_and_nothing_of_what_is_inside_them() {
        let body = br#"{"id":820982911946154508,"n":-1.5,"t":true,"z":null,"s":"cut \ud83d","id":7,"deep":{"id":9},"list":[{"a":[1]}]}"#;
        let whole = parse(body).unwrap();
        let outline = outline(body).unwrap();
        assert_eq!(
            outline,
            json!({"id": 7, "n": -1.5, "t": true, "z": null, "s": "cut \u{fffd}", "deep": {}, "list": []})
        );
        for (field, value) in whole.as_object().unwrap() {
            assert!(outline[field] == *value || value.is_object() || value.is_array(), "{field}");
        }
    }

    #[test]
    fn an_outline_refuses_what_the_whole_is_refused_for_however_deep() {
        let deep = |n: usize| [b"{\"a\":".repeat(n), b"1".to_vec(), b"}".repeat(n)].concat();
        let bodies: [&[u8]; 12] = [
            b"",
            b"{",
            b"[1]x",
            b"{\"a\":{\"b\":\"\xff\"}}",
            b"{\"a\":{\"\xff\":1}}",
            b"{\"a\":[1e999]}",
            b"{\"a\":[01]}",
            b"{\"a\":[\"\t\"]}",
            b"{\"a\":{\"b\":\"\\ud83d\"}}",
            b"7",
            &deep(127),
            &deep(128),
        ];
        for body in bodies {
            assert_eq!(outline(body).is_ok(), parse(body).is_ok(), "{}", String::from_utf8_lossy(body));
        }
        assert!(outline(&deep(127)).is_ok() && outline(&deep(128)).is_err());
    }

    #[test]
    fn of_a_repeated_key_the_last_one_counts() {
        assert_eq!(parse(br#"{"a":1,"a":2}"#).unwrap(), json!({"a": 2}));
    }
}
