//! The calls to an account (`kustomer.md` 2). Whatever writes looks first, by our own id: a POST cannot be repeated
//! safely, and a lost answer is followed by another try (2.4). Whoever is asked to slow down asks nothing more.

use super::role::uncovered;
use super::{Kustomer, unexpected};
use crate::error::{Kind, ProviderError};
use crate::json;
use agenstack_core::clock::Timestamp;
use agenstack_core::integration::Subdomain;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::collections::HashSet;

/// The label of what we write; also tells our own messages when they come back.
pub const APP: &str = "agenstack";
/// Messages are listed a hundred at a time; a conversation of more than this many pages is not searched further.
const MOST_PAGES: usize = 20;
/// What we are told of (`kustomer.md` 3.2); one webhook holds them all, because an account may have five.
const EVENTS: &[&str] =
    &["kustomer.conversation.create", "kustomer.conversation.update", "kustomer.message.create"];

/// Who a token acts as, and for which account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user, a machine's or a person's.
    pub user_id: String,
    /// The account's id: 24 hex digits.
    pub org_id: String,
    /// The account's display name, where it is told.
    pub org_name: Option<String>,
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the customer.
    In,
    /// To the customer.
    Out,
}

impl Direction {
    const fn as_str(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }
}

/// One message of a transcript.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// Our id of it: what makes a repeat find it.
    pub external_id: &'a str,
    /// Which way it went.
    pub direction: Direction,
    /// What it says.
    pub text: &'a str,
    /// When it went.
    pub sent_at: Timestamp,
}

/// How a webhook is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookState {
    /// It delivers.
    On,
    /// Kustomer has switched it off, as it does with those that fail (`kustomer.md` 3.2).
    Off,
    /// There is none with this id.
    Gone,
}

/// A webhook that has just been made.
#[derive(Clone, Debug)]
pub struct CreatedWebhook {
    /// Its id, for deleting it.
    pub id: String,
    /// What its deliveries are signed with.
    pub secret: SecretString,
}

/// A value inside one path segment.
fn segment(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}

fn is_off(webhook: &Value) -> bool {
    webhook.pointer("/data/attributes/enabled") == Some(&Value::Bool(false))
}

fn id_of(body: &Value) -> Result<String, ProviderError> {
    json::text(body, "/data/id").ok_or_else(unexpected)
}

/// 404 is an answer for whoever looks something up.
fn absent<T>(outcome: Result<T, ProviderError>) -> Result<Option<T>, ProviderError> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

impl Kustomer {
    async fn get(&self, org: &Subdomain, token: &SecretString, path: &str) -> Result<Value, ProviderError> {
        self.rest(org, token, Method::GET, path, &[], None).await
    }

    async fn post(
        &self,
        org: &Subdomain,
        token: &SecretString,
        path: &str,
        body: &Value,
    ) -> Result<Value, ProviderError> {
        self.rest(org, token, Method::POST, path, &[], Some(body)).await
    }

    /// Whether the token lives; works whatever its roles (`kustomer.md` 1.3).
    pub async fn verify_token(&self, org: &Subdomain, token: &SecretString) -> Result<(), ProviderError> {
        self.get(org, token, "/v1/auth/tokens/current").await.map(drop)
    }

    /// Whom the token acts as, and for which account: the binding that counts (`kustomer.md` 1.6, step 4).
    pub async fn identity(&self, org: &Subdomain, token: &SecretString) -> Result<Identity, ProviderError> {
        let user = self.get(org, token, "/v1/users/current").await?;
        let org_id = json::text(&user, "/data/relationships/org/data/id").ok_or_else(unexpected)?;
        // Cosmetic: what it needs is not established, so that any refusal only leaves the name out.
        let named = match self.get(org, token, &format!("/v1/orgs/{}", segment(&org_id))).await {
            Err(e) if e.kind == Kind::RateLimited => return Err(e),
            other => other.ok(),
        };
        let org_name = named.and_then(|o| {
            json::text(&o, "/data/attributes/displayName").or_else(|| json::text(&o, "/data/attributes/name"))
        });
        Ok(Identity { user_id: id_of(&user)?, org_id, org_name })
    }

    /// The needed roles that are not among the granted ones, or that cheap reads find missing (`kustomer.md` 1.6,
    /// step 5). A read that works counts more than what was granted.
    pub async fn missing_roles(
        &self,
        org: &Subdomain,
        token: &SecretString,
        granted: &[String],
    ) -> Result<Vec<String>, ProviderError> {
        let probes = [
            ("/v1/conversations?pageSize=1", "org.permission.conversation.read"),
            ("/v1/customers/email=nobody%40agenstack.invalid", "org.permission.customer.read"),
            ("/v1/teams?pageSize=1", "org.permission.team.read"),
            ("/v1/outbound-webhooks", "org.permission.outbound_webhook.read"),
        ];
        let mut missing = uncovered(granted);
        for (path, role) in probes {
            missing.retain(|m| *m != role);
            match absent(self.get(org, token, path).await) {
                Ok(_) => {}
                Err(e) if e.kind == Kind::Forbidden => missing.push(role),
                Err(e) => return Err(e),
            }
        }
        missing.sort_unstable();
        Ok(missing.into_iter().map(str::to_owned).collect())
    }

    /// The customer with our id, or with this address; made if there is none (`kustomer.md` 2.3, 2.5).
    pub async fn customer_find_or_create(
        &self,
        org: &Subdomain,
        token: &SecretString,
        external_id: &str,
        name: &str,
        email: Option<&str>,
    ) -> Result<String, ProviderError> {
        if let Some(id) = self.customer_find(org, token, external_id, email).await? {
            return Ok(id);
        }
        let mut body = json!({"name": name, "externalId": external_id});
        if let Some(email) = email {
            body["emails"] = json!([{"type": "home", "email": email}]);
        }
        match self.post(org, token, "/v1/customers", &body).await {
            Ok(made) => id_of(&made),
            Err(e) if e.kind == Kind::RateLimited => Err(e),
            // Somebody else made it meanwhile, or the answer was lost: it is there now, or the error stands.
            Err(e) => self.customer_find(org, token, external_id, email).await?.ok_or(e),
        }
    }

    async fn customer_find(
        &self,
        org: &Subdomain,
        token: &SecretString,
        external_id: &str,
        email: Option<&str>,
    ) -> Result<Option<String>, ProviderError> {
        let by_id = format!("/v1/customers/externalId={}", segment(external_id));
        if let Some(found) = absent(self.get(org, token, &by_id).await)? {
            return id_of(&found).map(Some);
        }
        let Some(email) = email else { return Ok(None) };
        let by_email = format!("/v1/customers/email={}", segment(email));
        absent(self.get(org, token, &by_email).await)?.map(|found| id_of(&found)).transpose()
    }

    /// The conversation with our id; made, open and coming in, if there is none. The look-up by external id is
    /// documented for customers and reported for "most objects" (`kustomer.md` 2.1): an account that answers it
    /// with 404 gets a new conversation.
    pub async fn conversation_find_or_create(
        &self,
        org: &Subdomain,
        token: &SecretString,
        customer_id: &str,
        external_id: &str,
        name: &str,
    ) -> Result<String, ProviderError> {
        let path = format!("/v1/conversations/externalId={}", segment(external_id));
        let find =
            || async { absent(self.get(org, token, &path).await)?.map(|found| id_of(&found)).transpose() };
        if let Some(id) = find().await? {
            return Ok(id);
        }
        let body = json!({
            "customer": customer_id, "externalId": external_id, "name": name, "status": "open", "direction": "in",
        });
        match self.post(org, token, "/v1/conversations", &body).await {
            Ok(made) => id_of(&made),
            Err(e) if e.kind == Kind::RateLimited => Err(e),
            Err(e) => find().await?.ok_or(e),
        }
    }

    /// Writes messages into a conversation, in order, leaving out those that it holds already by their id. Writing
    /// never sends anything to the customer (`kustomer.md` 2.3).
    pub async fn messages_add(
        &self,
        org: &Subdomain,
        token: &SecretString,
        conversation_id: &str,
        turns: &[Turn<'_>],
    ) -> Result<(), ProviderError> {
        let path = format!("/v1/conversations/{}/messages", segment(conversation_id));
        let mut there = self.external_ids(org, token, &path).await?;
        for turn in turns {
            if there.contains(turn.external_id) {
                continue;
            }
            let body = json!({
                "channel": "chat", "app": APP, "direction": turn.direction.as_str(), "externalId": turn.external_id,
                "preview": turn.text, "sentAt": turn.sent_at.rfc3339(),
            });
            if let Err(e) = self.post(org, token, &path, &body).await {
                if e.kind == Kind::RateLimited {
                    return Err(e);
                }
                // The answer may have been lost after it was written.
                there = self.external_ids(org, token, &path).await?;
                if !there.contains(turn.external_id) {
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    async fn external_ids(
        &self,
        org: &Subdomain,
        token: &SecretString,
        path: &str,
    ) -> Result<HashSet<String>, ProviderError> {
        let mut found = HashSet::new();
        for page in 1..=MOST_PAGES {
            let page = page.to_string();
            let query = [("page", page.as_str()), ("pageSize", "100")];
            let list = self.rest(org, token, Method::GET, path, &query, None).await?;
            let items = list.get("data").and_then(Value::as_array).ok_or_else(unexpected)?;
            found.extend(items.iter().filter_map(|m| json::text(m, "/attributes/externalId")));
            if json::text(&list, "/links/next").is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// Leaves a note that only the team sees.
    pub async fn note_add(
        &self,
        org: &Subdomain,
        token: &SecretString,
        conversation_id: &str,
        text: &str,
    ) -> Result<(), ProviderError> {
        let path = format!("/v1/conversations/{}/notes", segment(conversation_id));
        self.post(org, token, &path, &json!({"body": text})).await.map(drop)
    }

    /// Marks a conversation; repeating it changes nothing.
    pub async fn tag_add(
        &self,
        org: &Subdomain,
        token: &SecretString,
        conversation_id: &str,
        tag: &str,
    ) -> Result<(), ProviderError> {
        let path = format!("/v1/conversations/{}/tags", segment(conversation_id));
        self.post(org, token, &path, &json!({"tags": [tag]})).await.map(drop)
    }

    /// The webhooks that deliver to an address.
    pub async fn webhooks_at(
        &self,
        org: &Subdomain,
        token: &SecretString,
        url: &str,
    ) -> Result<Vec<String>, ProviderError> {
        let list = self.get(org, token, "/v1/outbound-webhooks").await?;
        let same = |w: &&Value| json::text(w, "/attributes/url").as_deref() == Some(url);
        let items = list.get("data").and_then(Value::as_array).ok_or_else(unexpected)?;
        Ok(items.iter().filter(same).filter_map(|w| json::text(w, "/id")).collect())
    }

    /// Makes a webhook with all events we use (`kustomer.md` 3.2).
    pub async fn webhook_create(
        &self,
        org: &Subdomain,
        token: &SecretString,
        url: &str,
        name: &str,
    ) -> Result<CreatedWebhook, ProviderError> {
        let body = json!({"name": name, "url": url, "events": EVENTS});
        let made = self.post(org, token, "/v1/outbound-webhooks", &body).await.map_err(|mut e| {
            // What has nothing to do with webhooks keeps its own sentence.
            if e.kind == Kind::Rejected && !matches!(e.code, "wrong_region" | "redirected") {
                e.code = "webhook_refused";
            }
            e
        })?;
        let secret = json::text(&made, "/data/attributes/token").ok_or_else(unexpected)?;
        Ok(CreatedWebhook { id: id_of(&made)?, secret: SecretString::from(secret) })
    }

    /// Deletes a webhook; one that is gone is fine.
    pub async fn webhook_delete(
        &self,
        org: &Subdomain,
        token: &SecretString,
        id: &str,
    ) -> Result<(), ProviderError> {
        let path = format!("/v1/outbound-webhooks/{}", segment(id));
        absent(self.rest(org, token, Method::DELETE, &path, &[], None).await).map(drop)
    }

    /// How a webhook is.
    pub async fn webhook_state(
        &self,
        org: &Subdomain,
        token: &SecretString,
        id: &str,
    ) -> Result<WebhookState, ProviderError> {
        let path = format!("/v1/outbound-webhooks/{}", segment(id));
        Ok(match absent(self.get(org, token, &path).await)? {
            None => WebhookState::Gone,
            Some(w) if is_off(&w) => WebhookState::Off,
            Some(_) => WebhookState::On,
        })
    }

    /// Switches a webhook on again. Whether that is allowed, and with which role, is not established
    /// (`kustomer.md` 1.3): `false` where Kustomer takes the request and leaves it off.
    pub async fn webhook_enable(
        &self,
        org: &Subdomain,
        token: &SecretString,
        id: &str,
        url: &str,
        name: &str,
    ) -> Result<bool, ProviderError> {
        let path = format!("/v1/outbound-webhooks/{}", segment(id));
        let body = json!({"name": name, "url": url, "events": EVENTS, "enabled": true});
        let changed = self.rest(org, token, Method::PUT, &path, &[], Some(&body)).await?;
        Ok(changed.pointer("/data/attributes/enabled") == Some(&Value::Bool(true)))
    }
}
