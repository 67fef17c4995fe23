//! A resource of an org and its JSON:API shape (kustomer.md 2.1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::clock::{hex24, iso_millis};

/// A customer, conversation, message or note.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub id: String,
    pub kind: String,
    pub attributes: Map<String, Value>,
    /// Name of the relation to the id it points to; the name tells the type.
    pub relations: BTreeMap<String, String>,
    pub updated_ms: i64,
    pub rev: u32,
}

/// A relationship with its link.
pub(crate) fn relation(kind: &str, id: &str) -> Value {
    json!({"links": {"self": format!("/v1/{kind}s/{id}")}, "data": {"type": kind, "id": id}})
}

impl Record {
    pub(crate) fn new(kind: &str, attributes: Map<String, Value>, author: &str, now: i64) -> Record {
        let mut record = Record {
            id: hex24(),
            kind: kind.to_owned(),
            attributes,
            relations: BTreeMap::from([("createdBy".to_owned(), author.to_owned())]),
            updated_ms: now,
            rev: 0,
        };
        record.attributes.insert("createdAt".to_owned(), json!(iso_millis(now)));
        record.touch(author, now);
        record
    }

    pub(crate) fn with(mut self, relation: &str, id: &str) -> Record {
        self.relations.insert(relation.to_owned(), id.to_owned());
        self
    }

    /// Marks a change by someone.
    pub(crate) fn touch(&mut self, author: &str, now: i64) {
        self.rev += 1;
        self.updated_ms = now;
        self.relations.insert("modifiedBy".to_owned(), author.to_owned());
        for name in ["updatedAt", "modifiedAt"] {
            self.attributes.insert(name.to_owned(), json!(iso_millis(now)));
        }
        self.attributes.insert("rev".to_owned(), json!(self.rev));
    }

    /// Takes new attributes over and tells what changed, as `changes.attributes` of an event.
    pub(crate) fn change(&mut self, new: &Map<String, Value>, author: &str, now: i64) -> Value {
        let mut changes = Map::new();
        for (name, after) in new {
            let before = self.attributes.insert(name.clone(), after.clone()).unwrap_or(Value::Null);
            if before != *after {
                let op = if before.is_null() { "add" } else { "replace" };
                changes.insert(name.clone(), json!({"op": op, "before": before, "after": after}));
            }
        }
        self.touch(author, now);
        json!({"attributes": changes})
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.attributes.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn relates(&self, relation: &str, id: &str) -> bool {
        self.relations.get(relation).is_some_and(|r| r == id)
    }

    pub(crate) fn shown(&self, org_id: &str) -> Value {
        let mut relations = Map::from_iter([("org".to_owned(), relation("org", org_id))]);
        for (name, id) in &self.relations {
            let kind = if name.ends_with("By") { "user" } else { name.as_str() };
            relations.insert(name.clone(), relation(kind, id));
        }
        json!({"type": self.kind, "id": self.id, "attributes": self.attributes, "relationships": relations,
            "links": {"self": format!("/v1/{}s/{}", self.kind, self.id)}})
    }
}
