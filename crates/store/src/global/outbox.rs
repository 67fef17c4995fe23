//! Mails across organizations: whom to write to, and what the operator reads.

use crate::db::{GlobalTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::UserId;
use agenstack_core::org::User;

statements! { Global;
    // Of one organization; global because a tenant's transaction may not read people.
    RECIPIENTS = "SELECT u.id, u.email, u.name FROM memberships m JOIN users u ON u.id = m.user_id
        WHERE m.organization_id = $1 AND m.role IN ('owner', 'admin') ORDER BY u.id";
    OUTBOX_LIST = "SELECT id, address, subject, body, state, created_at, sent_at, last_error FROM outbox
        WHERE ($1 = '' OR id < $1) ORDER BY id DESC LIMIT $2";
    OUTBOX_SWEEP = "DELETE FROM outbox WHERE created_at <= $1";
}

/// A mail as the operator reads it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Mail {
    /// Its id; later mails have greater ones.
    pub id: String,
    /// To whom.
    pub address: String,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub body: String,
    /// `queued`, `sent`, `failed` or `kept`.
    pub state: String,
    /// When it was written, in milliseconds since 1970.
    pub created_at: i64,
    /// When the mail server took it.
    pub sent_at: Option<i64>,
    /// Why it could not be sent.
    pub last_error: Option<String>,
}

impl GlobalTx {
    /// The owners and admins of an organization.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn recipients(&mut self, org: &OrgCtx) -> Result<Vec<User>, StoreError> {
        let rows = rows!(fetch_all, self, (String, String, String), RECIPIENTS, org.org().as_str())?;
        rows.into_iter()
            .map(|(id, email, name)| {
                let id = UserId::parse(&id).ok_or(StoreError::Corrupt { table: "users", column: "id" })?;
                Ok(User { id, email, name })
            })
            .collect()
    }

    /// Mails of all organizations, newest first; `before` is the id of the last one seen.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn outbox_list(&mut self, before: Option<&str>, limit: i64) -> Result<Vec<Mail>, StoreError> {
        rows!(fetch_all, self, Mail, OUTBOX_LIST, before.unwrap_or(""), limit)
    }

    /// Forgets mails that are old.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn outbox_sweep(&mut self, until: Timestamp) -> Result<u64, StoreError> {
        execute!(self, OUTBOX_SWEEP, until.millis())
    }
}
