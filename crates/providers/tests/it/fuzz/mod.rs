//! What strangers may send to the verifiers and parsers: anything. Each file of `tests/corpus` goes through every one of them
//! in each run, and so do mutations of these files and of the vectors; more of them with `PROPTEST_CASES`.

mod corpus;
mod read;
mod verify;

use agenstack_core::clock::Timestamp;
use agenstack_providers::{Http, Kustomer, Messenger, MetaApp, Shopify, ShopifyApp};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::sync::LazyLock;

const NOW: Timestamp = Timestamp::from_secs(1_795_518_000);

/// Making one reads the system's certificates; nothing is ever sent here.
static HTTP: LazyLock<Http> = LazyLock::new(Http::new);

fn shopify(secret: &str, previous: Option<&str>) -> Shopify {
    let app = ShopifyApp {
        api_key: "0f1e2d3c4b5a69788796a5b4c3d2e1f0".to_owned(),
        api_secret: crate::wire::secret(secret),
        api_secret_previous: previous.map(crate::wire::secret),
        scopes: Vec::new(),
    };
    Shopify::new(app, "https://{shop}".to_owned(), HTTP.clone()).unwrap()
}

fn messenger(secret: &str) -> Messenger {
    let app = MetaApp {
        app_id: "734512098811204".to_owned(),
        app_secret: crate::wire::secret(secret),
        verify_token: crate::wire::secret("vt"),
    };
    let (dialog, graph) = ("https://www.facebook.com", "https://graph.facebook.com");
    Messenger::new(app, dialog.to_owned(), graph.to_owned(), HTTP.clone()).unwrap()
}

fn kustomer() -> Kustomer {
    let (web, api) = ("https://{org}.kustomerapp.com", "https://{org}.api.kustomerapp.com");
    Kustomer::new(HTTP.clone(), web, api, None).unwrap()
}

fn hmac(secret: &str, message: &[u8]) -> [u8; 32] {
    let mut mac: Hmac<Sha256> = Hmac::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().into()
}
