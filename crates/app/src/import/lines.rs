//! JSON lines: one record to a line, in any order. The form is in `docs/import.md`; a test reads the example that stands there.
//!
//! Everything is read before anything is written, so that a bad line leaves nothing half done. What is wrong is told by line
//! and field, never with the value: a secret may have ended up there.

use super::record::{Account, Chat, Customer, Member, Org, Person, Records, Said, Told};
use super::{Check, NotImported};
use agenstack_core::clock::Timestamp;
use agenstack_core::conversation::Author;
use agenstack_core::integration::Provider;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fmt;
use std::io::BufRead;

/// The longest line that is read.
const LONGEST: usize = 1024 * 1024;
/// How many mistakes are told at once.
const MISTAKES: usize = 50;

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Which line, from 1.
    pub line: usize,
    /// Which field, if it is one.
    pub field: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "line {}, field {field}: {}", self.line, self.reason),
            None => write!(f, "line {}: {}", self.line, self.reason),
        }
    }
}

/// The fields of a record, each there once.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Each)
    }
}

/// One line that is being read.
struct Line {
    number: usize,
    kind: String,
    fields: Map<String, Value>,
    mistakes: Vec<Mistake>,
}

impl Line {
    fn wrong(&mut self, field: Option<&str>, reason: impl Into<String>) {
        let field = field.map(str::to_owned);
        self.mistakes.push(Mistake { line: self.number, field, reason: reason.into() });
    }

    fn place(&self) -> String {
        format!("line {}", self.number)
    }

    /// Text that may be absent.
    fn maybe(&mut self, field: &str) -> Option<String> {
        match self.fields.remove(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.wrong(Some(field), "has to be text");
                None
            }
        }
    }

    /// Text that has to be there. What is missing is noted; the line is not used then.
    fn text(&mut self, field: &str) -> String {
        let was = self.mistakes.len();
        match self.maybe(field) {
            Some(text) if !text.trim().is_empty() => return text,
            Some(_) => self.wrong(Some(field), "is empty"),
            None if self.mistakes.len() == was => self.wrong(Some(field), "is missing"),
            None => {}
        }
        String::new()
    }

    fn at(&mut self, field: &str) -> Option<Timestamp> {
        let text = self.maybe(field)?;
        let at = Timestamp::parse_rfc3339(&text);
        if at.is_none() {
            self.wrong(Some(field), "has to be a time such as 2026-11-24T12:00:00Z");
        }
        at
    }

    fn tags(&mut self) -> Vec<String> {
        let mut tags = Vec::new();
        match self.fields.remove("tags") {
            None | Some(Value::Null) => {}
            Some(Value::Array(list)) => {
                for tag in list {
                    match tag {
                        Value::String(text) => tags.push(text),
                        _ => self.wrong(Some("tags"), "has to be a list of text"),
                    }
                }
            }
            Some(_) => self.wrong(Some("tags"), "has to be a list of text"),
        }
        tags
    }

    fn word<T>(&mut self, field: &str, read: impl Fn(&str) -> Option<T>, words: &str) -> Option<T> {
        let text = self.text(field);
        let word = read(&text);
        if word.is_none() && !text.is_empty() {
            self.wrong(Some(field), format!("has to be one of {words}"));
        }
        word
    }
}

/// Messages by the conversation they belong to.
type Messages = HashMap<(String, String), Vec<Said>>;

/// Everything that was read.
#[derive(Default)]
struct Read {
    records: Records,
    chats: Vec<Chat>,
    said: Messages,
}

impl Read {
    fn take(&mut self, l: &mut Line) {
        let place = l.place();
        match l.kind.as_str() {
            "organization" => {
                let (id, name, created_at) = (l.text("id"), l.text("name"), l.at("created_at"));
                self.records.organizations.push(Org { place, id, name, created_at });
            }
            "user" => {
                let (email, name) = (l.text("email"), l.maybe("name").unwrap_or_default());
                self.records.people.push(Person { place, email, name });
            }
            "membership" => {
                let (organization, email, role) = (l.text("organization"), l.text("email"), l.text("role"));
                self.records.members.push(Member { place, organization, email, role });
            }
            "bot" => {
                let (organization, id, title) = (l.text("organization"), l.text("id"), l.text("name"));
                let mut content = Map::new();
                for field in ["greeting", "fallback", "instructions", "personality"] {
                    if let Some(text) = l.maybe(field) {
                        content.insert(field.to_owned(), text.into());
                    }
                }
                let content = content.into();
                self.records.told.push(Told { place, organization, kind: "bot", id, title, content });
            }
            "knowledge" => {
                let (organization, id, title) = (l.text("organization"), l.text("id"), l.text("title"));
                let (content, category, tags) = (l.text("content"), l.maybe("category"), l.tags());
                let content = json!({"content": content, "category": category, "tags": tags});
                self.records.told.push(Told { place, organization, kind: "knowledge", id, title, content });
            }
            "customer" => {
                let (organization, id) = (l.text("organization"), l.text("id"));
                let (name, email) = (l.maybe("name"), l.maybe("email"));
                self.records.customers.push(Customer { place, organization, id, name, email });
            }
            "account" => {
                let organization = l.text("organization");
                let provider = l.word("provider", Provider::parse, "shopify, messenger and kustomer");
                let (account, label) = (l.text("account"), l.maybe("name"));
                let connected_at = l.at("connected_at");
                if let Some(provider) = provider {
                    let account = Account { place, organization, provider, account, label, connected_at };
                    self.records.accounts.push(account);
                }
            }
            "conversation" => {
                let (organization, id) = (l.text("organization"), l.text("id"));
                self.chats.push(Chat {
                    place,
                    organization,
                    id,
                    customer: l.maybe("customer"),
                    customer_name: l.maybe("customer_name"),
                    customer_email: l.maybe("customer_email"),
                    channel: l.maybe("channel"),
                    created_at: l.at("created_at"),
                    messages: Vec::new(),
                });
            }
            "message" => {
                let chat = (l.text("organization"), l.text("conversation"));
                let author = l.word("author", Author::parse, "customer, bot, agent and system");
                let (id, text, at) = (l.text("id"), l.text("text"), l.at("created_at"));
                if at.is_none() && l.mistakes.is_empty() {
                    l.wrong(Some("created_at"), "is missing");
                }
                if let Some(author) = author {
                    self.said.entry(chat).or_default().push(Said { place, id, author: Ok(author), text, at });
                }
            }
            _ => l.wrong(
                Some("kind"),
                "has to be one of organization, user, membership, bot, knowledge, customer, account, conversation and message",
            ),
        }
    }
}

fn line(number: usize, text: &str, check: &Check) -> Result<Line, Mistake> {
    let wrong = |field: Option<&str>, reason: &str| Mistake {
        line: number,
        field: field.map(str::to_owned),
        reason: reason.to_owned(),
    };
    // Its own words would repeat what it met.
    let Fields(list) = serde_json::from_str(text)
        .map_err(|e| wrong(None, &format!("is no JSON object (column {})", e.column())))?;
    let mut fields = Map::new();
    let mut twice = None;
    for (name, value) in list {
        if (check.shape)(&name).is_some() {
            // Not even a name is repeated that is one itself.
            return Err(wrong(None, "has a field whose name is a credential; take it out"));
        }
        if (check.name)(&name) {
            return Err(wrong(
                Some(&name),
                "is a credential by its name; take it out: credentials are never imported",
            ));
        }
        if fields.insert(name.clone(), value).is_some() {
            twice = Some(name);
        }
    }
    if let Some(name) = twice {
        return Err(wrong(Some(&name), "is there twice"));
    }
    let mut line = Line { number, kind: String::new(), fields, mistakes: Vec::new() };
    line.kind = line.text("kind");
    match line.mistakes.pop() {
        Some(mistake) => Err(mistake),
        None => Ok(line),
    }
}

/// Reads all of it.
pub(super) fn read(from: &mut dyn BufRead, check: &Check) -> Result<(Records, Vec<Chat>), NotImported> {
    let mut read = Read::default();
    let mut mistakes = Vec::new();
    let mut bytes = Vec::new();
    let mut number = 0;
    loop {
        bytes.clear();
        let n = std::io::Read::take(&mut *from, LONGEST as u64 + 1)
            .read_until(b'\n', &mut bytes)
            .map_err(NotImported::File)?;
        if n == 0 {
            break;
        }
        number += 1;
        let whole = |reason: &str| Mistake { line: number, field: None, reason: reason.to_owned() };
        if n > LONGEST {
            mistakes.push(whole("is longer than one MiB"));
            break;
        }
        let Ok(text) = std::str::from_utf8(&bytes) else {
            mistakes.push(whole("is not UTF-8"));
            continue;
        };
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            continue;
        }
        match line(number, text, check) {
            Err(mistake) => mistakes.push(mistake),
            Ok(mut line) => {
                read.take(&mut line);
                let unknown: Vec<String> =
                    match line.mistakes.iter().any(|m| m.field.as_deref() == Some("kind")) {
                        true => Vec::new(),
                        false => line.fields.keys().cloned().collect(),
                    };
                for name in unknown {
                    let reason = format!("is not known in a record of the kind {}", line.kind);
                    line.wrong(Some(&name), reason);
                }
                mistakes.extend(line.mistakes);
            }
        }
        if mistakes.len() >= MISTAKES {
            break;
        }
    }
    if !mistakes.is_empty() {
        mistakes.truncate(MISTAKES);
        return Err(NotImported::Lines(mistakes));
    }
    Ok((read.records, together(read.chats, read.said)?))
}

/// Each conversation with its messages, the oldest first; lines of one instant keep their order.
fn together(mut chats: Vec<Chat>, mut said: Messages) -> Result<Vec<Chat>, NotImported> {
    for chat in &mut chats {
        chat.messages = said.remove(&(chat.organization.clone(), chat.id.clone())).unwrap_or_default();
        chat.messages.sort_by_key(|m| m.at);
    }
    let lost = said.into_values().flatten().map(|m| Mistake {
        line: m.place.trim_start_matches("line ").parse().unwrap_or(0),
        field: Some("conversation".into()),
        reason: "there is no such conversation in this organization".into(),
    });
    let mut lost: Vec<Mistake> = lost.collect();
    if lost.is_empty() {
        return Ok(chats);
    }
    lost.sort_by_key(|m| m.line);
    lost.truncate(MISTAKES);
    Err(NotImported::Lines(lost))
}
