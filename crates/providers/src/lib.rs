//! Speaks to Shopify, Meta Messenger and Kustomer.
//!
//! Everything here takes the token it is handed and forgets it; nothing knows of organizations, tables or sealing.
//! May import `agenstack-core` only. Each provider is a folder with the same four files: `mod` (the client and its
//! settings), `oauth` (from the consent page to a token), `webhook` (proving and reading what they send us) and
//! `api` (the calls).
//!
//! Look first at [`error`]: every failure of every provider is told in its words, and none of them holds a token
//! or a provider's text. [`http`] is the only door to the outside.

pub mod base;
pub mod callback;
pub mod error;
pub mod glance;
pub mod grant;
pub mod http;
pub mod json;
pub mod kustomer;
pub mod messenger;
pub mod pace;
mod query;
pub mod shopify;
pub mod signature;
pub mod tally;

pub use base::ConfigError;
pub use error::{Kind, ProviderError, sentence};
pub use glance::{Dark, Glance};
pub use grant::TokenGrant;
pub use http::Http;
pub use kustomer::{Kustomer, KustomerApp};
pub use messenger::{Messenger, MetaApp};
pub use shopify::{Shopify, ShopifyApp};
pub use signature::SignatureError;
pub use tally::Tally;
