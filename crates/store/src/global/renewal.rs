//! How far the values of an organization are sealed anew under its newest data key.
//!
//! A pass walks the sealed columns in primary-key order. One row for each organization whose key was replaced; it is
//! gone when the former keys are destroyed.

use crate::db::{GlobalTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::QueuedFor;
use agenstack_core::id::{DataKeyId, OrgId};

statements! { Global;
    RESEAL_BEGIN = "INSERT INTO key_renewals (organization_id, key_id, place, bookmark, found, unreadable, resealed, pass_at,
            settled_at, next_at) VALUES ($1, $2, '', '', 0, 0, 0, 0, $3, $3)
        ON CONFLICT (organization_id) DO UPDATE SET key_id = $2, place = '', bookmark = '', found = 0, unreadable = 0,
            settled_at = $3, next_at = $3";
    // Whoever waited longest comes first, so that a large organization holds up no small one. The condition stands twice
    // because PostgreSQL, having waited for another node's claim, looks again at the row but not into the subquery.
    RESEAL_CLAIM = "UPDATE key_renewals SET next_at = $2 WHERE organization_id IN (
            SELECT organization_id FROM key_renewals WHERE next_at <= $1 ORDER BY next_at, organization_id LIMIT 1)
          AND next_at <= $1
        RETURNING organization_id, key_id, place, bookmark, found, unreadable, resealed, pass_at, settled_at, next_at";
    RESEAL_SAVE = "UPDATE key_renewals SET key_id = $3, place = $4, bookmark = $5, found = $6, unreadable = $7, resealed = $8,
            pass_at = $9, settled_at = $10, next_at = $11 WHERE organization_id = $1 AND next_at = $2";
    RESEAL_END = "DELETE FROM key_renewals WHERE organization_id = $1 AND next_at = $2";
    RESEAL_COUNT = "SELECT COUNT(*), CAST(COALESCE(SUM(resealed), 0) AS BIGINT), CAST(COALESCE(SUM(unreadable), 0) AS BIGINT)
        FROM key_renewals";
    RESEAL_WAITING = "SELECT COUNT(*) FROM key_renewals WHERE place = ''";
}

/// How far one organization is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The organization.
    pub org: OrgId,
    /// The key that this pass seals with.
    pub key: DataKeyId,
    /// Which column comes next, `table.column`; empty before a pass begins.
    pub place: String,
    /// The last row of it that was looked at.
    pub bookmark: String,
    /// Values under an older key that this pass met.
    pub found: i64,
    /// Those among them that did not open.
    pub unreadable: i64,
    /// Values sealed anew, by all passes.
    pub resealed: i64,
    /// When this pass began.
    pub pass_at: Timestamp,
    /// When something was last known to be sealed under an older key.
    pub settled_at: Timestamp,
    /// When to go on; while somebody works on it, until when it is theirs.
    pub next_at: Timestamp,
}

/// All of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenewalCount {
    /// Organizations whose former keys still exist.
    pub organizations: i64,
    /// Of these, how many wait for their next pass.
    pub waiting: i64,
    /// Values sealed anew.
    pub resealed: i64,
    /// Values that did not open.
    pub unreadable: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    organization_id: String,
    key_id: String,
    place: String,
    bookmark: String,
    found: i64,
    unreadable: i64,
    resealed: i64,
    pass_at: i64,
    settled_at: i64,
    next_at: i64,
}

fn renewal(r: Row) -> Result<Renewal, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "key_renewals", column };
    Ok(Renewal {
        org: OrgId::parse(&r.organization_id).ok_or_else(|| corrupt("organization_id"))?,
        key: DataKeyId::parse(&r.key_id).ok_or_else(|| corrupt("key_id"))?,
        place: r.place,
        bookmark: r.bookmark,
        found: r.found,
        unreadable: r.unreadable,
        resealed: r.resealed,
        pass_at: Timestamp::from_millis(r.pass_at),
        settled_at: Timestamp::from_millis(r.settled_at),
        next_at: Timestamp::from_millis(r.next_at),
    })
}

impl GlobalTx {
    /// The organization has a new key: its values are to be sealed anew, from the beginning.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn reseal_begin(
        &mut self,
        org: &OrgId,
        key: &DataKeyId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        execute!(self, RESEAL_BEGIN, org.as_str(), key.as_str(), now.millis())?;
        Ok(())
    }

    /// Takes the renewal that waited longest, until `until`, with the proof that its rows may be worked on.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn reseal_claim(
        &mut self,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<(QueuedFor, Renewal)>, StoreError> {
        let row = rows!(fetch_optional, self, Row, RESEAL_CLAIM, now.millis(), until.millis())?;
        row.map(|r| renewal(r).map(|it| (QueuedFor::row(it.org.clone()), it))).transpose()
    }

    /// Stores how far it is, if it is still held until `held`. `false` if somebody else went on, or it began anew.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn reseal_save(&mut self, it: &Renewal, held: Timestamp) -> Result<bool, StoreError> {
        let n = execute!(
            self,
            RESEAL_SAVE,
            it.org.as_str(),
            held.millis(),
            it.key.as_str(),
            it.place.as_str(),
            it.bookmark.as_str(),
            it.found,
            it.unreadable,
            it.resealed,
            it.pass_at.millis(),
            it.settled_at.millis(),
            it.next_at.millis()
        )?;
        Ok(n == 1)
    }

    /// Ends it, if it is still held until `held`.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn reseal_end(&mut self, org: &OrgId, held: Timestamp) -> Result<bool, StoreError> {
        Ok(execute!(self, RESEAL_END, org.as_str(), held.millis())? == 1)
    }

    /// How far all of them are.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn reseal_count(&mut self) -> Result<RenewalCount, StoreError> {
        let (organizations, resealed, unreadable) = rows!(fetch_one, self, (i64, i64, i64), RESEAL_COUNT)?;
        let (waiting,) = rows!(fetch_one, self, (i64,), RESEAL_WAITING)?;
        Ok(RenewalCount { organizations, waiting, resealed, unreadable })
    }
}
