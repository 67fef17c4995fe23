//! Every SQL text of the product has a name and stands in a list, so that one test prepares them all on both
//! databases and another checks that a tenant's statements name the organization.

/// Whose rows a statement touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Rows of the one organization bound as `$1`.
    Tenant,
    /// Rows across organizations, or of none.
    Global,
}

/// The databases a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Both: the rule.
    Both,
    /// SQLite only.
    Sqlite,
    /// PostgreSQL only: where the dialects part.
    Postgres,
}

/// A named SQL text.
#[derive(Clone, Copy, Debug)]
pub struct Statement {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub sql: &'static str,
    /// Whose rows it touches.
    pub scope: Scope,
    /// Where it runs.
    pub dialect: Dialect,
}

/// Names SQL texts and lists them: `statements! { Tenant; NAME = "SELECT …"; }`.
macro_rules! statements {
    ($scope:ident; $($(#[$dialect:ident])? $name:ident = $sql:expr;)*) => {
        $(const $name: &str = $sql;)*
        /// The SQL texts of this module.
        pub const STATEMENTS: &[$crate::statement::Statement] = &[$($crate::statement::Statement {
            name: stringify!($name),
            sql: $name,
            scope: $crate::statement::Scope::$scope,
            dialect: statements!(@dialect $($dialect)?),
        }),*];
    };
    (@dialect) => { $crate::statement::Dialect::Both };
    (@dialect sqlite) => { $crate::statement::Dialect::Sqlite };
    (@dialect postgres) => { $crate::statement::Dialect::Postgres };
}
pub(crate) use statements;

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Statement> {
    crate::tenant::STATEMENTS.iter().chain(crate::global::STATEMENTS.iter()).flat_map(|list| list.iter())
}
