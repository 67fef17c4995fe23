//! Mails to the people of one organization.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::id::{HistoryId, IntegrationId, MailId, UserId};

statements! { Tenant;
    MAIL_ADD = "INSERT INTO outbox (organization_id, id, notice, user_id, address, subject, body, state, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (organization_id, notice, user_id) DO NOTHING";
    MAIL_FIND = "SELECT address, subject, body FROM outbox WHERE organization_id = $1 AND id = $2 AND state = 'queued'";
    MAIL_ENDED = "UPDATE outbox SET state = $3, sent_at = $4, last_error = $5 WHERE organization_id = $1 AND id = $2 AND state = 'queued'";
    // What lets somebody in is not kept once it has left.
    MAIL_EMPTY = "UPDATE outbox SET body = $3 WHERE organization_id = $1 AND id = $2 AND state <> 'queued'";
    MAIL_WRITTEN = "SELECT COUNT(*) FROM outbox WHERE organization_id = $1 AND notice = $2 AND user_id = $3";
    MAIL_NOTICED = "SELECT COUNT(*) FROM outbox o JOIN integration_history h ON h.organization_id = o.organization_id AND h.id = o.notice
        WHERE o.organization_id = $1 AND h.integration_id = $2 AND h.code = $3 AND h.id <> $4 AND o.created_at > $5";
}

/// A mail that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// To whom.
    pub address: String,
    /// Its subject, one line.
    pub subject: String,
    /// Its text.
    pub body: String,
}

/// What becomes of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailState {
    /// It is to be sent.
    Queued,
    /// The mail server has taken it.
    Sent,
    /// The mail server refused it for good, or did not answer for about a day.
    Failed,
    /// There is no mail server: the operator reads it.
    Kept,
}

impl MailState {
    /// The word that stands for it in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Kept => "kept",
        }
    }
}

impl TenantTx {
    /// Writes a mail about something, such as a change of state, to one person. `false` if that person has one about it
    /// already.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn mail_add(
        &mut self,
        id: &MailId,
        notice: &str,
        to: &UserId,
        letter: &Letter,
        state: MailState,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let n = execute!(
            self,
            MAIL_ADD,
            self.org.as_str(),
            id.as_str(),
            notice,
            to.as_str(),
            letter.address.as_str(),
            letter.subject.as_str(),
            letter.body.as_str(),
            state.as_str(),
            now.millis(),
        )?;
        Ok(n == 1)
    }

    /// A mail that is still to be sent.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn mail_find(&mut self, id: &MailId) -> Result<Option<Letter>, StoreError> {
        let row =
            rows!(fetch_optional, self, (String, String, String), MAIL_FIND, self.org.as_str(), id.as_str())?;
        Ok(row.map(|(address, subject, body)| Letter { address, subject, body }))
    }

    /// What became of a mail that was to be sent. `false` if that is known already.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn mail_ended(
        &mut self,
        id: &MailId,
        state: MailState,
        at: Timestamp,
        error: Option<&str>,
    ) -> Result<bool, StoreError> {
        let sent = (state == MailState::Sent).then_some(at.millis());
        let (org, id) = (self.org.as_str(), id.as_str());
        Ok(execute!(self, MAIL_ENDED, org, id, state.as_str(), sent, error)? == 1)
    }

    /// Puts another text in the place of a mail's that has ended.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn mail_empty(&mut self, id: &MailId, body: &str) -> Result<bool, StoreError> {
        Ok(execute!(self, MAIL_EMPTY, self.org.as_str(), id.as_str(), body)? == 1)
    }

    /// Whether somebody was written to about something.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn mail_written(&mut self, notice: &str, to: &UserId) -> Result<bool, StoreError> {
        let (n,) = rows!(fetch_one, self, (i64,), MAIL_WRITTEN, self.org.as_str(), notice, to.as_str())?;
        Ok(n > 0)
    }

    /// Whether somebody was written to about a connection for the same reason, by another notice, since then.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn mail_noticed(
        &mut self,
        it: &IntegrationId,
        code: &str,
        notice: &HistoryId,
        since: Timestamp,
    ) -> Result<bool, StoreError> {
        let (org, it, notice) = (self.org.as_str(), it.as_str(), notice.as_str());
        let (n,) = rows!(fetch_one, self, (i64,), MAIL_NOTICED, org, it, code, notice, since.millis())?;
        Ok(n > 0)
    }
}
