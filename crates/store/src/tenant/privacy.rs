//! Privacy requests of one organization, their exports sealed.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::id::{EventId, IntegrationId, PrivacyRequestId};
use agenstack_core::privacy::{PrivacyKind, PrivacyRequest};
use agenstack_core::sealed::Sealed;

macro_rules! columns {
    () => {
        "id, integration_id, event_id, kind, external_ref, received_at, done_at, expires_at, receipt"
    };
}

statements! { Tenant;
    PRIVACY_ADD = "INSERT INTO privacy_requests (organization_id, id, integration_id, event_id, kind, external_ref, received_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (organization_id, event_id) DO NOTHING";
    PRIVACY_BY_EVENT = concat!("SELECT ", columns!(), " FROM privacy_requests WHERE organization_id = $1 AND event_id = $2");
    PRIVACY_FIND = concat!("SELECT ", columns!(), " FROM privacy_requests WHERE organization_id = $1 AND id = $2");
    PRIVACY_LIST = concat!("SELECT ", columns!(), " FROM privacy_requests
        WHERE organization_id = $1 AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT $3");
    PRIVACY_DONE = "UPDATE privacy_requests SET done_at = $3, receipt = $4, export = $5, expires_at = $6
        WHERE organization_id = $1 AND id = $2 AND done_at IS NULL";
    PRIVACY_EXPORT = "SELECT export FROM privacy_requests WHERE organization_id = $1 AND id = $2 AND export IS NOT NULL";
    PRIVACY_EXPORTS = "SELECT id, integration_id, export FROM privacy_requests
        WHERE organization_id = $1 AND id > $2 AND export IS NOT NULL ORDER BY id LIMIT $3";
    PRIVACY_EXPORT_ERASE = "UPDATE privacy_requests SET export = NULL, expires_at = NULL
        WHERE organization_id = $1 AND id = $2 AND export IS NOT NULL";
}

/// A kept export: `privacy_requests.export` of row `id`.
#[derive(Clone, Debug)]
pub struct StoredExport {
    /// The request it was made for.
    pub id: PrivacyRequestId,
    /// The connection of that request.
    pub integration_id: IntegrationId,
    /// The export, sealed.
    pub export: Sealed,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    integration_id: String,
    event_id: String,
    kind: String,
    external_ref: String,
    received_at: i64,
    done_at: Option<i64>,
    expires_at: Option<i64>,
    receipt: Option<String>,
}

fn corrupt(column: &'static str) -> StoreError {
    StoreError::Corrupt { table: "privacy_requests", column }
}

fn request(r: Row) -> Result<PrivacyRequest, StoreError> {
    Ok(PrivacyRequest {
        id: PrivacyRequestId::parse(&r.id).ok_or_else(|| corrupt("id"))?,
        integration_id: IntegrationId::parse(&r.integration_id).ok_or_else(|| corrupt("integration_id"))?,
        event_id: EventId::parse(&r.event_id).ok_or_else(|| corrupt("event_id"))?,
        kind: PrivacyKind::parse(&r.kind).ok_or_else(|| corrupt("kind"))?,
        external_ref: r.external_ref,
        received_at: Timestamp::from_millis(r.received_at),
        done_at: r.done_at.map(Timestamp::from_millis),
        expires_at: r.expires_at.map(Timestamp::from_millis),
        receipt: r.receipt,
    })
}

impl TenantTx {
    /// Notes a request, unless its event has noted one; gives the one that stands.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn privacy_open(&mut self, fresh: &PrivacyRequest) -> Result<PrivacyRequest, StoreError> {
        execute!(
            self,
            PRIVACY_ADD,
            self.org.as_str(),
            fresh.id.as_str(),
            fresh.integration_id.as_str(),
            fresh.event_id.as_str(),
            fresh.kind.as_str(),
            fresh.external_ref.as_str(),
            fresh.received_at.millis()
        )?;
        let row = rows!(fetch_one, self, Row, PRIVACY_BY_EVENT, self.org.as_str(), fresh.event_id.as_str())?;
        request(row)
    }

    /// One request.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn privacy_find(
        &mut self,
        id: &PrivacyRequestId,
    ) -> Result<Option<PrivacyRequest>, StoreError> {
        let row = rows!(fetch_optional, self, Row, PRIVACY_FIND, self.org.as_str(), id.as_str())?;
        row.map(request).transpose()
    }

    /// Newest first; `before` is the id of the last one seen.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn privacy_list(
        &mut self,
        before: Option<&PrivacyRequestId>,
        limit: i64,
    ) -> Result<Vec<PrivacyRequest>, StoreError> {
        let before = before.map_or("", PrivacyRequestId::as_str);
        let rows = rows!(fetch_all, self, Row, PRIVACY_LIST, self.org.as_str(), before, limit)?;
        rows.into_iter().map(request).collect()
    }

    /// The request is done, with its receipt and, if it has one, its export and until when that is kept. `false` if it
    /// was done before.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn privacy_done(
        &mut self,
        id: &PrivacyRequestId,
        at: Timestamp,
        receipt: &str,
        export: Option<(&Sealed, Timestamp)>,
    ) -> Result<bool, StoreError> {
        let n = execute!(
            self,
            PRIVACY_DONE,
            self.org.as_str(),
            id.as_str(),
            at.millis(),
            receipt,
            export.map(|(sealed, _)| sealed.as_bytes()),
            export.map(|(_, until)| until.millis()),
        )?;
        Ok(n == 1)
    }

    /// The export of a request, if it is still kept.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn privacy_export(&mut self, id: &PrivacyRequestId) -> Result<Option<Sealed>, StoreError> {
        let row = rows!(fetch_optional, self, (Vec<u8>,), PRIVACY_EXPORT, self.org.as_str(), id.as_str())?;
        Ok(row.map(|(bytes,)| Sealed::from_bytes(bytes)))
    }

    /// The exports that are kept, in the order of their requests, after the last one seen.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn privacy_exports(
        &mut self,
        after: Option<&PrivacyRequestId>,
        limit: i64,
    ) -> Result<Vec<StoredExport>, StoreError> {
        let after = after.map_or("", PrivacyRequestId::as_str);
        type Kept = (String, String, Vec<u8>);
        let rows = rows!(fetch_all, self, Kept, PRIVACY_EXPORTS, self.org.as_str(), after, limit)?;
        rows.into_iter()
            .map(|(id, integration, export)| {
                Ok(StoredExport {
                    id: PrivacyRequestId::parse(&id).ok_or_else(|| corrupt("id"))?,
                    integration_id: IntegrationId::parse(&integration)
                        .ok_or_else(|| corrupt("integration_id"))?,
                    export: Sealed::from_bytes(export),
                })
            })
            .collect()
    }

    /// Forgets an export. `false` if there is none.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn privacy_export_erase(&mut self, id: &PrivacyRequestId) -> Result<bool, StoreError> {
        Ok(execute!(self, PRIVACY_EXPORT_ERASE, self.org.as_str(), id.as_str())? == 1)
    }
}
