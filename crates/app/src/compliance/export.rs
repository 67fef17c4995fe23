//! Everything that an organization holds of one customer, as JSON for its admins.

use super::subject::Subject;
use super::{BATCH, Counts, Events, NOTHING, Outcome, is_former, is_open_request, opened, readable};
use crate::App;
use crate::bot::{self, Memory};
use crate::conversation::message;
use crate::error::AppError;
use agenstack_core::clock::Timestamp;
use agenstack_core::conversation::Message;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::{ConversationId, EventId, MessageId, PrivacyRequestId};
use agenstack_core::integration::{Integration, Provider};
use agenstack_core::privacy::PrivacyRequest;
use agenstack_store::tenant::conversation::StoredConversation;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// How much one export holds: it is made in memory, and a person has to open it.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// Messages read at once.
pub(super) const MESSAGES: i64 = 200;

const NOTE: &str = "Conversations that were handed over are also in your own Kustomer account, and orders and customers in \
    your own Shopify store: look there, too.";

#[derive(Serialize)]
struct Export {
    request: PrivacyRequestId,
    shop: String,
    received_at: Timestamp,
    exported_at: Timestamp,
    /// Whom it is about; of a shop that the organization has no more, only what it knew before.
    subject: Subject,
    /// `false`: there was more than an export may hold.
    complete: bool,
    note: &'static str,
    conversations: Vec<Conversation>,
    events: Vec<Sent>,
}

#[derive(Serialize)]
struct Conversation {
    id: ConversationId,
    channel: String,
    /// By what the customer was recognised.
    recognised_by: &'static str,
    contact_name: String,
    /// The customer's id on the page.
    contact_external_id: String,
    last_message_at: Timestamp,
    kustomer_conversation: Option<String>,
    bot_memory: Option<Memory>,
    messages: Vec<Message>,
}

/// What the shop sent.
#[derive(Serialize)]
struct Sent {
    id: EventId,
    topic: String,
    received_at: Timestamp,
    payload: Value,
}

/// Whom an export is about.
pub(super) fn subject_of(export: &[u8]) -> Option<Subject> {
    #[derive(Deserialize)]
    struct Part {
        subject: Subject,
    }
    serde_json::from_slice::<Part>(export).ok().map(|part| part.subject)
}

/// Makes the export of a request.
pub(super) async fn make(
    app: &App,
    org: &OrgCtx,
    it: &Integration,
    request: &PrivacyRequest,
    subject: &Subject,
) -> Result<(Zeroizing<Vec<u8>>, Outcome, Counts), AppError> {
    let mut room = Room(MOST_BYTES);
    let mut counts = Counts::default();
    let mut events = Vec::new();
    let mut names = BTreeSet::new();
    let mut all = Events::of(app, org, Provider::Shopify);
    loop {
        let batch = all.next().await?;
        if batch.is_empty() {
            break;
        }
        for e in batch {
            let Some(bytes) = opened(app, org.org(), &e).await else { continue };
            let (body, same_shop) = (readable(&bytes), e.event.integration_id == it.id);
            if same_shop {
                names.extend(subject.order_name(&e.event.topic, &body));
            }
            // Requests are no data of the customer, but what is asked about them.
            let skip = *bytes == *NOTHING || is_open_request(&e.event);
            if !skip && subject.in_event(&e.event.topic, &body, same_shop) && room.takes(bytes.len()) {
                counts.events += 1;
                let (id, topic, received_at) = (e.event.id, e.event.topic, e.event.received_at);
                events.push(Sent { id, topic, received_at, payload: body });
            }
        }
    }
    let mut conversations = Vec::new();
    let mut after = None;
    loop {
        let batch = app.store().tenant_read(org).await?.conversation_scan(after.as_ref(), BATCH).await?;
        let Some(last) = batch.last() else { break };
        after = Some(last.conversation.id.clone());
        for stored in batch {
            if let Some(how) = recognised(app, org, subject, &names, &stored).await? {
                let found = whole(app, org, stored, how, &mut room).await?;
                counts.conversations += 1;
                counts.messages += found.messages.len() as u64;
                counts.memories += u64::from(found.bot_memory.is_some());
                conversations.push(found);
            }
        }
    }
    let complete = !room.is_over();
    let subject = if is_former(it) {
        let held = serde_json::to_value((&conversations, &events));
        subject.known_from(&held.map_err(|e| AppError::Internal(Box::new(e)))?)
    } else {
        subject.clone()
    };
    let export = Export {
        request: request.id.clone(),
        shop: it.external_id.clone(),
        received_at: request.received_at,
        exported_at: app.now(),
        subject,
        complete,
        note: NOTE,
        conversations,
        events,
    };
    let bytes = serde_json::to_vec_pretty(&export).map_err(|e| AppError::Internal(Box::new(e)))?;
    let outcome = if complete { Outcome::Exported } else { Outcome::ExportedInPart };
    Ok((Zeroizing::new(bytes), outcome, counts))
}

/// How much still goes in.
struct Room(usize);

impl Room {
    /// Takes as many bytes if they fit; once something did not fit, nothing does.
    fn takes(&mut self, bytes: usize) -> bool {
        self.0 = self.0.saturating_sub(bytes);
        self.0 > 0
    }
    fn is_over(&self) -> bool {
        self.0 == 0
    }
}

/// By what a conversation is recognised as the customer's: what the bot remembers, or what was written.
pub(super) async fn recognised(
    app: &App,
    org: &OrgCtx,
    subject: &Subject,
    names: &BTreeSet<String>,
    stored: &StoredConversation,
) -> Result<Option<&'static str>, AppError> {
    let memory = bot::open_memory(app, org.org(), stored).await;
    if subject.in_memory(&memory, names) {
        return Ok(Some("what the bot remembers"));
    }
    let mut messages = Messages::of(app, org, stored.conversation.id.clone());
    loop {
        let batch = messages.next().await?;
        if batch.is_empty() {
            return Ok(None);
        }
        if let Some(how) = batch.iter().find_map(|m| subject.in_text(&m.text)) {
            return Ok(Some(how));
        }
    }
}

async fn whole(
    app: &App,
    org: &OrgCtx,
    stored: StoredConversation,
    how: &'static str,
    room: &mut Room,
) -> Result<Conversation, AppError> {
    let bot_memory = match &stored.memory {
        Some(_) => Some(bot::open_memory(app, org.org(), &stored).await),
        None => None,
    };
    let mut messages = Vec::new();
    let mut all = Messages::of(app, org, stored.conversation.id.clone());
    loop {
        let batch = all.next().await?;
        if batch.is_empty() {
            break;
        }
        messages.extend(batch.into_iter().filter(|m| room.takes(m.text.len() + 100)));
    }
    messages.reverse();
    let c = stored.conversation;
    Ok(Conversation {
        id: c.id,
        channel: c.channel,
        recognised_by: how,
        contact_name: c.contact.name,
        contact_external_id: c.external_id,
        last_message_at: c.last_message_at,
        kustomer_conversation: c.kustomer_id,
        bot_memory,
        messages,
    })
}

/// Goes through a conversation's messages, newest first, a batch at a time.
pub(super) struct Messages<'a> {
    app: &'a App,
    org: &'a OrgCtx,
    conversation: ConversationId,
    before: Option<MessageId>,
}

impl<'a> Messages<'a> {
    pub(super) fn of(app: &'a App, org: &'a OrgCtx, conversation: ConversationId) -> Self {
        Self { app, org, conversation, before: None }
    }

    /// The next batch; empty at the end. A text that does not open is left out: nobody can read it.
    pub(super) async fn next(&mut self) -> Result<Vec<Message>, AppError> {
        loop {
            let mut tx = self.app.store().tenant_read(self.org).await?;
            let rows = tx.message_list(&self.conversation, self.before.as_ref(), MESSAGES).await?;
            drop(tx);
            let Some(last) = rows.last() else { return Ok(Vec::new()) };
            self.before = Some(last.id.clone());
            let mut opened = Vec::with_capacity(rows.len());
            for row in rows {
                let id = row.id.clone();
                match message(self.app, self.org.org(), row).await {
                    Ok(m) => opened.push(m),
                    Err(AppError::Sealed(error)) => {
                        tracing::warn!(%error, message.id = %id, "a stored message could not be opened");
                    }
                    Err(e) => return Err(e),
                }
            }
            if !opened.is_empty() {
                return Ok(opened);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_that_is_full_takes_nothing_more_and_says_so() {
        let mut room = Room(10);
        assert!(room.takes(4) && room.takes(5) && !room.is_over());
        assert!(!room.takes(1) && room.is_over());
        assert!(!room.takes(0));
    }
}
