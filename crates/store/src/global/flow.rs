//! Consuming an authorization: before it, nobody knows whose it is.

use crate::db::{GlobalTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::id::{FlowId, IntegrationId, OrgId, SessionId, UserId};
use agenstack_core::integration::Provider;
use agenstack_core::sealed::Sealed;

statements! { Global;
    // One statement finds and burns it, so that of two callbacks with one state one finds nothing.
    FLOW_CONSUME = "UPDATE oauth_flows SET consumed_at = $4
        WHERE state_hash = $1 AND provider = $2 AND session_id = $3 AND consumed_at IS NULL AND expires_at > $4
        RETURNING organization_id, id, user_id, session_id, provider, account, reconnects, verifier, client_id, client_secret,
            created_at, expires_at";
    FLOW_SWEEP = "DELETE FROM oauth_flows WHERE expires_at <= $1";
}

/// An authorization that was begun: bound to user, browser session, organization, provider and account.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its id.
    pub id: FlowId,
    /// For which organization.
    pub org: OrgId,
    /// Who began it.
    pub user: UserId,
    /// In which browser.
    pub session: SessionId,
    /// With whom.
    pub provider: Provider,
    /// Shop domain or Kustomer subdomain; empty for Messenger, where the person chooses later.
    pub account: String,
    /// The connection it is to mend, if it is a reconnect.
    pub reconnects: Option<IntegrationId>,
    /// PKCE verifier: `oauth_flows.verifier` of row `id`.
    pub verifier: Option<Sealed>,
    /// The merchant's own app, where the flow goes through one.
    pub client: Option<FlowClient>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When its state stops being good.
    pub expires_at: Timestamp,
}

/// A merchant's own app at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowClient {
    /// Public.
    pub id: String,
    /// `oauth_flows.client_secret` of the flow's row.
    pub secret: Sealed,
}

#[derive(sqlx::FromRow)]
struct Row {
    organization_id: String,
    id: String,
    user_id: String,
    session_id: String,
    provider: String,
    account: String,
    reconnects: Option<String>,
    verifier: Option<Vec<u8>>,
    client_id: Option<String>,
    client_secret: Option<Vec<u8>>,
    created_at: i64,
    expires_at: i64,
}

impl GlobalTx {
    /// Finds and burns the flow with this state, if it is of this provider and session, unused and not too old.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn flow_consume(
        &mut self,
        state_hash: &[u8],
        provider: Provider,
        session: &SessionId,
        now: Timestamp,
    ) -> Result<Option<Flow>, StoreError> {
        let row = rows!(
            fetch_optional,
            self,
            Row,
            FLOW_CONSUME,
            state_hash,
            provider.as_str(),
            session.as_str(),
            now.millis()
        )?;
        let Some(r) = row else { return Ok(None) };
        let corrupt = |column| StoreError::Corrupt { table: "oauth_flows", column };
        Ok(Some(Flow {
            id: FlowId::parse(&r.id).ok_or_else(|| corrupt("id"))?,
            org: OrgId::parse(&r.organization_id).ok_or_else(|| corrupt("organization_id"))?,
            user: UserId::parse(&r.user_id).ok_or_else(|| corrupt("user_id"))?,
            session: SessionId::parse(&r.session_id).ok_or_else(|| corrupt("session_id"))?,
            provider: Provider::parse(&r.provider).ok_or_else(|| corrupt("provider"))?,
            account: r.account,
            reconnects: r.reconnects.as_deref().and_then(IntegrationId::parse),
            verifier: r.verifier.map(Sealed::from_bytes),
            client: r
                .client_id
                .zip(r.client_secret)
                .map(|(id, secret)| FlowClient { id, secret: Sealed::from_bytes(secret) }),
            created_at: Timestamp::from_millis(r.created_at),
            expires_at: Timestamp::from_millis(r.expires_at),
        }))
    }

    /// Forgets flows that are over.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn flow_sweep(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        execute!(self, FLOW_SWEEP, now.millis())
    }
}
