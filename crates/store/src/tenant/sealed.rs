//! Every sealed column of a tenant, in one list, so that all can be sealed anew under another data key.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::sealed::Sealed;

/// A sealed column. Its place is bound to the table, the row's `row` and the column.
#[derive(Clone, Copy, Debug)]
pub struct SealedColumn {
    /// The table.
    pub table: &'static str,
    /// The column that names the row within its organization.
    pub row: &'static str,
    /// The column.
    pub column: &'static str,
    heads: &'static str,
    get: &'static str,
    swap: &'static str,
}

macro_rules! columns {
    ($($heads:ident $get:ident $swap:ident = $table:literal $row:literal $column:literal;)*) => {
        statements! { Tenant; $(
            // Only the headers, and as many rows as are asked for whatever is in them: never a scan of the table.
            $heads = concat!("SELECT ", $row, ", substr(", $column, ", 1, 64) FROM ", $table,
                " WHERE organization_id = $1 AND ", $row, " > $2 ORDER BY ", $row, " LIMIT $3");
            $get = concat!("SELECT ", $column, " FROM ", $table, " WHERE organization_id = $1 AND ", $row, " = $2");
            $swap = concat!("UPDATE ", $table, " SET ", $column, " = $4 WHERE organization_id = $1 AND ", $row,
                " = $2 AND ", $column, " = $3");
        )* }

        /// What is sealed anew when the data key is replaced.
        pub const SEALED: &[SealedColumn] = &[$(SealedColumn {
            table: $table, row: $row, column: $column, heads: $heads, get: $get, swap: $swap,
        },)*];
    };
}

columns! {
    ACCESS_HEADS ACCESS_GET ACCESS_SWAP = "integrations" "id" "access_token";
    REFRESH_HEADS REFRESH_GET REFRESH_SWAP = "integrations" "id" "refresh_token";
    SECRET_HEADS SECRET_GET SECRET_SWAP = "integrations" "id" "webhook_secret";
    PREVIOUS_HEADS PREVIOUS_GET PREVIOUS_SWAP = "integrations" "id" "webhook_secret_previous";
    CLIENT_HEADS CLIENT_GET CLIENT_SWAP = "integrations" "id" "client_secret";
    FAREWELL_ACCESS_HEADS FAREWELL_ACCESS_GET FAREWELL_ACCESS_SWAP = "farewells" "id" "access_token";
    FAREWELL_REFRESH_HEADS FAREWELL_REFRESH_GET FAREWELL_REFRESH_SWAP = "farewells" "id" "refresh_token";
    FAREWELL_CLIENT_HEADS FAREWELL_CLIENT_GET FAREWELL_CLIENT_SWAP = "farewells" "id" "client_secret";
    MEMORY_HEADS MEMORY_GET MEMORY_SWAP = "conversations" "id" "bot_memory";
    PAYLOAD_HEADS PAYLOAD_GET PAYLOAD_SWAP = "events" "id" "payload";
    EXPORT_HEADS EXPORT_GET EXPORT_SWAP = "privacy_requests" "id" "export";
    BROUGHT_HEADS BROUGHT_GET BROUGHT_SWAP = "imported_settings" "id" "content";
    TEXT_HEADS TEXT_GET TEXT_SWAP = "messages" "id" "text";
}

/// Sealed columns whose values are over within half an hour: table, column. They run out before a key is destroyed,
/// which takes an hour.
pub const RUNS_OUT: &[(&str, &str)] =
    &[("oauth_flows", "verifier"), ("oauth_flows", "client_secret"), ("page_offers", "access_token")];

impl TenantTx {
    /// The beginnings of a column's values, which name their keys, after the row `after`. `None` where there is no value.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn sealed_heads(
        &mut self,
        column: &SealedColumn,
        after: &str,
        limit: i64,
    ) -> Result<Vec<(String, Option<Sealed>)>, StoreError> {
        let (sql, org) = (column.heads, self.org.as_str());
        let found = rows!(fetch_all, self, (String, Option<Vec<u8>>), sql, org, after, limit)?;
        Ok(found.into_iter().map(|(row, head)| (row, head.map(Sealed::from_bytes))).collect())
    }

    /// One value of a column.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn sealed_get(
        &mut self,
        column: &SealedColumn,
        row: &str,
    ) -> Result<Option<Sealed>, StoreError> {
        let found = rows!(fetch_optional, self, (Option<Vec<u8>>,), column.get, self.org.as_str(), row)?;
        Ok(found.and_then(|(value,)| value).map(Sealed::from_bytes))
    }

    /// Puts `new` in the place of `old`. `false` if `old` is there no more: its owner wrote meanwhile, and wins.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn sealed_swap(
        &mut self,
        column: &SealedColumn,
        row: &str,
        old: &Sealed,
        new: &Sealed,
    ) -> Result<bool, StoreError> {
        let n = execute!(self, column.swap, self.org.as_str(), row, old.as_bytes(), new.as_bytes())?;
        Ok(n == 1)
    }
}
