//! Deeds that leave the house: queued in the transaction of the change that asks for them, done outside of any
//! transaction, and recorded in another.

use crate::bot;
use crate::conversation::{NewMessage, WINDOW_SECS, add_message, message, text_place};
use crate::error::AppError;
use crate::live::Topic;
use crate::{App, new_id, token, trace};
use agenstack_core::clock::Timestamp;
use agenstack_core::conversation::{Author, Conversation, Delivery, Message};
use agenstack_core::ctx::{OrgCtx, Route};
use agenstack_core::id::{
    ConversationId, EventId, FarewellId, HistoryId, IntegrationId, JobId, MailId, MessageId, ReplayId,
};
use agenstack_core::integration::{AccountIdentifier, PageId, Provider, Subdomain};
use agenstack_providers::ProviderError;
use agenstack_providers::kustomer::{Direction, Turn};
use agenstack_store::TenantTx;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// How much of a conversation goes along when it is handed over.
const TRANSCRIPT: i64 = 100;
/// The word that marks conversations we opened in Kustomer.
const TAG: &str = "bot-handover";

/// A queued deed. Holds ids only: what they stand for is read, with the organization's key, when it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Job {
    /// Gives a newly connected account the events that came too early.
    AdoptEvents {
        /// The connection.
        integration: IntegrationId,
    },
    /// Sends a message of ours to the customer, at most once.
    SendMessage {
        /// The message.
        message: MessageId,
    },
    /// Opens the conversation in Kustomer, with transcript and summary.
    HandOver {
        /// The conversation.
        conversation: ConversationId,
    },
    /// Tells a provider that a connection has ended.
    SayFarewell {
        /// What is to be said.
        farewell: FarewellId,
    },
    /// Tells owners and admins that a connection has stopped.
    Notify {
        /// The connection.
        integration: IntegrationId,
        /// The change that they are told of.
        change: HistoryId,
    },
    /// Sends a mail.
    SendMail {
        /// The mail.
        mail: MailId,
    },
    /// Puts the next events of a replay back into the queue.
    Replay {
        /// The replay.
        replay: ReplayId,
        /// The last event of the step before; a step that another has overtaken does nothing.
        after: Option<EventId>,
    },
    /// Writes a customer's message into the conversation in Kustomer.
    Relay {
        /// The message.
        message: MessageId,
    },
}

impl Job {
    fn kind(&self) -> &'static str {
        match self {
            Job::AdoptEvents { .. } => "adopt_events",
            Job::SendMessage { .. } => "send_message",
            Job::HandOver { .. } => "hand_over",
            Job::Relay { .. } => "relay",
            Job::Replay { .. } => "replay",
            Job::SayFarewell { .. } => "say_farewell",
            Job::Notify { .. } => "notify",
            Job::SendMail { .. } => "send_mail",
        }
    }
}

/// Queues a deed. It is due now, and not when what queues it began: what was asked of a provider in between may have taken long, and
/// rows are not looked for before those that wait (`Fronts`).
pub(crate) async fn add(
    app: &App,
    tx: &mut TenantTx,
    job: &Job,
    order_key: &str,
    now: Timestamp,
) -> Result<(), AppError> {
    add_later(app, tx, job, order_key, now, 0).await
}

/// Queues a deed that is to wait a while.
pub(crate) async fn add_later(
    app: &App,
    tx: &mut TenantTx,
    job: &Job,
    order_key: &str,
    now: Timestamp,
    secs: i64,
) -> Result<(), AppError> {
    let (id, due) = (new_id!(app, JobId, now), now.plus_secs(secs).max(app.now()));
    Ok(tx.job_add(&id, job.kind(), &subject(job), order_key, now, due).await?)
}

/// A deed as it is queued, with the event that asked for it if somebody follows that one's trace.
#[derive(Serialize, Deserialize)]
struct Subject<J> {
    #[serde(flatten)]
    job: J,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<EventId>,
}

fn subject(job: &Job) -> String {
    let subject = Subject { job, event: trace::event_here() };
    serde_json::to_string(&subject).expect("a deed is always JSON")
}

/// A leased deed: who may end it.
pub(crate) struct Lease<'a> {
    pub id: &'a JobId,
    pub token: &'a str,
}

/// Does a leased deed. When this returns, its record is committed and the row is gone.
pub(crate) async fn perform(app: &App, org: &OrgCtx, lease: &Lease<'_>) -> Result<(), AppError> {
    let subject = app.store().tenant_read(org).await?.job_subject(lease.id, lease.token).await?;
    let Subject::<Job> { job, event } =
        serde_json::from_str(&subject).map_err(|e| AppError::Internal(Box::new(e)))?;
    let (kind, deed) = (job.kind(), Box::pin(act(app, org, lease, job)));
    trace::worked(app, org.org(), event.as_ref(), "effect", Some(kind), deed).await
}

async fn act(app: &App, org: &OrgCtx, lease: &Lease<'_>, job: Job) -> Result<(), AppError> {
    match job {
        Job::Replay { replay, after } => {
            let mut tx = app.store().tenant(org).await?;
            crate::replay::step(app, org, &mut tx, &replay, after.as_ref()).await?;
            tx.job_done(lease.id, lease.token).await?;
            tx.commit().await?;
            app.wake_for_a_second();
            app.live().changed(org.org(), Topic::Events);
            Ok(())
        }
        Job::AdoptEvents { integration } => adopt_events(app, org, lease, &integration).await,
        Job::SendMessage { message } => send_message(app, org, lease, &message).await,
        Job::HandOver { conversation } => hand_over(app, org, lease, &conversation).await,
        Job::Relay { message } => relay(app, org, lease, &message).await,
        Job::Notify { integration, change } => {
            crate::mail::notify(app, org, &integration, &change).await?;
            done(app, org, lease).await
        }
        Job::SendMail { mail } => {
            crate::mail::send(app, org, &mail).await?;
            done(app, org, lease).await
        }
        Job::SayFarewell { farewell } => {
            crate::farewell::say(app, org, &farewell).await?;
            done(app, org, lease).await
        }
    }
}

/// A deed is dead: what it was about says so to people.
pub(crate) async fn given_up(
    app: &App,
    org: &OrgCtx,
    tx: &mut TenantTx,
    lease: &Lease<'_>,
    why: &str,
) -> Result<(), AppError> {
    let subject = tx.job_subject(lease.id, lease.token).await?;
    let job = serde_json::from_str(&subject).ok();
    if let Some(Job::SendMessage { message }) = &job
        && tx.message_find(message).await?.is_some_and(|m| m.delivery == Delivery::Queued)
    {
        tx.message_delivery(message, Delivery::Failed, Some(why)).await?;
    }
    if let Some(Job::SendMail { mail }) = &job {
        crate::mail::given_up(app, tx, mail).await?;
    }
    if let Some(Job::SayFarewell { farewell }) = &job {
        crate::farewell::given_up(app, org, tx, farewell).await?;
    }
    Ok(())
}

async fn done(app: &App, org: &OrgCtx, lease: &Lease<'_>) -> Result<(), AppError> {
    let mut tx = app.store().tenant(org).await?;
    tx.job_done(lease.id, lease.token).await?;
    Ok(tx.commit().await?)
}

async fn adopt_events(
    app: &App,
    org: &OrgCtx,
    lease: &Lease<'_>,
    id: &IntegrationId,
) -> Result<(), AppError> {
    let it = app.store().tenant_read(org).await?.integration_find(id).await?;
    if let Some(it) = it {
        let route = Route { org: org.org().clone(), integration: it.id, generation: it.generation };
        let adopted = crate::ingest::adopt(app, org.ctx(), &route, it.provider, &it.external_id).await?;
        if adopted > 0 {
            tracing::info!(org.id = %org.org(), integration.id = %id, adopted, "events that came early have their owner");
            app.wake();
        }
    }
    done(app, org, lease).await
}

/// At most once: the message is marked as handed out before the call. If the answer is lost, or the process dies in
/// between, the outcome is unknown and stays so until the provider's echo tells; it is not sent again.
async fn send_message(app: &App, org: &OrgCtx, lease: &Lease<'_>, id: &MessageId) -> Result<(), AppError> {
    let mut tx = app.store().tenant_read(org).await?;
    let Some(stored) = tx.message_find(id).await? else { return done(app, org, lease).await };
    let found = tx.conversation_find(&stored.conversation_id).await?;
    drop(tx);
    let Some(conversation) = found.map(|c| c.conversation) else { return done(app, org, lease).await };
    if stored.delivery != Delivery::Queued {
        return done(app, org, lease).await;
    }
    if stored.handed_out_at.is_some() {
        // The holder before us died between handing it out and recording the outcome.
        return ended(app, org, lease, id, Delivery::Unknown, Some(UNKNOWN)).await;
    }
    let now = app.now();
    if conversation.last_customer_at.plus_secs(WINDOW_SECS) <= now {
        let closed = "Not sent: the customer's last message is more than 24 hours old.";
        return ended(app, org, lease, id, Delivery::Failed, Some(closed)).await;
    }
    let messenger = app.messenger()?;
    let Some(page) = &conversation.integration_id else {
        let nowhere = "Not sent: the conversation runs over no connection.";
        return ended(app, org, lease, id, Delivery::Failed, Some(nowhere)).await;
    };
    let connection = token::connection(app, org, Provider::Messenger, Some(page)).await;
    let it = match connection {
        Ok(it) => it,
        Err(e) if e.is_retryable() => return Err(e),
        Err(e) => return ended(app, org, lease, id, Delivery::Failed, Some(&e.to_string())).await,
    };
    let AccountIdentifier::Messenger { page_id, .. } = &it.account_identifier else {
        return Err(AppError::NotFound);
    };
    let page = PageId::parse(page_id).ok_or(AppError::NotFound)?;
    token::may_ask(app, &it)?;
    let text = app.keyring().open_text(org.org(), text_place(id), &stored.text).await?;

    let mut tx = app.store().tenant(org).await?;
    if !tx.message_handed_out(id, now).await? {
        return Err(AppError::conflict("refreshing", "Another worker is sending this message."));
    }
    tx.commit().await?;
    let (page, text, psid) = (&page, text.as_str(), conversation.external_id.as_str());
    let sent = token::call(app, org, &it, |t: SecretString| async move {
        messenger.send_text(page, &t, psid, text, id.as_str()).await
    })
    .await;
    match sent {
        Ok(mid) => {
            let mut tx = app.store().tenant(org).await?;
            tx.message_sent(id, &mid).await?;
            tx.job_done(lease.id, lease.token).await?;
            tx.commit().await?;
            app.live().changed(org.org(), Topic::Inbox);
            Ok(())
        }
        Err(AppError::Provider(e)) if e.outcome_unknown => {
            ended(app, org, lease, id, Delivery::Unknown, Some(UNKNOWN)).await
        }
        Err(e) if e.is_retryable() || is_broken(&e) => {
            // Surely not taken: it may be handed out again.
            let mut tx = app.store().tenant(org).await?;
            tx.message_taken_back(id).await?;
            tx.commit().await?;
            Err(if is_broken(&e) { AppError::conflict("needs_reconnect", e.to_string()) } else { e })
        }
        Err(e) => ended(app, org, lease, id, Delivery::Failed, Some(&e.to_string())).await,
    }
}

const UNKNOWN: &str =
    "Messenger's answer was lost: the message may or may not have arrived. It is not sent again.";

/// The connection broke with this very call; the message waits for it to be mended.
fn is_broken(e: &AppError) -> bool {
    use agenstack_providers::Kind::{GrantRejected, Paused, Unauthorized};
    matches!(e, AppError::Provider(e) if matches!(e.kind, Unauthorized | GrantRejected | Paused))
}

async fn ended(
    app: &App,
    org: &OrgCtx,
    lease: &Lease<'_>,
    id: &MessageId,
    delivery: Delivery,
    error: Option<&str>,
) -> Result<(), AppError> {
    let mut tx = app.store().tenant(org).await?;
    tx.message_delivery(id, delivery, error).await?;
    tx.job_done(lease.id, lease.token).await?;
    tx.commit().await?;
    app.live().changed(org.org(), Topic::Inbox);
    Ok(())
}

/// Every step looks before it writes, so that a repeat after a crash finds what was done (`kustomer.md` 2.4, 2.5).
async fn hand_over(app: &App, org: &OrgCtx, lease: &Lease<'_>, id: &ConversationId) -> Result<(), AppError> {
    let Some(it) = crate::integration::of_provider(app, org, Provider::Kustomer).await? else {
        return note_and_done(app, org, lease, id, "No help desk is connected: answer here in the inbox.")
            .await;
    };
    let AccountIdentifier::Kustomer { subdomain, .. } = &it.account_identifier else {
        return Err(AppError::NotFound);
    };
    let account = Subdomain::parse(subdomain).ok_or(AppError::NotFound)?;
    let mut tx = app.store().tenant_read(org).await?;
    let Some(stored) = tx.conversation_find(id).await? else { return done(app, org, lease).await };
    let mut rows = tx.message_list(id, None, TRANSCRIPT).await?;
    drop(tx);
    rows.reverse();
    let mut transcript = Vec::with_capacity(rows.len());
    for row in rows {
        transcript.push(message(app, org.org(), row).await?);
    }
    let memory = bot::open_memory(app, org.org(), &stored).await;
    let c = &stored.conversation;
    let summary = summary(c, &memory);
    let (account, c, summary, transcript, email) =
        (&account, c, summary.as_str(), transcript.as_slice(), memory.verified_email());
    let kustomer = app.kustomer();
    let opened = token::call(app, org, &it, |token: SecretString| async move {
        let contact = format!("agenstack:{}", c.contact.id);
        let customer =
            kustomer.customer_find_or_create(account, &token, &contact, &c.contact.name, email).await?;
        let title = format!("{} on Messenger", c.contact.name);
        let opened =
            kustomer.conversation_find_or_create(account, &token, &customer, c.id.as_str(), &title).await?;
        let turns: Vec<Turn<'_>> = transcript.iter().filter_map(turn).collect();
        kustomer.messages_add(account, &token, &opened, &turns).await?;
        kustomer.note_add(account, &token, &opened, summary).await?;
        kustomer.tag_add(account, &token, &opened, TAG).await?;
        Ok::<_, ProviderError>(opened)
    })
    .await?;

    app.keyring().key(org.org()).await?;
    let mut tx = app.store().tenant(org).await?;
    // Read again: the customer may have written meanwhile.
    if let Some(mut stored) = tx.conversation_find(id).await? {
        stored.conversation.kustomer_id = Some(opened);
        tx.conversation_update(&stored.conversation, stored.memory.as_ref()).await?;
        let text = format!("Handed over to {subdomain} in Kustomer.");
        add_note(app, org, &mut tx, id, &text).await?;
    }
    tx.job_done(lease.id, lease.token).await?;
    tx.commit().await?;
    app.live().changed(org.org(), Topic::Inbox);
    Ok(())
}

/// What a person sees first: facts that the bot gathered, none that it did not verify.
fn summary(c: &Conversation, memory: &bot::Memory) -> String {
    let order = match (memory.verified_order(), memory.order_number()) {
        (Some(order), _) => format!("Order {order}, confirmed by the e-mail address of the order."),
        (None, Some(number)) => format!("Asked about order {number}; the e-mail address was not confirmed."),
        (None, None) => "No order was named.".to_owned(),
    };
    format!("Handed over by the AgenStack bot.\nCustomer: {} (Messenger).\n{order}", c.contact.name)
}

fn turn(m: &Message) -> Option<Turn<'_>> {
    let direction = match m.author {
        Author::Customer => Direction::In,
        Author::Bot | Author::Agent => Direction::Out,
        Author::System => return None,
    };
    Some(Turn { external_id: m.id.as_str(), direction, text: &m.text, sent_at: m.created_at })
}

async fn add_note(
    app: &App,
    org: &OrgCtx,
    tx: &mut TenantTx,
    id: &ConversationId,
    text: &str,
) -> Result<(), AppError> {
    let at = app.now();
    let new =
        NewMessage { author: Author::System, text, delivery: Delivery::Received, external_id: None, at };
    add_message(app, org, tx, id, new).await.map(drop)
}

async fn note_and_done(
    app: &App,
    org: &OrgCtx,
    lease: &Lease<'_>,
    id: &ConversationId,
    text: &str,
) -> Result<(), AppError> {
    app.keyring().key(org.org()).await?;
    let mut tx = app.store().tenant(org).await?;
    add_note(app, org, &mut tx, id, text).await?;
    tx.job_done(lease.id, lease.token).await?;
    tx.commit().await?;
    app.live().changed(org.org(), Topic::Inbox);
    Ok(())
}

async fn relay(app: &App, org: &OrgCtx, lease: &Lease<'_>, id: &MessageId) -> Result<(), AppError> {
    let mut tx = app.store().tenant_read(org).await?;
    let Some(stored) = tx.message_find(id).await? else { return done(app, org, lease).await };
    let found = tx.conversation_find(&stored.conversation_id).await?;
    drop(tx);
    let Some(desk) = found.and_then(|c| c.conversation.kustomer_id) else {
        return done(app, org, lease).await;
    };
    let Some(it) = crate::integration::of_provider(app, org, Provider::Kustomer).await? else {
        return done(app, org, lease).await;
    };
    let AccountIdentifier::Kustomer { subdomain, .. } = &it.account_identifier else {
        return Err(AppError::NotFound);
    };
    let account = Subdomain::parse(subdomain).ok_or(AppError::NotFound)?;
    let m = message(app, org.org(), stored).await?;
    let (account, m, desk, kustomer) = (&account, &m, desk.as_str(), app.kustomer());
    token::call(app, org, &it, |token: SecretString| async move {
        let turns: Vec<Turn<'_>> = turn(m).into_iter().collect();
        kustomer.messages_add(account, &token, desk, &turns).await
    })
    .await?;
    done(app, org, lease).await
}
