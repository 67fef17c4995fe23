//! The rule file, read and compiled once.

use crate::finding::{Category, Severity};
use crate::kind::Class;
use regex::Regex;
use serde::{Deserialize, Deserializer};
use std::sync::LazyLock;

/// What a value has to stand before it is reported; `rules.toml` explains each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Check {
    None,
    Token,
    Jwt,
    Url,
    Password,
    Weak,
    Account,
    Id,
    Names,
    Key,
}

/// What is found by its shape.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub id: String,
    pub title: String,
    pub category: Category,
    pub severity: Severity,
    pub check: Check,
    #[serde(rename = "in")]
    pub classes: Vec<Class>,
    pub keywords: Vec<String>,
    #[serde(deserialize_with = "regex")]
    pub pattern: Regex,
    #[serde(default, deserialize_with = "regex_maybe")]
    pub above: Option<Regex>,
    #[serde(default)]
    pub entropy: f64,
    /// Small and capital letters and digits.
    #[serde(default)]
    pub mixed: bool,
    /// Letters and digits.
    #[serde(default)]
    pub digits: bool,
    #[serde(default)]
    pub fallback: bool,
    /// Whether test code is looked at.
    #[serde(default = "yes")]
    pub tests: bool,
    /// Where the customer connects instead.
    #[serde(default)]
    pub connect: String,
    #[cfg_attr(not(test), expect(dead_code, reason = "examples are for the test and the reader"))]
    pub hits: Vec<String>,
    #[cfg_attr(not(test), expect(dead_code, reason = "examples are for the test and the reader"))]
    pub passes: Vec<String>,
}

/// How a name is used.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Env {
    #[serde(deserialize_with = "regex")]
    pub header: Regex,
    #[serde(deserialize_with = "regex")]
    pub published_secret: Regex,
    #[serde(deserialize_with = "regex")]
    pub published_public: Regex,
    #[serde(deserialize_with = "regex")]
    pub platform: Regex,
    #[serde(deserialize_with = "regex")]
    pub read_bare: Regex,
    #[serde(deserialize_with = "regex")]
    pub read_quoted: Regex,
    #[serde(deserialize_with = "regex")]
    pub destructured: Regex,
    #[serde(deserialize_with = "regex")]
    pub declared: Regex,
    #[serde(deserialize_with = "regex")]
    pub removal: Regex,
    #[serde(deserialize_with = "regex")]
    pub removed_list: Regex,
    #[serde(deserialize_with = "regex")]
    pub required_list: Regex,
    #[serde(deserialize_with = "regex")]
    pub fallback_before: Regex,
    #[serde(deserialize_with = "regex")]
    pub fallback_above: Regex,
    #[serde(deserialize_with = "regex")]
    pub fallback_after: Regex,
    #[serde(deserialize_with = "regex")]
    pub fallback_argument: Regex,
}

/// Values that are nobody's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Placeholder {
    #[serde(deserialize_with = "regex")]
    pub any: Regex,
    #[serde(deserialize_with = "regex")]
    pub account: Regex,
    #[serde(deserialize_with = "regex")]
    pub marker: Regex,
    #[serde(deserialize_with = "regex")]
    pub fixture: Regex,
    #[serde(deserialize_with = "regex")]
    pub shown: Regex,
    #[serde(deserialize_with = "regex")]
    pub weak: Regex,
    #[serde(deserialize_with = "regex")]
    pub no_password: Regex,
}

/// All rules but the names, which are read on their own when a server starts.
#[derive(Debug, Deserialize)]
pub(crate) struct Rules {
    pub env: Env,
    pub placeholder: Placeholder,
    pub rule: Vec<Rule>,
}

impl Rules {
    pub(crate) fn get() -> &'static Self {
        static RULES: LazyLock<Rules> = LazyLock::new(|| {
            toml::from_str(include_str!("../rules.toml")).expect("a test reads this very text")
        });
        &RULES
    }
}

fn yes() -> bool {
    true
}

fn regex<'de, D: Deserializer<'de>>(from: D) -> Result<Regex, D::Error> {
    let text = String::deserialize(from)?;
    regex::RegexBuilder::new(&text).size_limit(64 << 20).build().map_err(serde::de::Error::custom)
}

fn regex_maybe<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Regex>, D::Error> {
    regex(from).map(Some)
}
