//! Whether a text holds a credential, or a field is called after one: for what reads other people's data instead of code.

use crate::kind::Class;
use crate::name::{Names, normal};
use crate::rule::{Check, Rule, Rules};
use aho_corasick::AhoCorasick;
use std::sync::LazyLock;

/// Ends of names whose values let somebody in.
const NAMES: &[&str] = &[
    "TOKEN",
    "TOKENS",
    "PASSWORD",
    "PASSWORD_HASH",
    "PASSWD",
    "SECRET",
    "SECRETS",
    "API_KEY",
    "APIKEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "CREDENTIAL",
    "CREDENTIALS",
    "CREDENTIALS_ENCRYPTED",
    "AUTHORIZATION",
    "BEARER",
    "COOKIE",
];

struct Shapes {
    words: AhoCorasick,
    /// The rule of each word.
    rules: Vec<&'static Rule>,
}

static SHAPES: LazyLock<Shapes> = LazyLock::new(|| {
    // What is found in text for people has a shape of its own; other rules need the code around it.
    let tells = |rule: &&Rule| {
        rule.classes.contains(&Class::Docs)
            && matches!(rule.check, Check::Token | Check::Jwt | Check::Url | Check::Key)
    };
    let (mut words, mut rules) = (Vec::new(), Vec::new());
    for rule in Rules::get().rule.iter().filter(tells) {
        for word in &rule.keywords {
            words.push(word.as_str());
            rules.push(rule);
        }
    }
    let words = AhoCorasick::builder().ascii_case_insensitive(true).build(words);
    Shapes { words: words.expect("the words are few and short"), rules }
});

/// What kind of credential a text holds, if its shape tells. Placeholders count, and no comment lets one pass: who moves
/// data can do without either.
pub fn credential_in(text: &str) -> Option<&'static str> {
    let shapes = &*SHAPES;
    let found = shapes.words.find_overlapping_iter(text).map(|word| shapes.rules[word.pattern().as_usize()]);
    found.into_iter().find(|rule| rule.pattern.is_match(text)).map(|rule| rule.title.as_str())
}

/// Whether a field of this name holds a credential, in whatever spelling: `accessToken`, `page_access_token`, `api-key`.
pub fn is_credential_name(name: &str) -> bool {
    let name = normal(name);
    let ends =
        |end: &&str| name.strip_suffix(*end).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'));
    NAMES.iter().any(ends) || Names::get().tenant(&name).is_some_and(|owner| owner.secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Filler;

    #[test]
    fn a_credential_is_found_by_its_shape_wherever_it_stands() {
        let mut filler = Filler::new(3);
        for shape in ["shp\u{61}t_{hex:32}", "E\u{41}A{b62:60}", "gh\u{70}_{b62:36}", "{jwt}"] {
            let value = filler.fill(shape);
            for text in [
                value.clone(),
                format!("it is \"{value}\", says Bo"),
                format!("{{\\\"t\\\":\\\"{value}\\\"}}"),
            ] {
                assert!(credential_in(&text).is_some(), "{shape}");
            }
            assert!(credential_in(&format!("{value} agenstack: allow it")).is_some());
        }
        for text in [
            "",
            "Where is my order 1001?",
            "EAA is a club",
            "my key is under the mat",
            "https://example.com/a:b@c",
        ] {
            assert_eq!(credential_in(text), None, "{text}");
        }
    }

    #[test]
    fn a_field_that_is_called_after_a_credential_is_known_in_every_spelling() {
        for name in [
            "access_token",
            "accessToken",
            "refreshToken",
            "password",
            "password_hash",
            "api_key",
            "api-key",
            "apiKey",
            "client_secret",
            "page_access_token",
            "credentials_encrypted",
            "Authorization",
            "smsAuthToken",
        ] {
            assert!(is_credential_name(name), "{name}");
        }
        for name in [
            "id",
            "name",
            "text",
            "token_scope",
            "keyword",
            "tokens_per_minute",
            "escalationKeywords",
            "author",
        ] {
            assert!(!is_credential_name(name), "{name}");
        }
    }
}
