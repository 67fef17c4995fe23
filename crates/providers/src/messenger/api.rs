//! The calls about Pages, messages and people (`messenger.md` 1.6, 1.10, 3.1, 3.8).

use super::graph::is_true;
use super::text::{MOST_UNITS, units};
use super::{Messenger, NEEDED_FIELDS, SUBSCRIBED_FIELDS};
use crate::error::{Kind, ProviderError};
use crate::grant::secret;
use crate::json;
use agenstack_core::integration::{PageId, Provider};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

/// Nobody manages more Pages than fifty requests of a hundred; more is a loop.
const MOST_REQUESTS: usize = 50;
/// `metadata` comes back in the echo if it is shorter than this (`messenger.md` 3.1).
const MOST_METADATA: usize = 999;

/// A Page the person may let us use.
#[derive(Clone, Debug)]
pub struct PageOffer {
    /// Its id.
    pub id: PageId,
    /// Its name.
    pub name: String,
    /// Its token, if Meta gives one.
    pub access_token: Option<SecretString>,
    /// What the person may do there.
    pub tasks: Vec<String>,
    /// Whether `tasks` was in the answer; a Page that was asked for by its id does not say.
    pub tasks_known: bool,
}

impl PageOffer {
    /// Why this Page cannot be chosen, in plain words; `None` if it can (`messenger.md` 1.6).
    pub fn problem(&self) -> Option<String> {
        if self.access_token.is_none() {
            return Some(
                "Facebook gives no access to this page; ask for a full role on it and connect again."
                    .to_owned(),
            );
        }
        if !self.tasks_known {
            return None;
        }
        let has = |names: &[&str]| self.tasks.iter().any(|t| names.contains(&t.as_str()));
        let mut missing = Vec::new();
        // One of Meta's pages writes MESSAGE.
        if !has(&["MESSAGING", "MESSAGE"]) {
            missing.push("MESSAGING");
        }
        if !has(&["MODERATE"]) {
            missing.push("MODERATE");
        }
        (!missing.is_empty()).then(|| {
            format!(
                "Your role on this page lacks the task {}; ask an admin of the page for it and connect again.",
                missing.join(" and ")
            )
        })
    }
}

/// A Page, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageInfo {
    /// Its id.
    pub id: PageId,
    /// Its name.
    pub name: String,
}

fn unexpected() -> ProviderError {
    ProviderError::new(Provider::Messenger, Kind::Malformed, "answer_unexpected").with_status(200)
}

fn offer(page: &Value) -> Option<PageOffer> {
    Some(PageOffer {
        id: PageId::parse(&json::text(page, "/id")?)?,
        name: json::text(page, "/name").unwrap_or_default(),
        access_token: secret(page.get("access_token").and_then(Value::as_str).map(str::to_owned)),
        tasks: json::strings(page, "/tasks"),
        tasks_known: page.get("tasks").is_some_and(Value::is_array),
    })
}

/// The cursor of the next page of a list; `None` at its end. Only the cursor is taken from `next`: its host is
/// the provider's word, and a token that follows it could go anywhere.
fn next_cursor(body: &Value) -> Option<String> {
    let next = json::text(body, "/paging/next")?;
    json::text(body, "/paging/cursors/after").or_else(|| {
        let (_, query) = next.split_once('?')?;
        form_urlencoded::parse(query.as_bytes()).find(|(n, _)| n == "after").map(|(_, v)| v.into_owned())
    })
}

impl Messenger {
    /// The Pages the person let us see (`messenger.md` 1.6), all pages of the list. `token` is a long-lived user
    /// token, so that the Page tokens have no end.
    pub async fn pages(&self, token: &SecretString) -> Result<Vec<PageOffer>, ProviderError> {
        let mut offers: Vec<PageOffer> = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..MOST_REQUESTS {
            let mut query = vec![("fields", "id,name,access_token,tasks,category"), ("limit", "100")];
            if let Some(cursor) = &after {
                query.push(("after", cursor));
            }
            let body = self.graph(Method::GET, "/me/accounts", token, &query, None).await?;
            let data = body.get("data").and_then(Value::as_array).ok_or_else(unexpected)?;
            offers.extend(data.iter().filter_map(offer));
            let next = next_cursor(&body);
            if next.is_none() {
                return Ok(offers);
            }
            if next == after {
                break;
            }
            after = next;
        }
        Err(ProviderError::new(Provider::Messenger, Kind::Malformed, "paging_endless"))
    }

    /// One Page by its id: for Pages that `granular_scopes` names and the list leaves out (`messenger.md` 1.6).
    /// One by one, because one id out of reach fails a combined request.
    pub async fn page_offer(&self, page: &PageId, token: &SecretString) -> Result<PageOffer, ProviderError> {
        let query = [("fields", "id,name,access_token")];
        let body = self.graph(Method::GET, &format!("/{page}"), token, &query, None).await?;
        offer(&body).filter(|o| o.id == *page).ok_or_else(unexpected)
    }

    /// Asks a Page who it is, with its own token: also tells whether the token lives.
    pub async fn page_info(&self, page: &PageId, token: &SecretString) -> Result<PageInfo, ProviderError> {
        let query = [("fields", "id,name")];
        let body = self.graph(Method::GET, &format!("/{page}"), token, &query, None).await?;
        let id = json::text(&body, "/id").and_then(|id| PageId::parse(&id)).ok_or_else(unexpected)?;
        if id != *page {
            return Err(unexpected());
        }
        Ok(PageInfo { id, name: json::text(&body, "/name").unwrap_or_default() })
    }

    /// Subscribes our app to the Page and reads back what was kept (`messenger.md` 1.10).
    pub async fn subscribe(&self, page: &PageId, token: &SecretString) -> Result<Vec<String>, ProviderError> {
        let fields = SUBSCRIBED_FIELDS.join(",");
        let path = format!("/{page}/subscribed_apps");
        let query = [("subscribed_fields", fields.as_str())];
        let body = self.graph(Method::POST, &path, token, &query, None).await?;
        if !is_true(body.get("success")) {
            return Err(ProviderError::new(Provider::Messenger, Kind::Rejected, "not_subscribed"));
        }
        let kept = self.subscription(page, token).await?;
        let missing: Vec<&str> =
            NEEDED_FIELDS.iter().copied().filter(|f| !kept.iter().any(|k| k == f)).collect();
        if missing.is_empty() {
            return Ok(kept);
        }
        Err(ProviderError::new(Provider::Messenger, Kind::Rejected, "fields_missing")
            .with_detail(missing.join(",")))
    }

    /// What our app is subscribed to at the Page; empty if it is not.
    pub async fn subscription(
        &self,
        page: &PageId,
        token: &SecretString,
    ) -> Result<Vec<String>, ProviderError> {
        let body = self.graph(Method::GET, &format!("/{page}/subscribed_apps"), token, &[], None).await?;
        let apps = body.get("data").and_then(Value::as_array).ok_or_else(unexpected)?;
        let ours = apps.iter().find(|a| json::text(a, "/id").as_deref() == Some(self.app_id()));
        Ok(ours.map(|a| json::strings(a, "/subscribed_fields")).unwrap_or_default())
    }

    /// Ends the subscription with the Page's token.
    pub async fn unsubscribe(&self, page: &PageId, token: &SecretString) -> Result<(), ProviderError> {
        let path = format!("/{page}/subscribed_apps");
        let body = self.graph(Method::DELETE, &path, token, &[], None).await?;
        if is_true(body.get("success")) {
            return Ok(());
        }
        Err(ProviderError::new(Provider::Messenger, Kind::Rejected, "not_unsubscribed"))
    }

    /// Ends the subscription with the app's own token, which works when the Page's token is dead (1.10).
    pub async fn unsubscribe_as_app(&self, page: &PageId) -> Result<(), ProviderError> {
        self.unsubscribe(page, &self.app_token()).await
    }

    /// Sends one text as an answer inside the 24 hours, and gives the message's id (`messenger.md` 3.1). There is
    /// no idempotency key: after an unknown outcome look for the echo with our `metadata` before sending again.
    pub async fn send_text(
        &self,
        page: &PageId,
        token: &SecretString,
        psid: &str,
        text: &str,
        metadata: &str,
    ) -> Result<String, ProviderError> {
        if text.trim().is_empty() || units(text) > MOST_UNITS || metadata.chars().count() > MOST_METADATA {
            return Err(ProviderError::new(Provider::Messenger, Kind::Rejected, "content_refused"));
        }
        let body = json!({
            "recipient": {"id": psid},
            "messaging_type": "RESPONSE",
            "message": {"text": text, "metadata": metadata},
        });
        // Named by the Page, not `me`: a token of another Page then fails instead of speaking for it.
        let path = format!("/{page}/messages");
        let answer = self.graph(Method::POST, &path, token, &[], Some(&body)).await?;
        json::text(&answer, "/message_id").ok_or_else(|| unexpected().outcome_unknown(true))
    }

    /// The customer's name; `None` where Meta does not tell (`messenger.md` 3.8).
    pub async fn profile(&self, psid: &str, token: &SecretString) -> Result<Option<String>, ProviderError> {
        if psid.is_empty() || psid.len() > 32 || !psid.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(None);
        }
        let query = [("fields", "first_name,last_name")];
        let body = match self.graph(Method::GET, &format!("/{psid}"), token, &query, None).await {
            Ok(body) => body,
            Err(error) if error.code == "no_profile" => return Ok(None),
            Err(error) => return Err(error),
        };
        let names: Vec<String> =
            ["/first_name", "/last_name"].iter().filter_map(|p| json::text(&body, p)).collect();
        Ok((!names.is_empty()).then(|| names.join(" ")))
    }
}
