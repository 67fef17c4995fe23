//! The names of known customers, in every spelling and joint.

use regex::Regex;
use std::ops::Range;

/// One customer's name.
pub(crate) struct Customer {
    pattern: Regex,
    /// The first word, for finding lines quickly.
    pub first: String,
}

impl Customer {
    /// Nothing for a name too short to be told from other words.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let words = words(name);
        if words.iter().map(|word| word.chars().count()).sum::<usize>() < 3 {
            return None;
        }
        let joint = r"(?:[\s_\-.+/]|%20|&nbsp;|\\u0020){0,2}";
        let pattern = words.iter().map(|word| regex::escape(word)).collect::<Vec<_>>().join(joint);
        Some(Self { pattern: Regex::new(&format!("(?i){pattern}")).ok()?, first: words[0].clone() })
    }

    /// Where a line has it, as a name of its own and not inside another word.
    pub(crate) fn find(&self, line: &str) -> Vec<Range<usize>> {
        let apart = |range: &Range<usize>| {
            let (before, after) = (line[..range.start].chars().next_back(), line[range.end..].chars().next());
            let (first, last) = (line[range.clone()].chars().next(), line[range.clone()].chars().next_back());
            let left = before.is_none_or(|b| {
                !b.is_alphanumeric() || b.is_lowercase() && first.is_some_and(char::is_uppercase)
            });
            let right = after.is_none_or(|a| {
                !a.is_alphanumeric()
                    || a.is_numeric()
                    || a.is_uppercase() && last.is_some_and(char::is_lowercase)
            });
            left && right
        };
        self.pattern.find_iter(line).map(|m| m.range()).filter(apart).collect()
    }
}

fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || c.is_uppercase() && small {
            words.push(String::new());
        }
        small = c.is_lowercase();
        if c.is_alphanumeric() {
            words.last_mut().expect("it begins with one").extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_every_spelling_and_not_inside_other_words() {
        for given in ["Sour Melon", "SourMelon", "sour-melon"] {
            let customer = Customer::new(given).unwrap();
            for line in [
                "Sour Melon",
                "sour-melon",
                "sour_melon",
                "sourmelon",
                "SourMelon",
                "SOUR_MELON_KEY",
                "getSourMelonOrders()",
                "sourMelonId",
                "sour%20melon",
                "the-sourmelon.css",
            ] {
                assert_eq!(customer.find(line).len(), 1, "{line}");
            }
            for line in ["sourmelonade", "resourmelon", "sour the melon"] {
                assert!(customer.find(line).is_empty(), "{line}");
            }
        }
        assert!(Customer::new("a-b").is_none());
    }
}
