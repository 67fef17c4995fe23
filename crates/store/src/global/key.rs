//! Wrapped data keys, by organization. The keyring of `app` is the only caller.

use crate::db::{GlobalTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::id::{DataKeyId, OrgId};
use agenstack_core::sealed::Sealed;

statements! { Global;
    KEY_ADD = "INSERT INTO organization_keys (organization_id, id, master_key_id, wrapped_key, created_at) VALUES ($1, $2, $3, $4, $5)";
    KEY_FIND = "SELECT id, master_key_id, wrapped_key FROM organization_keys WHERE organization_id = $1 AND id = $2";
    KEY_NEWEST = "SELECT id, master_key_id, wrapped_key, created_at FROM organization_keys
        WHERE organization_id = $1 ORDER BY id DESC LIMIT 1";
    // Only while the former is there and is the newest: of two nodes at once both may succeed, and both keys stay good.
    KEY_SUCCEED = "INSERT INTO organization_keys (organization_id, id, master_key_id, wrapped_key, created_at)
        SELECT organization_id, $3, $4, $5, $6 FROM organization_keys WHERE organization_id = $1 AND id = $2
          AND NOT EXISTS (SELECT 1 FROM organization_keys WHERE organization_id = $1 AND id > $2)";
    KEY_DESTROY_OLDER = "DELETE FROM organization_keys WHERE organization_id = $1 AND id < $2";
    KEY_MADE_UNTIL = "SELECT organization_id FROM organization_keys WHERE organization_id > $1
        GROUP BY organization_id HAVING MAX(created_at) <= $2 ORDER BY organization_id LIMIT $3";
    KEY_OVERDUE = "SELECT COUNT(*) FROM (SELECT organization_id FROM organization_keys GROUP BY organization_id
        HAVING MAX(created_at) <= $1) o";
    KEY_STALE = "SELECT organization_id, id, master_key_id, wrapped_key FROM organization_keys
        WHERE master_key_id <> $1 AND (organization_id > $2 OR (organization_id = $2 AND id > $3))
        ORDER BY organization_id, id LIMIT $4";
    KEY_REWRAP = "UPDATE organization_keys SET master_key_id = $4, wrapped_key = $5
        WHERE organization_id = $1 AND id = $2 AND master_key_id = $3";
    // From one name to the next: there are two or three, however many keys.
    KEY_MASTERS = "WITH RECURSIVE k (id) AS (
            SELECT MIN(master_key_id) FROM organization_keys
            UNION ALL SELECT (SELECT MIN(o.master_key_id) FROM organization_keys o WHERE o.master_key_id > k.id) FROM k WHERE k.id IS NOT NULL)
        SELECT id FROM k WHERE id IS NOT NULL";
    KEY_COUNT = "SELECT master_key_id, COUNT(*) FROM organization_keys GROUP BY master_key_id ORDER BY master_key_id";
}

/// A data key as it is stored: `organization_keys.wrapped_key` of row `id`.
#[derive(Debug)]
pub struct StoredKey {
    /// Its id.
    pub id: DataKeyId,
    /// Which master key wrapped it.
    pub master_key_id: String,
    /// The key, wrapped.
    pub wrapped: Sealed,
}

/// A data key with the organization it is for.
#[derive(Debug)]
pub struct OwnedKey {
    /// Whose it is.
    pub org: OrgId,
    /// The key.
    pub key: StoredKey,
}

type Row = (String, String, Vec<u8>);

pub(crate) fn key(row: Row) -> Result<StoredKey, StoreError> {
    let id =
        DataKeyId::parse(&row.0).ok_or(StoreError::Corrupt { table: "organization_keys", column: "id" })?;
    Ok(StoredKey { id, master_key_id: row.1, wrapped: Sealed::from_bytes(row.2) })
}

impl GlobalTx {
    /// Stores an organization's data key.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn key_add(
        &mut self,
        org: &OrgId,
        stored: &StoredKey,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            KEY_ADD,
            org.as_str(),
            stored.id.as_str(),
            stored.master_key_id.as_str(),
            stored.wrapped.as_bytes(),
            now.millis()
        )?;
        Ok(())
    }

    /// The organization's data key with this id, or its newest.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is none: destroyed with its organization, or never made.
    pub async fn key_get(&mut self, org: &OrgId, id: Option<&DataKeyId>) -> Result<StoredKey, StoreError> {
        let Some(id) = id else { return Ok(self.key_newest(org).await?.0) };
        let row = rows!(fetch_optional, self, Row, KEY_FIND, org.as_str(), id.as_str())?;
        key(row.ok_or(StoreError::NotFound("data key"))?)
    }

    /// The organization's newest data key, and when it was made.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is none.
    pub async fn key_newest(&mut self, org: &OrgId) -> Result<(StoredKey, Timestamp), StoreError> {
        let row = rows!(fetch_optional, self, (String, String, Vec<u8>, i64), KEY_NEWEST, org.as_str())?;
        let (id, master, wrapped, at) = row.ok_or(StoreError::NotFound("data key"))?;
        Ok((key((id, master, wrapped))?, Timestamp::from_millis(at)))
    }

    /// Stores the key that follows `former`. `false` if that is gone, or is the newest no more.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn key_succeed(
        &mut self,
        org: &OrgId,
        former: &DataKeyId,
        next: &StoredKey,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let n = execute!(
            self,
            KEY_SUCCEED,
            org.as_str(),
            former.as_str(),
            next.id.as_str(),
            next.master_key_id.as_str(),
            next.wrapped.as_bytes(),
            now.millis()
        )?;
        Ok(n == 1)
    }

    /// Destroys the keys of an organization that are older than `kept`; how many. What they sealed never opens again.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn key_destroy_older(&mut self, org: &OrgId, kept: &DataKeyId) -> Result<u64, StoreError> {
        execute!(self, KEY_DESTROY_OLDER, org.as_str(), kept.as_str())
    }

    /// Organizations after `after` whose newest key was made at `until` or before.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn key_made_until(
        &mut self,
        after: Option<&OrgId>,
        until: Timestamp,
        limit: i64,
    ) -> Result<Vec<OrgId>, StoreError> {
        let after = after.map_or("", OrgId::as_str);
        let rows = rows!(fetch_all, self, (String,), KEY_MADE_UNTIL, after, until.millis(), limit)?;
        rows.into_iter()
            .map(|(org,)| {
                OrgId::parse(&org)
                    .ok_or(StoreError::Corrupt { table: "organization_keys", column: "organization_id" })
            })
            .collect()
    }

    /// How many organizations seal with a key that was made at `until` or before.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn key_overdue(&mut self, until: Timestamp) -> Result<i64, StoreError> {
        let (n,) = rows!(fetch_one, self, (i64,), KEY_OVERDUE, until.millis())?;
        Ok(n)
    }

    /// Data keys that another master key than `current` wraps, after a place in the order of organization and id.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn key_stale(
        &mut self,
        current: &str,
        after: Option<(&OrgId, &DataKeyId)>,
        limit: i64,
    ) -> Result<Vec<OwnedKey>, StoreError> {
        let (org, id) = after.map_or(("", ""), |(org, id)| (org.as_str(), id.as_str()));
        let rows =
            rows!(fetch_all, self, (String, String, String, Vec<u8>), KEY_STALE, current, org, id, limit)?;
        rows.into_iter()
            .map(|(org, id, master, wrapped)| {
                let org = OrgId::parse(&org)
                    .ok_or(StoreError::Corrupt { table: "organization_keys", column: "organization_id" })?;
                Ok(OwnedKey { org, key: key((id, master, wrapped))? })
            })
            .collect()
    }

    /// Stores a data key wrapped anew. `false` if somebody else did it meanwhile.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn key_rewrap(
        &mut self,
        old: &OwnedKey,
        master_key_id: &str,
        wrapped: &Sealed,
    ) -> Result<bool, StoreError> {
        let n = execute!(
            self,
            KEY_REWRAP,
            old.org.as_str(),
            old.key.id.as_str(),
            old.key.master_key_id.as_str(),
            master_key_id,
            wrapped.as_bytes()
        )?;
        Ok(n == 1)
    }

    /// The master keys that wrap any data key.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn key_masters(&mut self) -> Result<Vec<String>, StoreError> {
        let rows = rows!(fetch_all, self, (String,), KEY_MASTERS)?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// How many data keys each master key wraps.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn key_count(&mut self) -> Result<Vec<(String, i64)>, StoreError> {
        rows!(fetch_all, self, (String, i64), KEY_COUNT)
    }
}
