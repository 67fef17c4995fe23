//! Connections and their sealed tokens.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use crate::tenant::{list_from_text, list_to_text};
use agenstack_core::clock::Timestamp;
use agenstack_core::id::IntegrationId;
use agenstack_core::integration::{
    ConnectionStatus, Integration, LastError, Provider, ReplacedSecret, SealedTokens, Subscription,
};
use agenstack_core::sealed::Sealed;

macro_rules! columns {
    () => {
        "id, provider, external_id, account_identifier, status, generation, token_expires_at, scopes, missing_scopes, \
         acting_user_id, webhook_id, client_id, connected_at, last_success_at, last_event_at, last_error_code, last_error_message, last_error_at, \
         subscription, subscription_at"
    };
}

statements! { Tenant;
    INTEGRATION_LIST = concat!("SELECT ", columns!(), " FROM integrations WHERE organization_id = $1 AND status <> 'disconnected'
        ORDER BY provider, id");
    INTEGRATION_TROUBLED = concat!("SELECT ", columns!(), " FROM integrations
        WHERE organization_id = $1 AND status IN ('needs_reconnect', 'paused') ORDER BY provider, id");
    INTEGRATION_WAITING = "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM events WHERE organization_id = $1 AND integration_id = $2
            AND state IN ('pending', 'failed', 'running') AND order_key >= '' LIMIT 1000) e)
        + (SELECT COUNT(*) FROM (SELECT 1 FROM messages m JOIN conversations c ON c.organization_id = m.organization_id AND c.id = m.conversation_id
            WHERE m.organization_id = $1 AND c.integration_id = $2 AND m.delivery = 'queued' LIMIT 1000) m)";
    INTEGRATION_ENDED = concat!("SELECT ", columns!(), " FROM integrations WHERE organization_id = $1 AND status = 'disconnected'
        ORDER BY provider, id LIMIT $2");
    INTEGRATION_FIND = concat!("SELECT ", columns!(), " FROM integrations WHERE organization_id = $1 AND id = $2");
    INTEGRATION_BY_ACCOUNT = concat!("SELECT ", columns!(), " FROM integrations
        WHERE organization_id = $1 AND provider = $2 AND external_id = $3");
    INTEGRATION_ADD = "INSERT INTO integrations (organization_id, id, provider, external_id, account_identifier, status, generation,
            access_token, refresh_token, webhook_secret, token_expires_at, refresh_expires_at, scopes, missing_scopes,
            acting_user_id, webhook_id, connected_at, last_success_at, renew_at, webhook_secret_previous, webhook_previous_until,
            client_id, client_secret)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)";
    INTEGRATION_RENEW = "UPDATE integrations SET account_identifier = $3, status = $4, generation = $5, access_token = $6,
            refresh_token = $7, webhook_secret = $8, token_expires_at = $9, refresh_expires_at = $10, refresh_lease = NULL,
            scopes = $11, missing_scopes = $12, acting_user_id = $13, webhook_id = $14, connected_at = $15, last_success_at = $16,
            webhook_secret_previous = $18, webhook_previous_until = $19, client_id = $20, client_secret = $21, wait_until = NULL,
            renew_at = $17, renew_failures = 0, probed_at = NULL, subscription = NULL, subscription_at = NULL, last_error_code = NULL, last_error_message = NULL, last_error_at = NULL
        WHERE organization_id = $1 AND id = $2 AND generation = $5 - 1";
    INTEGRATION_TOKENS = "SELECT access_token, refresh_token, webhook_secret, webhook_secret_previous, webhook_previous_until,
            client_secret, token_expires_at, refresh_expires_at, renew_at, renew_failures, generation, status, wait_until
        FROM integrations WHERE organization_id = $1 AND id = $2";
    // Of two that see the first success after a pause one changes the state, and so writes its history.
    INTEGRATION_RESUMED = "UPDATE integrations SET last_success_at = $3, last_error_code = NULL, last_error_message = NULL,
            last_error_at = NULL, status = 'connected'
        WHERE organization_id = $1 AND id = $2 AND generation = $4 AND status = 'paused'";
    INTEGRATION_SUCCEEDED = "UPDATE integrations SET last_success_at = $3, last_error_code = NULL, last_error_message = NULL,
            last_error_at = NULL
        WHERE organization_id = $1 AND id = $2 AND generation = $4 AND status = 'connected'";
    // What needs a person, or has ended, stays so, with its reason: a call that was under way meanwhile knows less.
    INTEGRATION_MOVED = "UPDATE integrations SET status = $3, last_error_code = $4, last_error_message = $5, last_error_at = $6
        WHERE organization_id = $1 AND id = $2 AND generation = $7 AND status IN ('connected', 'paused') AND status <> $3";
    INTEGRATION_NOTED = "UPDATE integrations SET last_error_code = $3, last_error_message = $4, last_error_at = $5
        WHERE organization_id = $1 AND id = $2 AND generation = $6 AND status IN ('connected', 'paused')";
    INTEGRATION_REFRESH_LEASE = "UPDATE integrations SET refresh_lease = $3
        WHERE organization_id = $1 AND id = $2 AND generation = $4 AND COALESCE(refresh_lease, 0) < $5
          AND COALESCE(token_expires_at, 0) = $6";
    INTEGRATION_REFRESHED = "UPDATE integrations SET access_token = $3, refresh_token = $4, token_expires_at = $5,
            refresh_expires_at = $6, renew_at = $7, renew_failures = 0, refresh_lease = NULL
        WHERE organization_id = $1 AND id = $2 AND generation = $8 AND refresh_lease = $9";
    INTEGRATION_REFRESH_FAILED = "UPDATE integrations SET refresh_lease = NULL, renew_at = $4, renew_failures = renew_failures + 1
        WHERE organization_id = $1 AND id = $2 AND refresh_lease = $3";
    INTEGRATION_SCOPES = "UPDATE integrations SET scopes = $3, missing_scopes = $4 WHERE organization_id = $1 AND id = $2 AND generation = $5";
    INTEGRATION_WEBHOOK = "UPDATE integrations SET webhook_id = $3, webhook_secret = $4, webhook_secret_previous = $5,
            webhook_previous_until = $6
        WHERE organization_id = $1 AND id = $2 AND generation = $7 AND status <> 'disconnected'";
    INTEGRATION_WAIT = "UPDATE integrations SET wait_until = $3
        WHERE organization_id = $1 AND id = $2 AND generation = $4 AND COALESCE(wait_until, 0) < $3";
    INTEGRATION_SUBSCRIPTION = "UPDATE integrations SET subscription = $3, subscription_at = $4
        WHERE organization_id = $1 AND id = $2 AND generation = $5";
    INTEGRATION_FORGET = "UPDATE integrations SET status = 'needs_reconnect', access_token = NULL, refresh_token = NULL, acting_user_id = NULL,
            token_expires_at = NULL, refresh_expires_at = NULL, refresh_lease = NULL, renew_at = NULL,
            last_error_code = $4, last_error_message = $5, last_error_at = $6
        WHERE organization_id = $1 AND id = $2 AND generation = $3 AND status <> 'disconnected'";
    INTEGRATION_END = "UPDATE integrations SET status = 'disconnected', access_token = NULL, refresh_token = NULL, webhook_secret = NULL,
            webhook_id = NULL, webhook_secret_previous = NULL, webhook_previous_until = NULL, client_id = NULL, client_secret = NULL,
            wait_until = NULL, token_expires_at = NULL, refresh_expires_at = NULL, refresh_lease = NULL, renew_at = NULL, generation = generation + 1
        WHERE organization_id = $1 AND id = $2 AND generation = $3 AND status <> 'disconnected'";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    provider: String,
    external_id: String,
    account_identifier: String,
    status: String,
    generation: i64,
    token_expires_at: Option<i64>,
    scopes: String,
    missing_scopes: String,
    acting_user_id: Option<String>,
    webhook_id: Option<String>,
    client_id: Option<String>,
    connected_at: i64,
    last_success_at: Option<i64>,
    last_event_at: Option<i64>,
    last_error_code: Option<String>,
    last_error_message: Option<String>,
    last_error_at: Option<i64>,
    subscription: Option<String>,
    subscription_at: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct TokenRow {
    access_token: Option<Vec<u8>>,
    refresh_token: Option<Vec<u8>>,
    webhook_secret: Option<Vec<u8>>,
    webhook_secret_previous: Option<Vec<u8>>,
    webhook_previous_until: Option<i64>,
    client_secret: Option<Vec<u8>>,
    token_expires_at: Option<i64>,
    refresh_expires_at: Option<i64>,
    renew_at: Option<i64>,
    renew_failures: i64,
    generation: i64,
    status: String,
    wait_until: Option<i64>,
}

/// The sealed tokens of a connection with what tells whether they are still good.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The sealed columns.
    pub sealed: SealedTokens,
    /// When the access token ends.
    pub expires_at: Option<Timestamp>,
    /// When the refresh token ends.
    pub refresh_expires_at: Option<Timestamp>,
    /// When it is to be renewed; after failures, not before.
    pub renew_at: Option<Timestamp>,
    /// How often in a row that has failed.
    pub renew_failures: i64,
    /// The connection's generation.
    pub generation: i64,
    /// How the connection is.
    pub status: ConnectionStatus,
    /// Until when the provider has asked not to be called.
    pub wait_until: Option<Timestamp>,
}

/// A refreshed pair, sealed.
#[derive(Debug)]
pub struct RefreshedTokens {
    /// `integrations.access_token`.
    pub access_token: Sealed,
    /// `integrations.refresh_token`.
    pub refresh_token: Option<Sealed>,
    /// When the access token ends.
    pub expires_at: Option<Timestamp>,
    /// When the refresh token ends.
    pub refresh_expires_at: Option<Timestamp>,
    /// When it is to be renewed next.
    pub renew_at: Option<Timestamp>,
}

/// What is stored beside a connection when it is connected (anew).
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// When the refresh token ends.
    pub refresh: Option<Timestamp>,
    /// When the tokens are to be renewed.
    pub renew_at: Option<Timestamp>,
}

impl Tokens {
    /// Whether these are the same sealed tokens of the same connection as `other`.
    pub fn are(&self, other: &Self) -> bool {
        let (a, b) = (&self.sealed, &other.sealed);
        self.generation == other.generation
            && a.access_token == b.access_token
            && a.refresh_token == b.refresh_token
    }
}

/// A replaced secret, where both of its columns hold something.
pub(crate) fn replaced(secret: Option<Vec<u8>>, until: Option<i64>) -> Option<ReplacedSecret> {
    let (secret, until) = secret.zip(until)?;
    Some(ReplacedSecret { secret: Sealed::from_bytes(secret), until: Timestamp::from_millis(until) })
}

fn corrupt(column: &'static str) -> StoreError {
    StoreError::Corrupt { table: "integrations", column }
}

impl TenantTx {
    fn integration(&self, r: Row) -> Result<Integration, StoreError> {
        let at = |ms: Option<i64>| ms.map(Timestamp::from_millis);
        Ok(Integration {
            id: IntegrationId::parse(&r.id).ok_or_else(|| corrupt("id"))?,
            organization_id: self.org.clone(),
            provider: Provider::parse(&r.provider).ok_or_else(|| corrupt("provider"))?,
            status: ConnectionStatus::parse(&r.status).ok_or_else(|| corrupt("status"))?,
            account_identifier: serde_json::from_str(&r.account_identifier)
                .map_err(|_| corrupt("account_identifier"))?,
            scopes: list_from_text(&r.scopes, "integrations", "scopes")?,
            missing_scopes: list_from_text(&r.missing_scopes, "integrations", "missing_scopes")?,
            token_expires_at: at(r.token_expires_at),
            connected_at: Timestamp::from_millis(r.connected_at),
            last_success_at: at(r.last_success_at),
            last_error: match (r.last_error_code, r.last_error_message, r.last_error_at) {
                (Some(code), Some(message), Some(ms)) => {
                    Some(LastError { code, message, at: Timestamp::from_millis(ms) })
                }
                _ => None,
            },
            external_id: r.external_id,
            generation: r.generation,
            last_event_at: at(r.last_event_at),
            acting_user_id: r.acting_user_id,
            webhook_id: r.webhook_id,
            subscription: match (r.subscription, r.subscription_at) {
                (Some(word), Some(ms)) => {
                    let found = Subscription::parse(&word).ok_or_else(|| corrupt("subscription"))?;
                    Some((found, Timestamp::from_millis(ms)))
                }
                _ => None,
            },
            client_id: r.client_id,
        })
    }

    /// The organization's connections that are not disconnected.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn integration_list(&mut self) -> Result<Vec<Integration>, StoreError> {
        let rows = rows!(fetch_all, self, Row, INTEGRATION_LIST, self.org.as_str())?;
        rows.into_iter().map(|r| self.integration(r)).collect()
    }

    /// One connection, disconnected or not.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn integration_find(&mut self, id: &IntegrationId) -> Result<Option<Integration>, StoreError> {
        let row = rows!(fetch_optional, self, Row, INTEGRATION_FIND, self.org.as_str(), id.as_str())?;
        row.map(|r| self.integration(r)).transpose()
    }

    /// The organization's row for an account, disconnected or not.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn integration_by_account(
        &mut self,
        provider: Provider,
        external_id: &str,
    ) -> Result<Option<Integration>, StoreError> {
        let row = rows!(
            fetch_optional,
            self,
            Row,
            INTEGRATION_BY_ACCOUNT,
            self.org.as_str(),
            provider.as_str(),
            external_id
        )?;
        row.map(|r| self.integration(r)).transpose()
    }

    /// Stores a connection with its sealed tokens, new or (by its id) connected anew.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if another organization holds the account, [`StoreError::NotFound`] if what is to be
    /// connected anew is not this organization's.
    pub async fn integration_put(
        &mut self,
        it: &Integration,
        tokens: &SealedTokens,
        ends: Ends,
        is_new: bool,
    ) -> Result<(), StoreError> {
        let account = serde_json::to_string(&it.account_identifier).expect("an account is always JSON");
        let bytes = |s: &Option<Sealed>| s.as_ref().map(|s| s.as_bytes().to_vec());
        let ms = |t: Option<Timestamp>| t.map(Timestamp::millis);
        let previous = tokens.webhook_secret_previous.as_ref();
        if is_new {
            execute!(
                self,
                INTEGRATION_ADD,
                self.org.as_str(),
                it.id.as_str(),
                it.provider.as_str(),
                it.external_id.as_str(),
                account.as_str(),
                it.status.as_str(),
                it.generation,
                bytes(&tokens.access_token),
                bytes(&tokens.refresh_token),
                bytes(&tokens.webhook_secret),
                ms(it.token_expires_at),
                ms(ends.refresh),
                list_to_text(&it.scopes),
                list_to_text(&it.missing_scopes),
                it.acting_user_id.as_deref(),
                it.webhook_id.as_deref(),
                it.connected_at.millis(),
                ms(it.last_success_at),
                ms(ends.renew_at),
                previous.map(|p| p.secret.as_bytes()),
                previous.map(|p| p.until.millis()),
                it.client_id.as_deref(),
                bytes(&tokens.client_secret),
            )?;
        } else {
            let n = execute!(
                self,
                INTEGRATION_RENEW,
                self.org.as_str(),
                it.id.as_str(),
                account.as_str(),
                it.status.as_str(),
                it.generation,
                bytes(&tokens.access_token),
                bytes(&tokens.refresh_token),
                bytes(&tokens.webhook_secret),
                ms(it.token_expires_at),
                ms(ends.refresh),
                list_to_text(&it.scopes),
                list_to_text(&it.missing_scopes),
                it.acting_user_id.as_deref(),
                it.webhook_id.as_deref(),
                it.connected_at.millis(),
                ms(it.last_success_at),
                ms(ends.renew_at),
                previous.map(|p| p.secret.as_bytes()),
                previous.map(|p| p.until.millis()),
                it.client_id.as_deref(),
                bytes(&tokens.client_secret),
            )?;
            // Not there, or somebody connected it anew at the same moment.
            if n == 0 {
                return Err(StoreError::NotFound("integration"));
            }
        }
        Ok(())
    }

    /// The sealed tokens of a connection.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it is not this organization's.
    pub async fn integration_tokens(&mut self, id: &IntegrationId) -> Result<Tokens, StoreError> {
        let row = rows!(fetch_optional, self, TokenRow, INTEGRATION_TOKENS, self.org.as_str(), id.as_str())?;
        let r = row.ok_or(StoreError::NotFound("integration"))?;
        Ok(Tokens {
            sealed: SealedTokens {
                access_token: r.access_token.map(Sealed::from_bytes),
                refresh_token: r.refresh_token.map(Sealed::from_bytes),
                webhook_secret: r.webhook_secret.map(Sealed::from_bytes),
                webhook_secret_previous: replaced(r.webhook_secret_previous, r.webhook_previous_until),
                client_secret: r.client_secret.map(Sealed::from_bytes),
            },
            expires_at: r.token_expires_at.map(Timestamp::from_millis),
            refresh_expires_at: r.refresh_expires_at.map(Timestamp::from_millis),
            renew_at: r.renew_at.map(Timestamp::from_millis),
            renew_failures: r.renew_failures,
            generation: r.generation,
            status: ConnectionStatus::parse(&r.status).ok_or_else(|| corrupt("status"))?,
            wait_until: r.wait_until.map(Timestamp::from_millis),
        })
    }

    /// A call worked: clears the last error, and ends a pause. `true` if it ended one.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn integration_succeeded(
        &mut self,
        id: &IntegrationId,
        generation: i64,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let (org, id) = (self.org.as_str(), id.as_str());
        if execute!(self, INTEGRATION_RESUMED, org, id, at.millis(), generation)? == 1 {
            return Ok(true);
        }
        execute!(self, INTEGRATION_SUCCEEDED, org, id, at.millis(), generation)?;
        Ok(false)
    }

    /// A call failed: why, and how the connection is now if that tells. `true` if that is another state than before. A
    /// connection that was connected anew meanwhile, has ended or needs a person is left alone.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn integration_failed(
        &mut self,
        id: &IntegrationId,
        generation: i64,
        status: Option<ConnectionStatus>,
        error: &LastError,
    ) -> Result<bool, StoreError> {
        let (org, id) = (self.org.as_str(), id.as_str());
        let (code, message, at) = (error.code.as_str(), error.message.as_str(), error.at.millis());
        if let Some(status) = status
            && execute!(self, INTEGRATION_MOVED, org, id, status.as_str(), code, message, at, generation)?
                == 1
        {
            return Ok(true);
        }
        execute!(self, INTEGRATION_NOTED, org, id, code, message, at, generation)?;
        Ok(false)
    }

    /// Takes the right to refresh until `until`, unless somebody holds it or the token was refreshed meanwhile.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn integration_refresh_lease(
        &mut self,
        id: &IntegrationId,
        seen: &Tokens,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let seen_expiry = seen.expires_at.map_or(0, Timestamp::millis);
        let n = execute!(
            self,
            INTEGRATION_REFRESH_LEASE,
            self.org.as_str(),
            id.as_str(),
            until.millis(),
            seen.generation,
            now.millis(),
            seen_expiry,
        )?;
        Ok(n == 1)
    }

    /// Stores a refreshed pair and gives the right back, if it is still ours.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another took it.
    pub async fn integration_refreshed(
        &mut self,
        id: &IntegrationId,
        generation: i64,
        lease: Timestamp,
        tokens: &RefreshedTokens,
    ) -> Result<(), StoreError> {
        let n = execute!(
            self,
            INTEGRATION_REFRESHED,
            self.org.as_str(),
            id.as_str(),
            tokens.access_token.as_bytes(),
            tokens.refresh_token.as_ref().map(Sealed::as_bytes),
            tokens.expires_at.map(Timestamp::millis),
            tokens.refresh_expires_at.map(Timestamp::millis),
            tokens.renew_at.map(Timestamp::millis),
            generation,
            lease.millis(),
        )?;
        if n == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
    }

    /// Gives the right to refresh back after a failure, if it is still ours, and says when to try again.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another took it: what failed says nothing of the token that is stored now.
    pub async fn integration_refresh_failed(
        &mut self,
        id: &IntegrationId,
        lease: Timestamp,
        renew_at: Timestamp,
    ) -> Result<(), StoreError> {
        let (org, id) = (self.org.as_str(), id.as_str());
        let n = execute!(self, INTEGRATION_REFRESH_FAILED, org, id, lease.millis(), renew_at.millis())?;
        if n == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
    }

    /// What is granted now.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn integration_scopes(
        &mut self,
        id: &IntegrationId,
        generation: i64,
        scopes: &[String],
        missing: &[String],
    ) -> Result<(), StoreError> {
        execute!(
            self,
            INTEGRATION_SCOPES,
            self.org.as_str(),
            id.as_str(),
            list_to_text(scopes),
            list_to_text(missing),
            generation
        )?;
        Ok(())
    }

    /// The provider's subscription, the secret it signs with, and the one that signed before.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn integration_webhook(
        &mut self,
        id: &IntegrationId,
        generation: i64,
        webhook_id: &str,
        secret: &Sealed,
        previous: Option<&ReplacedSecret>,
    ) -> Result<bool, StoreError> {
        let n = execute!(
            self,
            INTEGRATION_WEBHOOK,
            self.org.as_str(),
            id.as_str(),
            webhook_id,
            secret.as_bytes(),
            previous.map(|p| p.secret.as_bytes()),
            previous.map(|p| p.until.millis()),
            generation
        )?;
        Ok(n == 1)
    }

    /// The provider asked not to be called until then. An earlier end does not replace a later one.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn integration_wait(
        &mut self,
        id: &IntegrationId,
        generation: i64,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        execute!(self, INTEGRATION_WAIT, self.org.as_str(), id.as_str(), until.millis(), generation)?;
        Ok(())
    }

    /// Whether events of this connection reach us, as it was just found.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn integration_subscription(
        &mut self,
        id: &IntegrationId,
        generation: i64,
        found: Subscription,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let (org, id) = (self.org.as_str(), id.as_str());
        execute!(self, INTEGRATION_SUBSCRIPTION, org, id, found.as_str(), at.millis(), generation)?;
        Ok(())
    }

    /// Connections that need somebody, or wait for their provider.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn integration_troubled(&mut self) -> Result<Vec<Integration>, StoreError> {
        let rows = rows!(fetch_all, self, Row, INTEGRATION_TROUBLED, self.org.as_str())?;
        rows.into_iter().map(|r| self.integration(r)).collect()
    }

    /// How many events and messages wait for a connection; more than a thousand of each are not counted.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn integration_waiting(&mut self, id: &IntegrationId) -> Result<i64, StoreError> {
        let (n,) = rows!(fetch_one, self, (i64,), INTEGRATION_WAITING, self.org.as_str(), id.as_str())?;
        Ok(n)
    }

    /// Connections that have ended and were not connected anew, up to `limit`.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn integration_ended(&mut self, limit: i64) -> Result<Vec<Integration>, StoreError> {
        let rows = rows!(fetch_all, self, Row, INTEGRATION_ENDED, self.org.as_str(), limit)?;
        rows.into_iter().map(|r| self.integration(r)).collect()
    }

    /// Erases the tokens and who gave them; the connection stays and waits to be authorized again.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn integration_forget(
        &mut self,
        id: &IntegrationId,
        generation: i64,
        error: &LastError,
    ) -> Result<bool, StoreError> {
        let n = execute!(
            self,
            INTEGRATION_FORGET,
            self.org.as_str(),
            id.as_str(),
            generation,
            error.code.as_str(),
            error.message.as_str(),
            error.at.millis()
        )?;
        Ok(n == 1)
    }

    /// Ends a connection: tokens erased, generation raised so that queued work stops. `false` if it had ended already.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn integration_end(&mut self, id: &IntegrationId, generation: i64) -> Result<bool, StoreError> {
        Ok(execute!(self, INTEGRATION_END, self.org.as_str(), id.as_str(), generation)? == 1)
    }
}
