//! What can go wrong at a provider, in words that do not depend on the provider.

use agenstack_core::integration::Provider;
use std::fmt;

/// What a failure means for the connection and for the job that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The token is wrong, expired or revoked.
    Unauthorized,
    /// The code or refresh token was refused for good; only a person can authorize again.
    GrantRejected,
    /// A scope, role or task is missing.
    Forbidden,
    /// The provider has stopped the account: frozen, locked, restricted, blocked by policy.
    Paused,
    /// Too many calls; it works again later.
    RateLimited,
    /// Outage, time-out or no connection.
    Unavailable,
    /// This request will never work as it is.
    Rejected,
    /// There is no such thing there.
    NotFound,
    /// An answer came and could not be read.
    Malformed,
    /// Messenger: more than 24 hours since the customer's last message (`messenger.md` 3.3).
    WindowClosed,
    /// The customer cannot be reached: blocked us, deactivated, cannot receive.
    PersonUnavailable,
}

impl Kind {
    /// Every kind, in order.
    pub const ALL: [Kind; 11] = [
        Kind::Unauthorized,
        Kind::GrantRejected,
        Kind::Forbidden,
        Kind::Paused,
        Kind::RateLimited,
        Kind::Unavailable,
        Kind::Rejected,
        Kind::NotFound,
        Kind::Malformed,
        Kind::WindowClosed,
        Kind::PersonUnavailable,
    ];

    /// A stable word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Unauthorized => "unauthorized",
            Kind::GrantRejected => "grant_rejected",
            Kind::Forbidden => "forbidden",
            Kind::Paused => "paused",
            Kind::RateLimited => "rate_limited",
            Kind::Unavailable => "unavailable",
            Kind::Rejected => "rejected",
            Kind::NotFound => "not_found",
            Kind::Malformed => "malformed",
            Kind::WindowClosed => "window_closed",
            Kind::PersonUnavailable => "person_unavailable",
        }
    }
}

/// A call that failed. Holds facts and our own words only: never a token, never a provider's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderError {
    /// Whose answer it was.
    pub provider: Provider,
    /// What it means.
    pub kind: Kind,
    /// A stable word of ours that says it more precisely than `kind`.
    pub code: &'static str,
    /// The HTTP status, if an answer came.
    pub status: Option<u16>,
    /// The provider's own number and sub-number (Meta, `messenger.md` 3.5).
    pub provider_code: Option<(i64, Option<i64>)>,
    /// How long the provider asks us to wait.
    pub retry_after_secs: Option<u64>,
    /// The request may have been executed although no usable answer was read; repeating it may do it twice.
    pub outcome_unknown: bool,
    /// The call was not made: the provider is not to be asked before `retry_after_secs` are over.
    pub not_asked: bool,
    /// A safe fact, such as the name of the missing scope, role or field.
    pub detail: Option<String>,
}

impl ProviderError {
    /// A failure of which nothing more is known than what it means.
    pub fn new(provider: Provider, kind: Kind, code: &'static str) -> Self {
        Self {
            provider,
            kind,
            code,
            status: None,
            provider_code: None,
            retry_after_secs: None,
            outcome_unknown: false,
            not_asked: false,
            detail: None,
        }
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn with_retry_after(mut self, secs: Option<u64>) -> Self {
        self.retry_after_secs = secs;
        self
    }

    pub(crate) fn outcome_unknown(mut self, unknown: bool) -> Self {
        self.outcome_unknown = unknown;
        self
    }

    /// A call that is not made now, since the provider is not to be asked for so long.
    pub fn not_asked(provider: Provider, kind: Kind, code: &'static str, secs: u64) -> Self {
        Self { not_asked: true, retry_after_secs: Some(secs), ..Self::new(provider, kind, code) }
    }

    /// Whether the same call may work later without a person doing anything. Look at `outcome_unknown` too before
    /// repeating a call that does something.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, Kind::RateLimited | Kind::Unavailable)
    }

    /// One plain sentence for people, with the remedy.
    pub fn plain(&self) -> String {
        let who = self.provider.title();
        if let Some(text) = by_code(self.provider, self.code, self.detail.as_deref()) {
            return text;
        }
        match self.kind {
            Kind::Unauthorized => {
                format!("{who} no longer accepts the saved authorization; reconnect the account.")
            }
            Kind::GrantRejected => format!("{who} refused the authorization; start connecting again."),
            Kind::Forbidden => match &self.detail {
                Some(missing) => format!(
                    "{who} refused because a permission is missing ({missing}); reconnect and allow it."
                ),
                None => {
                    format!(
                        "{who} refused because a permission is missing; reconnect and allow everything asked for."
                    )
                }
            },
            Kind::Paused => {
                format!(
                    "{who} has stopped this account for now; settle it at {who}, the connection then comes back by itself."
                )
            }
            Kind::RateLimited => format!("{who} asks us to slow down; it is tried again by itself."),
            Kind::Unavailable => {
                format!("{who} does not answer at the moment; it is tried again by itself.")
            }
            Kind::Rejected => {
                format!(
                    "{who} did not accept this request; it is not repeated. Tell the operator if this goes on."
                )
            }
            Kind::NotFound => {
                format!("{who} does not know what was asked for; check the account and try again.")
            }
            Kind::Malformed => {
                format!(
                    "{who} gave an answer that could not be read; try again later and tell the operator if this goes on."
                )
            }
            Kind::WindowClosed => {
                format!(
                    "{who} allows answers only within 24 hours of the customer's last message; wait until the customer writes again."
                )
            }
            Kind::PersonUnavailable => {
                format!("This customer cannot be reached on {who}; wait until the customer writes again.")
            }
        }
    }
}

/// The sentence of a code whose remedy differs from that of its kind; `None` for any other word.
pub fn sentence(provider: Provider, code: &str) -> Option<String> {
    by_code(provider, code, None)
}

fn by_code(provider: Provider, code: &str, detail: Option<&str>) -> Option<String> {
    let (who, detail) = (provider.title(), detail.unwrap_or("unnamed"));
    Some(match code {
            "busy_here" => format!("Several calls to {who} are under way for this account; it is tried again by itself."),
            "no_refresh_token" => format!("{who} gave a token that cannot be renewed; the operator has to allow expiring offline tokens for the app."),
            "app_credentials_refused" => format!("{who} refused the platform's own app; the operator has to check its credentials and that the app is installed."),
            "not_set_up" => format!("{who} is not set up by the operator."),
            "shop_frozen" => "The shop is frozen because it owes Shopify money; settle it in the Shopify admin, the connection then comes back by itself.".to_owned(),
            "shop_locked" => "Shopify has locked the shop; ask Shopify's support, the connection then comes back by itself.".to_owned(),
            "shop_not_found" => "Shopify does not find this shop or it is closed; open it again or connect the right one.".to_owned(),
            "page_restricted" => "Meta has restricted this page from sending for a while; see the page's support inbox, sending then comes back by itself.".to_owned(),
            "policy_block" => "Meta has blocked sending for a violation of its policy; see the page's quality tab and appeal there.".to_owned(),
            "token_invalid" if provider == Provider::Messenger => "Facebook no longer accepts the authorization of this page, most often because the person who gave it logged in again and left the page unticked; reconnect, and leave every page ticked.".to_owned(),
            "person_checkpoint" | "person_unconfirmed" => "Facebook wants the person who connected the page to log in there and confirm the account; do that, then reconnect.".to_owned(),
            "fields_missing" => format!("Meta did not keep every webhook subscription of the page (missing: {detail}); reconnect with the full role on the page."),
            "thread_owned_elsewhere" => "Another app or the page's inbox holds this conversation; it has to be handed back before we can answer.".to_owned(),
            "wrong_recipient" => "This customer does not belong to this page; nothing was sent.".to_owned(),
            "wrong_region" => "This Kustomer key belongs to another region than the organization's address; check the subdomain and the key.".to_owned(),
            "app_not_installed" => "Kustomer does not know your app in this account (Invalid Client); install the app there and check its client id, then connect again.".to_owned(),
            "client_secret_refused" => "Kustomer refused the client secret of your app; make a new secret for the app and enter it on the page that connects Kustomer.".to_owned(),
            "webhook_off" => format!("Kustomer has switched off the webhook that brings your team's answers, and it cannot be set again because a role is missing ({detail}); allow it, then press Test."),
            "webhook_refused" => "Kustomer refused one more webhook; an organization may have five: delete one under Settings, Platform, Outbound webhooks, then try again.".to_owned(),
            "host_refused" => format!("The configured address of {who} is not allowed; the operator has to correct it."),
            _ => return None,
        })
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.provider.title(), self.kind.as_str(), self.code)?;
        if let Some(status) = self.status {
            write!(f, ", status {status}")?;
        }
        match self.provider_code {
            Some((code, Some(sub))) => write!(f, ", code {code}/{sub}")?,
            Some((code, None)) => write!(f, ", code {code}")?,
            None => {}
        }
        if let Some(detail) = &self.detail {
            write!(f, ", {detail}")?;
        }
        if self.outcome_unknown {
            f.write_str(", outcome unknown")?;
        }
        if self.not_asked {
            f.write_str(", not asked")?;
        }
        Ok(())
    }
}

impl std::error::Error for ProviderError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_plain_sentence_that_ends_with_what_to_do() {
        for kind in Kind::ALL {
            let text = ProviderError::new(Provider::Shopify, kind, "x").plain();
            assert!(text.contains("Shopify") && text.ends_with('.'), "{text}");
            assert!(text.contains(';'), "the remedy stands after the semicolon: {text}");
        }
    }

    #[test]
    fn only_rate_limits_and_outages_are_worth_repeating() {
        for kind in Kind::ALL {
            let expected = matches!(kind, Kind::RateLimited | Kind::Unavailable);
            assert_eq!(
                ProviderError::new(Provider::Kustomer, kind, "x").is_retryable(),
                expected,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn the_text_of_an_error_is_made_of_facts() {
        let mut error = ProviderError::new(Provider::Messenger, Kind::Unauthorized, "token_invalid")
            .with_status(400)
            .with_detail("page")
            .outcome_unknown(true);
        error.provider_code = Some((190, Some(460)));
        assert_eq!(
            error.to_string(),
            "Messenger: unauthorized (token_invalid), status 400, code 190/460, page, outcome unknown"
        );
    }
}
