//! People: signing up, in and out, and the way from a session to an organization.

use crate::error::AppError;
use crate::{App, new_id};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::{Actor, Ctx, OrgCtx};
use agenstack_core::entropy::bytes;
use agenstack_core::id::{OrgId, UserId};
use agenstack_core::integration::{ConnectionStatus, Provider};
use agenstack_core::org::{Membership, Organization, User, display_name, email_address};
use agenstack_core::policy::Action;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::net::IpAddr;

pub use agenstack_store::global::account::Session;

/// How long a browser stays signed in.
const SESSION_SECS: i64 = 14 * 86_400;

/// What a new person gives.
#[derive(Debug)]
pub struct SignUp {
    /// Their e-mail address.
    pub email: String,
    /// Their password; at least twelve characters.
    pub password: SecretString,
    /// Their name.
    pub name: String,
    /// Their organization's name.
    pub organization_name: String,
}

/// A browser that has just been signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// Who.
    pub user: User,
    /// The organization that was made with the account.
    pub organization: Option<Organization>,
    /// What the cookie carries; only its hash is stored.
    pub token: SecretString,
    /// When the browser is signed out by itself.
    pub expires_at: Timestamp,
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn name_of(text: &str, field: &'static str, what: &str) -> Result<String, AppError> {
    display_name(text).ok_or_else(|| {
        AppError::invalid(field, format!("{what} needs 1 to 80 characters, without line breaks."))
    })
}

/// Makes a person, their organization and its data key, and signs the browser in. All of it or nothing.
///
/// # Errors
/// Names the field that is not acceptable; [`AppError::Conflict`] if the address has an account.
pub async fn sign_up(app: &App, ctx: &Ctx, from: IpAddr, form: SignUp) -> Result<SignedIn, AppError> {
    app.limits().signup(from)?;
    let email = email_address(&form.email).ok_or_else(|| {
        AppError::invalid("email", "This is not an e-mail address. Write it like ana@example.com.")
    })?;
    let name = name_of(&form.name, "name", "Your name")?;
    let organization_name = name_of(&form.organization_name, "organization_name", "The organization's name")?;
    // Hashed before it is known whether the address is taken, so that both take as long.
    let password_hash = app.passwords().hash(form.password, app.entropy()).await?;

    let user = User { id: new_id!(app, UserId, ctx.now), email, name };
    let mut tx = app.store().global().await?;
    match tx.user_add(&user, &password_hash, ctx.now).await {
        Ok(()) => {}
        Err(agenstack_store::StoreError::Conflict(_)) => {
            return Err(AppError::conflict(
                "email_taken",
                "There is an account with this e-mail address. Log in with it instead.",
            ));
        }
        Err(e) => return Err(e.into()),
    }
    let organization = add_organization(app, &mut tx, &user.id, organization_name, ctx.now).await?;
    let (token, expires_at) = add_session(app, &mut tx, &user.id, ctx.now).await?;
    tx.commit().await?;
    tracing::info!(user.id = %user.id, org.id = %organization.id, request.id = %ctx.request, "signed up");
    Ok(SignedIn { user, organization: Some(organization), token, expires_at })
}

async fn add_organization(
    app: &App,
    tx: &mut agenstack_store::GlobalTx,
    owner: &UserId,
    name: String,
    now: Timestamp,
) -> Result<Organization, AppError> {
    let organization = Organization { id: new_id!(app, OrgId, now), name, created_at: now };
    tx.organization_add(&organization, owner).await?;
    app.keyring().create(tx, &organization.id, app.ids(), app.entropy(), now).await?;
    Ok(organization)
}

async fn add_session(
    app: &App,
    tx: &mut agenstack_store::GlobalTx,
    user: &UserId,
    now: Timestamp,
) -> Result<(SecretString, Timestamp), AppError> {
    let token = URL_SAFE_NO_PAD.encode(bytes::<32>(app.entropy()));
    let expires_at = now.plus_secs(SESSION_SECS);
    tx.session_add(&new_id!(app, SessionId, now), &hash(&token), user, now, expires_at).await?;
    Ok((token.into(), expires_at))
}

/// Signs a browser in. A wrong password and an unknown address give the same answer after the same work.
///
/// # Errors
/// [`AppError::Unauthenticated`], or [`AppError::TooMany`].
pub async fn log_in(
    app: &App,
    ctx: &Ctx,
    from: IpAddr,
    email: &str,
    password: SecretString,
) -> Result<SignedIn, AppError> {
    // An address of the wrong shape is unknown, like any other; it is limited and checked just the same.
    let email = email_address(email).unwrap_or_else(|| email.chars().take(254).collect());
    app.limits().login(from, &email)?;
    let known = app.store().global_read().await?.user_by_email(&email).await?;
    let (user, stored) = match known {
        Some(known) => (Some(known.user), Some(known.password_hash)),
        None => (None, None),
    };
    let right = app.passwords().verify(password, stored).await?;
    let Some(user) = user.filter(|_| right) else {
        tracing::info!(request.id = %ctx.request, "a log-in was refused");
        return Err(AppError::Unauthenticated("The e-mail address or the password is not right."));
    };
    let mut tx = app.store().global().await?;
    let (token, expires_at) = add_session(app, &mut tx, &user.id, ctx.now).await?;
    tx.commit().await?;
    Ok(SignedIn { user, organization: None, token, expires_at })
}

/// Signs a browser out, for good: its token is worth nothing afterwards.
///
/// # Errors
/// If the database is not available.
pub async fn log_out(app: &App, session: &Session) -> Result<(), AppError> {
    let mut tx = app.store().global().await?;
    tx.session_end(&session.id).await?;
    Ok(tx.commit().await?)
}

/// The session that a cookie's value stands for.
///
/// # Errors
/// If the database is not available.
pub async fn session(app: &App, ctx: &Ctx, token: &str) -> Result<Option<Session>, AppError> {
    // 32 bytes are 43 letters; anything else is not looked up.
    if token.len() != 43 {
        return Ok(None);
    }
    Ok(app.store().global_read().await?.session_find(&hash(token), ctx.now).await?)
}

/// Where a person is a member.
///
/// # Errors
/// If the database is not available.
pub async fn memberships(app: &App, session: &Session) -> Result<Vec<Membership>, AppError> {
    Ok(app.store().global_read().await?.membership_list(&session.user.id).await?)
}

/// Makes another organization, with the person as its owner.
///
/// # Errors
/// If the name is not acceptable.
pub async fn create_organization(
    app: &App,
    ctx: &Ctx,
    session: &Session,
    name: &str,
) -> Result<Organization, AppError> {
    let name = name_of(name, "name", "The organization's name")?;
    let mut tx = app.store().global().await?;
    let organization = add_organization(app, &mut tx, &session.user.id, name, ctx.now).await?;
    tx.commit().await?;
    tracing::info!(org.id = %organization.id, request.id = %ctx.request, "an organization was made");
    Ok(organization)
}

/// The way from a session to an organization's rows. Read for each request, so a changed role applies to the next.
///
/// # Errors
/// [`AppError::NotFound`] alike for a stranger, an organization that is not there and text that is no id.
pub async fn org_ctx(
    app: &App,
    ctx: &Ctx,
    session: &Session,
    org: &str,
) -> Result<(OrgCtx, Membership), AppError> {
    let org = OrgId::parse(org).ok_or(AppError::NotFound)?;
    let found = app.store().global_read().await?.membership_find(&org, &session.user.id).await?;
    let membership = found.ok_or(AppError::NotFound)?;
    Ok((OrgCtx::from_membership(ctx.clone(), &membership), membership))
}

/// Deletes an organization for good: its accounts are disconnected, its keys are destroyed, and nobody is a member any more.
/// Its rows go in the background.
///
/// # Errors
/// If the role is too small, or `name` is not the organization's name: whoever deletes it has to have meant it.
pub async fn delete_organization(
    app: &App,
    org: &OrgCtx,
    membership: &Membership,
    name: &str,
) -> Result<(), AppError> {
    org.require(Action::OrganizationDelete)?;
    if name.trim() != membership.organization.name {
        return Err(AppError::invalid("name", "Write the organization's name exactly as it stands here."));
    }
    for it in crate::integration::list(app, org).await? {
        // What the provider does not hear now cannot be said later: the tokens are about to be unreadable.
        crate::integration::disconnect(app, org, it.id.as_str()).await?;
    }
    let mut tx = app.store().global().await?;
    let closed = tx.organization_close(org, app.now()).await?;
    tx.commit().await?;
    app.keyring().forget(org.org());
    if closed {
        tracing::info!(org.id = %org.org(), "an organization was deleted");
    }
    app.wake();
    Ok(())
}

/// Rows of an organization that has ended which are deleted in one transaction.
const ERASED_AT_ONCE: i64 = 1_000;
/// Transactions of one round, so that other work is not kept waiting.
const ERASURES: usize = 50;

/// Deletes rows of organizations that have ended, some at a time.
pub(crate) async fn erase_closed(app: &App) -> Result<(), AppError> {
    let closed = app.store().global_read().await?.organizations_closed(10).await?;
    for proof in closed {
        let org = OrgCtx::from_queue(app.ctx(Actor::Worker), &proof);
        for _ in 0..ERASURES {
            let mut tx = app.store().tenant(&org).await?;
            let n = tx.organization_erase(ERASED_AT_ONCE).await?;
            tx.commit().await?;
            if n == 0 {
                let mut tx = app.store().global().await?;
                tx.organization_remove(&org).await?;
                tx.erased(app.now()).await?;
                tx.commit().await?;
                app.scrub_wanted().notify_one();
                tracing::info!(org.id = %org.org(), "nothing is left of a deleted organization");
                break;
            }
        }
    }
    Ok(())
}

/// Whether an organization of the person has an account connected.
///
/// # Errors
/// If the role is too small or the database is not available.
pub async fn has_account(
    app: &App,
    ctx: &Ctx,
    membership: &Membership,
    provider: Provider,
    external_id: &str,
) -> Result<bool, AppError> {
    let org = OrgCtx::from_membership(ctx.clone(), membership);
    org.require(Action::IntegrationRead)?;
    let found = app.store().tenant_read(&org).await?.integration_by_account(provider, external_id).await?;
    Ok(found.is_some_and(|it| it.status != ConnectionStatus::Disconnected))
}

/// The token, for tests that look a session up.
#[doc(hidden)]
pub fn token_text(signed_in: &SignedIn) -> &str {
    signed_in.token.expose_secret()
}
