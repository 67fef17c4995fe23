//! All SQL, one body for SQLite and PostgreSQL.
