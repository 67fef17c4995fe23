//! What Shopify asks of us on behalf of a shop's customer, or once a shop is gone (`shopify.md` 2.6).

use crate::clock::Timestamp;
use crate::id::{EventId, IntegrationId, PrivacyRequestId};
use crate::policy::words;
use serde::{Deserialize, Serialize};

words! {
    /// What is asked; the word is Shopify's topic.
    PrivacyKind {
        /// A customer wants to know what is held of them.
        DataRequest = "customers/data_request",
        /// A customer wants it erased.
        CustomerRedact = "customers/redact",
        /// The shop was uninstalled two days ago: what came from it is to be erased.
        ShopRedact = "shop/redact",
    }
}

/// Until when a request has to be done.
pub const PRIVACY_DUE_SECS: i64 = 30 * 86_400;
/// How long an export is kept for the organization to fetch.
pub const EXPORT_KEPT_SECS: i64 = 30 * 86_400;

/// A request of one organization. Holds nothing that tells who the customer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivacyRequest {
    /// Its id.
    pub id: PrivacyRequestId,
    /// The connection to the shop, ended or not.
    pub integration_id: IntegrationId,
    /// The event it came in by.
    pub event_id: EventId,
    /// What is asked.
    pub kind: PrivacyKind,
    /// Shopify's id of the delivery.
    pub external_ref: String,
    /// When it came.
    pub received_at: Timestamp,
    /// When it was done.
    pub done_at: Option<Timestamp>,
    /// Until when the export is kept; none if there is none, or no more.
    pub expires_at: Option<Timestamp>,
    /// What was done, signed.
    pub receipt: Option<String>,
}
