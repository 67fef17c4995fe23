//! Conversations with their messages: two long tables, read side by side in one order.

use super::{Gone, place, text, time};
use crate::import::NotImported;
use crate::import::record::{Chat, Said};
use crate::import::report::Report;
use agenstack_core::conversation::Author;
use agenstack_store::StoreError;
use agenstack_store::legacy::shape::{CONVERSATIONS, MESSAGES, Shape};
use agenstack_store::legacy::{Legacy, LegacyRow};
use std::collections::VecDeque;

/// A table that is read bit by bit.
struct Ahead {
    shape: &'static Shape,
    rows: VecDeque<LegacyRow>,
    is_done: bool,
}

impl Ahead {
    async fn open(db: &mut Legacy, shape: &'static Shape) -> Result<Self, StoreError> {
        Ok(Self { is_done: !db.open(shape).await?, shape, rows: VecDeque::new() })
    }

    /// The next row, which stays.
    async fn peek(&mut self, db: &mut Legacy) -> Result<Option<&LegacyRow>, StoreError> {
        if self.rows.is_empty() && !self.is_done {
            self.rows.extend(db.fetch(self.shape).await?);
            self.is_done = self.rows.is_empty();
        }
        Ok(self.rows.front())
    }
}

/// The conversations that are still to come.
pub(in crate::import) struct Chats {
    db: Legacy,
    gone: Gone,
    chats: Ahead,
    said: Ahead,
}

/// Who said something, by the words that were used over the years.
fn author(word: &str) -> Result<Author, String> {
    Ok(match word.trim().to_lowercase().as_str() {
        "user" | "customer" | "visitor" | "client" | "contact" => Author::Customer,
        "bot" | "assistant" | "ai" => Author::Bot,
        "agent" | "human" | "admin" | "staff" | "operator" => Author::Agent,
        "system" | "note" => Author::System,
        other => return Err(other.to_owned()),
    })
}

fn said(row: &LegacyRow) -> Said {
    Said {
        place: place("messages", row),
        id: text(row, "id"),
        author: author(row.get("sender_type").unwrap_or_default()),
        text: text(row, "content"),
        at: time(row, &["created_at"]),
    }
}

impl Chats {
    pub(super) async fn open(mut db: Legacy, gone: Gone) -> Result<Self, StoreError> {
        let chats = Ahead::open(&mut db, &CONVERSATIONS).await?;
        let said = Ahead::open(&mut db, &MESSAGES).await?;
        Ok(Self { db, gone, chats, said })
    }

    /// The next `n` or fewer; none at the end.
    pub(in crate::import) async fn next(
        &mut self,
        n: usize,
        report: &mut Report,
    ) -> Result<Vec<Chat>, NotImported> {
        self.read(n, report).await.map_err(NotImported::Old)
    }

    async fn read(&mut self, n: usize, report: &mut Report) -> Result<Vec<Chat>, StoreError> {
        let mut chats = Vec::with_capacity(n);
        while chats.len() < n {
            let Some(row) = self.chats.peek(&mut self.db).await?.cloned() else {
                self.lost(None, report).await?;
                break;
            };
            self.chats.rows.pop_front();
            let id = text(&row, "id");
            self.lost(Some(&id), report).await?;
            let mut messages = Vec::new();
            while let Some(next) = self.said.peek(&mut self.db).await?
                && next.get("conversation_id") == Some(id.as_str())
            {
                messages.push(said(next));
                self.said.rows.pop_front();
            }
            let organization = text(&row, "organization_id");
            if self.gone.has(&organization, row.get("customer_id"), row.get("customer_email")) {
                let reason = "its customer asked to be forgotten";
                report.skipped(&place("conversations", &row), reason);
                continue;
            }
            chats.push(Chat {
                place: place("conversations", &row),
                organization,
                id,
                customer: row.first(&["customer_id"]).map(str::to_owned),
                customer_name: row.first(&["customer_name"]).map(str::to_owned),
                customer_email: row.first(&["customer_email"]).map(str::to_owned),
                channel: row.first(&["channel"]).map(str::to_owned),
                created_at: time(&row, &["started_at", "created_at"]),
                messages,
            });
        }
        Ok(chats)
    }

    /// Messages before the conversation that comes next belong to none.
    async fn lost(&mut self, before: Option<&str>, report: &mut Report) -> Result<(), StoreError> {
        while let Some(next) = self.said.peek(&mut self.db).await? {
            let of = next.get("conversation_id").unwrap_or_default();
            if before.is_some_and(|id| of >= id) {
                return Ok(());
            }
            report.skipped(&place("messages", next), "there is no such conversation");
            self.said.rows.pop_front();
        }
        Ok(())
    }
}
