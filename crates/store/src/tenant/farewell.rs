//! Ended connections whose provider has not been told yet, with the sealed tokens that this takes.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::id::{FarewellId, IntegrationId};
use agenstack_core::integration::AccountIdentifier;
use agenstack_core::sealed::Sealed;

statements! { Tenant;
    FAREWELL_ADD = "INSERT INTO farewells (organization_id, id, integration_id, account_identifier, webhook_id, access_token, refresh_token, created_at,
            client_id, client_secret)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    FAREWELL_FIND = "SELECT id, integration_id, account_identifier, webhook_id, access_token, refresh_token, created_at, client_id, client_secret
        FROM farewells WHERE organization_id = $1 AND id = $2";
    FAREWELL_TOKENS = "UPDATE farewells SET access_token = $3, refresh_token = $4 WHERE organization_id = $1 AND id = $2";
    FAREWELL_END = "DELETE FROM farewells WHERE organization_id = $1 AND id = $2";
}

/// What is still to be said to a provider.
#[derive(Clone, Debug)]
pub struct Farewell {
    /// Its id.
    pub id: FarewellId,
    /// The connection that ended.
    pub integration: IntegrationId,
    /// The account.
    pub account: AccountIdentifier,
    /// The provider's id of the subscription to remove, where it has one.
    pub webhook_id: Option<String>,
    /// `farewells.access_token` of row `id`.
    pub access_token: Option<Sealed>,
    /// `farewells.refresh_token` of row `id`.
    pub refresh_token: Option<Sealed>,
    /// The merchant's own app, where the connection lived by one.
    pub client_id: Option<String>,
    /// `farewells.client_secret` of row `id`.
    pub client_secret: Option<Sealed>,
    /// When the connection ended.
    pub created_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    integration_id: String,
    account_identifier: String,
    webhook_id: Option<String>,
    access_token: Option<Vec<u8>>,
    refresh_token: Option<Vec<u8>>,
    created_at: i64,
    client_id: Option<String>,
    client_secret: Option<Vec<u8>>,
}

impl TenantTx {
    /// Keeps what is to be said, in the transaction that ends the connection.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn farewell_add(&mut self, f: &Farewell) -> Result<(), StoreError> {
        execute!(
            self,
            FAREWELL_ADD,
            self.org.as_str(),
            f.id.as_str(),
            f.integration.as_str(),
            serde_json::to_string(&f.account).expect("an account is always JSON"),
            f.webhook_id.as_deref(),
            f.access_token.as_ref().map(Sealed::as_bytes),
            f.refresh_token.as_ref().map(Sealed::as_bytes),
            f.created_at.millis(),
            f.client_id.as_deref(),
            f.client_secret.as_ref().map(Sealed::as_bytes),
        )?;
        Ok(())
    }

    /// What is still to be said; `None` once it was.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn farewell_find(&mut self, id: &FarewellId) -> Result<Option<Farewell>, StoreError> {
        let Some(r) = rows!(fetch_optional, self, Row, FAREWELL_FIND, self.org.as_str(), id.as_str())? else {
            return Ok(None);
        };
        let corrupt = |column| StoreError::Corrupt { table: "farewells", column };
        Ok(Some(Farewell {
            id: FarewellId::parse(&r.id).ok_or_else(|| corrupt("id"))?,
            integration: IntegrationId::parse(&r.integration_id).ok_or_else(|| corrupt("integration_id"))?,
            account: serde_json::from_str(&r.account_identifier)
                .map_err(|_| corrupt("account_identifier"))?,
            webhook_id: r.webhook_id,
            access_token: r.access_token.map(Sealed::from_bytes),
            refresh_token: r.refresh_token.map(Sealed::from_bytes),
            client_id: r.client_id,
            client_secret: r.client_secret.map(Sealed::from_bytes),
            created_at: Timestamp::from_millis(r.created_at),
        }))
    }

    /// Stores a pair that was renewed to say it with. `false` if it was said meanwhile.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn farewell_tokens(
        &mut self,
        id: &FarewellId,
        access: &Sealed,
        refresh: Option<&Sealed>,
    ) -> Result<bool, StoreError> {
        let refresh = refresh.map(Sealed::as_bytes);
        Ok(execute!(self, FAREWELL_TOKENS, self.org.as_str(), id.as_str(), access.as_bytes(), refresh)? == 1)
    }

    /// It was said, or given up: the tokens are erased. `false` if they were already.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn farewell_end(&mut self, id: &FarewellId) -> Result<bool, StoreError> {
        Ok(execute!(self, FAREWELL_END, self.org.as_str(), id.as_str())? == 1)
    }
}
