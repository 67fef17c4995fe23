//! Which schema a database has, and whether this program works with it.
//!
//! Nodes of two versions share a database while a new version is rolled out, and for as long as it may be taken back. So a
//! schema that is newer than the program is no fault by itself: migrations add, and what is added does not trouble who does
//! not know it. A migration that takes something away says so in its name, `…_needs_0020`: programs that do not know
//! migration 20 refuse that schema. The name is recorded with the migration, where programs that are older than it read it.
//! How a change is spread over versions stands in `docs/upgrading.md`.

use crate::db::{Pools, Store, check_roles};
use crate::error::StoreError;
use sqlx::PgPool;
use sqlx::migrate::{MigrateError, Migrator};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// How often a migration is begun anew because it and somebody else waited for each other.
const DEADLOCKS: usize = 10;

/// What a newer program has added to the schema stays; see [`judge`].
fn tolerant(mut migrator: Migrator) -> Migrator {
    migrator.set_ignore_missing(true);
    migrator
}

static SQLITE: LazyLock<Migrator> = LazyLock::new(|| tolerant(sqlx::migrate!("migrations/sqlite")));
static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| tolerant(sqlx::migrate!("migrations/postgres")));

/// The schema of a database with which this program works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The newest migration that the database has.
    pub at: i64,
    /// The newest migration that this program knows.
    pub known: i64,
}

impl Schema {
    /// Whether a newer program has been here.
    pub fn is_newer(&self) -> bool {
        self.at > self.known
    }
}

/// A migration that the database has.
#[derive(Clone, Debug, sqlx::FromRow)]
struct Applied {
    version: i64,
    description: String,
    checksum: Vec<u8>,
}

/// Tells one set of migrations from another, so that tests copy no database of an older schema.
#[cfg(feature = "testing")]
pub(crate) fn fingerprint() -> u64 {
    POSTGRES
        .iter()
        .flat_map(|m| m.checksum.iter())
        .fold(0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Runs what is missing, beside nodes that are at work. A migration that locks two tables may meet a transaction that holds them the
/// other way round: PostgreSQL undoes one of the two, and the migration begins anew.
async fn migrate_postgres(pool: &PgPool) -> Result<(), MigrateError> {
    let mut connection = pool.acquire().await?;
    let mut again = DEADLOCKS;
    let done = loop {
        match POSTGRES.run(&mut *connection).await {
            Err(MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _))
                if again > 0 && is_deadlock(&e) =>
            {
                tracing::warn!(
                    "a migration and a transaction waited for each other; the migration begins anew"
                );
                again -= 1;
            }
            done => break done,
        }
    };
    if done.is_err() {
        // The migrations' lock is the connection's, and others wait for it.
        let _ = connection.close().await;
    }
    done
}

fn is_deadlock(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|e| e.code().as_deref() == Some("40P01"))
}

impl Store {
    /// Brings the schema to this program's version; one that has it, or a newer one, is left alone.
    ///
    /// # Errors
    /// If a migration fails, a newer program has left a schema that this one does not work with, or the PostgreSQL roles
    /// would not keep tenants apart.
    pub async fn migrate(&self) -> Result<Schema, StoreError> {
        match self.schema().await {
            // Asking for the migrations' lock would be in vain.
            Ok(_) => {}
            Err(StoreError::Schema(_)) => match &self.pools {
                Pools::Sqlite { write, .. } => SQLITE.run(write.pool()).await,
                Pools::Postgres { pool, .. } => migrate_postgres(pool).await,
            }
            .map_err(StoreError::Migrate)?,
            Err(other) => return Err(other),
        }
        self.check().await
    }

    /// Whether the database is reachable, this program works with its schema, and its roles are safe.
    ///
    /// # Errors
    /// Says which of the three does not hold.
    pub async fn check(&self) -> Result<Schema, StoreError> {
        let schema = self.schema().await?;
        if let Pools::Postgres { pool, .. } = &self.pools {
            check_roles(pool).await?;
        }
        Ok(schema)
    }

    async fn schema(&self) -> Result<Schema, StoreError> {
        const APPLIED: &str =
            "SELECT version, description, checksum FROM _sqlx_migrations WHERE success ORDER BY version";
        let (applied, ours) = match &self.pools {
            Pools::Sqlite { read, .. } => (sqlx::query_as(APPLIED).fetch_all(read).await, &*SQLITE),
            Pools::Postgres { pool, .. } => (sqlx::query_as(APPLIED).fetch_all(pool).await, &*POSTGRES),
        };
        match applied.map_err(StoreError::from) {
            Ok(applied) => judge(&ours.iter().map(|m| (m.version, &*m.checksum)).collect(), &applied),
            // No table of migrations: a database that was never migrated.
            Err(StoreError::Sql(sqlx::Error::Database(e)))
                if matches!(e.code().as_deref(), Some("42P01" | "1")) =>
            {
                Err(StoreError::Schema("empty"))
            }
            Err(other) => Err(other),
        }
    }
}

/// Whether a program with `ours` works on a database with `applied`.
fn judge(ours: &BTreeMap<i64, &[u8]>, applied: &[Applied]) -> Result<Schema, StoreError> {
    let known = ours.keys().last().copied().unwrap_or_default();
    let mut missing = ours.len();
    for one in applied {
        match ours.get(&one.version) {
            Some(checksum) if *checksum == one.checksum => missing -= 1,
            Some(_) => return Err(StoreError::Migrate(MigrateError::VersionMismatch(one.version))),
            None => {}
        }
    }
    let newer = applied.iter().filter(|one| !ours.contains_key(&one.version));
    let needed = newer.filter_map(|one| Some((needs(&one.description)?, one.version))).max();
    if let Some((needs, at)) = needed.filter(|(needs, _)| *needs > known) {
        return Err(StoreError::TooNew { at, needs, known });
    }
    if missing > 0 {
        return Err(StoreError::Schema("older than this program"));
    }
    Ok(Schema { at: applied.iter().map(|one| one.version).max().unwrap_or_default(), known })
}

/// The migration that a program has to know to work with one of this name; `None` if any program does.
fn needs(description: &str) -> Option<i64> {
    description.rsplit_once(" needs ")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(version: i64, description: &str) -> Applied {
        Applied { version, description: description.into(), checksum: vec![version as u8] }
    }

    fn judged(known: &[i64], database: &[Applied]) -> String {
        let sums: Vec<_> = known.iter().map(|v| [*v as u8]).collect();
        match judge(&known.iter().copied().zip(sums.iter().map(|s| &s[..])).collect(), database) {
            Ok(schema) => format!("at {} knowing {}", schema.at, schema.known),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_newer_schema_is_worked_with_unless_one_of_its_migrations_needs_a_newer_program() {
        let (one, two) = (applied(1, "first"), applied(2, "second"));
        let all = |more: &[Applied]| [&[one.clone(), two.clone()], more].concat();
        let judged = |more: &[Applied]| judged(&[1, 2], &all(more));
        assert_eq!(judged(&[]), "at 2 knowing 2");
        assert_eq!(judged(&[applied(3, "more"), applied(4, "what needs 9 words")]), "at 4 knowing 2");
        assert_eq!(judged(&[applied(4, "drop former name needs 0002")]), "at 4 knowing 2");
        let refused = judged(&[
            applied(4, "drop former name needs 0003"),
            applied(5, "drop it all needs 0004"),
            applied(6, "more"),
        ]);
        assert!(refused.contains("migration 5") && refused.contains("migration 4"), "{refused}");
        assert!(refused.contains("start the newer program"), "{refused}");
    }

    #[test]
    fn a_migration_that_is_missing_or_altered_is_told_also_behind_newer_ones() {
        let three = applied(3, "third");
        assert!(judged(&[1, 2], &[applied(1, "first"), three.clone()]).contains("older than this program"));
        assert!(judged(&[1], &[]).contains("older than this program"));
        let altered = Applied { checksum: vec![9], ..applied(1, "first") };
        assert!(judged(&[1], &[altered, three]).contains("could not be brought up to date"));
    }
}
