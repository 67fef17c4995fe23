//! Authorizations that were begun.

use crate::db::{TenantTx, execute};
use crate::error::StoreError;
use crate::global::flow::Flow;
use crate::statement::statements;

statements! { Tenant;
    FLOW_ADD = "INSERT INTO oauth_flows (organization_id, id, state_hash, user_id, session_id, provider, account, reconnects,
            verifier, created_at, expires_at, client_id, client_secret)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
}

impl TenantTx {
    /// Records a begun authorization; `state_hash` is the hash of what the browser carries.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn flow_add(&mut self, flow: &Flow, state_hash: &[u8]) -> Result<(), StoreError> {
        execute!(
            self,
            FLOW_ADD,
            self.org.as_str(),
            flow.id.as_str(),
            state_hash,
            flow.user.as_str(),
            flow.session.as_str(),
            flow.provider.as_str(),
            flow.account.as_str(),
            flow.reconnects.as_ref().map(|id| id.as_str()),
            flow.verifier.as_ref().map(|v| v.as_bytes()),
            flow.created_at.millis(),
            flow.expires_at.millis(),
            flow.client.as_ref().map(|c| c.id.as_str()),
            flow.client.as_ref().map(|c| c.secret.as_bytes()),
        )?;
        Ok(())
    }
}
