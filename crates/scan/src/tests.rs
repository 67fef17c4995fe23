//! Every rule with its own examples.

use crate::kind::Kind;
use crate::look::Looker;
use crate::rule::Rules;
use crate::{FingerprintKey, Options};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeSet;

mod planted;
mod tree;

/// Fills in what examples leave out, from a counter: equal on every machine and never a real secret.
pub(crate) struct Filler {
    state: u64,
    /// Every value so far.
    pub made: Vec<String>,
}

impl Filler {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, made: Vec::new() }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn of(&mut self, alphabet: &str, n: usize) -> String {
        let letters = alphabet.as_bytes();
        let pick = |next: u64| char::from(letters[(next >> 20) as usize % letters.len()]);
        (0..n).map(|_| pick(self.next())).collect()
    }

    fn value(&mut self, what: &str) -> Option<String> {
        let (kind, n) = what.split_once(':').unwrap_or((what, "0"));
        let n = n.parse().unwrap_or(0);
        Some(match kind {
            "hex" => self.of("0123456789abcdef", n),
            "b62" => {
                // One of each, so that no draw is without.
                format!(
                    "k7Q{}",
                    self.of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", n - 3)
                )
            }
            "up" => self.of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", n),
            "digits" => format!("{}{}7", self.of("2468", 1), self.of("0123456789", n - 2)),
            "uuid" => {
                let mut part = |n| self.of("0123456789abcdef", n);
                format!("{}-{}-4{}-a{}-{}", part(8), part(4), part(3), part(3), part(12))
            }
            "jwt" => {
                let role = if what == "jwt:anon" { "anon" } else { "org.user" };
                let payload = format!(r#"{{"id":"{}","role":"{role}"}}"#, self.of("0123456789abcdef", 24));
                let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
                format!(
                    "{}.{}.{}",
                    part(r#"{"alg":"HS256","typ":"JWT"}"#),
                    part(&payload),
                    self.value("b62:43")?
                )
            }
            _ => return None,
        })
    }

    /// `{hex:32}` and the like; everything else stays, but for the sign that hides examples.
    pub(crate) fn fill(&mut self, text: &str) -> String {
        let text = text.replace('¦', "").replace('⏎', "\n");
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(open) = rest.find('{') {
            let (head, tail) = rest.split_at(open);
            out.push_str(head);
            let value = tail.find('}').and_then(|close| Some((close, self.value(&tail[1..close])?)));
            match value {
                Some((close, value)) => {
                    out.push_str(&value);
                    self.made.push(value);
                    rest = &tail[close + 1..];
                }
                None => {
                    out.push('{');
                    rest = &tail[1..];
                }
            }
        }
        out + rest
    }
}

pub(crate) fn looker() -> Looker {
    Options::new(FingerprintKey::new([7; 32])).looker().unwrap()
}

#[test]
fn every_rule_finds_its_examples_and_lets_the_others_pass() {
    let looker = looker();
    let mut filler = Filler::new(1);
    let mut wrong = Vec::new();
    let mut ids = BTreeSet::new();
    for rule in &Rules::get().rule {
        assert!(ids.insert(&rule.id), "{} stands there twice", rule.id);
        assert!(!rule.hits.is_empty() && !rule.passes.is_empty() && !rule.keywords.is_empty(), "{}", rule.id);
        for (examples, expected) in [(&rule.hits, true), (&rule.passes, false)] {
            for example in examples {
                let (file, text) = example.split_once(" | ").unwrap();
                let text = filler.fill(text);
                let found = looker.look(file, &text).findings;
                if found.iter().any(|f| f.category == rule.category) != expected {
                    wrong.push(format!(
                        "{} {}: {example}\n    {text}\n    {:?}",
                        rule.id,
                        if expected { "misses" } else { "reports" },
                        looker.look(file, &text).passed
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(Kind::of(std::path::Path::new("a.pem")), Kind::Other);
}

/// Not only the committed files: whatever lies in the tree and is not ignored.
#[test]
fn a_scan_of_this_project_finds_nothing() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let report = crate::scan(&root, &Options::new(FingerprintKey::new([7; 32])), &|_| ()).unwrap();
    assert!(report.findings.is_empty(), "{}", crate::format::table(&report, false));
    assert!(report.summary.files > 200, "only {} files", report.summary.files);
}
