//! Accounts on offer to an organization: whose they are now, the one that may take them has to learn.

use crate::db::{GlobalTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::{OrgCtx, QueuedFor};
use agenstack_core::id::{IntegrationId, OrgId, TransferId};
use agenstack_core::integration::Provider;

statements! { Global;
    TRANSFER_OFFERS = "SELECT t.organization_id, t.id, t.integration_id, t.provider, t.external_id, t.label, t.to_organization_id,
            t.created_at, t.expires_at, o.name FROM transfers t JOIN organizations o ON o.id = t.organization_id
        WHERE t.to_organization_id = $1 AND t.state = 'offered' AND t.expires_at > $2 ORDER BY t.id";
    TRANSFER_DECLINE = "UPDATE transfers SET state = 'declined' WHERE to_organization_id = $1 AND id = $2 AND state = 'offered'";
}

/// An account on offer.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Its id.
    pub id: TransferId,
    /// Who releases it.
    pub from: OrgId,
    /// The connection that ends when it is taken.
    pub integration: IntegrationId,
    /// Whose account it is.
    pub provider: Provider,
    /// The account.
    pub external_id: String,
    /// What people call the account.
    pub label: String,
    /// Who may take it.
    pub to: OrgId,
    /// When it was offered.
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
}

/// An offer as the one sees it who may take it.
#[derive(Clone, Debug)]
pub struct Offered {
    /// The offer.
    pub offer: Offer,
    /// The name of the organization that releases it.
    pub from_name: String,
    /// The proof to end the connection there, once the account is taken.
    pub proof: QueuedFor,
}

#[derive(sqlx::FromRow)]
pub(crate) struct OfferRow {
    organization_id: String,
    id: String,
    integration_id: String,
    provider: String,
    external_id: String,
    label: String,
    to_organization_id: String,
    created_at: i64,
    expires_at: i64,
}

#[derive(sqlx::FromRow)]
struct OfferedRow {
    #[sqlx(flatten)]
    offer: OfferRow,
    name: String,
}

pub(crate) fn offer(r: OfferRow) -> Result<Offer, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "transfers", column };
    Ok(Offer {
        id: TransferId::parse(&r.id).ok_or_else(|| corrupt("id"))?,
        from: OrgId::parse(&r.organization_id).ok_or_else(|| corrupt("organization_id"))?,
        integration: IntegrationId::parse(&r.integration_id).ok_or_else(|| corrupt("integration_id"))?,
        provider: Provider::parse(&r.provider).ok_or_else(|| corrupt("provider"))?,
        external_id: r.external_id,
        label: r.label,
        to: OrgId::parse(&r.to_organization_id).ok_or_else(|| corrupt("to_organization_id"))?,
        created_at: Timestamp::from_millis(r.created_at),
        expires_at: Timestamp::from_millis(r.expires_at),
    })
}

impl GlobalTx {
    /// What is on offer to the organization.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn transfer_offers(&mut self, to: &OrgCtx, now: Timestamp) -> Result<Vec<Offered>, StoreError> {
        let rows = rows!(fetch_all, self, OfferedRow, TRANSFER_OFFERS, to.org().as_str(), now.millis())?;
        rows.into_iter()
            .map(|r| {
                let offer = offer(r.offer)?;
                Ok(Offered { proof: QueuedFor::row(offer.from.clone()), offer, from_name: r.name })
            })
            .collect()
    }

    /// The organization does not want it. `false` if it is not on offer to it.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn transfer_decline(&mut self, to: &OrgCtx, id: &TransferId) -> Result<bool, StoreError> {
        Ok(execute!(self, TRANSFER_DECLINE, to.org().as_str(), id.as_str())? == 1)
    }
}
