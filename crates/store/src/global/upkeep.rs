//! How far the work is that one node at a time does for all organizations, and whose rows it comes to.

use crate::db::{GlobalTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::QueuedFor;
use agenstack_core::id::{EventId, OrgId};

statements! { Global;
    UPKEEP_READ = "SELECT place, found, oldest, next_at, ended_at FROM upkeep WHERE name = 'retention'";
    // Whoever is told so early that the time has come holds it until then.
    UPKEEP_CLAIM = "UPDATE upkeep SET next_at = $2 WHERE name = 'retention' AND next_at <= $1
        RETURNING place, found, oldest, next_at, ended_at";
    UPKEEP_SAVE = "UPDATE upkeep SET place = $2, found = $3, oldest = $4, next_at = $5, ended_at = $6
        WHERE name = 'retention' AND next_at = $1";
    // The oldest row of an organization is the first of its primary key: a probe for each, and nothing is read behind it.
    RETENTION_LOOK = "SELECT w.id, (SELECT MIN(e.id) FROM events e WHERE e.organization_id = w.id),
            EXISTS (SELECT 1 FROM jobs j WHERE j.organization_id = w.id AND j.state = 'dead' AND j.next_at < $2)
        FROM (SELECT id FROM organizations WHERE id > $1 AND deleted_at IS NULL ORDER BY id LIMIT $3) w ORDER BY w.id";
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// The last organization that this pass is done with.
    pub place: Option<OrgId>,
    /// The oldest event that this pass has left so far.
    pub found: Option<EventId>,
    /// The oldest event that the last whole pass left.
    pub oldest: Option<EventId>,
    /// When to go on; while somebody works on it, until when it is theirs.
    pub next_at: Timestamp,
    /// When the last whole pass ended.
    pub ended_at: Option<Timestamp>,
}

/// What an organization has that may have been kept long enough.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The proof that its rows may be worked on.
    pub proof: QueuedFor,
    /// The organization.
    pub org: OrgId,
    /// Its oldest event.
    pub oldest: Option<EventId>,
    /// Whether it has queued deeds that were given up long ago.
    pub dead_jobs: bool,
}

type Row = (String, String, String, i64, Option<i64>);

fn upkeep((place, found, oldest, next_at, ended_at): Row) -> Result<Upkeep, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "upkeep", column };
    let event = |text: &str, column| match text {
        "" => Ok(None),
        id => EventId::parse(id).map(Some).ok_or_else(|| corrupt(column)),
    };
    Ok(Upkeep {
        place: match place.as_str() {
            "" => None,
            id => Some(OrgId::parse(id).ok_or_else(|| corrupt("place"))?),
        },
        found: event(&found, "found")?,
        oldest: event(&oldest, "oldest")?,
        next_at: Timestamp::from_millis(next_at),
        ended_at: ended_at.map(Timestamp::from_millis),
    })
}

impl GlobalTx {
    /// How far it is.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn upkeep(&mut self) -> Result<Upkeep, StoreError> {
        upkeep(rows!(fetch_one, self, Row, UPKEEP_READ)?)
    }

    /// Takes it until `until`, if it is due and nobody else has it.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn upkeep_claim(
        &mut self,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Upkeep>, StoreError> {
        rows!(fetch_optional, self, Row, UPKEEP_CLAIM, now.millis(), until.millis())?.map(upkeep).transpose()
    }

    /// Stores how far it is, if it is still held until `held`. `false` if somebody else went on.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn upkeep_save(&mut self, it: &Upkeep, held: Timestamp) -> Result<bool, StoreError> {
        let n = execute!(
            self,
            UPKEEP_SAVE,
            held.millis(),
            it.place.as_ref().map_or("", OrgId::as_str),
            it.found.as_ref().map_or("", EventId::as_str),
            it.oldest.as_ref().map_or("", EventId::as_str),
            it.next_at.millis(),
            it.ended_at.map(Timestamp::millis),
        )?;
        Ok(n == 1)
    }

    /// The next organizations behind `after`, with what may have been kept long enough: deeds given up before `dead`.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn retention_look(
        &mut self,
        after: Option<&OrgId>,
        dead: Timestamp,
        limit: i64,
    ) -> Result<Vec<Holding>, StoreError> {
        let after = after.map_or("", OrgId::as_str);
        let rows = rows!(
            fetch_all,
            self,
            (String, Option<String>, bool),
            RETENTION_LOOK,
            after,
            dead.millis(),
            limit
        )?;
        let corrupt = |table, column| StoreError::Corrupt { table, column };
        rows.into_iter()
            .map(|(org, oldest, dead_jobs)| {
                let org = OrgId::parse(&org).ok_or_else(|| corrupt("organizations", "id"))?;
                let oldest = oldest.map(|id| EventId::parse(&id).ok_or_else(|| corrupt("events", "id")));
                let proof = QueuedFor::row(org.clone());
                Ok(Holding { proof, org, oldest: oldest.transpose()?, dead_jobs })
            })
            .collect()
    }
}
