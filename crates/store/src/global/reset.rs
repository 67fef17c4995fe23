//! Ways to a new password: good once, for a while, known by a hash.

use crate::db::{GlobalTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::id::{ResetId, UserId};
use agenstack_core::org::User;

statements! { Global;
    RESET_ADD = "INSERT INTO password_resets (id, token_hash, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)";
    RESET_FIND = "SELECT u.id, u.email, u.name FROM password_resets r JOIN users u ON u.id = r.user_id
        WHERE r.token_hash = $1 AND r.used_at IS NULL AND r.expires_at > $2";
    RESET_CONSUME = "UPDATE password_resets SET used_at = $2 WHERE token_hash = $1 AND used_at IS NULL AND expires_at > $2
        RETURNING user_id";
    RESET_END = "UPDATE password_resets SET used_at = $2 WHERE user_id = $1 AND used_at IS NULL";
    RESET_SWEEP = "DELETE FROM password_resets WHERE expires_at <= $1";
    USER_PASSWORD = "UPDATE users SET password_hash = $2 WHERE id = $1";
    SESSIONS_END = "DELETE FROM sessions WHERE user_id = $1";
}

fn corrupt() -> StoreError {
    StoreError::Corrupt { table: "password_resets", column: "user_id" }
}

impl GlobalTx {
    /// Opens a way to a new password; only the hash of its token is stored.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn reset_add(
        &mut self,
        id: &ResetId,
        token_hash: &[u8],
        user: &UserId,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        execute!(self, RESET_ADD, id.as_str(), token_hash, user.as_str(), now.millis(), expires_at.millis())?;
        Ok(())
    }

    /// Whose way this is; `None` if it was used, is over, or never was.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn reset_find(
        &mut self,
        token_hash: &[u8],
        now: Timestamp,
    ) -> Result<Option<User>, StoreError> {
        type Row = (String, String, String);
        let row = rows!(fetch_optional, self, Row, RESET_FIND, token_hash, now.millis())?;
        let read = |(id, email, name): Row| Some(User { id: UserId::parse(&id)?, email, name });
        row.map(|r| read(r).ok_or_else(corrupt)).transpose()
    }

    /// Takes the way, once: whose it was, or `None`.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn reset_consume(
        &mut self,
        token_hash: &[u8],
        now: Timestamp,
    ) -> Result<Option<UserId>, StoreError> {
        let row = rows!(fetch_optional, self, (String,), RESET_CONSUME, token_hash, now.millis())?;
        row.map(|(id,)| UserId::parse(&id).ok_or_else(corrupt)).transpose()
    }

    /// Gives a person another password. Whoever is signed in as them is not any more, and no other way stays open.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn password_set(
        &mut self,
        user: &UserId,
        hash: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        execute!(self, USER_PASSWORD, user.as_str(), hash)?;
        execute!(self, SESSIONS_END, user.as_str())?;
        execute!(self, RESET_END, user.as_str(), now.millis())?;
        Ok(())
    }

    /// Forgets ways that are over.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn reset_sweep(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        execute!(self, RESET_SWEEP, now.millis())
    }
}
