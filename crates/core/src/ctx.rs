//! Who asks, for whom, when.

use crate::clock::Timestamp;
use crate::id::{IntegrationId, OrgId, RequestId, UserId};
use crate::integration::Provider;
use crate::org::{Membership, Organization};
use crate::policy::{Action, Role};

/// Who began an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Nobody who is known.
    Anonymous,
    /// A signed-in person.
    User(UserId),
    /// A provider, by a request whose signature was verified.
    Provider(Provider),
    /// The worker, for a queued deed.
    Worker,
    /// The operator, at the command line.
    Operator,
}

/// One operation: made at an edge (request, webhook, job, command), passed to everything it calls.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// Who asks.
    pub actor: Actor,
    /// The request, for the log.
    pub request: RequestId,
    /// The one instant of this operation.
    pub now: Timestamp,
}

/// Why an operation acts for its organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// A member, with the role read for this request.
    Member(Role),
    /// A connection whose provider signed the request.
    SignedBy(IntegrationId),
    /// A row of the queue that an authorized operation wrote.
    Queued,
    /// Whoever runs the program on the machine, with the master key.
    Operator,
}

/// Proof of a tenant. Rows of an organization are reached only with one of these, and the store binds its
/// organization id itself. There are four ways to one, and each needs something that only the store hands out.
#[derive(Clone, Debug)]
pub struct OrgCtx {
    ctx: Ctx,
    org: OrgId,
    authority: Authority,
}

/// A connection that a verified request named: what [`OrgCtx::from_signed`] needs. The store makes it from a row
/// of `integrations`.
#[derive(Clone, Debug)]
pub struct Route {
    /// The organization that owns the account.
    pub org: OrgId,
    /// The connection.
    pub integration: IntegrationId,
    /// How many times this account was connected anew; queued work of an earlier generation stops.
    pub generation: i64,
}

/// A leased row of the queue: what [`OrgCtx::from_queue`] needs. The store makes it when it leases.
#[derive(Clone, Debug)]
pub struct QueuedFor(OrgId);

impl QueuedFor {
    /// For the store, from a row it has leased.
    pub fn row(org: OrgId) -> Self {
        Self(org)
    }
}

/// The role is too small for the action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this needs the permission {0}, which your role in the organization does not include")]
pub struct Forbidden(pub Action);

impl OrgCtx {
    /// For a member of the organization.
    pub fn from_membership(ctx: Ctx, membership: &Membership) -> Self {
        Self { ctx, org: membership.organization.id.clone(), authority: Authority::Member(membership.role) }
    }
    /// For the owner of an account that a verified webhook named.
    pub fn from_signed(ctx: Ctx, route: &Route) -> Self {
        Self { ctx, org: route.org.clone(), authority: Authority::SignedBy(route.integration.clone()) }
    }
    /// For the operator of the installation, at its command line, on an organization that was looked up.
    pub fn for_operator(ctx: Ctx, organization: &Organization) -> Self {
        Self { ctx, org: organization.id.clone(), authority: Authority::Operator }
    }
    /// For the organization whose queued deed is being done.
    pub fn from_queue(ctx: Ctx, row: &QueuedFor) -> Self {
        Self { ctx, org: row.0.clone(), authority: Authority::Queued }
    }
    /// The organization.
    pub fn org(&self) -> &OrgId {
        &self.org
    }
    /// The operation's instant.
    pub fn now(&self) -> Timestamp {
        self.ctx.now
    }
    /// The operation.
    pub fn ctx(&self) -> &Ctx {
        &self.ctx
    }
    /// Why it acts for the organization.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }
    /// The same proof at a later instant, for long work that must not use a stale `now`.
    pub fn at(&self, now: Timestamp) -> Self {
        let mut later = self.clone();
        later.ctx.now = now;
        later
    }
    /// Stands in the line above a deed.
    ///
    /// # Errors
    /// [`Forbidden`] if a member's role does not include `action`. Verified webhooks and queued deeds carry the
    /// authority of what queued them.
    pub fn require(&self, action: Action) -> Result<(), Forbidden> {
        match &self.authority {
            Authority::Member(role) if !role.may(action) => Err(Forbidden(action)),
            _ => Ok(()),
        }
    }
}
