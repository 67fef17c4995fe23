//! Erasing. Each step reads and opens a batch outside of any transaction and writes what it found in one, so that a
//! crash leaves what a repeat finds: a conversation goes as a whole, together with the events it came in by.

use super::export::{MESSAGES, Messages, recognised, subject_of};
use super::subject::Subject;
use super::{BATCH, Counts, Events, NOTHING, export_place, is_ended, is_open_request, opened, readable};
use crate::App;
use crate::conversation::{order_key, page_of, text_place};
use crate::error::AppError;
use crate::handle::NAMELESS;
use crate::ingest::payload_place;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::{ConversationId, EventId, MessageId};
use agenstack_core::integration::{Integration, Provider};
use agenstack_core::sealed::Sealed;
use agenstack_store::tenant::conversation::StoredConversation;
use agenstack_store::tenant::event::StoredEvent;
use agenstack_store::tenant::privacy::StoredExport;
use agenstack_vault::DataKey;
use std::collections::BTreeSet;

/// What stands in the place of a customer's conversation.
const CUSTOMER: &str = "[erased on the customer's request]";
/// What stands in the place of what was read from a shop that is gone.
const SHOP: &str = "[erased: the shop was disconnected]";

fn is_erased(text: &str) -> bool {
    text == CUSTOMER || text == SHOP
}

fn sealed_text(app: &App, key: &DataKey, id: &MessageId, text: &str) -> Sealed {
    key.seal(text_place(id), text.as_bytes(), app.entropy())
}

fn sealed_nothing(app: &App, key: &DataKey, id: &EventId) -> Sealed {
    key.seal(payload_place(id), NOTHING, app.entropy())
}

/// Erases what is held of a customer.
pub(super) async fn customer(
    app: &App,
    org: &OrgCtx,
    it: &Integration,
    subject: &Subject,
) -> Result<Counts, AppError> {
    let mut counts = Counts::default();
    // First, while the events still tell which names the orders have.
    let names = order_names(app, org, it, subject).await?;
    let mut after = None;
    loop {
        let batch = app.store().tenant_read(org).await?.conversation_scan(after.as_ref(), BATCH).await?;
        let Some(last) = batch.last() else { break };
        after = Some(last.conversation.id.clone());
        for stored in batch {
            if recognised(app, org, subject, &names, &stored).await?.is_some() {
                conversation(app, org, &stored, &mut counts).await?;
            }
        }
    }
    for provider in Provider::ALL {
        let is_meant = |e: &StoredEvent, bytes: &[u8]| {
            let same_shop = e.event.integration_id == it.id;
            subject.in_event(&e.event.topic, &readable(bytes), same_shop)
        };
        counts.events += events(app, org, *provider, is_meant).await?;
    }
    let is_meant = |export: &StoredExport, bytes: &[u8]| {
        subject_of(bytes).is_some_and(|other| subject.is_same(&other, export.integration_id == it.id))
    };
    counts.exports = exports(app, org, is_meant).await?;
    Ok(counts)
}

/// The names of the orders that are meant, as far as the shop told them.
async fn order_names(
    app: &App,
    org: &OrgCtx,
    it: &Integration,
    subject: &Subject,
) -> Result<BTreeSet<String>, AppError> {
    let mut names = BTreeSet::new();
    let mut all = Events::of(app, org, Provider::Shopify);
    loop {
        let batch = all.next().await?;
        if batch.is_empty() {
            return Ok(names);
        }
        for e in batch.iter().filter(|e| e.event.integration_id == it.id) {
            if let Some(bytes) = opened(app, org.org(), e).await {
                names.extend(subject.order_name(&e.event.topic, &readable(&bytes)));
            }
        }
    }
}

/// A customer's conversation, what the bot remembers of it, their name, and the events it came in by: all or nothing,
/// because half of it would not be recognised again.
async fn conversation(
    app: &App,
    org: &OrgCtx,
    stored: &StoredConversation,
    counts: &mut Counts,
) -> Result<(), AppError> {
    let c = &stored.conversation;
    let key = app.keyring().key(org.org()).await?;
    let mut texts = Vec::new();
    let mut messages = Messages::of(app, org, c.id.clone());
    loop {
        let batch = messages.next().await?;
        if batch.is_empty() {
            break;
        }
        let left = batch.into_iter().filter(|m| !is_erased(&m.text));
        texts.extend(left.map(|m| (sealed_text(app, &key, &m.id, CUSTOMER), m.id)));
    }
    let mut tx = app.store().tenant_read(org).await?;
    let page = page_of(&mut tx, c).await?;
    let events = match c.integration_id {
        Some(_) => tx.event_of_conversation(&order_key(c, &page), c.kustomer_id.as_deref()).await?,
        // What was imported came in by no event.
        None => Vec::new(),
    };
    drop(tx);
    let events: Vec<_> = events.into_iter().map(|id| (sealed_nothing(app, &key, &id), id)).collect();

    let mut tx = app.store().tenant(org).await?;
    for (text, id) in &texts {
        counts.messages += u64::from(tx.message_erase(id, text).await?);
    }
    for (nothing, id) in &events {
        counts.events += u64::from(tx.event_erase(id, nothing).await?);
    }
    counts.memories += u64::from(tx.conversation_forget(&c.id).await?);
    if c.contact.name != NAMELESS {
        tx.contact_name(&c.contact.id, NAMELESS).await?;
        counts.names += 1;
    }
    counts.conversations += 1;
    Ok(tx.commit().await?)
}

/// Erases the payloads of a provider's events that are meant; how many. What still has to be handled is left: a request
/// erases itself when it is done, and a message that waits is not lost.
async fn events(
    app: &App,
    org: &OrgCtx,
    provider: Provider,
    is_meant: impl Fn(&StoredEvent, &[u8]) -> bool + Send,
) -> Result<u64, AppError> {
    let key = app.keyring().key(org.org()).await?;
    let mut erased = 0;
    let mut all = Events::of(app, org, provider);
    loop {
        let batch = all.next().await?;
        if batch.is_empty() {
            return Ok(erased);
        }
        let mut found = Vec::new();
        for e in batch {
            // Nothing is done with a shop's other events, so that they need not be waited for.
            let is_free = provider == Provider::Shopify || is_ended(&e.event);
            if !is_free || is_open_request(&e.event) {
                continue;
            }
            let Some(bytes) = opened(app, org.org(), &e).await else { continue };
            if *bytes != *NOTHING && is_meant(&e, &bytes) {
                found.push((sealed_nothing(app, &key, &e.event.id), e.event.id));
            }
        }
        if !found.is_empty() {
            let mut tx = app.store().tenant(org).await?;
            for (nothing, id) in &found {
                erased += u64::from(tx.event_erase(id, nothing).await?);
            }
            tx.commit().await?;
        }
    }
}

/// Erases the exports that are meant; how many.
async fn exports(
    app: &App,
    org: &OrgCtx,
    is_meant: impl Fn(&StoredExport, &[u8]) -> bool + Send,
) -> Result<u64, AppError> {
    let mut erased = 0;
    let mut after = None;
    loop {
        // One at a time: an export may be large.
        let batch = app.store().tenant_read(org).await?.privacy_exports(after.as_ref(), 1).await?;
        let Some(kept) = batch.into_iter().next() else { return Ok(erased) };
        let opened = app.keyring().open(org.org(), export_place(&kept.id), &kept.export).await;
        if opened.is_ok_and(|bytes| is_meant(&kept, &bytes)) {
            let mut tx = app.store().tenant(org).await?;
            erased += u64::from(tx.privacy_export_erase(&kept.id).await?);
            tx.commit().await?;
        }
        after = Some(kept.id);
    }
}

/// Erases what came from a shop that is gone: what it sent, what the bot told of its orders, and what it remembers.
pub(super) async fn shop(app: &App, org: &OrgCtx, it: &Integration) -> Result<Counts, AppError> {
    let mut counts = Counts::default();
    let told = answers(app, org, it, &mut counts).await?;
    counts.events += events(app, org, Provider::Shopify, |e, _| e.event.integration_id == it.id).await?;
    // Our own messages come back from where they were sent: as echoes, and from the desk as part of the transcript.
    let is_echo = |e: &StoredEvent, _: &[u8]| told.sent.contains(&e.event.external_id);
    counts.events += events(app, org, Provider::Messenger, is_echo).await?;
    let is_copy = |_: &StoredEvent, bytes: &[u8]| {
        let parsed = app.kustomer().parse_event(&readable(bytes));
        parsed.and_then(|e| e.external_id).is_some_and(|id| told.ids.contains(&id))
    };
    counts.events += events(app, org, Provider::Kustomer, is_copy).await?;
    counts.exports = exports(app, org, |export, _| export.integration_id == it.id).await?;
    Ok(counts)
}

/// The messages that told a customer of a shop's orders.
#[derive(Default)]
struct Told {
    ids: BTreeSet<String>,
    /// Their ids at the provider.
    sent: BTreeSet<String>,
}

async fn answers(app: &App, org: &OrgCtx, it: &Integration, counts: &mut Counts) -> Result<Told, AppError> {
    let key = app.keyring().key(org.org()).await?;
    let (mut told, mut seen) = (Told::default(), BTreeSet::<ConversationId>::new());
    let mut after: Option<MessageId> = None;
    loop {
        let batch =
            app.store().tenant_read(org).await?.message_about(&it.id, after.as_ref(), MESSAGES).await?;
        let Some(last) = batch.last() else { break };
        after = Some(last.id.clone());
        let (mut texts, mut conversations) = (Vec::new(), BTreeSet::new());
        for m in batch {
            told.ids.insert(m.id.as_str().to_owned());
            told.sent.extend(m.external_id.clone());
            conversations.insert(m.conversation_id.clone());
            let text = app.keyring().open_text(org.org(), text_place(&m.id), &m.text).await;
            if !text.is_ok_and(|text| is_erased(&text)) {
                texts.push((sealed_text(app, &key, &m.id, SHOP), m.id));
                if seen.insert(m.conversation_id) {
                    counts.conversations += 1;
                }
            }
        }
        let mut tx = app.store().tenant(org).await?;
        for (text, id) in &texts {
            counts.messages += u64::from(tx.message_erase(id, text).await?);
        }
        for id in &conversations {
            counts.memories += u64::from(tx.conversation_forget(id).await?);
        }
        tx.commit().await?;
    }
    Ok(told)
}
