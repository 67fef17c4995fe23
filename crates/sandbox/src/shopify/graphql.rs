//! Just enough GraphQL to read an operation and to cut an answer to what was asked.
//!
//! No types and no validation beyond unknown fields: the shapes in [`super::shape`] are the schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// One selected field.
#[derive(Clone, Debug, Default)]
pub(crate) struct Field {
    pub alias: String,
    pub name: String,
    pub args: Map<String, Value>,
    pub fields: Vec<Field>,
}

/// The operation of a document with its variables filled in.
#[derive(Debug)]
pub(crate) struct Operation {
    pub mutation: bool,
    pub fields: Vec<Field>,
}

const SPREAD: &str = "...";

/// Reads a document. None when it is not GraphQL that this scan can follow.
pub(crate) fn parse(query: &str, name: Option<&str>, variables: &Value) -> Option<Operation> {
    let mut scan = Scan { tokens: tokens(query)?, at: 0, variables };
    let mut operations: Vec<(String, Operation)> = Vec::new();
    let mut fragments: BTreeMap<String, Vec<Field>> = BTreeMap::new();
    while let Some(word) = scan.peek().map(str::to_owned) {
        match word.as_str() {
            "{" => operations.push((String::new(), Operation { mutation: false, fields: scan.selection(0)? })),
            "query" | "mutation" => {
                scan.at += 1;
                let title = if scan.peek()? == "{" || scan.peek()? == "(" { String::new() } else { scan.next()? };
                scan.skip_to_body()?;
                let fields = scan.selection(0)?;
                operations.push((title, Operation { mutation: word == "mutation", fields }));
            }
            "fragment" => {
                scan.at += 1;
                let title = scan.next()?;
                scan.skip_to_body()?;
                let fields = scan.selection(0)?;
                fragments.insert(title, fields);
            }
            _ => return None,
        }
    }
    let at = operations.iter().position(|(title, _)| name.is_none_or(|n| n == title))?;
    let mut operation = operations.swap_remove(at).1;
    operation.fields = spread(operation.fields, &fragments, 0)?;
    Some(operation)
}

fn spread(fields: Vec<Field>, fragments: &BTreeMap<String, Vec<Field>>, depth: usize) -> Option<Vec<Field>> {
    if depth > 32 {
        return None;
    }
    let mut out = Vec::new();
    for mut field in fields {
        if field.name == SPREAD {
            let inner = if field.alias.is_empty() { field.fields } else { fragments.get(&field.alias)?.clone() };
            out.extend(spread(inner, fragments, depth + 1)?);
        } else {
            field.fields = spread(field.fields, fragments, depth + 1)?;
            out.push(field);
        }
    }
    Some(out)
}

/// Cuts `full` to the selection; names the first unknown field as Shopify does.
pub(crate) fn project(full: &Value, field: &Field) -> Result<Value, String> {
    match full {
        Value::Array(items) => items.iter().map(|v| project(v, field)).collect::<Result<Vec<_>, _>>().map(Value::Array),
        Value::Object(map) if !field.fields.is_empty() => {
            let mut out = Map::new();
            for wanted in &field.fields {
                let kind = map.get("__typename").and_then(Value::as_str).unwrap_or(&field.name);
                let value = match map.get(&wanted.name) {
                    Some(value) => project(value, wanted)?,
                    None if wanted.name == "__typename" => json!(kind),
                    None => return Err(format!("Field '{}' doesn't exist on type '{kind}'", wanted.name)),
                };
                out.insert(wanted.alias.clone(), value);
            }
            Ok(Value::Object(out))
        }
        other => Ok(other.clone()),
    }
}

struct Scan<'a> {
    tokens: Vec<String>,
    at: usize,
    variables: &'a Value,
}

impl Scan<'_> {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn next(&mut self) -> Option<String> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned()
    }

    fn eat(&mut self, token: &str) -> bool {
        let there = self.peek() == Some(token);
        self.at += usize::from(there);
        there
    }

    /// Over variable definitions, type conditions and directives, up to the selection.
    fn skip_to_body(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                "(" => depth += 1,
                ")" => depth = depth.checked_sub(1)?,
                "{" if depth == 0 => return Some(()),
                _ => {}
            }
            self.at += 1;
        }
    }

    fn directives(&mut self) -> Option<()> {
        while self.peek() == Some("@") {
            self.at += 2;
            if self.peek() == Some("(") {
                self.arguments()?;
            }
        }
        Some(())
    }

    fn selection(&mut self, depth: usize) -> Option<Vec<Field>> {
        if depth > 32 || !self.eat("{") {
            return None;
        }
        let mut fields = Vec::new();
        while !self.eat("}") {
            fields.push(if self.eat(SPREAD) { self.fragment(depth)? } else { self.field(depth)? });
        }
        Some(fields)
    }

    fn fragment(&mut self, depth: usize) -> Option<Field> {
        let mut field = Field { name: SPREAD.to_owned(), ..Field::default() };
        if self.eat("on") {
            self.next()?;
        } else if !matches!(self.peek()?, "{" | "@") {
            field.alias = self.next()?;
        }
        self.directives()?;
        if self.peek() == Some("{") {
            field.fields = self.selection(depth + 1)?;
        }
        Some(field)
    }

    fn field(&mut self, depth: usize) -> Option<Field> {
        let alias = self.next().filter(|t| t.starts_with(|c: char| c.is_alphabetic() || c == '_'))?;
        let name = if self.eat(":") { self.next()? } else { alias.clone() };
        let args = if self.peek() == Some("(") { self.arguments()? } else { Map::new() };
        self.directives()?;
        let fields = if self.peek() == Some("{") { self.selection(depth + 1)? } else { Vec::new() };
        Some(Field { alias, name, args, fields })
    }

    fn arguments(&mut self) -> Option<Map<String, Value>> {
        self.members("(", ")")
    }

    fn members(&mut self, open: &str, close: &str) -> Option<Map<String, Value>> {
        if !self.eat(open) {
            return None;
        }
        let mut out = Map::new();
        while !self.eat(close) {
            let name = self.next()?;
            if !self.eat(":") {
                return None;
            }
            let value = self.value()?;
            out.insert(name, value);
        }
        Some(out)
    }

    fn value(&mut self) -> Option<Value> {
        match self.peek()? {
            "{" => return self.members("{", "}").map(Value::Object),
            "[" => {
                self.at += 1;
                let mut list = Vec::new();
                while !self.eat("]") {
                    list.push(self.value()?);
                }
                return Some(Value::Array(list));
            }
            "$" => {
                self.at += 1;
                let name = self.next()?;
                return Some(self.variables.get(&name).cloned().unwrap_or(Value::Null));
            }
            _ => {}
        }
        let word = self.next()?;
        if word.starts_with('"') {
            return serde_json::from_str(&word).ok();
        }
        // Numbers, true, false and null are JSON already; what is left is an enum member.
        Some(serde_json::from_str(&word).unwrap_or(Value::String(word)))
    }
}

fn tokens(text: &str) -> Option<Vec<String>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let len = match c {
            _ if c.is_whitespace() || c == ',' || c == '\u{feff}' => {
                rest = &rest[c.len_utf8()..];
                continue;
            }
            '#' => {
                rest = rest.split_once('\n').map_or("", |(_, after)| after);
                continue;
            }
            '"' => string_end(rest)?,
            '.' => rest.starts_with(SPREAD).then_some(3)?,
            _ if c.is_alphanumeric() || matches!(c, '_' | '-') => {
                rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))).unwrap_or(rest.len())
            }
            _ => c.len_utf8(),
        };
        out.push(rest[..len].to_owned());
        rest = &rest[len..];
    }
    Some(out)
}

fn string_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_variables_and_fragments_are_followed() {
        let query = r#"
            # who
            query Find($q: String!, $n: Int = 2) { found: orders(first: $n, query: $q) @include(if: true) { nodes { ...Bits } } shop { name } }
            fragment Bits on Order { id no: name }
        "#;
        let op = parse(query, Some("Find"), &json!({"q": "name:\"#1\""})).unwrap();
        assert!(!op.mutation);
        assert_eq!(op.fields[0].alias, "found");
        assert_eq!(op.fields[0].args["query"], "name:\"#1\"");
        let full = json!({"nodes": [{"id": 1, "name": "#1", "email": "x"}]});
        assert_eq!(project(&full, &op.fields[0]).unwrap(), json!({"nodes": [{"id": 1, "no": "#1"}]}));
    }

    #[test]
    fn an_unknown_field_is_named() {
        let op = parse("{ shop { nmae } }", None, &Value::Null).unwrap();
        let shop = json!({"__typename": "Shop", "name": "x"});
        assert_eq!(project(&shop, &op.fields[0]).unwrap_err(), "Field 'nmae' doesn't exist on type 'Shop'");
    }

    #[test]
    fn what_is_not_graphql_is_refused_without_a_panic() {
        for text in ["", "{", "}", "query", "{ a(b: ", "{ a(b \"", "\"", "..", "{ ...", "mutation M("] {
            assert!(parse(text, None, &Value::Null).is_none(), "{text:?}");
        }
    }
}
