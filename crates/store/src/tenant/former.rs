//! Accounts that an older platform had connected: names, so that people are asked to connect them here.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::integration::Provider;

statements! { Tenant;
    FORMER_ADD = "INSERT INTO former_accounts (organization_id, provider, account, label, connected_at, imported_at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (organization_id, provider, account) DO NOTHING";
    FORMER_LIST = "SELECT provider, account, label, connected_at FROM former_accounts WHERE organization_id = $1
        ORDER BY provider, account";
}

/// An account that was connected elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerAccount {
    /// Whose.
    pub provider: Provider,
    /// The shop's domain, the page's id (or its name, where no more was known), the help desk's subdomain.
    pub account: String,
    /// What people call it.
    pub label: String,
    /// When it was connected there, if that was known.
    pub connected_at: Option<Timestamp>,
}

impl TenantTx {
    /// Notes an account. `false` if it is noted already.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn former_add(&mut self, a: &FormerAccount, now: Timestamp) -> Result<bool, StoreError> {
        let n = execute!(
            self,
            FORMER_ADD,
            self.org.as_str(),
            a.provider.as_str(),
            a.account.as_str(),
            a.label.as_str(),
            a.connected_at.map(Timestamp::millis),
            now.millis(),
        )?;
        Ok(n == 1)
    }

    /// All of them.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn former_list(&mut self) -> Result<Vec<FormerAccount>, StoreError> {
        type Row = (String, String, String, Option<i64>);
        let rows = rows!(fetch_all, self, Row, FORMER_LIST, self.org.as_str())?;
        let corrupt = StoreError::Corrupt { table: "former_accounts", column: "provider" };
        let read = |(provider, account, label, at): Row| {
            let provider = Provider::parse(&provider)?;
            Some(FormerAccount { provider, account, label, connected_at: at.map(Timestamp::from_millis) })
        };
        rows.into_iter().map(read).collect::<Option<_>>().ok_or(corrupt)
    }
}
