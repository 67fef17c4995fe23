//! Env files: `NAME=value`, one a line, with comments, `export` and quotes. Nothing is expanded or run.

use std::collections::BTreeMap;

/// An env file, as far as it could be read.
#[derive(Clone, Default)]
pub(super) struct Parsed {
    pub(super) variables: BTreeMap<String, String>,
    /// On which line each name stands.
    pub(super) lines: BTreeMap<String, usize>,
    /// What could not be read, by line; never what stands there.
    pub(super) problems: Vec<(usize, String)>,
}

/// Reads an env file to its end, so that whatever is refused in it is told although another line is broken.
pub(super) fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Err(message) = parsed.take(index + 1, line) {
            parsed.problems.push((index + 1, message));
        }
    }
    parsed
}

impl Parsed {
    fn take(&mut self, number: usize, line: &str) -> Result<(), String> {
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (name, rest) = line.split_once('=').ok_or("expected NAME=value")?;
        let name = name.trim_end();
        let named = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !named {
            return Err("the name before `=` may have letters, digits and underscores only".to_owned());
        }
        if self.variables.get(name).is_some_and(|value| !value.trim().is_empty()) {
            // Which of the two was meant, nobody can tell.
            return Err(format!("{name} stands in this file twice; remove one"));
        }
        let value = value(rest.trim_start());
        // A value that cannot be read is one, too.
        let kept = value.clone().unwrap_or_else(|_| rest.to_owned());
        let known = self.variables.insert(name.to_owned(), kept).is_some();
        self.lines.insert(name.to_owned(), number);
        value?;
        if known { Err(format!("{name} stands in this file twice; remove one")) } else { Ok(()) }
    }
}

fn value(text: &str) -> Result<String, &'static str> {
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => quoted(&text[1..], quote),
        Some(_) => {
            // A `#` begins a comment after a space only: it is an ordinary letter of a token or a URL.
            let end = text.find(" #").or_else(|| text.find("\t#")).unwrap_or(text.len());
            let end = if text.starts_with('#') { 0 } else { end };
            Ok(text[..end].trim_end().to_owned())
        }
        None => Ok(String::new()),
    }
}

fn quoted(text: &str, quote: char) -> Result<String, &'static str> {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            _ if c == quote => {
                let rest = rest.as_str().trim_start();
                let ends = rest.is_empty() || rest.starts_with('#');
                return if ends { Ok(out) } else { Err("something follows the closing quote") };
            }
            '\\' if quote == '"' => out.push(match rest.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(c @ ('\\' | '"' | '\'' | '$' | '`')) => c,
                _ => return Err("unknown escape after `\\`; use single quotes for a value with backslashes"),
            }),
            c => out.push(c),
        }
    }
    Err("the quote is not closed on the same line")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_env_file_is_read_as_people_write_it() {
        let text = "\u{feff}# comment\n\nA=1\r\nexport B = two words  # comment\nC=\"a \\\"b\\\"\\n#c\" # d\nD='a\\n$X'\n\
                    E=\nF=https://x/#frag\n  export   G='' \nH=a=b==\nI= # nothing\n";
        let found = parse(text);
        assert!(found.problems.is_empty());
        assert_eq!((found.lines["A"], found.lines["G"]), (3, 9));
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "a \"b\"\n#c"),
            ("D", "a\\n$X"),
            ("E", ""),
            ("F", "https://x/#frag"),
            ("G", ""),
            ("H", "a=b=="),
            ("I", ""),
        ];
        assert_eq!(found.variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn a_broken_line_is_named_by_its_number_and_not_shown() {
        for text in [
            "canary",
            "A='canary",
            "A=\"canary",
            "A='canary'x",
            "A=\"\\canary\"",
            "can ary=1",
            "=canary",
            "A:canary=1",
        ] {
            let found = parse(&format!("OK=1\n{text}\nLAST=1\n"));
            let [(line, message)] = &found.problems[..] else { panic!("{text}: {:?}", found.problems) };
            assert_eq!(*line, 2, "{text}");
            assert!(!message.contains("canary"), "{message}");
            assert!(found.variables.contains_key("LAST"), "it is read to its end");
        }
        for twice in ["A=1\nA=2", "A=\nA=2"] {
            let found = parse(twice);
            assert_eq!(found.problems, [(2, "A stands in this file twice; remove one".to_owned())]);
            assert!(!found.variables["A"].is_empty());
        }
    }
}
