//! Query strings of callbacks.

/// Longer queries are not from a provider.
const MOST_BYTES: usize = 8 * 1024;
const MOST_PARAMETERS: usize = 64;

/// A query whose names are all different.
#[derive(Default)]
pub(crate) struct Query(Vec<(String, String)>);

/// The query is not one we read: a name stands there twice, or it is larger than any callback.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Query {
    /// Reads a raw query as form encoding. Duplicate names are refused: two readers could take different values.
    pub(crate) fn parse(raw: &str) -> Result<Self, Unreadable> {
        if raw.len() > MOST_BYTES {
            return Err(Unreadable);
        }
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
            if pairs.len() == MOST_PARAMETERS || pairs.iter().any(|(n, _)| *n == name) {
                return Err(Unreadable);
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// A value that is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// All pairs, sorted by name in byte order.
    pub(crate) fn sorted(&self) -> Vec<&(String, String)> {
        let mut pairs: Vec<_> = self.0.iter().collect();
        pairs.sort();
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stands_twice_is_refused_however_it_is_written() {
        for bad in ["a=1&a=2", "a=1&%61=2", "ids[]=1&ids%5B%5D=2"] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
        assert!(Query::parse(&"x".repeat(9000)).is_err());
        let many: String = (0..65).map(|i| format!("a{i}=1&")).collect();
        assert!(Query::parse(&many).is_err());
        assert_eq!(Query::parse("a=1&b=%20x").unwrap().get("b"), Some(" x"));
        assert_eq!(Query::parse("a=").unwrap().get("a"), None);
    }
}
