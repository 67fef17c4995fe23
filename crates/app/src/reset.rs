//! A first or a new password, by a link in a mail: good once, for a while. Whoever asks learns nothing about who has an account.

use crate::error::AppError;
use crate::job::{self, Job};
use crate::{App, new_id};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::{Ctx, OrgCtx};
use agenstack_core::entropy::bytes;
use agenstack_core::org::{User, email_address};
use agenstack_store::tenant::outbox::{Letter, MailState};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// How long a link is good that somebody asked for.
const ASKED_SECS: i64 = 3_600;
/// How long one is good that came unasked, to somebody who was imported.
const INVITED_SECS: i64 = 7 * 86_400;
/// What the mail to somebody who was imported is about: each gets one.
const INVITATION: &str = "import";
/// Where a link leads.
const PATH: &str = "/reset?token=";

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Whether a mail lets somebody in, so that it is not kept once it has left.
pub(crate) fn lets_in(body: &str) -> bool {
    body.contains(PATH)
}

fn too_late() -> AppError {
    AppError::invalid("token", "This link was used already, or is too old. Ask for another one.")
}

/// Somebody has forgotten a password. The answer is the same, and comes as fast, whether there is such an account or not:
/// everything that depends on it happens afterwards.
///
/// # Errors
/// [`AppError::TooMany`].
pub fn ask(app: &App, ctx: &Ctx, from: IpAddr, email: &str) -> Result<(), AppError> {
    // An address of the wrong shape is unknown, like any other.
    let email = email_address(email).unwrap_or_else(|| email.chars().take(254).collect());
    app.limits().reset(from, &email)?;
    let (app, ctx) = (app.clone(), ctx.clone());
    tokio::spawn(async move {
        if let Err(error) = write(&app, &ctx, &email).await {
            tracing::warn!(request.id = %ctx.request, %error, "a mail with a link to a new password could not be written");
        }
    });
    Ok(())
}

async fn write(app: &App, ctx: &Ctx, email: &str) -> Result<(), AppError> {
    let mut tx = app.store().global_read().await?;
    let Some(known) = tx.user_by_email(email).await? else { return Ok(()) };
    let user = known.user;
    // A mail is a row of an organization.
    let Some(membership) = tx.membership_list(&user.id).await?.into_iter().next() else {
        tracing::info!(request.id = %ctx.request, user.id = %user.id, "nobody writes to a person who is in no organization");
        return Ok(());
    };
    drop(tx);
    let org = OrgCtx::from_membership(ctx.clone(), &membership);
    let (notice, link) = open(app, &user, ctx.now, ASKED_SECS).await?;
    let letter = Letter {
        address: user.email.clone(),
        subject: "Choose a new password".into(),
        body: format!(
            "Hello {},\n\nsomebody, most likely you, asked for a new password for this address.\n\nChoose it here, within an hour:\n{link}\n\n\
             If it was not you, there is nothing to do: the password stays as it is.\n",
            user.name
        ),
    };
    send(app, &org, &user, &notice, &letter, ctx.now).await.map(drop)
}

/// Opens a way to a new password: its id, and the link.
async fn open(app: &App, user: &User, now: Timestamp, secs: i64) -> Result<(String, String), AppError> {
    let token = URL_SAFE_NO_PAD.encode(bytes::<32>(app.entropy()));
    let id = new_id!(app, ResetId, now);
    let mut tx = app.store().global().await?;
    tx.reset_add(&id, &hash(&token), &user.id, now, now.plus_secs(secs)).await?;
    tx.commit().await?;
    Ok((id.as_str().to_owned(), format!("{}{PATH}{token}", app.public_url())))
}

async fn send(
    app: &App,
    org: &OrgCtx,
    user: &User,
    notice: &str,
    letter: &Letter,
    now: Timestamp,
) -> Result<bool, AppError> {
    let state = if app.mailer().is_some() { MailState::Queued } else { MailState::Kept };
    let mail = new_id!(app, MailId, now);
    let mut tx = app.store().tenant(org).await?;
    let new = tx.mail_add(&mail, notice, &user.id, letter, state, now).await?;
    if new && state == MailState::Queued {
        job::add(app, &mut tx, &Job::SendMail { mail: mail.clone() }, mail.as_str(), now).await?;
    }
    tx.commit().await?;
    app.wake();
    Ok(new)
}

/// Whether somebody who was imported has been written to.
pub(crate) async fn was_invited(app: &App, org: &OrgCtx, user: &User) -> Result<bool, AppError> {
    Ok(app.store().tenant_read(org).await?.mail_written(INVITATION, &user.id).await?)
}

/// Lets somebody who was imported choose a first password. `false` if they were written to before.
pub(crate) async fn invite(
    app: &App,
    org: &OrgCtx,
    user: &User,
    organizations: &[String],
) -> Result<bool, AppError> {
    if was_invited(app, org, user).await? {
        return Ok(false);
    }
    let now = app.now();
    // The link first: a mail without a link that works would be the only one.
    let (_, link) = open(app, user, now, INVITED_SECS).await?;
    let letter = Letter {
        address: user.email.clone(),
        subject: "Choose your password".into(),
        body: format!(
            "Hello {},\n\nyour account moved here with {}. Passwords were not taken along.\n\nChoose yours within seven days:\n{link}\n\n\
             Later, ask for another link at {}/forgot\n",
            user.name,
            organizations.join(", "),
            app.public_url(),
        ),
    };
    send(app, org, user, INVITATION, &letter, now).await
}

/// Whether a link still leads to a new password.
///
/// # Errors
/// If it does not, with what to do then.
pub async fn look(app: &App, ctx: &Ctx, token: &str) -> Result<(), AppError> {
    let found = app.store().global_read().await?.reset_find(&hash(token), ctx.now).await?;
    found.map(drop).ok_or_else(too_late)
}

/// Sets the password. Every session of that person ends, and every other link.
///
/// # Errors
/// If the link was used or is too old, or the password breaks a rule; then the link stays good.
pub async fn choose(
    app: &App,
    ctx: &Ctx,
    from: IpAddr,
    token: &SecretString,
    password: SecretString,
) -> Result<(), AppError> {
    app.limits().reset_choice(from)?;
    let token = hash(token.expose_secret());
    // Before the hard work: a link that leads nowhere costs nothing.
    let found = app.store().global_read().await?.reset_find(&token, ctx.now).await?;
    found.ok_or_else(too_late)?;
    let password_hash = app.passwords().hash(password, app.entropy()).await?;
    let mut tx = app.store().global().await?;
    let user = tx.reset_consume(&token, ctx.now).await?.ok_or_else(too_late)?;
    tx.password_set(&user, &password_hash, ctx.now).await?;
    tx.commit().await?;
    tracing::info!(user.id = %user, request.id = %ctx.request, "a password was chosen by a link");
    Ok(())
}
