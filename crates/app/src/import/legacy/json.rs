//! JSON as the old platform left it: an object, text that holds one, or that once more.

use serde_json::{Map, Value};

/// How often something may have been encoded.
const DEEPEST: usize = 6;

/// What a column holds.
#[derive(Debug, PartialEq)]
pub(super) enum Decoded {
    /// Nothing.
    Nothing,
    /// An object.
    Object(Map<String, Value>),
    /// A list.
    List(Vec<Value>),
    /// Words, and no JSON.
    Text(String),
    /// A number or the like.
    Other,
}

/// Decodes until it is an object or a list.
pub(super) fn decode(text: &str) -> Decoded {
    let mut text = text.trim().to_owned();
    for _ in 0..DEEPEST {
        if text.is_empty() {
            return Decoded::Nothing;
        }
        match serde_json::from_str(&text) {
            Ok(Value::String(inner)) => text = inner.trim().to_owned(),
            Ok(value) => return of(value),
            Err(_) => return Decoded::Text(text),
        }
    }
    Decoded::Other
}

/// The same of a value that may be text that holds JSON.
pub(super) fn decode_value(value: Value) -> Decoded {
    match value {
        Value::String(text) => decode(&text),
        value => of(value),
    }
}

fn of(value: Value) -> Decoded {
    match value {
        Value::Object(map) => Decoded::Object(map),
        Value::Array(list) => Decoded::List(list),
        Value::Null => Decoded::Nothing,
        Value::String(text) => Decoded::Text(text),
        Value::Bool(_) | Value::Number(_) => Decoded::Other,
    }
}

/// The first value of one of these names, in whatever spelling, at most some levels down. Names are in small letters, without
/// anything between their words.
pub(super) fn find(map: &Map<String, Value>, names: &[&str]) -> Option<String> {
    found(map, names, 3)
}

fn found(map: &Map<String, Value>, names: &[&str], levels: usize) -> Option<String> {
    let plain = |name: &str| name.to_lowercase().replace(['_', '-', ' '], "");
    for wanted in names {
        let value = map.iter().find(|(name, v)| plain(name) == *wanted && !v.is_null()).map(|(_, v)| v);
        match value {
            Some(Value::String(text)) if !text.trim().is_empty() => return Some(text.trim().to_owned()),
            Some(Value::Number(n)) => return Some(n.to_string()),
            _ => {}
        }
    }
    let below = map.values().filter_map(Value::as_object).filter(|_| levels > 0);
    below.into_iter().find_map(|inner| found(inner, names, levels - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_is_found_however_often_it_was_encoded() {
        let object = json!({"tone": "warm"});
        let once = object.to_string();
        let twice = Value::from(once.clone()).to_string();
        let thrice = Value::from(twice.clone()).to_string();
        for text in [once, twice, thrice] {
            assert_eq!(decode(&text), Decoded::Object(object.as_object().unwrap().clone()), "{text}");
        }
        assert_eq!(decode("Be kind."), Decoded::Text("Be kind.".into()));
        assert_eq!(decode("\"Be kind.\""), Decoded::Text("Be kind.".into()));
        assert_eq!(
            (decode(""), decode("null"), decode("7")),
            (Decoded::Nothing, Decoded::Nothing, Decoded::Other)
        );
    }

    #[test]
    fn a_value_is_found_in_every_spelling_of_its_name_and_below() {
        let map = json!({"a": 1, "account": {"page_id": 123, "Page Name": "Lark"}});
        let map = map.as_object().unwrap();
        assert_eq!(find(map, &["pageid"]).as_deref(), Some("123"));
        assert_eq!(find(map, &["nothing", "pagename"]).as_deref(), Some("Lark"));
        assert_eq!(find(map, &["shop"]), None);
    }
}
