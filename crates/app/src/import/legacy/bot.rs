//! Bots and knowledge. Several editors saved what they had into one row's `settings`; what can be held here is taken out of it.

use super::json::{Decoded, decode, decode_value};
use super::{is_off, place, text};
use crate::import::plan::holds;
use crate::import::record::{Records, Told};
use crate::import::report::Report;
use crate::import::{Check, Options};
use agenstack_store::StoreError;
use agenstack_store::legacy::shape::{BOTS, KNOWLEDGE};
use agenstack_store::legacy::{Legacy, LegacyRow};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Keys of settings that are not taken, and why.
const LEFT: &[(&str, &str)] = &[
    ("widget", "there is no widget here"),
    ("customization", "there is no widget here whose looks it could change"),
    ("responseDelay", "answers are sent as soon as they are there"),
    ("maxRetries", "deeds are tried again by one rule for all"),
    ("scenarios", "there are no scenarios here"),
    ("forms", "there are no forms here"),
    ("sms", "messages are not sent by SMS here"),
    ("phone", "nobody is called here"),
];

struct Reading<'a> {
    check: &'a Check,
    told: Vec<Told>,
    report: &'a mut Report,
}

/// Reads both tables.
pub(super) async fn read(
    db: &mut Legacy,
    options: &Options,
    records: &mut Records,
    report: &mut Report,
) -> Result<(), StoreError> {
    let mut reading = Reading { check: &options.check, told: Vec::new(), report };
    for row in db.rows(&BOTS).await? {
        reading.bot(&row);
    }
    for row in db.rows(&KNOWLEDGE).await? {
        reading.knowledge(&row);
    }
    records.told.append(&mut reading.told);
    Ok(())
}

impl Reading<'_> {
    fn bot(&mut self, row: &LegacyRow) {
        let (place, organization, id) =
            (place("bot_configs", row), text(row, "organization_id"), text(row, "id"));
        // Whoever's it is: a row of nobody is quarantined as a whole, and not taken apart.
        if crate::import::plan::is_nobody(&organization) {
            return self.report.quarantined(&place);
        }
        if is_off(row) {
            return self.report.skipped(&place, "the bot is switched off");
        }
        let mut content = Map::new();
        for (column, name) in [
            ("greeting_message", "greeting"),
            ("fallback_message", "fallback"),
            ("instructions", "instructions"),
        ] {
            if let Some(text) = row.first(&[column]) {
                self.keep(&mut content, &place, column, name, text.into());
            }
        }
        match decode(row.get("personality").unwrap_or_default()) {
            Decoded::Nothing => {}
            Decoded::Object(map) => self.keep(&mut content, &place, "personality", "personality", map.into()),
            Decoded::Text(text) => self.keep(&mut content, &place, "personality", "personality", text.into()),
            Decoded::List(_) | Decoded::Other => {
                self.report.skipped(&format!("{place}, personality"), "it is neither an object nor text");
            }
        }
        match decode(row.get("settings").unwrap_or_default()) {
            Decoded::Nothing => {}
            Decoded::Object(map) => {
                for (key, value) in map {
                    self.setting(&mut content, &place, &organization, &id, &key, value);
                }
            }
            _ => self
                .report
                .skipped(&format!("{place}, settings"), "it is no object, however often it is decoded"),
        }
        let title = row.first(&["name"]).unwrap_or("Bot").to_owned();
        self.told.push(Told { place, organization, kind: "bot", id, title, content: content.into() });
    }

    /// Keeps a value, unless it holds a credential.
    fn keep(
        &mut self,
        content: &mut Map<String, Value>,
        place: &str,
        column: &str,
        name: &str,
        value: Value,
    ) {
        match self.check.within(&value) {
            Some(kind) => self.report.refused(&format!("{place}, {column}"), holds(kind)),
            None => drop(content.insert(name.to_owned(), value)),
        }
    }

    fn setting(
        &mut self,
        content: &mut Map<String, Value>,
        row: &str,
        organization: &str,
        bot: &str,
        key: &str,
        value: Value,
    ) {
        // A name that is a credential itself is not repeated.
        let (shown, shaped) = match (self.check.shape)(key) {
            Some(kind) => ("a key", Some(kind)),
            None => (key, None),
        };
        let place = format!("{row}, settings.{shown}");
        if let Some(kind) = shaped.or_else(|| (self.check.name)(key).then_some("credential")) {
            return self.report.refused(&place, holds(kind));
        }
        let plain = key.to_lowercase().replace(['_', '-'], "");
        match plain.as_str() {
            "qadatabase" | "knowledgebase" => {
                self.items(&place, organization, &format!("{bot}/{plain}"), value)
            }
            "operatinghours" => {
                self.keep(content, row, &format!("settings.{shown}"), "operating_hours", value)
            }
            "escalationkeywords" => {
                self.keep(content, row, &format!("settings.{shown}"), "escalation_keywords", value);
            }
            _ => {
                let why = LEFT
                    .iter()
                    .find(|(word, _)| plain.starts_with(&word.to_lowercase()))
                    .map(|(_, why)| *why);
                self.report.skipped(&place, why.unwrap_or("there is nothing here that could hold it"));
            }
        }
    }

    /// Knowledge that stands in a bot's settings: questions with answers, or pieces with names.
    fn items(&mut self, place: &str, organization: &str, id: &str, value: Value) {
        let list = match decode_value(value) {
            Decoded::Nothing => return,
            Decoded::List(list) => list,
            Decoded::Object(mut map) => match map.remove("items") {
                Some(Value::Array(list)) => list,
                _ => map
                    .into_iter()
                    .map(|(question, answer)| json!({"question": question, "answer": answer}))
                    .collect(),
            },
            Decoded::Text(_) | Decoded::Other => return self.report.skipped(place, "it is no list"),
        };
        for (n, item) in list.into_iter().enumerate() {
            let place = format!("{place}[{n}]");
            let Decoded::Object(item) = decode_value(item) else {
                self.report.skipped(&place, "it is no object");
                continue;
            };
            self.item(&place, organization, id, &item);
        }
    }

    fn item(&mut self, place: &str, organization: &str, id: &str, item: &Map<String, Value>) {
        let first = |names: &[&str]| {
            names.iter().filter_map(|n| item.get(*n)?.as_str()).map(str::trim).find(|t| !t.is_empty())
        };
        if item.get("enabled") == Some(&Value::Bool(false)) {
            return self.report.skipped(place, "it is switched off");
        }
        let title = first(&["question", "name", "title"]);
        let Some(said) = first(&["answer", "content", "text"]) else {
            let why = if first(&["url"]).is_some() {
                "it is a link, and links are not fetched"
            } else {
                "it says nothing"
            };
            return self.report.skipped(place, why);
        };
        let title = title.unwrap_or(said).chars().take(120).collect::<String>();
        // By what it is called, not by where it stands: somebody may put another before it.
        let id = format!("{id}/{}", &hex::encode(Sha256::digest(title.as_bytes()))[..16]);
        let content = json!({"content": said, "category": first(&["category", "type"]), "tags": []});
        let (place, organization) = (place.to_owned(), organization.to_owned());
        self.told.push(Told { place, organization, kind: "knowledge", id, title, content });
    }

    fn knowledge(&mut self, row: &LegacyRow) {
        let place = place("knowledge_base", row);
        if is_off(row) {
            return self.report.skipped(&place, "it is switched off");
        }
        let Some(content) = row.first(&["content"]) else {
            return self.report.skipped(&place, "it says nothing");
        };
        let tags = match decode(row.get("tags").unwrap_or_default()) {
            Decoded::List(list) => list,
            _ => Vec::new(),
        };
        let content = json!({"content": content, "category": row.get("category"), "tags": tags});
        let title = row.first(&["title"]).unwrap_or("Without a title").to_owned();
        let (organization, id) = (text(row, "organization_id"), text(row, "id"));
        self.told.push(Told { place, organization, kind: "knowledge", id, title, content });
    }
}
