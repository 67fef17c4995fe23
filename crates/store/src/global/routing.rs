//! Whose account is it?

use crate::db::{Conn, GlobalTx, Pools, Store, execute, rows, single};
use crate::error::StoreError;
use crate::global::key::{StoredKey, key as stored_key};
use crate::statement::statements;
use crate::tenant::integration::replaced;
use crate::writer::Held;
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::{QueuedFor, Route};
use agenstack_core::id::{IntegrationId, OrgId};
use agenstack_core::integration::{ConnectionStatus, Provider, ReplacedSecret};
use agenstack_core::sealed::Sealed;

statements! { Global;
    ROUTE_BY_ACCOUNT = "SELECT organization_id, id, generation, external_id, acting_user_id, webhook_secret, webhook_secret_previous, webhook_previous_until
        FROM integrations WHERE provider = $1 AND external_id = $2 AND status <> 'disconnected'";
    // For each account its owner, and the key that its owner's payloads are sealed with. SQLite would take the index that keeps owners
    // apart, and then read the row; the one that is named tells all by itself.
    #[sqlite] ROUTES_BY_ACCOUNTS_SQLITE = "SELECT i.external_id, i.organization_id, i.id, i.generation, k.id, k.master_key_id, k.wrapped_key, k.created_at
        FROM json_each($2) a CROSS JOIN integrations i INDEXED BY integrations_by_account ON i.provider = $1 AND i.external_id = a.value AND i.status <> 'disconnected'
        LEFT JOIN organization_keys k ON k.organization_id = i.organization_id
          AND k.id = (SELECT MAX(n.id) FROM organization_keys n WHERE n.organization_id = i.organization_id)";
    #[postgres] ROUTES_BY_ACCOUNTS_POSTGRES = "SELECT i.external_id, i.organization_id, i.id, i.generation, k.id, k.master_key_id, k.wrapped_key, k.created_at
        FROM integrations i
        LEFT JOIN LATERAL (SELECT n.id, n.master_key_id, n.wrapped_key, n.created_at FROM organization_keys n
            WHERE n.organization_id = i.organization_id ORDER BY n.id DESC LIMIT 1) k ON true
        WHERE i.provider = $1 AND i.external_id = ANY(CAST($2 AS TEXT[])) AND i.status <> 'disconnected'";
    ROUTES_HELD = "SELECT organization_id, id, generation, external_id, acting_user_id, webhook_secret, webhook_secret_previous, webhook_previous_until
        FROM integrations WHERE provider = $1 AND external_id = $2 ORDER BY organization_id, id";
    ROUTE_BY_ID = "SELECT organization_id, id, generation, external_id, acting_user_id, webhook_secret, webhook_secret_previous, webhook_previous_until
        FROM integrations WHERE provider = $1 AND id = $2 AND status <> 'disconnected'";
    ROUTES_BY_ACTOR = "SELECT organization_id, id, generation, external_id, acting_user_id, webhook_secret, webhook_secret_previous, webhook_previous_until
        FROM integrations WHERE provider = $1 AND acting_user_id = $2 AND status <> 'disconnected' ORDER BY organization_id, id";
    // Due longest first, and taken: another node leaves it alone until the claim is over. The condition stands twice for
    // the reason below.
    RENEWAL_CLAIM = "UPDATE integrations SET renew_at = $2 WHERE (organization_id, id) IN (
            SELECT organization_id, id FROM integrations
            WHERE status IN ('connected', 'paused') AND renew_at <= $1 ORDER BY renew_at LIMIT $3)
          AND renew_at <= $1
        RETURNING organization_id, id";
    // Claimed by the time it is written: of several nodes one probes. The condition stands twice because PostgreSQL,
    // having waited for another node's claim, looks again at the row but not into the subquery.
    PROBE_OFTEN = "UPDATE integrations SET probed_at = $1 WHERE (organization_id, id) IN (
            SELECT organization_id, id FROM integrations
            WHERE status IN ('connected', 'paused') AND (provider = 'messenger' OR status = 'paused')
              AND COALESCE(probed_at, connected_at) <= $2
            ORDER BY COALESCE(probed_at, connected_at) LIMIT $3)
          AND COALESCE(probed_at, connected_at) <= $2
        RETURNING organization_id, id";
    PROBE_SELDOM = "UPDATE integrations SET probed_at = $1 WHERE (organization_id, id) IN (
            SELECT organization_id, id FROM integrations
            WHERE status = 'connected' AND provider <> 'messenger' AND COALESCE(probed_at, connected_at) <= $2
            ORDER BY COALESCE(probed_at, connected_at) LIMIT $3)
          AND COALESCE(probed_at, connected_at) <= $2
        RETURNING organization_id, id";
    PROBE_SOON = "UPDATE integrations SET probed_at = 0
        WHERE provider = $1 AND acting_user_id = $2 AND status <> 'disconnected' AND status IN ('connected', 'paused')";
    OFFER_SWEEP = "DELETE FROM page_offers WHERE offered_at <= $1";
    CONNECTION_COUNT = "SELECT provider, status, COUNT(*), MIN(token_expires_at) FROM integrations GROUP BY provider, status";
    // To the minute: a row that everybody's events go past must not be written for each.
    #[sqlite] ROUTES_SEEN_SQLITE = "UPDATE integrations SET last_event_at = $2
        WHERE id IN (SELECT value FROM json_each($1)) AND COALESCE(last_event_at, 0) < $2 - 60000";
    #[postgres] ROUTES_SEEN_POSTGRES = "UPDATE integrations SET last_event_at = $2
        WHERE id IN (SELECT i.id FROM integrations i WHERE i.id = ANY(CAST($1 AS TEXT[])) ORDER BY i.id FOR UPDATE)
          AND COALESCE(last_event_at, 0) < $2 - 60000";
}

/// The owner of an account, with what a webhook of it is verified against.
#[derive(Clone, Debug)]
pub struct Owned {
    /// The organization and its connection.
    pub route: Route,
    /// The account.
    pub external_id: String,
    /// Whom we act as there.
    pub acting_user_id: Option<String>,
    /// `integrations.webhook_secret` of the connection's row, where the provider signs per connection.
    pub webhook_secret: Option<Sealed>,
    /// The one before it, while it is good.
    pub webhook_secret_previous: Option<ReplacedSecret>,
}

/// The owner of an account, with what is sealed for it.
#[derive(Debug)]
pub struct OwnerAndKey {
    /// The account.
    pub external_id: String,
    /// The organization and its connection.
    pub route: Route,
    /// The organization's newest data key and when it was made; `None` if it has none.
    pub key: Option<(StoredKey, Timestamp)>,
}

/// How many connections are in one state, over all organizations. A number, of nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionCount {
    /// Whose accounts.
    pub provider: Provider,
    /// The state.
    pub status: ConnectionStatus,
    /// How many.
    pub count: i64,
    /// The nearest end of an access token among them.
    pub nearest_expiry: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct Row {
    organization_id: String,
    id: String,
    generation: i64,
    external_id: String,
    acting_user_id: Option<String>,
    webhook_secret: Option<Vec<u8>>,
    webhook_secret_previous: Option<Vec<u8>>,
    webhook_previous_until: Option<i64>,
}

fn owned(r: Row) -> Result<Owned, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "integrations", column };
    Ok(Owned {
        route: Route {
            org: OrgId::parse(&r.organization_id).ok_or_else(|| corrupt("organization_id"))?,
            integration: IntegrationId::parse(&r.id).ok_or_else(|| corrupt("id"))?,
            generation: r.generation,
        },
        external_id: r.external_id,
        acting_user_id: r.acting_user_id,
        webhook_secret: r.webhook_secret.map(Sealed::from_bytes),
        webhook_secret_previous: replaced(r.webhook_secret_previous, r.webhook_previous_until),
    })
}

/// A connection for which something is due, with the proof that it may be done.
fn due((org, id): (String, String)) -> Result<(QueuedFor, IntegrationId), StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "integrations", column };
    let org = OrgId::parse(&org).ok_or_else(|| corrupt("organization_id"))?;
    Ok((QueuedFor::row(org), IntegrationId::parse(&id).ok_or_else(|| corrupt("id"))?))
}

/// Ids as SQLite takes a list.
fn json_list(ids: &[IntegrationId]) -> String {
    // An id holds nothing that JSON would have to escape.
    let quoted: Vec<_> = ids.iter().map(|id| format!("\"{}\"", id.as_str())).collect();
    format!("[{}]", quoted.join(","))
}

impl Store {
    /// The owners of accounts, those that have one, in any order. Who asks all the time keeps what is `held`.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn routes_by_accounts(
        &self,
        held: &mut Held,
        provider: Provider,
        accounts: &[&str],
    ) -> Result<Vec<OwnerAndKey>, StoreError> {
        let rows: Vec<OwnerRow> = match &self.pools {
            Pools::Sqlite { read, .. } => {
                let list = serde_json::json!(accounts).to_string();
                let query = sqlx::query_as(ROUTES_BY_ACCOUNTS_SQLITE).bind(provider.as_str()).bind(list);
                let found = query.fetch_all(&mut **held.reader(read).await?).await;
                if found.is_err() {
                    held.let_go();
                }
                found?
            }
            Pools::Postgres { single, .. } => single!(held, single, |c| {
                let query =
                    sqlx::query_as(ROUTES_BY_ACCOUNTS_POSTGRES).bind(provider.as_str()).bind(accounts);
                query.fetch_all(c).await
            })?,
        };
        rows.into_iter().map(owner_and_key).collect()
    }
}

type OwnerRow = (String, String, String, i64, Option<String>, Option<String>, Option<Vec<u8>>, Option<i64>);

fn owner_and_key(row: OwnerRow) -> Result<OwnerAndKey, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: "integrations", column };
    let (external_id, org, id, generation, key_id, master, wrapped, made) = row;
    let key = match (key_id, master, wrapped, made) {
        (Some(id), Some(master), Some(wrapped), Some(made)) => {
            Some((stored_key((id, master, wrapped))?, Timestamp::from_millis(made)))
        }
        _ => None,
    };
    let route = Route {
        org: OrgId::parse(&org).ok_or_else(|| corrupt("organization_id"))?,
        integration: IntegrationId::parse(&id).ok_or_else(|| corrupt("id"))?,
        generation,
    };
    Ok(OwnerAndKey { external_id, route, key })
}

impl GlobalTx {
    /// The owner of an account; `None` if nobody has it connected.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn route_by_account(
        &mut self,
        provider: Provider,
        external_id: &str,
    ) -> Result<Option<Owned>, StoreError> {
        rows!(fetch_optional, self, Row, ROUTE_BY_ACCOUNT, provider.as_str(), external_id)?
            .map(owned)
            .transpose()
    }

    /// Everybody who has the account connected or ever had, whatever became of the connection.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn routes_held(
        &mut self,
        provider: Provider,
        external_id: &str,
    ) -> Result<Vec<Owned>, StoreError> {
        rows!(fetch_all, self, Row, ROUTES_HELD, provider.as_str(), external_id)?
            .into_iter()
            .map(owned)
            .collect()
    }

    /// The owner of a connection that has its own webhook address.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn route_by_id(
        &mut self,
        provider: Provider,
        id: &IntegrationId,
    ) -> Result<Option<Owned>, StoreError> {
        rows!(fetch_optional, self, Row, ROUTE_BY_ID, provider.as_str(), id.as_str())?.map(owned).transpose()
    }

    /// The connections that a person made at a provider, in whichever organizations.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn routes_by_actor(
        &mut self,
        provider: Provider,
        actor: &str,
    ) -> Result<Vec<Owned>, StoreError> {
        rows!(fetch_all, self, Row, ROUTES_BY_ACTOR, provider.as_str(), actor)?
            .into_iter()
            .map(owned)
            .collect()
    }

    /// Takes connections whose tokens are due for renewal; who fails to renew them has until `until` to say when next.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn renewal_claim(
        &mut self,
        now: Timestamp,
        until: Timestamp,
        limit: i64,
    ) -> Result<Vec<(QueuedFor, IntegrationId)>, StoreError> {
        let rows =
            rows!(fetch_all, self, (String, String), RENEWAL_CLAIM, now.millis(), until.millis(), limit)?;
        rows.into_iter().map(due).collect()
    }

    /// Takes connections that were not probed since `often` (pages, and what is paused) or `seldom` (the rest).
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn probe_claim(
        &mut self,
        now: Timestamp,
        often: Timestamp,
        seldom: Timestamp,
        limit: i64,
    ) -> Result<Vec<(QueuedFor, IntegrationId)>, StoreError> {
        let (now, often, seldom) = (now.millis(), often.millis(), seldom.millis());
        let mut rows = rows!(fetch_all, self, (String, String), PROBE_OFTEN, now, often, limit)?;
        let left = limit - rows.len() as i64;
        rows.extend(rows!(fetch_all, self, (String, String), PROBE_SELDOM, now, seldom, left)?);
        rows.into_iter().map(due).collect()
    }

    /// Makes the connections that a person made at a provider due for a probe, in whichever organizations; how many.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn probe_soon(&mut self, provider: Provider, actor: &str) -> Result<u64, StoreError> {
        execute!(self, PROBE_SOON, provider.as_str(), actor)
    }

    /// How many connections of each provider are in each state; states that nothing is in are left out.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn connection_count(&mut self) -> Result<Vec<ConnectionCount>, StoreError> {
        let corrupt = |column| StoreError::Corrupt { table: "integrations", column };
        let rows = rows!(fetch_all, self, (String, String, i64, Option<i64>), CONNECTION_COUNT)?;
        rows.into_iter()
            .map(|(provider, status, count, nearest)| {
                Ok(ConnectionCount {
                    provider: Provider::parse(&provider).ok_or_else(|| corrupt("provider"))?,
                    status: ConnectionStatus::parse(&status).ok_or_else(|| corrupt("status"))?,
                    count,
                    nearest_expiry: nearest.map(Timestamp::from_millis),
                })
            })
            .collect()
    }

    /// Forgets pages that were offered and not chosen in time, with their tokens.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn offer_sweep(&mut self, until: Timestamp) -> Result<u64, StoreError> {
        execute!(self, OFFER_SWEEP, until.millis())
    }

    /// Events of these connections came in.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn routes_seen(&mut self, ids: &[IntegrationId], at: Timestamp) -> Result<(), StoreError> {
        match &mut self.conn {
            Conn::Sqlite(c) => {
                sqlx::query(ROUTES_SEEN_SQLITE)
                    .bind(json_list(ids))
                    .bind(at.millis())
                    .execute(&mut **c)
                    .await?;
            }
            Conn::Postgres(c) => {
                let list: Vec<_> = ids.iter().map(IntegrationId::as_str).collect();
                sqlx::query(ROUTES_SEEN_POSTGRES).bind(list).bind(at.millis()).execute(&mut **c).await?;
            }
        }
        Ok(())
    }
}
