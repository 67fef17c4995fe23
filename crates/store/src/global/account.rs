//! People, their sessions, organizations and memberships.

use crate::db::{GlobalTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::{OrgCtx, QueuedFor};
use agenstack_core::id::{OrgId, SessionId, UserId};
use agenstack_core::org::{Membership, Organization, User};
use agenstack_core::policy::Role;

statements! { Global;
    USER_ADD = "INSERT INTO users (id, email, name, password_hash, created_at) VALUES ($1, $2, $3, $4, $5)";
    USER_BY_EMAIL = "SELECT id, email, name, password_hash FROM users WHERE email = $1";
    SESSION_ADD = "INSERT INTO sessions (id, token_hash, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)";
    SESSION_FIND = "SELECT s.id AS session_id, u.id, u.email, u.name FROM sessions s JOIN users u ON u.id = s.user_id
        WHERE s.token_hash = $1 AND s.expires_at > $2";
    SESSION_END = "DELETE FROM sessions WHERE id = $1";
    SESSION_SWEEP = "DELETE FROM sessions WHERE expires_at <= $1";
    ORGANIZATION_ADD = "INSERT INTO organizations (id, name, created_at) VALUES ($1, $2, $3)";
    ORGANIZATION_BY_ID = "SELECT id, name, created_at FROM organizations WHERE id = $1 AND deleted_at IS NULL";
    ORGANIZATION_ANY = "SELECT COUNT(*) FROM (SELECT 1 FROM organizations LIMIT 1) o";
    ORGANIZATION_CLOSE = "UPDATE organizations SET deleted_at = $2, name = '' WHERE id = $1 AND deleted_at IS NULL";
    ORGANIZATION_KEYS_DESTROY = "DELETE FROM organization_keys WHERE organization_id = $1";
    MEMBERSHIPS_END = "DELETE FROM memberships WHERE organization_id = $1";
    ORGANIZATIONS_CLOSED = "SELECT id FROM organizations WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT $1";
    ORGANIZATION_REMOVE = "DELETE FROM organizations WHERE id = $1 AND deleted_at IS NOT NULL";
    MEMBERSHIP_ADD = "INSERT INTO memberships (organization_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)";
    MEMBERSHIP_LIST = "SELECT o.id, o.name, o.created_at, m.role FROM memberships m JOIN organizations o ON o.id = m.organization_id
        WHERE m.user_id = $1 ORDER BY o.name, o.id";
    MEMBERSHIP_FIND = "SELECT o.id, o.name, o.created_at, m.role FROM memberships m JOIN organizations o ON o.id = m.organization_id
        WHERE m.organization_id = $1 AND m.user_id = $2";
}

/// A person with what a log-in is checked against.
#[derive(Debug)]
pub struct Credentials {
    /// The person.
    pub user: User,
    /// Argon2id in PHC form.
    pub password_hash: String,
}

/// A signed-in browser.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id; not what the cookie carries.
    pub id: SessionId,
    /// Who is signed in.
    pub user: User,
}

#[derive(sqlx::FromRow)]
struct UserRow {
    id: String,
    email: String,
    name: String,
    password_hash: String,
}

#[derive(sqlx::FromRow)]
struct SessionRow {
    session_id: String,
    id: String,
    email: String,
    name: String,
}

#[derive(sqlx::FromRow)]
struct MembershipRow {
    id: String,
    name: String,
    created_at: i64,
    role: String,
}

fn corrupt(table: &'static str, column: &'static str) -> StoreError {
    StoreError::Corrupt { table, column }
}

fn membership(user: &UserId, r: MembershipRow) -> Result<Membership, StoreError> {
    Ok(Membership {
        organization: Organization {
            id: OrgId::parse(&r.id).ok_or_else(|| corrupt("organizations", "id"))?,
            name: r.name,
            created_at: Timestamp::from_millis(r.created_at),
        },
        user: user.clone(),
        role: Role::parse(&r.role).ok_or_else(|| corrupt("memberships", "role"))?,
    })
}

impl GlobalTx {
    /// Adds a person.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the e-mail address is taken.
    pub async fn user_add(
        &mut self,
        user: &User,
        password_hash: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            USER_ADD,
            user.id.as_str(),
            user.email.as_str(),
            user.name.as_str(),
            password_hash,
            now.millis()
        )?;
        Ok(())
    }

    /// The person with this (lower-cased) e-mail address.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn user_by_email(&mut self, email: &str) -> Result<Option<Credentials>, StoreError> {
        let Some(r) = rows!(fetch_optional, self, UserRow, USER_BY_EMAIL, email)? else { return Ok(None) };
        let id = UserId::parse(&r.id).ok_or_else(|| corrupt("users", "id"))?;
        Ok(Some(Credentials {
            user: User { id, email: r.email, name: r.name },
            password_hash: r.password_hash,
        }))
    }

    /// Signs a browser in; only the hash of its token is stored.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn session_add(
        &mut self,
        id: &SessionId,
        token_hash: &[u8],
        user: &UserId,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            SESSION_ADD,
            id.as_str(),
            token_hash,
            user.as_str(),
            now.millis(),
            expires_at.millis()
        )?;
        Ok(())
    }

    /// The session whose token has this hash, unless it is over.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn session_find(
        &mut self,
        token_hash: &[u8],
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let Some(r) = rows!(fetch_optional, self, SessionRow, SESSION_FIND, token_hash, now.millis())? else {
            return Ok(None);
        };
        Ok(Some(Session {
            id: SessionId::parse(&r.session_id).ok_or_else(|| corrupt("sessions", "id"))?,
            user: User {
                id: UserId::parse(&r.id).ok_or_else(|| corrupt("users", "id"))?,
                email: r.email,
                name: r.name,
            },
        }))
    }

    /// Signs a browser out.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn session_end(&mut self, id: &SessionId) -> Result<(), StoreError> {
        execute!(self, SESSION_END, id.as_str())?;
        Ok(())
    }

    /// Forgets sessions that are over.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn session_sweep(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        execute!(self, SESSION_SWEEP, now.millis())
    }

    /// Adds an organization with its first member.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn organization_add(&mut self, org: &Organization, owner: &UserId) -> Result<(), StoreError> {
        let at = org.created_at.millis();
        execute!(self, ORGANIZATION_ADD, org.id.as_str(), org.name.as_str(), at)?;
        self.membership_add(&org.id, owner, Role::Owner, org.created_at).await
    }

    /// An organization by its id, for the operator.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn organization_by_id(&mut self, id: &OrgId) -> Result<Option<Organization>, StoreError> {
        let row = rows!(fetch_optional, self, (String, String, i64), ORGANIZATION_BY_ID, id.as_str())?;
        row.map(|(id, name, created_at)| {
            let id = OrgId::parse(&id).ok_or(StoreError::Corrupt { table: "organizations", column: "id" })?;
            Ok(Organization { id, name, created_at: Timestamp::from_millis(created_at) })
        })
        .transpose()
    }

    /// Whether there is any organization.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn organization_any(&mut self) -> Result<bool, StoreError> {
        let (n,) = rows!(fetch_one, self, (i64,), ORGANIZATION_ANY)?;
        Ok(n > 0)
    }

    /// Ends an organization: its keys are destroyed, it has no members and no name. Its rows go step by step. `false` if it
    /// has ended already.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn organization_close(&mut self, org: &OrgCtx, now: Timestamp) -> Result<bool, StoreError> {
        let id = org.org().as_str();
        if execute!(self, ORGANIZATION_CLOSE, id, now.millis())? == 0 {
            return Ok(false);
        }
        execute!(self, ORGANIZATION_KEYS_DESTROY, id)?;
        execute!(self, MEMBERSHIPS_END, id)?;
        Ok(true)
    }

    /// Organizations that have ended and still have rows, with the proof that these may be deleted.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn organizations_closed(&mut self, limit: i64) -> Result<Vec<QueuedFor>, StoreError> {
        let rows = rows!(fetch_all, self, (String,), ORGANIZATIONS_CLOSED, limit)?;
        let proof = |(id,): (String,)| {
            OrgId::parse(&id).map(QueuedFor::row).ok_or_else(|| corrupt("organizations", "id"))
        };
        rows.into_iter().map(proof).collect()
    }

    /// Removes an organization that has ended, once its rows are gone.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn organization_remove(&mut self, org: &OrgCtx) -> Result<bool, StoreError> {
        Ok(execute!(self, ORGANIZATION_REMOVE, org.org().as_str())? == 1)
    }

    /// Adds a member.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the person is a member already.
    pub async fn membership_add(
        &mut self,
        org: &OrgId,
        user: &UserId,
        role: Role,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        execute!(self, MEMBERSHIP_ADD, org.as_str(), user.as_str(), role.as_str(), now.millis())?;
        Ok(())
    }

    /// Where a person is a member, by name of the organization.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn membership_list(&mut self, user: &UserId) -> Result<Vec<Membership>, StoreError> {
        let rows = rows!(fetch_all, self, MembershipRow, MEMBERSHIP_LIST, user.as_str())?;
        rows.into_iter().map(|r| membership(user, r)).collect()
    }

    /// A person's place in an organization; `None` for a stranger and for an organization that is not there.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn membership_find(
        &mut self,
        org: &OrgId,
        user: &UserId,
    ) -> Result<Option<Membership>, StoreError> {
        let row = rows!(fetch_optional, self, MembershipRow, MEMBERSHIP_FIND, org.as_str(), user.as_str())?;
        row.map(|r| membership(user, r)).transpose()
    }
}
