//! Shopify's search strings: `field:value`, implicit AND, `OR`, `NOT` and `-` (shopify.md 3.4).
//!
//! An unquoted value is split into words and an unknown field is ignored, so a careless caller finds too much here as there.

/// A parsed search: any of the groups, each with all of its terms.
pub(crate) struct Search(Vec<Vec<Term>>);

struct Term {
    field: String,
    value: String,
    quoted: bool,
    negated: bool,
}

/// What a record says for a field: None when the field is no filter of this kind of record.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<Vec<String>>;

impl Search {
    pub(crate) fn parse(text: &str) -> Search {
        let mut groups = vec![Vec::new()];
        let mut negate = false;
        for word in words(text) {
            match word.as_str() {
                "AND" => {}
                "OR" => groups.push(Vec::new()),
                "NOT" => negate = true,
                _ => {
                    let term = term(&word, std::mem::take(&mut negate));
                    if let Some(group) = groups.last_mut() {
                        group.push(term);
                    }
                }
            }
        }
        Search(groups)
    }

    pub(crate) fn matches(&self, lookup: Lookup<'_>) -> bool {
        self.0.iter().any(|group| group.iter().all(|term| term.matches(lookup)))
    }
}

impl Term {
    fn matches(&self, lookup: Lookup<'_>) -> bool {
        let Some(values) = lookup(&self.field) else { return true };
        values.iter().any(|v| self.equals(&v.to_lowercase())) != self.negated
    }

    fn equals(&self, have: &str) -> bool {
        let want = self.value.to_lowercase();
        if let Some(prefix) = want.strip_suffix('*') {
            return have.starts_with(prefix);
        }
        let plain = |s: &str| s.trim_start_matches('#').to_owned();
        if plain(have) == plain(&want) || want == "any" {
            return true;
        }
        let split = |s: &str| -> Vec<String> {
            s.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_owned).collect()
        };
        let (have, want) = (split(have), split(&want));
        // A quoted phrase matches as a whole or not at all; loose words match one by one.
        !self.quoted && !want.is_empty() && want.iter().all(|w| have.contains(w))
    }
}

fn term(word: &str, negate: bool) -> Term {
    let (negated, word) = match word.strip_prefix('-') {
        Some(rest) => (!negate, rest),
        None => (negate, word),
    };
    let (field, value) = match word.split_once(':') {
        Some((field, value)) if !field.contains('"') => (field, value),
        _ => ("", word),
    };
    let quoted = value.starts_with('"');
    let value = if quoted { unquote(value) } else { value.to_owned() };
    Term { field: field.to_lowercase(), value, quoted, negated }
}

fn unquote(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.trim_matches('"').chars();
    while let Some(c) = chars.next() {
        if c == '\\' { out.extend(chars.next()) } else { out.push(c) }
    }
    out
}

fn words(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ' ' | '(' | ')' if !quoted => {
                out.push(String::new());
                continue;
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        out.last_mut().expect("it starts with one word").push(c);
    }
    out.retain(|w| !w.is_empty());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(text: &str) -> bool {
        let order = |field: &str| match field {
            "name" => Some(vec!["#1001".to_owned()]),
            "email" => Some(vec!["ana@example.com".to_owned()]),
            "status" => Some(vec!["open".to_owned()]),
            _ => None,
        };
        Search::parse(text).matches(&order)
    }

    #[test]
    fn quoted_values_match_whole_and_loose_words_match_apart() {
        assert!(finds("name:\"#1001\"") && finds("name:1001") && finds("email:\"ANA@example.com\""));
        assert!(!finds("name:\"#100\"") && !finds("email:\"ana@example\""));
        assert!(finds("email:example.com"));
    }

    #[test]
    fn an_unquoted_or_widens_the_search() {
        assert!(finds("name:x OR status:any"));
        assert!(!finds("name:\"x OR status:any\""));
        assert!(!finds("name:\"x\\\" OR status:any\""));
    }

    #[test]
    fn negation_and_unknown_fields() {
        assert!(!finds("-status:open") && !finds("NOT status:open") && finds("-status:closed"));
        assert!(finds("phone:\"+100\""));
    }
}
