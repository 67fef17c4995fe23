//! Env files: `NAME=value`, one a line, with comments, `export` and quotes. Nothing is expanded or run.

use std::collections::BTreeMap;

/// Reads an env file; the error names the line and never what stands there.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, String>, (usize, String)> {
    let mut variables = BTreeMap::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let wrong = |message: &str| (index + 1, message.to_owned());
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (name, rest) = line.split_once('=').ok_or_else(|| wrong("expected NAME=value"))?;
        let name = name.trim_end();
        let named = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !named {
            return Err(wrong("the name before `=` may have letters, digits and underscores only"));
        }
        let value = value(rest.trim_start()).map_err(wrong)?;
        if variables.insert(name.to_owned(), value).is_some() {
            // Which of the two was meant, nobody can tell.
            return Err((index + 1, format!("{name} stands in this file twice; remove one")));
        }
    }
    Ok(variables)
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
        let found = parse(text).unwrap();
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
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
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
            let (line, message) = parse(&format!("OK=1\n{text}\n")).unwrap_err();
            assert_eq!(line, 2, "{text}");
            assert!(!message.contains("canary"), "{message}");
        }
        assert_eq!(parse("A=1\nA=2").unwrap_err().1, "A stands in this file twice; remove one");
    }
}
