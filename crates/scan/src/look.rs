//! One file, looked at with every rule.

use crate::customer::Customer;
use crate::env::{self, is_published_secret};
use crate::finding::{Category, Finding, FingerprintKey, Severity};
use crate::kind::{Class, Kind};
use crate::mask;
use crate::name::Names;
use crate::rule::{Check, Rule, Rules};
use crate::source::Source;
use crate::value;
use aho_corasick::{AhoCorasick, MatchKind};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

/// What looks: rules, customers and the key, ready for many files.
pub(crate) struct Looker {
    rules: &'static Rules,
    words: AhoCorasick,
    /// What each word stands for.
    meaning: Vec<Meaning>,
    customers: Vec<Customer>,
    key: FingerprintKey,
    credentials_only: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Meaning {
    Rule(usize),
    Env,
    Customer(usize),
}

/// What one file gave.
#[derive(Default)]
pub(crate) struct Seen {
    pub findings: Vec<Finding>,
    pub allowed: usize,
    /// What looked like a finding and is none, with the reason: for `--debug`.
    pub passed: Vec<(usize, String, &'static str)>,
}

struct Hit<'r> {
    span: Range<usize>,
    /// What is masked and fingerprinted.
    value: Range<usize>,
    rule: Option<&'r Rule>,
    category: Category,
    severity: Severity,
    remedy: String,
    name: Option<String>,
}

impl Looker {
    pub(crate) fn new(customers: Vec<Customer>, key: FingerprintKey) -> Self {
        let rules = Rules::get();
        let (mut words, mut meaning) = (Vec::new(), Vec::new());
        for (index, rule) in rules.rule.iter().enumerate() {
            for word in &rule.keywords {
                words.push(word.to_ascii_lowercase());
                meaning.push(Meaning::Rule(index));
            }
        }
        let names = Names::get();
        let heads = names
            .tenant
            .iter()
            .flat_map(|rule| &rule.names)
            .filter_map(|name| name.split_once('_'))
            .map(|(head, _)| format!("{head}_"));
        let heads: BTreeSet<String> = heads.chain(names.published_prefixes.iter().cloned()).collect();
        for head in heads {
            words.push(head.to_ascii_lowercase());
            meaning.push(Meaning::Env);
        }
        for (index, customer) in customers.iter().enumerate() {
            words.push(customer.first.clone());
            meaning.push(Meaning::Customer(index));
        }
        let words = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(&words)
            .expect("the words are few and short");
        Self { rules, words, meaning, customers, key, credentials_only: false }
    }

    /// The same, for what was once committed: names and accounts that are gone do no harm.
    pub(crate) fn credentials_only(mut self) -> Self {
        self.credentials_only = true;
        self
    }

    /// Looks at one file.
    pub(crate) fn look(&self, path: &str, text: &str) -> Seen {
        let mut seen = Seen::default();
        let mut places: BTreeSet<(usize, Meaning)> = BTreeSet::new();
        let kind = Kind::of(Path::new(path));
        let class = kind.class();
        let mut starts: Vec<usize> = Vec::new();
        for found in self.words.find_overlapping_iter(text) {
            let meaning = self.meaning[found.pattern().as_usize()];
            let wanted = match meaning {
                Meaning::Rule(index) => self.rules.rule[index].classes.contains(&class),
                Meaning::Env => class != Class::Docs,
                // Programs and pages that are no kind of their own still name a customer.
                Meaning::Customer(_) => class != Class::Docs || kind == Kind::Other,
            };
            if !wanted {
                continue;
            }
            if starts.is_empty() {
                starts = std::iter::once(0).chain(text.match_indices('\n').map(|(n, _)| n + 1)).collect();
            }
            places.insert((starts.partition_point(|start| *start <= found.start()) - 1, meaning));
        }
        if places.is_empty() {
            return seen;
        }
        let source = Source::new(path, text, kind);
        let mut at = None;
        let mut hits: Vec<Hit<'_>> = Vec::new();
        for (line, meaning) in places {
            if at != Some(line) {
                if let Some(done) = at {
                    self.report(&source, path, done, std::mem::take(&mut hits), &mut seen);
                }
                at = Some(line);
            }
            if line >= source.lines.len() {
                continue;
            }
            match meaning {
                Meaning::Rule(index) => {
                    self.shape(&source, line, &self.rules.rule[index], &mut hits, &mut seen)
                }
                Meaning::Env => self.names(&source, line, &mut hits),
                Meaning::Customer(index) => self.customer(&source, line, &self.customers[index], &mut hits),
            }
        }
        if let Some(done) = at {
            self.report(&source, path, done, hits, &mut seen);
        }
        seen
    }

    fn shape<'r>(
        &self,
        source: &Source<'_>,
        line: usize,
        rule: &'r Rule,
        hits: &mut Vec<Hit<'r>>,
        seen: &mut Seen,
    ) {
        if self.credentials_only && rule.category != Category::CredentialLiteral {
            return;
        }
        let start = source.lines[line].start;
        let text = source.line(line);
        for found in rule.pattern.captures_iter(text) {
            let Some(group) = found.name("value").or_else(|| found.name("plain")) else { continue };
            let mut end = group.end();
            let mut value = group.as_str();
            if rule.check == Check::Key && value.ends_with("-----") {
                // The key itself may stand on the next line.
                let next = source.line(line + 1).trim().trim_matches(['"', '\'', '+', ' ', '\\']);
                if next.len() < 32
                    || !next.bytes().take(32).all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
                {
                    continue;
                }
                value = next;
                end = group.end();
            }
            let at = start + group.start();
            match self.why_not(source, line, rule, &found, at, value) {
                Some(reason) => seen.passed.push((line + 1, rule.id.clone(), reason)),
                None => hits.push(Hit {
                    span: at..start + end,
                    value: at..start + end,
                    rule: Some(rule),
                    category: rule.category,
                    severity: rule.severity,
                    remedy: remedy(rule, self.is_fallback(source, rule, at)),
                    name: None,
                }),
            }
        }
    }

    fn is_fallback(&self, source: &Source<'_>, rule: &Rule, at: usize) -> bool {
        if rule.fallback {
            return true;
        }
        let before = source.before(at).trim_end_matches(['"', '\'', '`']);
        let before = before.rsplit_once("://").map_or(before, |(head, _)| {
            head.trim_end_matches("https").trim_end_matches("http").trim_end_matches(['"', '\'', '`'])
        });
        rule.category == Category::TenantLiteral
            && source.kind.class() != Class::Data
            && ["||", "??", "?:", " or", "||=", "??=", "default"]
                .iter()
                .any(|op| before.trim_end_matches([' ', '(']).to_ascii_lowercase().ends_with(op))
    }

    fn why_not(
        &self,
        source: &Source<'_>,
        line: usize,
        rule: &Rule,
        found: &regex::Captures<'_>,
        at: usize,
        value: &str,
    ) -> Option<&'static str> {
        let shapeless = matches!(
            rule.check,
            Check::Password | Check::Weak | Check::Names | Check::Account | Check::Id | Check::None
        ) || rule.id == "named-secret";
        if shapeless && source.in_comment(at) {
            return Some("a comment");
        }
        if !rule.tests && source.in_test(at) {
            return Some("test code");
        }
        if source.is_marked(self.rules, at) {
            return Some("a comment says that it is made up");
        }
        if rule.category == Category::TenantLiteral
            && source.in_test(at)
            && self.rules.placeholder.fixture.is_match(value)
        {
            return Some("made up for tests");
        }
        if rule.check == Check::Url && found.name("name").is_some_and(|user| user.as_str() == value) {
            return Some("what a fresh database comes with");
        }
        if let Some(above) = &rule.above {
            let first = line.saturating_sub(8);
            let stop = |n: &usize| {
                (source.line(*n).trim_end().ends_with(';') || source.line(*n).starts_with('}')) && *n < line
            };
            let first = (first..line).rev().find(stop).map_or(first, |n| n + 1);
            if !(first..=line).any(|n| above.is_match(source.line(n))) {
                return Some("nothing above it fits");
            }
        }
        let before = source.before(at);
        if shapeless
            && rule.check != Check::Names
            && self.rules.placeholder.shown.is_match(before)
            && !before.contains("||")
        {
            return Some("shown in an empty field");
        }
        if rule.check == Check::Names {
            if found.name("plain").is_some() && source.kind.class() != Class::Data {
                return Some("an expression");
            }
            let name = found.name("name")?.as_str();
            let owner = Names::get()
                .tenant(name)
                .filter(|_| !self.rules.env.header.is_match(&name.to_ascii_uppercase().replace('-', "_")));
            let secret = rule.category == Category::CredentialLiteral;
            // An .env file and its kin define settings: the name is the finding there.
            let defines = source.kind.class() == Class::Data && name.bytes().all(|b| !b.is_ascii_lowercase());
            if defines || owner.is_none_or(|owner| owner.secret != secret) {
                return Some("no name of one customer's setting");
            }
            if !secret {
                return value::is_any_account(self.rules, value).then_some("names no customer in particular");
            }
        }
        if matches!(source.kind, Kind::Dotenv) && rule.category == Category::CredentialLiteral {
            let name = before.rsplit("\\n").next().unwrap_or_default().trim_end_matches(['"', '\'']);
            if let Some(name) = name.trim().strip_suffix('=') {
                let name = name.trim_start_matches("export ").trim();
                if self.rules.env.platform.is_match(name) {
                    return Some("the platform's own credential");
                }
            }
        }
        value::check(self.rules, rule, value, found.name("host").map(|m| m.as_str())).err()
    }

    fn names(&self, source: &Source<'_>, line: usize, hits: &mut Vec<Hit<'_>>) {
        if self.credentials_only {
            return;
        }
        let names = Names::get();
        for used in env::uses(self.rules, source, line) {
            if source.is_marked(self.rules, used.span.start) {
                continue;
            }
            let value = used.value.clone().unwrap_or_else(|| used.span.clone());
            let tenant = names.tenant(&used.name);
            let published = names.is_published(&used.name);
            let (category, severity, remedy) = match tenant {
                Some(owner) => {
                    let rotate = if owner.secret && published {
                        " Rotate it: bundlers publish this prefix to every browser."
                    } else {
                        ""
                    };
                    let text = if used.fallback {
                        format!(
                            "Fallback: whoever has no account of their own gets this one customer's. Remove {} and fail instead; {}.{rotate}",
                            used.name, owner.instead
                        )
                    } else {
                        format!("Remove {}: {}; {}.{rotate}", used.name, owner.why, owner.instead)
                    };
                    let worst = used.fallback || owner.secret && published;
                    (
                        Category::TenantCredentialEnv,
                        if worst { Severity::Critical } else { Severity::High },
                        text,
                    )
                }
                None if is_published_secret(self.rules, &used.name) => {
                    let new = names
                        .renamed(&used.name)
                        .map_or_else(|| "a name without the prefix".to_owned(), |(rule, _)| rule.new.clone());
                    (
                        Category::PlatformSecretExposed,
                        Severity::Critical,
                        format!(
                            "Call it {new}, read it on the server only, and rotate it: bundlers publish this prefix to every browser."
                        ),
                    )
                }
                None => continue,
            };
            hits.push(Hit {
                span: used.span,
                value,
                rule: None,
                category,
                severity,
                remedy,
                name: Some(used.name),
            });
        }
    }

    fn customer(&self, source: &Source<'_>, line: usize, customer: &Customer, hits: &mut Vec<Hit<'_>>) {
        let start = source.lines[line].start;
        for range in customer.find(source.line(line)) {
            let span = start + range.start..start + range.end;
            if source.in_comment(span.start)
                || self.credentials_only
                || self.rules.placeholder.shown.is_match(source.before(span.start))
            {
                continue;
            }
            hits.push(Hit {
                span: span.clone(),
                value: span,
                rule: None,
                category: Category::TenantLiteral,
                severity: Severity::High,
                remedy: "Take the customer's name out of the code: what differs between customers is a setting of their organization.".to_owned(),
                name: None,
            });
        }
    }

    /// One line's hits as findings: of two at one place the more telling one stays.
    fn report(&self, source: &Source<'_>, path: &str, line: usize, mut hits: Vec<Hit<'_>>, seen: &mut Seen) {
        if hits.is_empty() || line >= source.lines.len() {
            return;
        }
        hits.sort_by_key(|hit| {
            (std::cmp::Reverse(hit.severity), hit.category, hit.rule.is_none(), hit.span.start)
        });
        let mut kept: Vec<Hit<'_>> = Vec::new();
        for hit in hits {
            let covers = |other: &Hit<'_>| {
                let apart = hit.span.end <= other.span.start || other.span.end <= hit.span.start;
                let named = hit.name.is_some() || other.name.is_some();
                !apart && (!named || hit.category == Category::TenantLiteral && hit.name.is_none())
            };
            // The account that a setting of one customer holds is told with the setting.
            let told = |other: &Hit<'_>| {
                hit.category == Category::TenantLiteral
                    && other.name.is_some()
                    && other.value.start <= hit.span.start
                    && hit.span.end <= other.value.end
            };
            let told = kept.iter().any(told);
            if !told && !kept.iter().any(covers) {
                kept.push(hit);
            }
        }
        if source.is_allowed(line) {
            seen.allowed += kept.len();
            return;
        }
        let range = source.lines[line].clone();
        let text = source.line(line);
        let inner =
            |r: &Range<usize>| r.start.max(range.start) - range.start..r.end.min(range.end) - range.start;
        let names: Vec<&str> = kept.iter().filter_map(|hit| hit.name.as_deref()).collect();
        let spans: Vec<Range<usize>> =
            kept.iter().filter(|h| h.name.is_none() || h.value != h.span).map(|h| inner(&h.value)).collect();
        let comment = source.comment_start(line).map(|at| at - range.start);
        for hit in &kept {
            let at = hit.span.start - range.start;
            let value = source.text[hit.value.clone()].trim().trim_matches(['"', '\'', '`']);
            seen.findings.push(Finding {
                file: path.to_owned(),
                line: line + 1,
                column: text[..at].chars().count() + 1,
                category: hit.category,
                severity: hit.severity,
                excerpt: mask::excerpt(text, &spans, at, &names, comment),
                remedy: hit.remedy.clone(),
                fingerprint: self.key.of(value),
                commit: None,
            });
        }
    }
}

fn remedy(rule: &Rule, fallback: bool) -> String {
    let title = &rule.title;
    let connect = match rule.connect.as_str() {
        "shopify" => "; its organization connects the shop under Integrations > Shopify",
        "messenger" => "; its organization connects the Page under Integrations > Messenger",
        "kustomer" => "; its organization connects the account under Integrations > Kustomer",
        _ => "",
    };
    match (rule.category, fallback) {
        (Category::CredentialLiteral, _) if rule.title.contains("password") && !title.contains("address") => {
            format!(
                "Remove this {title} and change it wherever it was set; nobody's first password is known in advance."
            )
        }
        (Category::CredentialLiteral, _) => {
            format!("Remove this {title} and rotate it: who has the code or its history has it{connect}.")
        }
        (_, true) => format!(
            "Fallback to one customer ({title}): fail when there is no organization instead of taking this one{connect}."
        ),
        _ => format!("Replace this ({title}) by what the signed-in organization has{connect}."),
    }
}
