//! Whose account is it?

use crate::db::{GlobalTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::Route;
use agenstack_core::id::{IntegrationId, OrgId};
use agenstack_core::integration::Provider;
use agenstack_core::sealed::Sealed;

statements! { Global;
    ROUTE_BY_ACCOUNT = "SELECT organization_id, id, generation, external_id, acting_user_id, webhook_secret FROM integrations
        WHERE provider = $1 AND external_id = $2 AND status <> 'disconnected'";
    ROUTE_BY_ID = "SELECT organization_id, id, generation, external_id, acting_user_id, webhook_secret FROM integrations
        WHERE provider = $1 AND id = $2 AND status <> 'disconnected'";
    ROUTE_SEEN = "UPDATE integrations SET last_event_at = $2 WHERE id = $1";
}

/// The owner of an account, with what a webhook of it is verified against.
#[derive(Clone, Debug)]
pub struct Owned {
    /// The organization and its connection.
    pub route: Route,
    /// The account.
    pub external_id: String,
    /// Whom we act as there.
    pub acting_user_id: Option<String>,
    /// `integrations.webhook_secret` of the connection's row, where the provider signs per connection.
    pub webhook_secret: Option<Sealed>,
}

#[derive(sqlx::FromRow)]
struct Row {
    organization_id: String,
    id: String,
    generation: i64,
    external_id: String,
    acting_user_id: Option<String>,
    webhook_secret: Option<Vec<u8>>,
}

fn owned(r: Row) -> Result<Owned, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "integrations", column };
    Ok(Owned {
        route: Route {
            org: OrgId::parse(&r.organization_id).ok_or_else(|| corrupt("organization_id"))?,
            integration: IntegrationId::parse(&r.id).ok_or_else(|| corrupt("id"))?,
            generation: r.generation,
        },
        external_id: r.external_id,
        acting_user_id: r.acting_user_id,
        webhook_secret: r.webhook_secret.map(Sealed::from_bytes),
    })
}

impl GlobalTx {
    /// The owner of an account; `None` if nobody has it connected.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn route_by_account(
        &mut self,
        provider: Provider,
        external_id: &str,
    ) -> Result<Option<Owned>, StoreError> {
        rows!(fetch_optional, self, Row, ROUTE_BY_ACCOUNT, provider.as_str(), external_id)?
            .map(owned)
            .transpose()
    }

    /// The owner of a connection that has its own webhook address.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn route_by_id(
        &mut self,
        provider: Provider,
        id: &IntegrationId,
    ) -> Result<Option<Owned>, StoreError> {
        rows!(fetch_optional, self, Row, ROUTE_BY_ID, provider.as_str(), id.as_str())?.map(owned).transpose()
    }

    /// An event of this connection came in.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn route_seen(&mut self, id: &IntegrationId, at: Timestamp) -> Result<(), StoreError> {
        execute!(self, ROUTE_SEEN, id.as_str(), at.millis())?;
        Ok(())
    }
}
