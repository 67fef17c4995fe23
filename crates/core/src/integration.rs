//! Connections to provider accounts, and the shapes of those accounts' names.

use crate::clock::Timestamp;
use crate::id::{HistoryId, IntegrationId, OrgId};
use crate::policy::words;
use crate::sealed::Sealed;
use serde::{Deserialize, Serialize};
use std::fmt;

words! {
    /// Whom we connect to.
    Provider {
        /// The shop.
        Shopify = "shopify",
        /// The Facebook Page.
        Messenger = "messenger",
        /// The help desk.
        Kustomer = "kustomer",
    }
}

impl Provider {
    /// The name people know it by.
    pub const fn title(self) -> &'static str {
        match self {
            Provider::Shopify => "Shopify",
            Provider::Messenger => "Messenger",
            Provider::Kustomer => "Kustomer",
        }
    }
}

words! {
    /// How a connection is.
    ConnectionStatus {
        /// It works.
        Connected = "connected",
        /// Only a person can mend it, by authorizing again.
        NeedsReconnect = "needs_reconnect",
        /// The provider has stopped it (a frozen shop, a restricted page); it comes back by itself.
        Paused = "paused",
        /// Ended; tokens erased.
        Disconnected = "disconnected",
    }
}

macro_rules! account_name {
    ($(#[$doc:meta])* $name:ident, $ok:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);
        impl $name {
            /// Reads exactly this shape, without leniency; `None` for anything else.
            pub fn parse(text: &str) -> Option<Self> {
                let ok: fn(&str) -> bool = $ok;
                ok(text).then(|| Self(text.to_owned()))
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// One DNS label of lower-case letters, digits and dashes (and `_` where `underscore`), not beginning with a dash.
fn is_label(text: &str, underscore: bool) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || (underscore && b == b'_'))
}

const SHOP_SUFFIX: &str = ".myshopify.com";

account_name!(
    /// A shop's permanent domain, `name.myshopify.com` in lower case (`shopify.md` 1.5). A URL is built only from this.
    ShopDomain,
    |t| t.strip_suffix(SHOP_SUFFIX).is_some_and(|name| is_label(name, false))
);

account_name!(
    /// A Kustomer org's name, which is its subdomain (`kustomer.md` 1.1). A URL is built only from this.
    Subdomain,
    |t| is_label(t, true) && !t.starts_with('_')
);

account_name!(
    /// A Facebook Page's id: decimal digits, beyond what JSON numbers hold (`messenger.md` 2.2).
    PageId,
    |t| (1..=32).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit())
);

impl ShopDomain {
    /// The first label: `user-store-name`.
    pub fn store_name(&self) -> &str {
        self.0.strip_suffix(SHOP_SUFFIX).unwrap_or(&self.0)
    }

    /// Reads what a person may paste: `name`, `name.myshopify.com`, that with `https://` and a closing `/`, or
    /// `admin.shopify.com/store/name` (`shopify.md` 1.5). Upper case, ports, paths and other hosts are refused.
    pub fn from_input(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("https://").unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        if let Some(name) = text.strip_prefix("admin.shopify.com/store/") {
            return Self::parse(&format!("{name}{SHOP_SUFFIX}"));
        }
        if text.contains('.') { Self::parse(text) } else { Self::parse(&format!("{text}{SHOP_SUFFIX}")) }
    }

    /// Reads the full domain or the admin form, as Shopify itself writes them; a bare name or a scheme is refused.
    pub fn from_provider(text: &str) -> Option<Self> {
        match text.strip_prefix("admin.shopify.com/store/") {
            Some(name) => Self::parse(&format!("{name}{SHOP_SUFFIX}")),
            None => Self::parse(text),
        }
    }
}

impl Subdomain {
    /// Reads what a person may paste: `acme`, `acme.kustomerapp.com`, or that with `https://` and a closing `/`
    /// (`kustomer.md` 1.1).
    pub fn from_input(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("https://").unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        Self::parse(text.strip_suffix(".kustomerapp.com").unwrap_or(text))
    }
}

/// What a connection is connected to, in the shape the API shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AccountIdentifier {
    /// A shop.
    #[serde(rename_all = "camelCase")]
    Shopify {
        /// `user-store-name`.
        store_name: String,
        /// `user-store-name.myshopify.com`.
        shop: String,
        /// `gid://shopify/Shop/1`.
        shop_id: String,
    },
    /// A page.
    #[serde(rename_all = "camelCase")]
    Messenger {
        /// Decimal digits.
        page_id: String,
        /// The page's name.
        page_name: String,
    },
    /// A Kustomer org.
    #[serde(rename_all = "camelCase")]
    Kustomer {
        /// The org's name in its address.
        subdomain: String,
        /// 24 hex digits.
        org_id: String,
        /// The org's display name.
        org_name: String,
        /// `api_key`, `oauth` (the platform's app) or `private_app` (the merchant's own).
        method: String,
    },
}

impl AccountIdentifier {
    /// What people call the account.
    pub fn label(&self) -> &str {
        match self {
            Self::Shopify { shop, .. } => shop,
            Self::Messenger { page_name, .. } => page_name,
            Self::Kustomer { subdomain, .. } => subdomain,
        }
    }
}

words! {
    /// Whether the provider tells us of events.
    Subscription {
        /// It does.
        Active = "active",
        /// A permission is missing without which it cannot be set.
        Refused = "refused",
        /// It is switched off, or gone.
        Off = "off",
    }
}

/// A failure as people read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// A stable word for programs.
    pub code: String,
    /// One plain sentence: what happened and what mends it. Never a provider's raw text.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// How a connection came to be as it is: one entry of its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StateChange {
    /// Its id.
    pub id: HistoryId,
    /// Which time the account was connected then.
    #[serde(skip)]
    pub generation: i64,
    /// Who brought it about: a person's id, a provider, `worker`.
    pub actor: String,
    /// The state from then on.
    pub status: ConnectionStatus,
    /// Why, as a stable word for programs.
    pub code: String,
    /// Why, in one plain sentence.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// A connection of an organization to a provider account. Carries no token.
#[derive(Clone, Debug, Serialize)]
pub struct Integration {
    /// Its id.
    pub id: IntegrationId,
    /// Whose it is.
    pub organization_id: OrgId,
    /// To whom.
    pub provider: Provider,
    /// How it is.
    pub status: ConnectionStatus,
    /// To which account.
    pub account_identifier: AccountIdentifier,
    /// What was granted.
    pub scopes: Vec<String>,
    /// What is needed and was not granted.
    pub missing_scopes: Vec<String>,
    /// When the access token ends, if it does.
    pub token_expires_at: Option<Timestamp>,
    /// When this account was connected (anew).
    pub connected_at: Timestamp,
    /// The last call that worked.
    pub last_success_at: Option<Timestamp>,
    /// The last thing that went wrong, until something works again.
    pub last_error: Option<LastError>,
    /// The account's key at the provider: shop domain, page id or Kustomer org id. One owner on the platform.
    #[serde(skip)]
    pub external_id: String,
    /// How many times it was connected anew; queued work of an earlier generation stops.
    #[serde(skip)]
    pub generation: i64,
    /// When the last event of it came in.
    #[serde(skip)]
    pub last_event_at: Option<Timestamp>,
    /// The provider's id of the person or machine we act as: app-scoped user (Meta), machine user (Kustomer).
    #[serde(skip)]
    pub acting_user_id: Option<String>,
    /// The provider's id of our webhook subscription, where it has one.
    #[serde(skip)]
    pub webhook_id: Option<String>,
    /// Whether events reach us, and when that was found.
    #[serde(skip)]
    pub subscription: Option<(Subscription, Timestamp)>,
    /// The merchant's own app at the provider, where the connection lives by one; its secret is sealed.
    #[serde(skip)]
    pub client_id: Option<String>,
}

/// The sealed columns of a connection. Each opens only in its own row and column.
#[derive(Clone, Debug, Default)]
pub struct SealedTokens {
    /// `integrations.access_token`.
    pub access_token: Option<Sealed>,
    /// `integrations.refresh_token`.
    pub refresh_token: Option<Sealed>,
    /// `integrations.webhook_secret`: the secret that only this connection's webhooks are signed with (Kustomer).
    pub webhook_secret: Option<Sealed>,
    /// `integrations.webhook_secret_previous`.
    pub webhook_secret_previous: Option<ReplacedSecret>,
    /// `integrations.client_secret`: of the merchant's own app.
    pub client_secret: Option<Sealed>,
}

/// A secret that was replaced: what was signed with it before may still be on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacedSecret {
    /// The secret.
    pub secret: Sealed,
    /// Until when it is good.
    pub until: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shop_is_one_lower_case_label_under_myshopify_com() {
        for good in
            ["lark", "lark.myshopify.com", "https://lark.myshopify.com/", "admin.shopify.com/store/lark"]
        {
            assert_eq!(
                ShopDomain::from_input(good).as_ref().map(ShopDomain::as_str),
                Some("lark.myshopify.com"),
                "{good}"
            );
        }
        for bad in [
            "",
            "evil.example",
            "evil.example/x.myshopify.com",
            "a.myshopify.com.evil.example",
            "a.myshopify.com@evil.example",
            "a.myshopify.com%2f..",
            "Lark.myshopify.com",
            "LARK",
            "xn--é.myshopify.com",
            "a.myshopify.com:443",
            "-a.myshopify.com",
            "a.b.myshopify.com",
            "http://a.myshopify.com",
            "a.myshopify.com/admin",
            "a.myshopify.com//",
            ".myshopify.com",
            "10.0.0.1/?x=.myshopify.com",
            "a.myshopify.com\n",
            "a_b.myshopify.com",
            &"a".repeat(64),
        ] {
            assert_eq!(ShopDomain::from_input(bad).filter(|_| !bad.ends_with('\n')), None, "{bad}");
            assert_eq!(ShopDomain::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_kustomer_org_is_one_label_of_at_most_63_characters() {
        for good in ["acme", "acme.kustomerapp.com", "https://acme.kustomerapp.com/"] {
            assert_eq!(Subdomain::from_input(good).as_ref().map(Subdomain::as_str), Some("acme"), "{good}");
        }
        for bad in [
            "",
            "x/../",
            "x.evil.example#",
            "localhost:80/",
            &"a".repeat(64),
            "evil.example/?x=",
            "A",
            "-a",
            "a b",
        ] {
            assert_eq!(Subdomain::from_input(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_account_identifier_has_the_shape_of_the_contract() {
        let shop = AccountIdentifier::Shopify {
            store_name: "a".into(),
            shop: "a.myshopify.com".into(),
            shop_id: "gid://shopify/Shop/1".into(),
        };
        let page = AccountIdentifier::Messenger { page_id: "1".into(), page_name: "A".into() };
        let desk = AccountIdentifier::Kustomer {
            subdomain: "a".into(),
            org_id: "b".into(),
            org_name: "A".into(),
            method: "api_key".into(),
        };
        for (value, text) in [
            (shop, r#"{"storeName":"a","shop":"a.myshopify.com","shopId":"gid://shopify/Shop/1"}"#),
            (page, r#"{"pageId":"1","pageName":"A"}"#),
            (desk, r#"{"subdomain":"a","orgId":"b","orgName":"A","method":"api_key"}"#),
        ] {
            assert_eq!(serde_json::to_string(&value).unwrap(), text);
            assert_eq!(serde_json::from_str::<AccountIdentifier>(text).unwrap(), value);
        }
    }
}
