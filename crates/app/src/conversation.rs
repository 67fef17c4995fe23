//! Conversations as an organization's people see and steer them.

use crate::error::AppError;
use crate::job::Job;
use crate::live::Topic;
use crate::{App, Page, new_id, page_size};
use agenstack_core::clock::Timestamp;
use agenstack_core::conversation::{Author, Conversation, Delivery, Message, Owner, Status};
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::{ConversationId, MessageId, OrgId};
use agenstack_core::policy::Action;
use agenstack_core::sealed::Place;
use agenstack_store::TenantTx;
use agenstack_store::tenant::conversation::{ConversationCursor, StoredConversation};
use agenstack_store::tenant::message::StoredMessage;
use serde::Serialize;

/// How long after the customer's last message an answer may be sent (`messenger.md` 3.3).
pub const WINDOW_SECS: i64 = 86_400;
/// Messenger takes fewer than 2,000 UTF-16 units in one message (`messenger.md` 3.2).
const MOST_UNITS: usize = 1_999;

/// What a list is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Who answers.
    pub owner: Option<Owner>,
    /// Open or closed.
    pub status: Option<Status>,
}

/// A conversation with what a list shows beside it.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The conversation.
    #[serde(flatten)]
    pub conversation: Conversation,
    /// The beginning of the last message.
    #[serde(skip)]
    pub snippet: String,
    /// Until when an answer may be sent.
    #[serde(skip)]
    pub window_ends_at: Timestamp,
}

pub(crate) fn text_place(id: &MessageId) -> Place<'_> {
    Place { table: "messages", row: id.as_str(), column: "text" }
}

pub(crate) fn memory_place(id: &ConversationId) -> Place<'_> {
    Place { table: "conversations", row: id.as_str(), column: "bot_memory" }
}

/// Events and deeds of one conversation are done one after the other.
pub(crate) fn order_key(c: &Conversation, page: &str) -> String {
    crate::ingest::conversation_key(page, Some(&c.external_id))
}

fn conversation_id(text: &str) -> Result<ConversationId, AppError> {
    ConversationId::parse(text).ok_or(AppError::NotFound)
}

async fn summary(app: &App, org: &OrgId, stored: StoredConversation, last: Option<StoredMessage>) -> Summary {
    let snippet = match last {
        Some(m) => app.keyring().open_text(org, text_place(&m.id), &m.text).await.unwrap_or_default(),
        None => String::new(),
    };
    let window_ends_at = stored.conversation.last_customer_at.plus_secs(WINDOW_SECS);
    Summary {
        snippet: snippet.chars().take(120).collect(),
        window_ends_at,
        conversation: stored.conversation,
    }
}

/// Newest activity first.
///
/// # Errors
/// If the role is too small, or the cursor or limit is not acceptable.
pub async fn list(
    app: &App,
    org: &OrgCtx,
    filter: &Filter,
    cursor: Option<&str>,
    limit: Option<i64>,
) -> Result<Page<Summary>, AppError> {
    org.require(Action::ConversationRead)?;
    let limit = page_size(limit)?;
    let after = cursor.map(read_cursor).transpose()?;
    let mut tx = app.store().tenant_read(org).await?;
    let mut rows = tx.conversation_list(filter.owner, filter.status, after.as_ref(), limit + 1).await?;
    let more = rows.len() as i64 > limit;
    rows.truncate(limit as usize);
    let next_cursor = rows.last().filter(|_| more).map(|r| {
        let c = &r.conversation;
        format!("{}.{}", c.last_message_at.millis(), c.id)
    });
    let mut read = Vec::with_capacity(rows.len());
    for row in rows {
        let last = tx.message_last(&row.conversation.id).await?;
        read.push((row, last));
    }
    drop(tx);
    let mut items = Vec::with_capacity(read.len());
    for (row, last) in read {
        items.push(summary(app, org.org(), row, last).await);
    }
    Ok(Page { items, next_cursor })
}

fn read_cursor(text: &str) -> Result<ConversationCursor, AppError> {
    let read = || {
        let (ms, id) = text.split_once('.')?;
        Some(ConversationCursor {
            last_message_at: Timestamp::from_millis(ms.parse().ok()?),
            id: ConversationId::parse(id)?,
        })
    };
    read().ok_or_else(|| AppError::invalid("cursor", "This cursor is not one that a list gave."))
}

/// One conversation.
///
/// # Errors
/// [`AppError::NotFound`] alike for another organization's and for text that is no id.
pub async fn get(app: &App, org: &OrgCtx, id: &str) -> Result<Summary, AppError> {
    org.require(Action::ConversationRead)?;
    let id = conversation_id(id)?;
    let mut tx = app.store().tenant_read(org).await?;
    let row = tx.conversation_find(&id).await?.ok_or(AppError::NotFound)?;
    let last = tx.message_last(&id).await?;
    drop(tx);
    Ok(summary(app, org.org(), row, last).await)
}

/// Messages, newest first.
///
/// # Errors
/// As [`get`], or if the cursor or limit is not acceptable.
pub async fn messages(
    app: &App,
    org: &OrgCtx,
    id: &str,
    cursor: Option<&str>,
    limit: Option<i64>,
) -> Result<Page<Message>, AppError> {
    org.require(Action::ConversationRead)?;
    let (id, limit) = (conversation_id(id)?, page_size(limit)?);
    let before = cursor
        .map(|c| {
            MessageId::parse(c)
                .ok_or_else(|| AppError::invalid("cursor", "This cursor is not one that a list gave."))
        })
        .transpose()?;
    let mut tx = app.store().tenant_read(org).await?;
    tx.conversation_find(&id).await?.ok_or(AppError::NotFound)?;
    let mut rows = tx.message_list(&id, before.as_ref(), limit + 1).await?;
    drop(tx);
    let more = rows.len() as i64 > limit;
    rows.truncate(limit as usize);
    let next_cursor = rows.last().filter(|_| more).map(|m| m.id.as_str().to_owned());
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(message(app, org.org(), row).await?);
    }
    Ok(Page { items, next_cursor })
}

/// A message with its text opened.
pub(crate) async fn message(app: &App, org: &OrgId, m: StoredMessage) -> Result<Message, AppError> {
    let text = app.keyring().open_text(org, text_place(&m.id), &m.text).await?;
    Ok(Message {
        id: m.id,
        author: m.author,
        text,
        created_at: m.created_at,
        delivery: m.delivery,
        error: m.error,
    })
}

/// What a new message is made of.
pub(crate) struct NewMessage<'a> {
    pub author: Author,
    pub text: &'a str,
    pub delivery: Delivery,
    pub external_id: Option<String>,
    pub at: Timestamp,
}

/// Seals and adds a message; `None` if the conversation has one with this provider id already.
pub(crate) async fn add_message(
    app: &App,
    org: &OrgCtx,
    tx: &mut TenantTx,
    conversation: &ConversationId,
    new: NewMessage<'_>,
) -> Result<Option<MessageId>, AppError> {
    let id = new_id!(app, MessageId, new.at);
    let key = app.keyring().key(org.org()).await?;
    let stored = StoredMessage {
        conversation_id: conversation.clone(),
        author: new.author,
        text: key.seal(text_place(&id), new.text.as_bytes(), app.entropy()),
        delivery: new.delivery,
        external_id: new.external_id,
        error: None,
        handed_out_at: None,
        created_at: new.at,
        id,
    };
    Ok(tx.message_add(&stored).await?.then_some(stored.id))
}

/// A person answers: the message is queued, and the conversation is theirs from now on.
///
/// # Errors
/// If the role is too small, the text is empty or too long, or the customer's window has closed.
pub async fn answer(app: &App, org: &OrgCtx, id: &str, text: &str) -> Result<Message, AppError> {
    org.require(Action::ConversationWrite)?;
    let id = conversation_id(id)?;
    let text = text.trim();
    if text.is_empty() {
        return Err(AppError::invalid("text", "Write something before sending."));
    }
    if text.encode_utf16().count() > MOST_UNITS {
        return Err(AppError::invalid(
            "text",
            "Messenger takes at most 1,999 characters in one message. Split it in two.",
        ));
    }
    let now = app.now();
    // The key comes from another transaction; it is fetched before this one begins.
    app.keyring().key(org.org()).await?;
    let mut tx = app.store().tenant(org).await?;
    let mut stored = tx.conversation_find(&id).await?.ok_or(AppError::NotFound)?;
    let c = &mut stored.conversation;
    if c.integration_id.is_none() {
        return Err(imported());
    }
    if c.last_customer_at.plus_secs(WINDOW_SECS) <= now {
        return Err(AppError::conflict(
            "window_closed",
            "Messenger allows answers only within 24 hours of the customer's last message. Wait until they write again.",
        ));
    }
    let new =
        NewMessage { author: Author::Agent, text, delivery: Delivery::Queued, external_id: None, at: now };
    let message_id =
        add_message(app, org, &mut tx, &id, new).await?.expect("a message without a provider id is new");
    c.owner = Owner::Person;
    c.last_message_at = now;
    tx.conversation_update(c, stored.memory.as_ref()).await?;
    let page = page_of(&mut tx, c).await?;
    let key = order_key(c, &page);
    crate::job::add(app, &mut tx, &Job::SendMessage { message: message_id.clone() }, &key, now).await?;
    tx.commit().await?;
    app.wake();
    app.live().changed(org.org(), Topic::Inbox);
    Ok(Message {
        id: message_id,
        author: Author::Agent,
        text: text.to_owned(),
        created_at: now,
        delivery: Delivery::Queued,
        error: None,
    })
}

/// Nobody is reached over what was imported, and the bot has no business in it.
fn imported() -> AppError {
    AppError::conflict(
        "imported",
        "This conversation was brought along from another platform and runs over no connection of this one: nobody can be \
         answered in it. When the customer writes to your page, a new conversation begins.",
    )
}

/// The page a conversation runs over.
pub(crate) async fn page_of(tx: &mut TenantTx, c: &Conversation) -> Result<String, AppError> {
    let Some(id) = &c.integration_id else { return Ok(String::new()) };
    let it = tx.integration_find(id).await?;
    Ok(it.map(|it| it.external_id).unwrap_or_default())
}

async fn give_to(
    app: &App,
    org: &OrgCtx,
    id: &str,
    owner: Owner,
    note: &str,
    action: &str,
) -> Result<Summary, AppError> {
    org.require(Action::ConversationWrite)?;
    let cid = conversation_id(id)?;
    app.keyring().key(org.org()).await?;
    let now = app.now();
    let mut tx = app.store().tenant(org).await?;
    let mut stored = tx.conversation_find(&cid).await?.ok_or(AppError::NotFound)?;
    if stored.conversation.integration_id.is_none() {
        return Err(imported());
    }
    if stored.conversation.owner != owner {
        stored.conversation.owner = owner;
        // What the bot had begun to ask is not taken up again after people have talked.
        let memory = if owner == Owner::Bot { None } else { stored.memory.clone() };
        tx.conversation_update(&stored.conversation, memory.as_ref()).await?;
        let new = NewMessage {
            author: Author::System,
            text: note,
            delivery: Delivery::Received,
            external_id: None,
            at: now,
        };
        add_message(app, org, &mut tx, &cid, new).await?;
        crate::connect::audit(app, org, &mut tx, action, cid.as_str(), now).await?;
    }
    tx.commit().await?;
    app.live().changed(org.org(), Topic::Inbox);
    get(app, org, id).await
}

/// A person takes the conversation: the bot is silent until it is handed back.
///
/// # Errors
/// If the role is too small or there is no such conversation.
pub async fn take_over(app: &App, org: &OrgCtx, id: &str) -> Result<Summary, AppError> {
    give_to(app, org, id, Owner::Person, "A person took over. The bot is silent.", "conversation.takeover")
        .await
}

/// The bot answers again.
///
/// # Errors
/// If the role is too small or there is no such conversation.
pub async fn hand_back(app: &App, org: &OrgCtx, id: &str) -> Result<Summary, AppError> {
    give_to(app, org, id, Owner::Bot, "Handed back to the bot.", "conversation.handback").await
}
