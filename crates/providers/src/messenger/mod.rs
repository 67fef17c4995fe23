//! Facebook Messenger (`messenger.md`): one Meta app, any number of Pages.

mod api;
mod event;
mod graph;
mod oauth;
mod text;
mod webhook;

pub use api::{PageInfo, PageOffer};
pub use event::MessagingEvent;
pub use oauth::{MetaCallback, TokenInfo};
pub use text::split_text;
pub use webhook::{ChallengeRefused, SignedRequest, SignedRequestError};

use crate::base::{Base, ConfigError};
use crate::http::Http;
use crate::signature::sign;
use secrecy::{ExposeSecret, SecretString};

/// The Graph version, in this one place (`messenger.md` 1.1).
pub const GRAPH_VERSION: &str = "v26.0";

/// What every Page is subscribed to (`messenger.md` 1.10).
pub const SUBSCRIBED_FIELDS: &[&str] = &[
    "messages",
    "messaging_postbacks",
    "messaging_referrals",
    "messaging_optins",
    "message_deliveries",
    "message_reads",
    "message_echoes",
    "message_reactions",
    "message_edits",
    "messaging_handovers",
    "standby",
    "messaging_policy_enforcement",
    "messaging_account_linking",
];

/// Without these the chatbot cannot work: what customers write, what they tap, what is sent besides us, and who
/// owns the thread.
pub const NEEDED_FIELDS: &[&str] =
    &["messages", "messaging_postbacks", "message_echoes", "messaging_handovers", "standby"];

/// What the person is asked for (`messenger.md` 1.9); the last one for Pages reached through a business portfolio.
pub const PERMISSIONS: &[&str] =
    &["pages_show_list", "pages_manage_metadata", "pages_messaging", "business_management"];

/// The platform's app.
#[derive(Clone, Debug)]
pub struct MetaApp {
    /// Public.
    pub app_id: String,
    /// Signs webhooks, proofs and signed requests.
    pub app_secret: SecretString,
    /// What Meta repeats when it checks our callback address.
    pub verify_token: SecretString,
}

/// Speaks to the Graph API with the token it is handed.
#[derive(Clone, Debug)]
pub struct Messenger {
    app: MetaApp,
    dialog: Base,
    graph: Base,
    http: Http,
}

impl Messenger {
    /// `facebook_url` is the dialog's host, `graph_url` the API's base without version.
    pub fn new(
        app: MetaApp,
        facebook_url: String,
        graph_url: String,
        http: Http,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            app,
            dialog: Base::parse(&facebook_url, None)?,
            graph: Base::parse(&graph_url, None)?,
            http,
        })
    }

    /// Our app's id, as echoes and subscriptions name it.
    pub fn app_id(&self) -> &str {
        &self.app.app_id
    }

    /// `appsecret_proof` of a token (`messenger.md` 1.8).
    pub fn appsecret_proof(&self, token: &SecretString) -> String {
        hex::encode(sign(&self.app.app_secret, token.expose_secret().as_bytes()))
    }

    /// The app's own token, `{app-id}|{app-secret}` (`messenger.md` 1.7).
    fn app_token(&self) -> SecretString {
        SecretString::from(format!("{}|{}", self.app.app_id, self.app.app_secret.expose_secret()))
    }
}
