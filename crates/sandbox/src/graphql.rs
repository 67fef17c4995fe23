//! As much GraphQL as the Admin API needs: one operation, variables, arguments, aliases, nested selections.

use serde_json::{Map, Value};

/// A field that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub alias: String,
    pub name: String,
    pub arguments: Map<String, Value>,
    pub selection: Vec<Field>,
}

/// A whole operation.
#[derive(Debug)]
pub(crate) struct Operation {
    pub is_mutation: bool,
    pub fields: Vec<Field>,
}

/// Reads an operation and puts the variables in.
pub(crate) fn parse(text: &str, variables: &Value) -> Result<Operation, String> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, variables };
    let mut is_mutation = false;
    if let Some(Token::Name(word)) = parser.peek() {
        is_mutation = word == "mutation";
        if !is_mutation && word != "query" {
            return Err(format!("syntax error, unexpected {word}"));
        }
        parser.at += 1;
        if matches!(parser.peek(), Some(Token::Name(_))) {
            parser.at += 1;
        }
        if parser.eat('(') {
            // The types of variables are the caller's business; only their values count here.
            while !parser.eat(')') {
                parser.next()?;
            }
        }
    }
    let fields = parser.selection()?;
    Ok(Operation { is_mutation, fields })
}

/// Keeps of a value what was asked for. What it has not is an error, as it is for the real one.
pub(crate) fn project(value: &Value, selection: &[Field]) -> Result<Value, String> {
    match value {
        Value::Array(items) => items.iter().map(|item| project(item, selection)).collect(),
        Value::Object(object) if !selection.is_empty() => {
            let mut out = Map::new();
            for field in selection {
                let found = match field.name.as_str() {
                    "__typename" => Value::Null,
                    name => {
                        object.get(name).cloned().ok_or_else(|| format!("Field '{name}' doesn't exist"))?
                    }
                };
                let mut kept = project(&found, &field.selection)?;
                first(&mut kept, field);
                out.insert(field.alias.clone(), kept);
            }
            Ok(Value::Object(out))
        }
        other => Ok(other.clone()),
    }
}

/// `first:` cuts lists and connections.
fn first(value: &mut Value, field: &Field) {
    let Some(most) = field.arguments.get("first").and_then(Value::as_u64) else { return };
    let list = match value {
        Value::Array(list) => Some(list),
        Value::Object(object) => object.get_mut("nodes").and_then(Value::as_array_mut),
        _ => None,
    };
    if let Some(list) = list {
        list.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Number(f64),
    Punctuation(char),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() || c == ',' => {}
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            '"' => {
                let mut word = String::new();
                loop {
                    match chars.next().ok_or("unterminated string")? {
                        '"' => break,
                        '\\' => word.push(match chars.next().ok_or("unterminated string")? {
                            'n' => '\n',
                            't' => '\t',
                            other => other,
                        }),
                        other => word.push(other),
                    }
                }
                out.push(Token::Text(word));
            }
            c if c.is_ascii_digit() || c == '-' => {
                let mut word = c.to_string();
                while let Some(more) = chars.next_if(|c| c.is_ascii_digit() || *c == '.') {
                    word.push(more);
                }
                out.push(Token::Number(word.parse().map_err(|_| "bad number".to_owned())?));
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let mut word = c.to_string();
                while let Some(more) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    word.push(more);
                }
                out.push(Token::Name(word));
            }
            c => out.push(Token::Punctuation(c)),
        }
    }
    Ok(out)
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    variables: &'a Value,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }
    fn next(&mut self) -> Result<Token, String> {
        let token = self.tokens.get(self.at).cloned().ok_or("syntax error, unexpected end of file")?;
        self.at += 1;
        Ok(token)
    }
    fn eat(&mut self, c: char) -> bool {
        let is = self.peek() == Some(&Token::Punctuation(c));
        self.at += usize::from(is);
        is
    }
    fn name(&mut self) -> Result<String, String> {
        match self.next()? {
            Token::Name(word) => Ok(word),
            other => Err(format!("syntax error, unexpected {other:?}")),
        }
    }
    fn selection(&mut self) -> Result<Vec<Field>, String> {
        if !self.eat('{') {
            return Err("syntax error, expected a selection".into());
        }
        let mut fields = Vec::new();
        while !self.eat('}') {
            let mut name = self.name()?;
            let mut alias = name.clone();
            if self.eat(':') {
                alias = std::mem::replace(&mut name, self.name()?);
            }
            let mut arguments = Map::new();
            if self.eat('(') {
                while !self.eat(')') {
                    let key = self.name()?;
                    if !self.eat(':') {
                        return Err(format!("syntax error after {key}"));
                    }
                    let value = self.value()?;
                    arguments.insert(key, value);
                }
            }
            let selection =
                if self.peek() == Some(&Token::Punctuation('{')) { self.selection()? } else { Vec::new() };
            fields.push(Field { alias, name, arguments, selection });
        }
        Ok(fields)
    }
    fn value(&mut self) -> Result<Value, String> {
        match self.next()? {
            Token::Text(text) => Ok(Value::String(text)),
            #[expect(clippy::cast_possible_truncation, reason = "whole numbers of a query are small")]
            Token::Number(n) if n.fract() == 0.0 => Ok(Value::from(n as i64)),
            Token::Number(n) => Ok(Value::from(n)),
            Token::Name(word) => Ok(match word.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                other => Value::String(other.to_owned()),
            }),
            Token::Punctuation('$') => {
                let name = self.name()?;
                Ok(self.variables.get(&name).cloned().unwrap_or_default())
            }
            Token::Punctuation('[') => {
                let mut list = Vec::new();
                while !self.eat(']') {
                    list.push(self.value()?);
                }
                Ok(Value::Array(list))
            }
            Token::Punctuation('{') => {
                let mut object = Map::new();
                while !self.eat('}') {
                    let key = self.name()?;
                    if !self.eat(':') {
                        return Err(format!("syntax error after {key}"));
                    }
                    let value = self.value()?;
                    object.insert(key, value);
                }
                Ok(Value::Object(object))
            }
            other => Err(format!("syntax error, unexpected {other:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arguments_come_from_variables_and_from_the_text() {
        let text = r##"query Q($q: String!, $n: Int = 2) { a: orders(first: 1, query: $q) { nodes { id } } shop { name } }"##;
        let operation = parse(text, &json!({"q": "name:\"#1\""})).unwrap();
        assert!(!operation.is_mutation);
        let orders = &operation.fields[0];
        assert_eq!((orders.alias.as_str(), orders.name.as_str()), ("a", "orders"));
        assert_eq!(orders.arguments["query"], json!("name:\"#1\""));
        let kept =
            project(&json!({"nodes": [{"id": 1, "x": 2}, {"id": 3, "x": 4}]}), &orders.selection).unwrap();
        assert_eq!(kept, json!({"nodes": [{"id": 1}, {"id": 3}]}));
        assert!(project(&json!({"nodes": [{"x": 1}]}), &orders.selection).is_err());
    }
}
