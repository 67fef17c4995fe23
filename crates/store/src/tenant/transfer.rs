//! Accounts that this organization releases to another.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::global::transfer::{Offer, OfferRow, offer};
use crate::statement::statements;
use agenstack_core::id::{IntegrationId, TransferId};

statements! { Tenant;
    TRANSFER_ADD = "INSERT INTO transfers (organization_id, id, integration_id, provider, external_id, label, to_organization_id,
            state, offered_by, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, 'offered', $8, $9, $10)";
    TRANSFER_OPEN = "SELECT organization_id, id, integration_id, provider, external_id, label, to_organization_id, created_at, expires_at
        FROM transfers WHERE organization_id = $1 AND integration_id = $2 AND state = 'offered'";
    TRANSFER_WITHDRAW = "UPDATE transfers SET state = 'withdrawn' WHERE organization_id = $1 AND integration_id = $2 AND state = 'offered'";
    TRANSFER_TAKEN = "UPDATE transfers SET state = 'accepted' WHERE organization_id = $1 AND id = $2 AND state = 'offered'";
}

impl TenantTx {
    /// Offers an account to another organization.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if it is on offer already.
    pub async fn transfer_add(&mut self, offer: &Offer, offered_by: &str) -> Result<(), StoreError> {
        execute!(
            self,
            TRANSFER_ADD,
            self.org.as_str(),
            offer.id.as_str(),
            offer.integration.as_str(),
            offer.provider.as_str(),
            offer.external_id.as_str(),
            offer.label.as_str(),
            offer.to.as_str(),
            offered_by,
            offer.created_at.millis(),
            offer.expires_at.millis(),
        )?;
        Ok(())
    }

    /// The open offer of a connection, whether its time is over or not.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn transfer_open(&mut self, it: &IntegrationId) -> Result<Option<Offer>, StoreError> {
        rows!(fetch_optional, self, OfferRow, TRANSFER_OPEN, self.org.as_str(), it.as_str())?
            .map(offer)
            .transpose()
    }

    /// Takes the open offer of a connection back. `false` if there is none.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn transfer_withdraw(&mut self, it: &IntegrationId) -> Result<bool, StoreError> {
        Ok(execute!(self, TRANSFER_WITHDRAW, self.org.as_str(), it.as_str())? == 1)
    }

    /// The other organization has authorized: the offer is over, in the transaction that ends the connection. `false`
    /// if it was taken back meanwhile.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn transfer_taken(&mut self, id: &TransferId) -> Result<bool, StoreError> {
        Ok(execute!(self, TRANSFER_TAKEN, self.org.as_str(), id.as_str())? == 1)
    }
}
