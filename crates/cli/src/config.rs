//! What can be set: defaults, then `agenstack.toml`, then the environment.
//!
//! Everything is read from maps ([`Sources`]), so a test is as good as a process. [`SETTINGS`] lists every setting
//! with its variable and its key in the file; each section below reads its own, checks them and says which field is
//! wrong and what would be right. No message repeats a value: a secret may have been put into the wrong field.

mod database;
mod dotenv;
mod inbox;
mod key;
mod log;
mod mail;
mod problem;
mod program;
mod provider;
mod server;
mod setting;
mod source;
mod trace;

pub use database::DatabaseUrl;
pub use inbox::Inbox;
pub use key::Keys;
pub use log::{Log, LogFormat};
pub use mail::Mail;
pub use problem::{ConfigError, Problem};
pub use provider::{Kustomer, KustomerApp, Messenger, MessengerApp, ProviderUrl, Shopify, ShopifyApp};
pub use server::{PublicUrl, Server};
pub use setting::{SETTINGS, Setting};
pub use source::{Location, Source, Sources};
pub use trace::Trace;

use setting::Settings;
use std::path::PathBuf;

/// Everything that was set, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`: addresses, proxies, workers.
    pub server: Server,
    /// `[inbox]`: for how long events are kept.
    pub inbox: Inbox,
    /// `[storage]`: where data lives.
    pub storage: Storage,
    /// `[vault]`: the master keys.
    pub keys: Keys,
    /// `[mail]`: how mail leaves.
    pub mail: Mail,
    /// `[log]`: what is written and how.
    pub log: Log,
    /// `[trace]`: where the spans of events are sent.
    pub trace: Trace,
    /// `[shopify]`: the platform's Shopify app.
    pub shopify: Shopify,
    /// `[messenger]`: the platform's Meta app.
    pub messenger: Messenger,
    /// `[kustomer]`: the platform's Kustomer app.
    pub kustomer: Kustomer,
    /// What is allowed and still deserves a word at each start.
    pub warnings: Vec<String>,
}

/// Where data lives.
#[derive(Clone, Debug)]
pub struct Storage {
    /// The directory of the embedded database and of generated files.
    pub data_dir: PathBuf,
    /// The database.
    pub database: DatabaseUrl,
}

impl Storage {
    fn read(settings: &mut Settings) -> Self {
        let data_dir = PathBuf::from(settings.text("AGENSTACK_DATA_DIR").unwrap_or_else(|| "./data".into()));
        let embedded = DatabaseUrl::embedded_in(&data_dir);
        let database =
            settings.parse_secret("AGENSTACK_DATABASE_URL", DatabaseUrl::parse).unwrap_or(embedded);
        if let Some(warning) = database.warning() {
            settings.warn("AGENSTACK_DATABASE_URL", warning);
        }
        Self { data_dir, database }
    }
}

impl Config {
    /// Reads all sections. Every problem is told at once, not one at each start.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut settings = Settings::resolve(sources);
        let s = &mut settings;
        let mut config = Self {
            server: Server::read(s),
            inbox: Inbox::read(s),
            storage: Storage::read(s),
            keys: Keys::read(s),
            mail: Mail::read(s),
            log: Log::read(s),
            trace: Trace::read(s),
            shopify: Shopify::read(s),
            messenger: Messenger::read(s),
            kustomer: Kustomer::read(s),
            warnings: Vec::new(),
        };
        config.warnings = settings.finish()?;
        Ok(config)
    }
}

/// Every variable of this process, as a map. The one place where the environment is read.
pub fn process_environment() -> std::collections::BTreeMap<String, String> {
    // What is not UTF-8 is no setting of ours, or fails its check later; it must not end the program here.
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect()
}

#[cfg(test)]
mod tests;
