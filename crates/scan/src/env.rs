//! Names of settings: who defines or reads them, and as a fallback for what.

use crate::kind::{Class, Kind};
use crate::name::Names;
use crate::rule::Rules;
use crate::source::Source;
use crate::value::is_placeholder;
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

static NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+").expect("it is tested"));
static LOWER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?:\bvariable\s+"|\bvar\.|^\s*|TF_VAR_)([a-z][a-z0-9]*(?:_[a-z0-9]+)+)"#)
        .expect("it is tested")
});
static KEY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?:^|\\n|[;&|]\s*|["'\s])(?:-\s+)?(?:(?:export|set|ENV|ARG|declare|env|local|readonly|setx|-e|--env|--build-arg|-x)\s+|\$env:|-e|--env=|--build-arg=|export\s+-\w+\s+)*["']?$"#)
        .expect("it is tested")
});
static VALUE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^["']?\s*(?:\??=|:|=>)\s*(?P<value>"(?:[^"\\]|\\.)*"|'[^']*'|.*?)(?:\\n|\s+#|,?\s*$)"#)
        .expect("it is tested")
});
static LABEL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)(?:^|[\s{,-])(?:name|key|env|variable|secretKey|envvar|property|secret_?name)\s*[:=]\s*["']?$"#).expect("it is tested")
});
static ENV_BLOCK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)env|secret|args|variables|passenv|inherit").expect("it is tested"));

/// A name in use.
pub(crate) struct Use {
    pub span: Range<usize>,
    pub name: String,
    /// The value it is given, where it is a literal.
    pub value: Option<Range<usize>>,
    pub fallback: bool,
}

/// Every name in use on a line.
pub(crate) fn uses(rules: &Rules, source: &Source<'_>, line: usize) -> Vec<Use> {
    let class = source.kind.class();
    if class == Class::Docs || source.kind == Kind::Sql || source.kind == Kind::Style {
        return Vec::new();
    }
    let range = source.lines[line].clone();
    let text = &source.text[range.clone()];
    let mut found: Vec<Use> = Vec::new();
    let mut names: Vec<Range<usize>> = NAME.find_iter(text).map(|m| m.range()).collect();
    if source.kind == Kind::Terraform {
        names.extend(LOWER.captures_iter(text).filter_map(|c| c.get(1)).map(|m| m.range()));
    }
    for inner in names {
        let boundary = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_');
        // What is left of a literal \n before a name is its n.
        let newline = text[..inner.start].ends_with("\\n");
        if !(boundary(text[..inner.start].chars().next_back()) || newline)
            || !boundary(text[inner.end..].chars().next())
        {
            continue;
        }
        let name = &text[inner.clone()];
        let at = range.start + inner.start;
        if found.iter().any(|seen| seen.name == name) || !is_interesting(rules, name) || source.in_comment(at)
        {
            continue;
        }
        let (before, after) = (source.before(at), source.after(range.start + inner.end));
        if rules.env.removal.is_match(before) || in_list_of_removed(rules, source, line, before) {
            continue;
        }
        let Some(value) = used(rules, source, line, before, after) else { continue };
        let absolute = |r: Range<usize>| range.start + inner.end + r.start..range.start + inner.end + r.end;
        let value = value.map(absolute);
        if value.as_ref().is_some_and(|r| is_nothing(rules, &source.text[r.clone()])) {
            continue;
        }
        let (fallback, literal) = fallback(rules, source, line, before, after);
        let value = value.or(literal.map(absolute));
        found.push(Use { span: at..at + name.len(), name: name.to_owned(), value, fallback });
    }
    found
}

fn is_interesting(rules: &Rules, name: &str) -> bool {
    let names = Names::get();
    !rules.env.header.is_match(name) && (names.tenant(name).is_some() || is_published_secret(rules, name))
}

/// Whether bundlers publish it and its maker means it to be secret.
pub(crate) fn is_published_secret(rules: &Rules, name: &str) -> bool {
    let names = Names::get();
    if !names.is_published(name) {
        return false;
    }
    if let Some((renamed, _)) = names.renamed(name) {
        return renamed.secret;
    }
    rules.env.published_secret.is_match(name) && !rules.env.published_public.is_match(name)
}

fn is_nothing(rules: &Rules, value: &str) -> bool {
    let bare = value.trim().trim_matches(['"', '\'', ',', '`']);
    let reads = bare.starts_with(['$', '%']) || bare.contains("{{") || bare.contains("env.");
    !reads && (is_placeholder(rules, bare) || crate::value::is_any_account(rules, bare))
}

fn in_list_of_removed(rules: &Rules, source: &Source<'_>, line: usize, before: &str) -> bool {
    rules.env.removed_list.is_match(before) && !before.contains(';')
        || source.openers(line).any(|opener| {
            let trimmed = opener.trim_end();
            trimmed.ends_with(['[', '{', '(', ':', '='])
                && !trimmed.ends_with("=> {")
                && !trimmed.ends_with("){")
                && !trimmed.ends_with(") {")
                && rules.env.removed_list.is_match(trimmed)
        })
}

/// Whether a name is defined or read here, and the literal it is given.
fn used(
    rules: &Rules,
    source: &Source<'_>,
    line: usize,
    before: &str,
    after: &str,
) -> Option<Option<Range<usize>>> {
    let env = &rules.env;
    if env.read_bare.is_match(before) {
        return Some(None);
    }
    let quote = before.chars().next_back().filter(|c| matches!(c, '"' | '\'' | '`'));
    let whole = quote.is_some_and(|q| after.starts_with(q));
    if whole && env.read_quoted.is_match(&before[..before.len() - 1]) {
        return Some(None);
    }
    if source.kind.class() == Class::Data {
        return in_data(source, line, before, after, whole);
    }
    if whole {
        if let Some(found) = VALUE.captures(after).filter(|_| after[1..].trim_start().starts_with([':', '=']))
        {
            let value = found.name("value")?;
            let sentence = value.as_str().trim_matches(['"', '\'', ' ', ',']).contains(' ')
                && value.as_str().starts_with(['"', '\'', '`']);
            return if sentence {
                None
            } else {
                Some(value.as_str().starts_with(['"', '\'']).then(|| value.range()))
            };
        }
        let list = env.required_list.is_match(before)
            || source.openers(line).take(1).any(|o| env.required_list.is_match(o));
        return list.then_some(None);
    }
    if quote.is_none() && env.destructured.is_match(after) && before.contains('{') {
        return Some(None);
    }
    if quote.is_none()
        && before.split_whitespace().all(|word| {
            matches!(word, "readonly" | "public" | "private" | "declare" | "static" | "let" | "var")
        })
        && env.declared.is_match(after)
    {
        return Some(None);
    }
    let alone = before.trim().is_empty() && (after.trim() == "," || after.trim().is_empty());
    let block = |n: &usize| source.line(*n).trim_start().starts_with('}');
    if alone
        && (line + 1..(line + 40).min(source.lines.len()))
            .find(block)
            .is_some_and(|n| env.destructured.is_match(source.line(n)))
    {
        return Some(None);
    }
    None
}

fn in_data(
    source: &Source<'_>,
    line: usize,
    before: &str,
    after: &str,
    whole: bool,
) -> Option<Option<Range<usize>>> {
    let rest = after.trim_start_matches(['"', '\'']).trim_start();
    let docker = source.kind == Kind::Docker && KEY.is_match(before) && !before.trim().is_empty();
    // `KEY = value` with blanks is a comparison or a sentence in a shell.
    let assigned = rest.starts_with(['=', ':']) && (source.kind != Kind::Shell || after.starts_with('='));
    if assigned && KEY.is_match(before) && !before.trim_end().ends_with("echo") {
        let value = VALUE.captures(after)?.name("value")?;
        let text = value.as_str().trim();
        if text.is_empty()
            && source.kind == Kind::Yaml
            && source.lines.get(line + 1).is_some_and(|_| source.line(line + 1).starts_with("  "))
        {
            let indent = |n: usize| source.line(n).len() - source.line(n).trim_start().len();
            return (indent(line + 1) > indent(line)).then_some(None);
        }
        let sentence = text.trim_matches(['"', '\'', ',']).split_whitespace().count() > 2
            && source.kind != Kind::Terraform;
        let opens = text.starts_with(['{', '[']);
        return match () {
            () if opens => Some(None),
            () if sentence && source.kind == Kind::Json && !after.starts_with('=') => None,
            () => Some(Some(value.range())),
        };
    }
    if docker {
        return Some(None);
    }
    if LABEL.is_match(before) && (rest.is_empty() || rest.starts_with([',', '}', '#'])) {
        return Some(None);
    }
    let item = before.trim_start().trim_end_matches(['"', '\'']).trim_end() == "-" && rest.is_empty();
    if item && source.openers(line).take(1).any(|opener| ENV_BLOCK.is_match(opener)) {
        return Some(None);
    }
    if source.kind == Kind::Terraform
        && (before.trim_end_matches('"').trim_end().ends_with("variable") || before.ends_with("TF_VAR_"))
    {
        return Some(None);
    }
    if whole && source.kind == Kind::Json && source.openers(line).take(1).any(|o| ENV_BLOCK.is_match(o)) {
        return Some(None);
    }
    None
}

fn fallback(
    rules: &Rules,
    source: &Source<'_>,
    line: usize,
    before: &str,
    after: &str,
) -> (bool, Option<Range<usize>>) {
    let env = &rules.env;
    let given = env.fallback_after.captures(after).or_else(|| env.fallback_argument.captures(after));
    let given = given.and_then(|found| found.name("value")).filter(|value| {
        let bare = value.as_str().trim_matches(['"', '\'', '`']);
        !is_placeholder(rules, bare) && source.kind != Kind::Json
    });
    let literal = given.map(|value| value.range());
    if env.fallback_before.is_match(before) {
        return (true, literal);
    }
    let prior = (0..line).rev().map(|n| source.line(n)).find(|text| !text.trim().is_empty());
    if source.kind.class() != Class::Data && prior.is_some_and(|text| env.fallback_above.is_match(text)) {
        return (true, literal);
    }
    (literal.is_some(), literal)
}
