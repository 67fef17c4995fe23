//! Pages that the last Messenger authorization offered, each with its sealed token until one is chosen.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use crate::tenant::{list_from_text, list_to_text};
use agenstack_core::clock::Timestamp;
use agenstack_core::id::IntegrationId;
use agenstack_core::sealed::Sealed;

statements! { Tenant;
    OFFER_CLEAR = "DELETE FROM page_offers WHERE organization_id = $1";
    OFFER_REMOVE = "DELETE FROM page_offers WHERE organization_id = $1 AND page_id = $2";
    OFFER_ADD = "INSERT INTO page_offers (organization_id, page_id, name, reason, access_token, scopes, acting_user_id, reconnects,
            offered_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    OFFER_LIST = "SELECT page_id, name, reason, access_token, scopes, acting_user_id, reconnects, offered_at
        FROM page_offers WHERE organization_id = $1 AND offered_at > $2 ORDER BY name, page_id";
}

/// A page on offer.
#[derive(Clone, Debug)]
pub struct PageOffer {
    /// The page.
    pub page_id: String,
    /// Its name.
    pub name: String,
    /// Why it cannot be chosen, in plain words; `None` if it can.
    pub reason: Option<String>,
    /// Its token: `page_offers.access_token` of row `page_id`.
    pub access_token: Option<Sealed>,
    /// What was granted.
    pub scopes: Vec<String>,
    /// App-scoped id of the person who authorized.
    pub acting_user_id: String,
    /// The connection this authorization is to mend; then only its page can be chosen.
    pub reconnects: Option<IntegrationId>,
    /// When it was offered.
    pub offered_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Row {
    page_id: String,
    name: String,
    reason: Option<String>,
    access_token: Option<Vec<u8>>,
    scopes: String,
    acting_user_id: String,
    reconnects: Option<String>,
    offered_at: i64,
}

impl TenantTx {
    /// Replaces what was offered before.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn offer_replace(&mut self, offers: &[PageOffer]) -> Result<(), StoreError> {
        execute!(self, OFFER_CLEAR, self.org.as_str())?;
        for offer in offers {
            execute!(
                self,
                OFFER_ADD,
                self.org.as_str(),
                offer.page_id.as_str(),
                offer.name.as_str(),
                offer.reason.as_deref(),
                offer.access_token.as_ref().map(Sealed::as_bytes),
                list_to_text(&offer.scopes),
                offer.acting_user_id.as_str(),
                offer.reconnects.as_ref().map(|id| id.as_str()),
                offer.offered_at.millis(),
            )?;
        }
        Ok(())
    }

    /// What was offered after `since`, by name.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn offer_list(&mut self, since: Timestamp) -> Result<Vec<PageOffer>, StoreError> {
        let rows = rows!(fetch_all, self, Row, OFFER_LIST, self.org.as_str(), since.millis())?;
        rows.into_iter()
            .map(|r| {
                Ok(PageOffer {
                    scopes: list_from_text(&r.scopes, "page_offers", "scopes")?,
                    page_id: r.page_id,
                    name: r.name,
                    reason: r.reason,
                    access_token: r.access_token.map(Sealed::from_bytes),
                    acting_user_id: r.acting_user_id,
                    reconnects: r.reconnects.as_deref().and_then(IntegrationId::parse),
                    offered_at: Timestamp::from_millis(r.offered_at),
                })
            })
            .collect()
    }

    /// Forgets the offer of a page, with its token, once it is connected.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn offer_remove(&mut self, page_id: &str) -> Result<(), StoreError> {
        execute!(self, OFFER_REMOVE, self.org.as_str(), page_id)?;
        Ok(())
    }
}
