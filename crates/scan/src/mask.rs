//! A line to show: without the values, without its comment, and not too long.

use crate::value::entropy;
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

const MASK: &str = "****";
/// How much of a long line is shown on each side.
const SIDE: usize = 70;

static QUOTED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|`([^`]*)`"#).expect("it is tested")
});
static RUN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[A-Za-z0-9_+/=.\-]{12,}").expect("it is tested"));
static SETTING: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"([A-Z][A-Z0-9_]{3,})(\s*[:=]\s*)([^\s\\]+)").expect("it is tested"));
static NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$").expect("it is tested"));
static USERINFO: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"://[^\s/@]+@").expect("it is tested"));

/// `spans` are values that are certainly masked, `name` is a setting that is shown; both in bytes of the line.
pub(crate) fn excerpt(
    line: &str,
    spans: &[Range<usize>],
    at: usize,
    names: &[&str],
    comment: Option<usize>,
) -> String {
    let mut hidden: Vec<Range<usize>> = spans.to_vec();
    let shown = |text: &str| names.contains(&text) || NAME.is_match(text);
    for found in QUOTED.captures_iter(line) {
        let inside = found.get(1).or(found.get(2)).or(found.get(3)).expect("one of the three matched");
        // Names of settings stay; expressions in templates are masked like everything quoted.
        if inside.len() > 1 && !shown(inside.as_str()) {
            hidden.push(inside.range());
        }
    }
    for found in SETTING.captures_iter(line) {
        let value = found.get(3).expect("the pattern has three groups");
        let text = value.as_str();
        if !text.starts_with(['$', '"', '\'', '{']) && !text.contains("env") && !text.contains('(') {
            hidden.push(value.range());
        }
    }
    for found in USERINFO.find_iter(line) {
        hidden.push(found.start() + 3..found.end() - 1);
    }
    for found in RUN.find_iter(line) {
        let text = found.as_str();
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        if !shown(text) && digits > 1 && entropy(text) > 2.5 {
            hidden.push(found.range());
        }
    }
    hidden.sort_by_key(|range| range.start);
    // A comment behind the code may hold anything, and explains nothing that is needed here.
    let end = comment.filter(|start| *start > at).unwrap_or(line.len());
    let mut out = String::new();
    let mut marker = 0;
    let mut from = 0;
    for range in hidden {
        if range.end <= from || range.start >= end {
            continue;
        }
        if range.start > from {
            out.push_str(&line[from..range.start]);
        }
        if from <= at && at < range.end {
            marker = out.len();
        }
        if range.start >= from || !out.ends_with(MASK) {
            out.push_str(MASK);
        }
        from = range.end;
    }
    if from < end {
        if from <= at {
            marker = (out.len() + at - from).min(out.len() + end - from);
        }
        out.push_str(&line[from..end]);
    }
    window(&out, marker)
}

fn window(text: &str, marker: usize) -> String {
    let chars: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let at = text.char_indices().take_while(|(i, _)| *i < marker).count();
    let (from, to) = (at.saturating_sub(SIDE), (at + SIDE).min(chars.len()));
    let body: String = chars[from..to].iter().collect();
    let body = body.trim();
    format!("{}{body}{}", if from > 0 { "…" } else { "" }, if to < chars.len() { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_and_values_go() {
        // agenstack: allow the subject of this test
        let line = "  const a = process.env.SHOPIFY_TOKEN || 'quite secret'; // and 'this' too";
        assert_eq!(
            excerpt(line, &[], 24, &["SHOPIFY_TOKEN"], Some(line.find("//").unwrap())),
            // agenstack: allow the subject of this test
            "const a = process.env.SHOPIFY_TOKEN || '****';"
        );
        assert_eq!(excerpt("export KEY_A=abc def", &[], 7, &[], None), "export KEY_A=**** def");
        let span = 16..17;
        assert_eq!(
            excerpt("x: postgres://a:b@h/d", std::slice::from_ref(&span), 16, &[], None),
            "x: postgres://****@h/d"
        );
    }
}
