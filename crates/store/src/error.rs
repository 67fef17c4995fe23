//! What can go wrong with the database, by meaning.

/// A failed database operation. Nothing of it was committed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A unique rule refused the write: somebody else has it already.
    #[error("another row already has this key")]
    Conflict(#[source] sqlx::Error),
    /// The database cannot be reached, is read-only, full or too slow. Try again later.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// The row is not there, or not this organization's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The lease on a queued row was lost to another worker; its work must be dropped.
    #[error("the lease on this work was lost")]
    LeaseLost,
    /// A stored value cannot be read as what it should be.
    #[error("column {column} of table {table} holds a value that cannot be read")]
    Corrupt {
        /// Table name.
        table: &'static str,
        /// Column name.
        column: &'static str,
    },
    /// The schema is empty, or older than this program.
    #[error("the database schema is {0}; run `agenstack migrate`")]
    Schema(&'static str),
    /// A newer program has changed the schema into one that this program does not work with.
    #[error(
        "the database schema is too new for this program: migration {at} needs a program that knows migration {needs}, and \
         this one knows those up to {known}; start the newer program"
    )]
    TooNew {
        /// The migration that took away what this program needs.
        at: i64,
        /// What a program has to know to do without it.
        needs: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// A migration failed.
    #[error("the database schema could not be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The PostgreSQL set-up would let a tenant's transaction pass the second wall.
    #[error("the database role is not safe to run with: {0}")]
    UnsafeRole(String),
    /// The database URL is of no kind we know.
    #[error("the database URL must begin with sqlite:// or postgres://")]
    Url,
    /// Any other failure.
    #[error("the database refused a statement")]
    Sql(#[source] sqlx::Error),
}

/// What a caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody else has it.
    Conflict,
    /// Try again later.
    Unavailable,
    /// Not there.
    NotFound,
    /// Our own fault.
    Internal,
}

impl StoreError {
    /// What a caller can do about it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Conflict(_) => Kind::Conflict,
            Self::Unavailable(_) | Self::Schema(_) | Self::TooNew { .. } => Kind::Unavailable,
            Self::NotFound(_) => Kind::NotFound,
            _ => Kind::Internal,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::Database(db) if db.is_unique_violation() => Self::Conflict(error),
            E::Database(db) => {
                let code = db.code().unwrap_or_default();
                // PostgreSQL classes: 08 connection, 25006 read-only, 40 rollback, 53 resources, 57 operator, 58 system.
                // SQLite primary codes: 5 busy, 6 locked, 8 read-only, 10 I/O, 13 full, 14 cannot open.
                let passing =
                    ["08", "40", "53", "57", "58"].iter().any(|c| code.len() == 5 && code.starts_with(c))
                        || code == "25006"
                        || code
                            .parse::<u32>()
                            .is_ok_and(|n| code.len() < 5 && matches!(n & 0xff, 5 | 6 | 8 | 10 | 13 | 14));
                if passing { Self::Unavailable(error) } else { Self::Sql(error) }
            }
            E::Io(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Tls(_) | E::Protocol(_) => {
                Self::Unavailable(error)
            }
            _ => Self::Sql(error),
        }
    }
}
