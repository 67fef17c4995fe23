//! What the operator of the installation sees: numbers of all organizations, and mails that could not be sent. No token, no
//! message, no name of a customer.

use crate::App;
use crate::error::AppError;
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::{Actor, OrgCtx};
use agenstack_core::id::OrgId;
use agenstack_core::integration::{ConnectionStatus, Provider};
use agenstack_core::org::Organization;
use agenstack_store::global::queue::Backlog;
use std::net::IpAddr;

/// Mails of one page.
const MAILS: i64 = 20;

/// A mail as the operator reads it.
#[derive(Clone, Debug)]
pub struct Mail {
    /// To whom.
    pub address: String,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub body: String,
    /// `queued`, `sent`, `failed` or `kept`.
    pub state: String,
    /// When it was written.
    pub at: Timestamp,
    /// Why it could not be sent.
    pub error: Option<String>,
}

/// How the installation stands.
#[derive(Clone, Debug)]
pub struct Overview {
    /// `sqlite` or `postgres`.
    pub database: &'static str,
    /// How many connections of a provider are in a state; none are left out.
    pub connections: Vec<(Provider, ConnectionStatus, i64)>,
    /// Accepted events and queued deeds that wait or run.
    pub waiting: i64,
    /// Which providers the operator has set up.
    pub providers: Vec<(Provider, bool)>,
    /// Whether mails leave.
    pub mail: bool,
    /// Mails, newest first.
    pub mails: Vec<Mail>,
    /// Where the list goes on.
    pub next: Option<String>,
}

/// Reads it; `before` is where a former list ended.
///
/// # Errors
/// If the database is not available.
pub async fn overview(app: &App, before: Option<&str>) -> Result<Overview, AppError> {
    let mut tx = app.store().global_read().await?;
    let counts = tx.connection_count().await?;
    let waiting = tx.queue_waiting().await?;
    let mut list = tx.outbox_list(before, MAILS + 1).await?;
    let more = list.len() as i64 > MAILS;
    list.truncate(MAILS as usize);
    let next = if more { list.last().map(|m| m.id.clone()) } else { None };
    let count = |provider: Provider, status: ConnectionStatus| {
        counts.iter().find(|c| (c.provider, c.status) == (provider, status)).map_or(0, |c| c.count)
    };
    let each = Provider::ALL.iter().flat_map(|p| ConnectionStatus::ALL.iter().map(|s| (*p, *s)));
    Ok(Overview {
        database: app.store().kind(),
        connections: each.map(|(p, s)| (p, s, count(p, s))).collect(),
        waiting,
        providers: Provider::ALL.iter().map(|p| (*p, app.is_set_up(*p))).collect(),
        mail: app.mailer().is_some(),
        mails: list
            .into_iter()
            .map(|m| Mail {
                address: m.address,
                subject: m.subject,
                body: m.body,
                state: m.state,
                at: Timestamp::from_millis(m.created_at),
                error: m.last_error,
            })
            .collect(),
        next,
    })
}

/// The proof with which the operator, at the command line, acts for one organization.
///
/// # Errors
/// [`AppError::NotFound`] if there is none of this id.
pub async fn organization(app: &App, id: &str) -> Result<(OrgCtx, Organization), AppError> {
    let id = OrgId::parse(id).ok_or(AppError::NotFound)?;
    let found = app.store().global_read().await?.organization_by_id(&id).await?.ok_or(AppError::NotFound)?;
    Ok((OrgCtx::for_operator(app.ctx(Actor::Operator), &found), found))
}

/// Organizations whose events wait or are dead, those with the most first.
///
/// # Errors
/// If the database is not available.
pub async fn backlog(app: &App, limit: i64) -> Result<Vec<Backlog>, AppError> {
    Ok(app.store().global_read().await?.events_by_organization(limit).await?)
}

/// One attempt to get in, with whatever password. It counts before the password is looked at.
///
/// # Errors
/// [`AppError::TooMany`] with the seconds until another counts.
pub fn attempt(app: &App, from: IpAddr) -> Result<(), AppError> {
    app.limits().operator(from)
}
