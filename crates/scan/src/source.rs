//! One file, and what stands around a place in it.

use crate::kind::{Kind, is_test};
use crate::rule::Rules;
use std::ops::Range;

/// How far around a place one looks on its line: a minified file is one line.
const REACH: usize = 600;

pub(crate) struct Source<'a> {
    pub text: &'a str,
    pub kind: Kind,
    pub test: bool,
    pub lines: Vec<Range<usize>>,
    comments: Vec<Range<usize>>,
    /// From here on it is test code.
    tests_from: usize,
}

impl<'a> Source<'a> {
    pub(crate) fn new(path: &str, text: &'a str, kind: Kind) -> Self {
        let mut lines = Vec::new();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            lines.push(start..start + line.trim_end_matches(['\n', '\r']).len());
            start += line.len();
        }
        let tests_from =
            if kind == Kind::Rust { text.find("#[cfg(test)]").unwrap_or(usize::MAX) } else { usize::MAX };
        Self { text, kind, test: is_test(path), lines, comments: comments(kind, text), tests_from }
    }

    pub(crate) fn line_of(&self, at: usize) -> usize {
        self.lines.partition_point(|line| line.start <= at).saturating_sub(1)
    }

    pub(crate) fn line(&self, number: usize) -> &'a str {
        self.lines.get(number).map_or("", |range| &self.text[range.clone()])
    }

    pub(crate) fn before(&self, at: usize) -> &'a str {
        let line = &self.lines[self.line_of(at)];
        let mut from = line.start.max(at.saturating_sub(REACH));
        while !self.text.is_char_boundary(from) {
            from += 1;
        }
        &self.text[from..at]
    }

    pub(crate) fn after(&self, at: usize) -> &'a str {
        let line = &self.lines[self.line_of(at)];
        let mut to = line.end.min(at + REACH).max(at);
        while !self.text.is_char_boundary(to) {
            to -= 1;
        }
        &self.text[at..to]
    }

    pub(crate) fn in_comment(&self, at: usize) -> bool {
        let next = self.comments.partition_point(|range| range.end <= at);
        self.comments.get(next).is_some_and(|range| range.contains(&at))
    }

    pub(crate) fn in_test(&self, at: usize) -> bool {
        self.test || at >= self.tests_from
    }

    /// The comment on this line, if there is one.
    pub(crate) fn comment_start(&self, line: usize) -> Option<usize> {
        let range = self.lines.get(line)?;
        let next = self.comments.partition_point(|comment| comment.end <= range.start);
        self.comments
            .get(next)
            .map(|comment| comment.start.max(range.start))
            .filter(|start| *start < range.end)
    }

    /// A comment here, or alone on the line above, says that the value is made up. Counts in test code only.
    pub(crate) fn is_marked(&self, rules: &Rules, at: usize) -> bool {
        let number = self.line_of(at);
        let says = |text: &str| rules.placeholder.marker.is_match(text);
        if !self.in_test(at) {
            return false;
        }
        let alone = |line: &str| {
            ["//", "#", "/*", "--", "<!--", "*"].iter().any(|m| line.trim_start().starts_with(m))
        };
        let above = number.checked_sub(1).map(|n| self.line(n)).filter(|line| alone(line));
        says(self.line(number)) || above.is_some_and(says)
    }

    /// `agenstack: allow REASON`, here or alone on the line above. Without a reason it allows nothing.
    pub(crate) fn is_allowed(&self, line: usize) -> bool {
        let says = |text: &str| {
            let Some((_, rest)) = text.split_once("agenstack: allow") else { return false };
            rest.starts_with([' ', ':']) && rest.chars().filter(|c| c.is_alphanumeric()).count() >= 3
        };
        let bare = |text: &str| {
            let text = text.trim_start();
            ["//", "#", "/*", "--", "<!--", "*", ";", "{/*", "{{!"].iter().any(|mark| text.starts_with(mark))
        };
        says(self.line(line))
            || line.checked_sub(1).map(|n| self.line(n)).is_some_and(|above| bare(above) && says(above))
    }

    /// The lines that open the blocks around this one, the innermost first.
    pub(crate) fn openers(&self, line: usize) -> impl Iterator<Item = &'a str> {
        let indent = |text: &str| text.len() - text.trim_start().len();
        let mut depth = indent(self.line(line));
        let first = line.saturating_sub(60);
        (first..line)
            .rev()
            .filter_map(move |n| {
                let text = self.line(n);
                let here = indent(text);
                let list = text.trim_end().ends_with(':') && here == depth;
                if text.trim().is_empty() || here >= depth && !list {
                    return None;
                }
                depth = here;
                Some(text)
            })
            .take(2)
    }
}

fn comments(kind: Kind, text: &str) -> Vec<Range<usize>> {
    let (lines, blocks) = (kind.line_comments(), kind.block_comments());
    let mut found = Vec::new();
    if lines.is_empty() && blocks.is_empty() {
        return found;
    }
    let bytes = text.as_bytes();
    let quotes: &[u8] = match kind {
        Kind::Script | Kind::Curly | Kind::Shell => b"\"'`",
        Kind::Markup => b"",
        Kind::Sql => b"'",
        Kind::Rust => b"\"",
        _ => b"\"'",
    };
    // A sign that only begins a comment at the start of a word.
    let spaced = |mark: &str| mark == "#" || mark == ";" || mark == "--";
    let mut at = 0;
    let mut quote: Option<u8> = None;
    while at < bytes.len() {
        let byte = bytes[at];
        if let Some(open) = quote {
            if byte == b'\\' {
                at += 1;
            } else if byte == open || byte == b'\n' && open != b'`' && kind != Kind::Rust {
                quote = None;
            }
            at += 1;
            continue;
        }
        let line_start = at == 0 || bytes[at - 1] == b'\n';
        let blank_before = at == 0 || bytes[at - 1].is_ascii_whitespace();
        if let Some((open, close)) = blocks.iter().find(|(open, _)| bytes[at..].starts_with(open.as_bytes()))
        {
            let inside = at + open.len();
            let python_value =
                kind == Kind::Python && !text[..at].rsplit('\n').next().unwrap_or_default().trim().is_empty();
            let end = text
                .get(inside..)
                .and_then(|rest| rest.find(close))
                .map_or(bytes.len(), |n| inside + n + close.len());
            if !python_value && (*open != "=begin" || line_start) {
                found.push(at..end);
                at = end;
                continue;
            }
            at = if python_value { end } else { inside };
            continue;
        }
        let dotenv_value =
            kind == Kind::Docker && !text[..at].rsplit('\n').next().unwrap_or_default().trim().is_empty();
        let comment = lines.iter().any(|mark| {
            bytes[at..].starts_with(mark.as_bytes())
                && (!spaced(mark) || blank_before || kind == Kind::Sql)
                && !(*mark == "//" && at > 0 && bytes[at - 1] == b':')
                && !(*mark == "//" && kind == Kind::Markup && !blank_before)
                && !(dotenv_value)
        });
        if comment {
            let end = text[at..].find('\n').map_or(bytes.len(), |n| at + n);
            found.push(at..end);
            at = end;
            continue;
        }
        if quotes.contains(&byte) {
            // An apostrophe in a word opens nothing.
            let word = at > 0
                && bytes[at - 1].is_ascii_alphanumeric()
                && matches!(kind, Kind::Yaml | Kind::Dotenv | Kind::Script);
            if !word {
                quote = Some(byte);
            }
        }
        at += 1;
    }
    found
}
