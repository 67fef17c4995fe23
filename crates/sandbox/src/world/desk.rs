//! The Kustomer accounts.

use crate::settings::Settings;
use crate::sign::{jwt, object_id, random_hex};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An account.
pub(crate) struct Desk {
    /// Its subdomain.
    pub name: String,
    pub title: String,
    /// 24 hex digits.
    pub id: String,
    /// Whether the platform's app is installed.
    pub app_installed: bool,
    /// An app that the account registered for itself.
    pub own_app: OwnApp,
    pub keys: Vec<Key>,
    pub tokens: Vec<Token>,
    pub customers: Vec<Value>,
    pub conversations: Vec<Value>,
    pub messages: Vec<Value>,
    pub notes: Vec<Value>,
    pub webhooks: Vec<Hook>,
    /// What webhooks sign with, or signed with before they were deleted.
    pub hook_secrets: BTreeMap<String, String>,
    pub next: u64,
    /// Calls in the present minute, and which minute that is.
    pub used: (u32, i64),
}

/// An account's own app.
#[derive(Clone, Debug)]
pub(crate) struct OwnApp {
    pub client_id: String,
    pub client_secret: String,
    pub installed: bool,
}

impl Desk {
    /// The secret of an app that people of this account may authorize; `None` for any other client.
    pub(crate) fn secret_of<'a>(&'a self, client_id: &str, platform: &'a Settings) -> Option<&'a str> {
        if client_id == platform.kustomer_client_id && self.app_installed {
            return Some(&platform.kustomer_client_secret);
        }
        let own = &self.own_app;
        (client_id == own.client_id && own.installed).then_some(own.client_secret.as_str())
    }
}

/// An API key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub kind: &'static str,
    pub text: String,
    pub user: String,
    pub roles: Vec<String>,
    pub expires_at: Option<i64>,
    pub revoked: bool,
}

/// A token that OAuth gave.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub access: String,
    pub refresh: String,
    /// The app it was given to.
    pub client: String,
    pub expires_at: i64,
    pub user: String,
    pub roles: Vec<String>,
    pub revoked: bool,
}

/// An outbound webhook.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    pub id: String,
    pub name: String,
    pub url: String,
    pub events: Vec<String>,
    pub token: String,
    pub enabled: bool,
}

const ROLES: [&str; 12] = [
    "org.permission.customer",
    "org.permission.conversation",
    "org.permission.message",
    "org.permission.note",
    "org.permission.user.read",
    "org.permission.team.read",
    "org.permission.tag.read",
    "org.permission.outbound_webhook.create",
    "org.permission.outbound_webhook.read",
    "org.permission.outbound_webhook.delete",
    "org.permission.search.create",
    "org.permission.routing.read",
];

impl Desk {
    fn key(&self, kind: &'static str, roles: &[&str], expires_at: Option<i64>) -> Key {
        let user = object_id(&format!("{} machine {kind}", self.name));
        let mut claims = json!({
            "id": object_id(&random_hex(8)), "user": user, "org": self.id, "orgName": self.name, "userType": "machine",
            "roles": roles, "aud": "urn:consumer", "iss": "urn:api", "sub": user,
        });
        if let Some(at) = expires_at {
            claims["exp"] = json!(at);
        }
        let roles = roles.iter().map(|r| (*r).to_owned()).collect();
        Key { kind, text: jwt(&random_hex(16), &claims), user, roles, expires_at, revoked: false }
    }

    /// The next id of this account.
    pub(crate) fn new_id(&mut self) -> String {
        self.next += 1;
        object_id(&format!("{} object {}", self.name, self.next))
    }

    /// Whether a conversation is one that we wrote into.
    pub(crate) fn conversation(&mut self, id: &str) -> Option<&mut Value> {
        self.conversations.iter_mut().find(|c| c["id"] == id)
    }
}

/// The accounts.
pub(crate) fn all(_settings: &Settings) -> BTreeMap<String, Desk> {
    let build = |(name, title, app_installed): (&str, &str, bool)| {
        let mut desk = Desk {
            name: name.into(),
            title: title.into(),
            id: object_id(&format!("org {name}")),
            app_installed,
            own_app: OwnApp {
                client_id: object_id(&format!("app of {name}")),
                client_secret: random_hex(24),
                installed: true,
            },
            keys: Vec::new(),
            tokens: Vec::new(),
            customers: Vec::new(),
            conversations: Vec::new(),
            messages: Vec::new(),
            notes: Vec::new(),
            webhooks: Vec::new(),
            hook_secrets: BTreeMap::new(),
            next: 0,
            used: (0, 0),
        };
        desk.keys = vec![
            desk.key("full", &ROLES, None),
            desk.key(
                "few_roles",
                &["org.permission.customer.read", "org.permission.conversation.read"],
                None,
            ),
            // May change webhooks, too.
            desk.key("broad", &["org.permission"], None),
            desk.key("other_region", &ROLES, None),
            desk.key("chat", &["org.tracking"], None),
            desk.key("expired", &ROLES, Some(1_700_000_000)),
        ];
        (name.to_owned(), desk)
    };
    [
        ("lark-supply", "Lark Supply", true),
        ("fern-goods", "Fern Goods", true),
        ("moss-market", "Moss Market", false),
    ]
    .into_iter()
    .map(build)
    .collect()
}
