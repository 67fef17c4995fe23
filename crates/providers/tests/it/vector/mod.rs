//! Vectors recorded from the providers' own libraries and documents, read when the tests run.
//!
//! A case of a kind that is not known here fails, and the cases that were looked at are counted against the file:
//! none is skipped in silence.

mod kustomer;
mod messenger;
mod shopify;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// A file of vectors, whole.
pub fn file(name: &str) -> Value {
    let path = format!("{}/../../../shared/reference/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).expect("the file is JSON")
}

/// Text that has to be there.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text at {pointer} of {value}"))
}

fn number(value: &Value, pointer: &str) -> i64 {
    value
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or_else(|| panic!("no number at {pointer} of {value}"))
}

fn is_yes(value: &Value, pointer: &str) -> bool {
    value
        .pointer(pointer)
        .and_then(Value::as_bool)
        .unwrap_or_else(|| panic!("no verdict at {pointer} of {value}"))
}

/// An id, or null where there is none.
fn opt(value: Option<&str>) -> Value {
    value.map_or(Value::Null, Value::from)
}

fn headers(of: &Value) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in of.as_object().expect("headers are an object") {
        let value = HeaderValue::from_str(value.as_str().expect("a header is text")).unwrap();
        map.append(HeaderName::try_from(name).unwrap(), value);
    }
    map
}
