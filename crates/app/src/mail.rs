//! Mails: how they leave, and what owners and admins are told when a connection stops.

use crate::error::AppError;
use crate::job::{self, Job};
use crate::{App, new_id};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::{HistoryId, IntegrationId, MailId};
use agenstack_core::integration::{ConnectionStatus, Integration, StateChange};
use agenstack_store::TenantTx;
use agenstack_store::tenant::outbox::{Letter, MailState};
use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// A change is told after this long, so that what follows at once is told instead, or nothing if it was mended.
const SOON_SECS: i64 = 30;
/// A pause is told after this long: most end by themselves.
const PAUSED_SECS: i64 = 86_400;
/// For the same reason nobody is written to more often.
const AGAIN_SECS: i64 = 86_400;
/// How long a mail server may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is kept of a mail with a link that lets somebody in.
const EMPTIED: &str = "A link to choose a password. It is not kept.";
/// How long mails are kept.
pub(crate) const KEPT_SECS: i64 = 30 * 86_400;

/// The mail server.
#[derive(Clone)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// Why a mailer cannot be made.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum MailerError {
    /// The address of the server.
    #[error("AGENSTACK_SMTP_URL is not the address of a mail server")]
    Url,
    /// The sender.
    #[error("AGENSTACK_MAIL_FROM is not an e-mail address")]
    From,
}

impl Mailer {
    /// A mailer for `smtps://user:password@host` or `smtp://host:587?tls=required`. Nothing is sent yet.
    ///
    /// # Errors
    /// Names the setting that cannot be used.
    pub fn new(url: &SecretString, from: &str) -> Result<Self, MailerError> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret())
            .map_err(|_| MailerError::Url)?
            .timeout(Some(PATIENCE))
            .build();
        Ok(Self { transport, from: from.parse().map_err(|_| MailerError::From)? })
    }

    /// Whether the server answers and lets us in. Nothing is sent.
    pub async fn answers(&self) -> bool {
        self.transport.test_connection().await.unwrap_or(false)
    }

    /// Sends one. `id` tells mail readers that a second delivery of it is the same mail.
    async fn send(&self, id: &MailId, letter: &Letter) -> Result<(), Unsent> {
        let to: Mailbox = letter.address.parse().map_err(|_| Unsent::ForGood)?;
        let domain = self.from.email.domain();
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(letter.subject.clone())
            .message_id(Some(format!("<{id}@{domain}>")))
            .body(letter.body.clone())
            .map_err(|_| Unsent::ForGood)?;
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => Err(Unsent::ForGood),
            Err(_) => Err(Unsent::ForNow),
        }
    }
}

enum Unsent {
    ForGood,
    ForNow,
}

/// Queues that people are told of a change, in the transaction that makes it, if it is one to be told.
pub(crate) async fn queue(
    app: &App,
    tx: &mut TenantTx,
    it: &IntegrationId,
    change: &StateChange,
) -> Result<(), AppError> {
    let wait = match change.status {
        ConnectionStatus::NeedsReconnect => SOON_SECS,
        ConnectionStatus::Disconnected if change.code == "uninstalled" => SOON_SECS,
        ConnectionStatus::Paused => PAUSED_SECS,
        _ => return Ok(()),
    };
    let job = Job::Notify { integration: it.clone(), change: change.id.clone() };
    job::add_later(app, tx, &job, change.id.as_str(), change.at, wait).await
}

/// Writes to owners and admins, if the connection still is as the change left it.
pub(crate) async fn notify(
    app: &App,
    org: &OrgCtx,
    id: &IntegrationId,
    notice: &HistoryId,
) -> Result<(), AppError> {
    let mut tx = app.store().tenant_read(org).await?;
    let (Some(it), Some(change)) =
        (tx.integration_find(id).await?, tx.history_list(id, 1).await?.into_iter().next())
    else {
        return Ok(());
    };
    let since = app.now().plus_secs(-AGAIN_SECS);
    if change.id != *notice || tx.mail_noticed(id, &change.code, notice, since).await? {
        return Ok(());
    }
    let waiting = tx.integration_waiting(id).await?;
    let organization = tx.organization_get().await?;
    drop(tx);
    let recipients = app.store().global_read().await?.recipients(org).await?;
    let now = app.now();
    let state = if app.mailer().is_some() { MailState::Queued } else { MailState::Kept };
    let mut tx = app.store().tenant(org).await?;
    for person in recipients {
        let letter = Letter {
            address: person.email,
            subject: subject(&it),
            body: body(app, &person.name, &organization.name, &it, &change, waiting),
        };
        let mail = new_id!(app, MailId, now);
        let new = tx.mail_add(&mail, notice.as_str(), &person.id, &letter, state, now).await?;
        if new && state == MailState::Queued {
            job::add(app, &mut tx, &Job::SendMail { mail: mail.clone() }, mail.as_str(), now).await?;
        }
    }
    tx.commit().await?;
    app.wake();
    Ok(())
}

fn subject(it: &Integration) -> String {
    let what = match it.status {
        ConnectionStatus::Paused => "is paused",
        ConnectionStatus::Disconnected => "was removed",
        _ => "needs reconnecting",
    };
    // One line, whatever people call their accounts.
    let label: String = it.account_identifier.label().chars().filter(|c| !c.is_control()).collect();
    format!("{} {what}: {label}", it.provider.title())
}

fn body(
    app: &App,
    name: &str,
    organization: &str,
    it: &Integration,
    change: &StateChange,
    waiting: i64,
) -> String {
    let (who, label) = (it.provider.title(), it.account_identifier.label());
    let stopped = match it.status {
        ConnectionStatus::Paused => "has been paused for a day",
        ConnectionStatus::Disconnected => "has ended",
        _ => "has stopped working",
    };
    let wait = match waiting {
        0 => "Nothing waits for it.".to_owned(),
        1 => "1 message waits, and is handled as soon as the connection works again, for about a day."
            .to_owned(),
        n => format!(
            "{n} messages wait, and are handled as soon as the connection works again, for about a day."
        ),
    };
    let page = format!("{}/orgs/{}/integrations/{}", app.public_url(), it.organization_id, it.id);
    let action = match it.status {
        ConnectionStatus::Paused => "It comes back by itself once that is settled. See",
        ConnectionStatus::Disconnected => "To use it again, connect it at",
        _ => "To mend it, choose Reconnect at",
    };
    format!(
        "Hello {name},\n\nthe connection of {organization} to {who} ({label}) {stopped}.\n\nWhy: {}\nSince: {}\n{wait}\n\n{action}\n\
         {page}\n\nYou get this mail because you are an owner or admin of {organization}.\n",
        change.message,
        since(change.at),
    )
}

/// To the minute, as `2026-11-26 00:10 UTC`.
fn since(at: Timestamp) -> String {
    let text = at.rfc3339();
    format!("{} {} UTC", &text[..10], &text[11..16])
}

/// Sends a mail that waits.
pub(crate) async fn send(app: &App, org: &OrgCtx, id: &MailId) -> Result<(), AppError> {
    let Some(letter) = app.store().tenant_read(org).await?.mail_find(id).await? else { return Ok(()) };
    let (state, error) = match app.mailer() {
        None => (MailState::Kept, None),
        Some(mailer) => match mailer.send(id, &letter).await {
            Ok(()) => (MailState::Sent, None),
            Err(Unsent::ForGood) => (MailState::Failed, Some("The mail server refused it.")),
            Err(Unsent::ForNow) => {
                let message = "The mail server did not take it. It is tried again.";
                return Err(AppError::conflict("mail_later", message));
            }
        },
    };
    let mut tx = app.store().tenant(org).await?;
    tx.mail_ended(id, state, app.now(), error).await?;
    if state != MailState::Kept && crate::reset::lets_in(&letter.body) {
        tx.mail_empty(id, EMPTIED).await?;
    }
    tx.commit().await?;
    if state == MailState::Failed {
        tracing::warn!(org.id = %org.org(), mail.id = %id, "a mail was refused");
    }
    Ok(())
}

/// It could not be sent for about a day.
pub(crate) async fn given_up(app: &App, tx: &mut TenantTx, id: &MailId) -> Result<(), AppError> {
    let letter = tx.mail_find(id).await?;
    tx.mail_ended(id, MailState::Failed, app.now(), Some("The mail server did not take it for a day."))
        .await?;
    if letter.is_some_and(|l| crate::reset::lets_in(&l.body)) {
        tx.mail_empty(id, EMPTIED).await?;
    }
    Ok(())
}
