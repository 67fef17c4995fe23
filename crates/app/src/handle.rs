//! A leased event is handled: what it means is decided outside of any transaction, with calls to providers where
//! they are needed, and all its effects are committed in one, together with the end of the event.

use crate::bot::{self, Decision, Input};
use crate::conversation::{NewMessage, add_message, order_key};
use crate::error::AppError;
use crate::ingest::{conversation_key, payload_place};
use crate::integration::Ending;
use crate::job::{self, Job};
use crate::live::Topic;
use crate::{App, new_id, token, trace};
use agenstack_core::clock::Timestamp;
use agenstack_core::conversation::{Author, Delivery, Owner, Status};
use agenstack_core::ctx::OrgCtx;
use agenstack_core::event::Event;
use agenstack_core::id::{ConversationId, EventId, IntegrationId, MessageId};
use agenstack_core::integration::{AccountIdentifier, ConnectionStatus, Integration, Provider, ShopDomain};
use agenstack_core::privacy::PrivacyKind;
use agenstack_providers::kustomer::{Direction, KustomerEvent};
use agenstack_providers::messenger::MessagingEvent;
use agenstack_providers::{Kind, json};
use agenstack_store::TenantTx;
use agenstack_store::tenant::conversation::StoredConversation;
use secrecy::SecretString;

/// What lists show until the provider tells a name.
pub(crate) const NAMELESS: &str = "Customer";

/// A leased event: who may end it.
pub(crate) struct Lease<'a> {
    pub id: &'a EventId,
    pub token: &'a str,
    /// When this attempt began.
    pub begun: Timestamp,
}

/// Handles a leased event. When this returns, its effects are committed and it is done.
pub(crate) async fn perform(app: &App, org: &OrgCtx, lease: &Lease<'_>) -> Result<(), AppError> {
    let mut tx = app.store().tenant_read(org).await?;
    let event = tx.event_find(lease.id).await?.ok_or(AppError::NotFound)?;
    trace::waited(app, &event);
    act(app, org, lease, &event, tx).await?;
    app.metrics().effective(event.received_at, app.now());
    Ok(())
}

async fn act(
    app: &App,
    org: &OrgCtx,
    lease: &Lease<'_>,
    event: &Event,
    mut tx: TenantTx,
) -> Result<(), AppError> {
    let sealed = tx.event_payload(lease.id).await?;
    let found = tx.integration_find(&event.integration_id).await?;
    drop(tx);
    let asked = PrivacyKind::parse(&event.topic).filter(|_| event.provider == Provider::Shopify);
    // What a shop's customers ask for is done for a connection that has ended, too.
    let Some(it) = found.filter(|it| asked.is_some() || it.status != ConnectionStatus::Disconnected) else {
        return Err(AppError::conflict("not_connected", "The connection was ended before this was handled."));
    };
    let payload = app.keyring().open(org.org(), payload_place(lease.id), &sealed).await?;
    if let Some(kind) = asked {
        return crate::compliance::perform(app, org, lease, event, &it, kind, &payload).await;
    }
    match event.provider {
        Provider::Messenger => {
            // Each stored event is a delivery of its own with one event in it.
            let events = app.messenger()?.parse(&payload).map_err(|_| unreadable())?;
            match events.into_iter().next() {
                Some(e) => messenger(app, org, lease, &it, &e).await,
                None => done(app, org, lease).await,
            }
        }
        Provider::Shopify => shopify(app, org, lease, event, &it, &payload).await,
        Provider::Kustomer => {
            let body = json::parse(&payload).map_err(|_| unreadable())?;
            match app.kustomer().parse_event(&body) {
                Some(e) => kustomer(app, org, lease, &it, &e).await,
                None => done(app, org, lease).await,
            }
        }
    }
}

pub(crate) fn unreadable() -> AppError {
    AppError::invalid("payload", "What the provider sent cannot be read.")
}

async fn end(app: &App, tx: &mut TenantTx, lease: &Lease<'_>) -> Result<(), AppError> {
    Ok(tx.event_done(lease.id, lease.token, lease.begun, app.now()).await?)
}

pub(crate) async fn done(app: &App, org: &OrgCtx, lease: &Lease<'_>) -> Result<(), AppError> {
    let mut tx = app.store().tenant(org).await?;
    end(app, &mut tx, lease).await?;
    Ok(tx.commit().await?)
}

// --- Messenger ------------------------------------------------------------------------------------------------------

async fn messenger(
    app: &App,
    org: &OrgCtx,
    lease: &Lease<'_>,
    it: &Integration,
    e: &MessagingEvent,
) -> Result<(), AppError> {
    let Some(psid) = e.psid.as_deref().filter(|_| !e.is_user_ref) else { return done(app, org, lease).await };
    match e.kind.as_str() {
        "message.text" | "message.quick_reply" | "message.attachment" | "postback" => {
            customer_wrote(app, org, lease, it, e, psid).await
        }
        "echo" => echo(app, org, lease, it, e, psid).await,
        "delivery" => reached(app, org, lease, it, e, psid, Delivery::Delivered).await,
        "read" => reached(app, org, lease, it, e, psid, Delivery::Read).await,
        "take_thread_control" => {
            give_to_person(
                app,
                org,
                lease,
                it,
                psid,
                "Another app took this conversation. The bot is silent.",
            )
            .await
        }
        _ => done(app, org, lease).await,
    }
}

/// What the inbox shows of a customer's input.
fn shown(e: &MessagingEvent) -> String {
    let text = e.text.as_deref().or(e.postback_title.as_deref()).filter(|t| !t.trim().is_empty());
    text.map_or_else(|| "[attachment]".to_owned(), |t| t.chars().take(4000).collect())
}

async fn customer_wrote(
    app: &App,
    org: &OrgCtx,
    lease: &Lease<'_>,
    it: &Integration,
    e: &MessagingEvent,
    psid: &str,
) -> Result<(), AppError> {
    let before = app.store().tenant_read(org).await?.conversation_by_customer(&it.id, psid).await?;
    // A replay, or a second lease of an event whose effects are there: nothing is done twice.
    if let (Some(known), Some(mid)) = (&before, &e.mid)
        && app
            .store()
            .tenant_read(org)
            .await?
            .message_by_external(&known.conversation.id, mid)
            .await?
            .is_some()
    {
        return done(app, org, lease).await;
    }
    let name = match &before {
        Some(known) if known.conversation.contact.name != NAMELESS => None,
        _ => customer_name(app, org, it, psid).await,
    };
    let mut memory = match &before {
        Some(known) => bot::open_memory(app, org.org(), known).await,
        None => bot::Memory::default(),
    };
    let bots_turn = e.answer && before.as_ref().is_none_or(|known| known.conversation.owner == Owner::Bot);
    let decision = if bots_turn {
        let input = match (e.kind.as_str(), e.text.as_deref().or(e.postback_title.as_deref())) {
            ("message.attachment", None) | (_, None) => Input::Other,
            (_, Some(text)) => Input::Text(text),
        };
        Some(think(app, org, &mut memory, input).await?)
    } else {
        None
    };

    // The key comes from another transaction; it is fetched before this one begins.
    app.keyring().key(org.org()).await?;
    let now = app.now();
    let written_at = e.timestamp.filter(|at| *at <= now).unwrap_or(now);
    let mut tx = app.store().tenant(org).await?;
    let fresh = (new_id!(app, ConversationId, now), new_id!(app, ContactId, now));
    let mut stored = tx
        .conversation_open((&fresh.0, &fresh.1), &it.id, psid, name.as_deref().unwrap_or(NAMELESS), now)
        .await?;
    if before.as_ref().is_some_and(|known| known.memory != stored.memory) {
        // Erased, or handed back, while the bot was thinking: what it thought of is not to be remembered.
        return Err(AppError::conflict("refreshing", "The conversation was changed at the same moment."));
    }
    if let Some(name) = &name {
        tx.contact_name(&stored.conversation.contact.id, name).await?;
    }
    let new = NewMessage {
        author: Author::Customer,
        text: &shown(e),
        delivery: Delivery::Received,
        external_id: e.mid.clone(),
        at: now,
    };
    let Some(message) = add_message(app, org, &mut tx, &stored.conversation.id, new).await? else {
        end(app, &mut tx, lease).await?;
        return Ok(tx.commit().await?);
    };
    let c = &mut stored.conversation;
    c.status = Status::Open;
    c.last_message_at = now;
    c.last_customer_at = c.last_customer_at.max(written_at);
    let key = order_key(c, &it.external_id);
    let mut sealed = stored.memory.clone();
    // Somebody may have taken over while the bot was thinking; then it keeps its answer to itself.
    if let Some((decision, about)) = decision.filter(|_| c.owner == Owner::Bot) {
        let id = c.id.clone();
        sealed = Some(bot::seal_memory(app, org.org(), &id, &memory).await?);
        let (text, hands_over) = match decision {
            Decision::Say(text) => (text, false),
            Decision::HandOver(text) => (text, true),
            Decision::LookUp { .. } => return Err(AppError::Internal("a look-up was not answered".into())),
        };
        if let Some(message) = say(app, org, &mut tx, &id, &text, &key).await?
            && let Some(shop) = &about
        {
            tx.message_about_set(&message, shop).await?;
        }
        if hands_over {
            c.owner = Owner::Person;
            job::add(app, &mut tx, &Job::HandOver { conversation: id }, &key, now).await?;
        }
    } else if c.kustomer_id.is_some() && c.owner == Owner::Person {
        job::add(app, &mut tx, &Job::Relay { message }, &key, now).await?;
    }
    tx.conversation_update(c, sealed.as_ref()).await?;
    end(app, &mut tx, lease).await?;
    tx.commit().await?;
    app.wake();
    app.live().changed(org.org(), Topic::Inbox);
    Ok(())
}

/// Queues a message of the bot; gives its id.
async fn say(
    app: &App,
    org: &OrgCtx,
    tx: &mut TenantTx,
    conversation: &ConversationId,
    text: &str,
    key: &str,
) -> Result<Option<MessageId>, AppError> {
    let at = app.now();
    let new = NewMessage { author: Author::Bot, text, delivery: Delivery::Queued, external_id: None, at };
    let added = add_message(app, org, tx, conversation, new).await?;
    if let Some(message) = &added {
        job::add(app, tx, &Job::SendMessage { message: message.clone() }, key, at).await?;
    }
    Ok(added)
}

/// The bot decides, and looks an order up in this organization's shop if it has to. With what it says comes the
/// connection whose orders it tells of, so that this can be erased when the shop is gone.
async fn think(
    app: &App,
    org: &OrgCtx,
    memory: &mut bot::Memory,
    input: Input<'_>,
) -> Result<(Decision, Option<IntegrationId>), AppError> {
    let decision = bot::decide(memory, input);
    let Decision::LookUp { number, email } = &decision else { return Ok((decision, None)) };
    let it = match token::connection(app, org, Provider::Shopify, None).await {
        Ok(it) => it,
        // The customer waits now; a shop that is not connected does not come back by trying again.
        Err(AppError::Conflict { .. }) => return Ok((bot::could_not_look(), None)),
        Err(e) => return Err(e),
    };
    let AccountIdentifier::Shopify { shop, .. } = &it.account_identifier else {
        return Err(AppError::NotFound);
    };
    let (shopify, shop) = (app.shopify()?, ShopDomain::parse(shop).ok_or(AppError::NotFound)?);
    let (shop, wanted) = (&shop, number.as_str());
    let found = token::call(app, org, &it, |t: SecretString| async move {
        shopify.order_by_number(shop, &t, wanted).await
    })
    .await;
    match found {
        Ok(order) => Ok((bot::answer(memory, number, email, order.as_ref()), Some(it.id))),
        Err(e) if e.is_retryable() => Err(e),
        Err(AppError::Provider(_) | AppError::Conflict { .. } | AppError::Sealed(_)) => {
            Ok((bot::could_not_look(), None))
        }
        Err(e) => Err(e),
    }
}

/// The customer's name, if the provider tells it now. Going on without is better than waiting for it.
async fn customer_name(app: &App, org: &OrgCtx, it: &Integration, psid: &str) -> Option<String> {
    let messenger = app.messenger().ok()?;
    if it.status != ConnectionStatus::Connected {
        return None;
    }
    let name = token::call(app, org, it, |t: SecretString| async move { messenger.profile(psid, &t).await })
        .await
        .ok()??;
    agenstack_core::org::display_name(&name)
}

/// Our own message comes back, or somebody else answered over this page (`messenger.md` 2.7).
async fn echo(
    app: &App,
    org: &OrgCtx,
    lease: &Lease<'_>,
    it: &Integration,
    e: &MessagingEvent,
    psid: &str,
) -> Result<(), AppError> {
    let ours = e.metadata.as_deref().and_then(MessageId::parse);
    app.keyring().key(org.org()).await?;
    let mut tx = app.store().tenant(org).await?;
    let found = tx.conversation_by_customer(&it.id, psid).await?;
    if let Some(id) = ours
        && tx.message_find(&id).await?.is_some()
    {
        if let Some(mid) = &e.mid {
            // Tells also that a message whose answer was lost did arrive.
            tx.message_sent(&id, mid).await?;
        }
    } else if let Some(stored) = found
        && e.app_id.as_deref() != Some(app.messenger()?.app_id())
        && let Some(mid) = &e.mid
        && let Some(text) = e.text.as_deref().filter(|t| !t.is_empty())
    {
        let (now, c) = (app.now(), stored.conversation.clone());
        let new = NewMessage {
            author: Author::Agent,
            text,
            delivery: Delivery::Sent,
            external_id: Some(mid.clone()),
            at: now,
        };
        if add_message(app, org, &mut tx, &c.id, new).await?.is_some() {
            let note = "Somebody answered over the page. The bot is silent.";
            take(app, org, &mut tx, stored, note).await?;
        }
    }
    end(app, &mut tx, lease).await?;
    tx.commit().await?;
    app.live().changed(org.org(), Topic::Inbox);
    Ok(())
}

/// Gives a conversation to a person, with a note, unless a person has it already.
async fn take(
    app: &App,
    org: &OrgCtx,
    tx: &mut TenantTx,
    mut stored: StoredConversation,
    note: &str,
) -> Result<(), AppError> {
    let at = app.now();
    let was_bots = stored.conversation.owner == Owner::Bot;
    stored.conversation.owner = Owner::Person;
    stored.conversation.last_message_at = at;
    tx.conversation_update(&stored.conversation, stored.memory.as_ref()).await?;
    if was_bots {
        let new = NewMessage {
            author: Author::System,
            text: note,
            delivery: Delivery::Received,
            external_id: None,
            at,
        };
        add_message(app, org, tx, &stored.conversation.id, new).await?;
    }
    Ok(())
}

async fn give_to_person(
    app: &App,
    org: &OrgCtx,
    lease: &Lease<'_>,
    it: &Integration,
    psid: &str,
    note: &str,
) -> Result<(), AppError> {
    app.keyring().key(org.org()).await?;
    let mut tx = app.store().tenant(org).await?;
    if let Some(stored) = tx.conversation_by_customer(&it.id, psid).await? {
        take(app, org, &mut tx, stored, note).await?;
    }
    end(app, &mut tx, lease).await?;
    tx.commit().await?;
    app.live().changed(org.org(), Topic::Inbox);
    Ok(())
}

async fn reached(
    app: &App,
    org: &OrgCtx,
    lease: &Lease<'_>,
    it: &Integration,
    e: &MessagingEvent,
    psid: &str,
    delivery: Delivery,
) -> Result<(), AppError> {
    let mut tx = app.store().tenant(org).await?;
    let found = tx.conversation_by_customer(&it.id, psid).await?;
    if let (Some(stored), Some(until)) = (found, e.watermark) {
        tx.message_reached(&stored.conversation.id, until, delivery).await?;
    }
    end(app, &mut tx, lease).await?;
    tx.commit().await?;
    app.live().changed(org.org(), Topic::Inbox);
    Ok(())
}

// --- Shopify --------------------------------------------------------------------------------------------------------

async fn shopify(
    app: &App,
    org: &OrgCtx,
    lease: &Lease<'_>,
    event: &Event,
    it: &Integration,
    payload: &[u8],
) -> Result<(), AppError> {
    json::parse(payload).map_err(|_| unreadable())?;
    match event.topic.as_str() {
        // It may come late, after a reinstallation: the shop is asked before anything is erased (`shopify.md` 4.3 no. 4).
        "app/uninstalled" if is_over(event, it) => {
            tracing::info!(integration.id = %it.id, "an uninstallation from before a reinstallation was ignored");
        }
        "app/uninstalled" => match crate::integration::probe(app, org, it).await {
            Ok(_) => tracing::info!(integration.id = %it.id, "an uninstallation that is over was ignored"),
            Err(AppError::Provider(e)) if matches!(e.kind, Kind::Unauthorized | Kind::GrantRejected) => {
                let current = token_free(app, org, it).await?;
                crate::integration::end(app, org, &current, &UNINSTALLED, false).await?;
            }
            Err(AppError::Conflict { code: "needs_reconnect" | "not_connected", .. }) => {
                crate::integration::end(app, org, it, &UNINSTALLED, false).await?;
            }
            Err(e) => return Err(e),
        },
        "app/scopes_update" | "shop/update" => {
            // What it finds is recorded on the connection; that the shop refuses is no reason to ask again.
            match crate::integration::probe(app, org, it).await {
                Err(AppError::Provider(e)) if e.not_asked => return Err(e.into()),
                Ok(_) | Err(AppError::Provider(_) | AppError::Conflict { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        // What came before it was known that nothing is done about it ([`acts_on_topic`]), or cannot be read.
        _ => {}
    }
    done(app, org, lease).await?;
    app.live().changed(org.org(), Topic::Events);
    Ok(())
}

/// Whether anything is done about events of this topic of Shopify. Orders, say, are read from the shop when a customer asks:
/// their events are for the log.
pub(crate) fn acts_on_topic(topic: &str) -> bool {
    matches!(topic, "app/uninstalled" | "app/scopes_update" | "shop/update")
        || PrivacyKind::parse(topic).is_some()
}

/// Why a connection ends that was removed at the shop. There is nobody left to tell: its token is dead.
pub(crate) const UNINSTALLED: Ending<'static> = Ending {
    action: "integration.uninstalled",
    code: "uninstalled",
    message: "AgenStack was uninstalled at the shop.",
    taken: None,
};

/// Whether an event tells of a time before the account was connected (anew): by the generation it was accepted for, or
/// by when the provider says that it happened (`shopify.md` 4.3 no. 4).
fn is_over(event: &Event, it: &Integration) -> bool {
    event.generation < it.generation || event.triggered_at.is_some_and(|at| at < it.connected_at)
}

async fn token_free(app: &App, org: &OrgCtx, it: &Integration) -> Result<Integration, AppError> {
    let found = app.store().tenant_read(org).await?.integration_find(&it.id).await?;
    found.ok_or(AppError::NotFound)
}

// --- Kustomer -------------------------------------------------------------------------------------------------------

async fn kustomer(
    app: &App,
    org: &OrgCtx,
    lease: &Lease<'_>,
    it: &Integration,
    e: &KustomerEvent,
) -> Result<(), AppError> {
    let Some(desk) = &e.conversation_id else { return done(app, org, lease).await };
    app.keyring().key(org.org()).await?;
    let mut tx = app.store().tenant(org).await?;
    if let Some(stored) = tx.conversation_by_kustomer(desk).await? {
        match e.name.as_str() {
            "kustomer.message.create" => agent_wrote(app, org, &mut tx, it, e, stored).await?,
            "kustomer.conversation.update" if e.status.as_deref() == Some("done") => {
                closed(app, org, &mut tx, stored).await?;
            }
            _ => {}
        }
    }
    end(app, &mut tx, lease).await?;
    tx.commit().await?;
    app.wake();
    app.live().changed(org.org(), Topic::Inbox);
    Ok(())
}

/// A person of the team answered in Kustomer: it goes to the customer over the page.
async fn agent_wrote(
    app: &App,
    org: &OrgCtx,
    tx: &mut TenantTx,
    it: &Integration,
    e: &KustomerEvent,
    mut stored: StoredConversation,
) -> Result<(), AppError> {
    // Our own transcript comes back as events too; under OAuth its author is the same person (`kustomer.md` 1.6), so
    // that our ids tell, and where we act as a machine its author does.
    let ours = e.external_id.as_deref().is_some_and(|id| MessageId::parse(id).is_some())
        || e.app.as_deref() == Some(agenstack_providers::kustomer::APP);
    let by_us = e.author_user_id.is_some()
        && e.author_user_id == it.acting_user_id
        && matches!(&it.account_identifier, AccountIdentifier::Kustomer { method, .. } if method == crate::connect::API_KEY);
    let text = e.text.as_deref().map(str::trim).filter(|t| !t.is_empty());
    let (Some(text), Some(Direction::Out)) = (text, e.direction) else { return Ok(()) };
    if ours || by_us {
        return Ok(());
    }
    let (now, c) = (app.now(), &mut stored.conversation);
    let new = NewMessage {
        author: Author::Agent,
        text,
        delivery: Delivery::Queued,
        external_id: Some(format!("kustomer:{}", e.data_id)),
        at: now,
    };
    let Some(message) = add_message(app, org, tx, &c.id, new).await? else { return Ok(()) };
    c.owner = Owner::Person;
    c.last_message_at = now;
    tx.conversation_update(c, stored.memory.as_ref()).await?;
    let page = crate::conversation::page_of(tx, c).await?;
    let key = conversation_key(&page, Some(&c.external_id));
    job::add(app, tx, &Job::SendMessage { message }, &key, now).await
}

/// The team is done with it: the bot answers again (`kustomer.md` 2.5 no. 8).
async fn closed(
    app: &App,
    org: &OrgCtx,
    tx: &mut TenantTx,
    mut stored: StoredConversation,
) -> Result<(), AppError> {
    if stored.conversation.owner != Owner::Person {
        return Ok(());
    }
    stored.conversation.owner = Owner::Bot;
    tx.conversation_update(&stored.conversation, None).await?;
    let (text, at) = ("Closed in Kustomer. The bot answers again.", app.now());
    let new =
        NewMessage { author: Author::System, text, delivery: Delivery::Received, external_id: None, at };
    add_message(app, org, tx, &stored.conversation.id, new).await.map(drop)
}
