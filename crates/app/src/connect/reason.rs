//! Why an account was not connected, and what its permissions are for, in words for people.

use agenstack_core::integration::Provider;
use agenstack_providers::{Kind, ProviderError};

/// Reasons of our own, with what to do. Reasons of a provider's answer have their sentences in `providers`.
const REASONS: &[(&str, &str)] = &[
    (
        "denied",
        "The authorization was cancelled at {who}. Nothing was connected; connect again when you are ready.",
    ),
    (
        "wrong_shop",
        "The answer came from another shop than the one you began with. Nothing was connected; log out of the other shop at Shopify and connect again.",
    ),
    (
        "callback_signature",
        "The answer from {who} could not be verified. Nothing was connected; connect again.",
    ),
    (
        "callback_timestamp",
        "The answer from {who} was too old, or this server's clock is wrong. Connect again; if it stays, tell the operator to check the clock.",
    ),
    ("callback_shop", "The answer did not name a Shopify shop. Nothing was connected; connect again."),
    ("callback_unreadable", "The answer from {who} could not be read. Nothing was connected; connect again."),
    ("callback_incomplete", "The answer from {who} was not complete. Nothing was connected; connect again."),
    (
        "callback_issuer",
        "The answer came from somebody else than {who}. Nothing was connected; connect again.",
    ),
    (
        "owned_by_another",
        "This account is connected to another organization. It has to be disconnected there first.",
    ),
    (
        "other_account",
        "You authorized another account than the one this connection belongs to. Choose the same account, or connect the other one as a new connection.",
    ),
    (
        "another_account_connected",
        "Another {who} account is connected already. Disconnect it first, then connect this one.",
    ),
    (
        "token_of_another_app",
        "Facebook gave an authorization that is not for this app. Connect again; if it stays, tell the operator to check the app id.",
    ),
    // Nothing is tried again by itself here: a person stands before it.
    ("outage", "{who} does not answer at the moment. Nothing was connected; connect again in a while."),
    ("timed_out", "{who} did not answer in time. Nothing was connected; connect again in a while."),
    ("connection_lost", "The answer of {who} broke off. Nothing was connected; connect again in a while."),
    (
        "connect_failed",
        "{who} cannot be reached at the moment. Nothing was connected; connect again in a while.",
    ),
    ("rate_limited", "{who} asks us to slow down. Nothing was connected; connect again in a few minutes."),
    ("throttled", "{who} asks us to slow down. Nothing was connected; connect again in a few minutes."),
    ("provider_not_set_up", "{who} is not set up by the operator of this installation."),
    ("sealed", "A stored secret could not be opened. Tell the operator to check the master key."),
    (
        "unavailable",
        "The service could not reach its database. Nothing was connected; try again in a moment.",
    ),
    ("internal", "Something went wrong on our side. Nothing was connected; try again."),
];

/// The reason as one of the words we know, for error codes.
pub(super) fn stable(reason: &str) -> &'static str {
    REASONS.iter().find(|(word, _)| *word == reason).map_or("not_connected", |(word, _)| word)
}

/// One plain sentence for the reason of a failed connection. Words that we do not know (anybody can write them
/// into an address) give a neutral sentence and are not repeated.
pub fn reason_text(provider: Provider, reason: &str) -> String {
    if let Some((_, text)) = REASONS.iter().find(|(word, _)| *word == reason) {
        return text.replace("{who}", provider.title());
    }
    if let Some(text) = agenstack_providers::sentence(provider, reason) {
        return text;
    }
    let kind = match reason {
        "grant_refused" => Kind::GrantRejected,
        "permission_missing" => Kind::Forbidden,
        "account_stopped" => Kind::Paused,
        "token_invalid" => Kind::Unauthorized,
        "answer_unreadable" | "answer_unexpected" | "answer_too_large" => Kind::Malformed,
        _ => return format!("{} could not be connected. Nothing was changed; try again.", provider.title()),
    };
    ProviderError::new(provider, kind, "").plain()
}

/// What a permission is for, in one sentence.
pub fn scope_text(provider: Provider, scope: &str) -> &'static str {
    match (provider, scope) {
        (Provider::Shopify, "read_orders") => "Look up orders and their tracking when a customer asks.",
        (Provider::Shopify, "read_all_orders") => "Look up orders older than 60 days.",
        (Provider::Shopify, "read_products") => "Answer questions about products, prices and stock.",
        (Provider::Shopify, "read_customers") => "Recognise a customer by e-mail or phone.",
        (Provider::Shopify, "read_inventory") => "Tell whether something is in stock.",
        (Provider::Shopify, "read_fulfillments") => "Follow parcels.",
        (Provider::Shopify, "read_returns") => "Tell how a return stands.",
        (Provider::Shopify, "read_legal_policies") => "Answer from your shop's own policies.",
        (Provider::Messenger, "pages_show_list") => "Show the pages you can choose from.",
        (Provider::Messenger, "pages_manage_metadata") => "Be told when a customer writes to the page.",
        (Provider::Messenger, "pages_messaging") => "Receive and answer messages of the page.",
        (Provider::Messenger, "business_management") => "Reach pages of a business portfolio.",
        (Provider::Messenger, "pages_read_engagement") => "Read the page's name and picture.",
        (Provider::Kustomer, s) if s.contains(".customer") => {
            "Find or create the customer of a conversation."
        }
        (Provider::Kustomer, s) if s.contains(".conversation") => {
            "Open the conversation that is handed over."
        }
        (Provider::Kustomer, s) if s.contains(".message") => {
            "Write the transcript, and read your team's answers."
        }
        (Provider::Kustomer, s) if s.contains(".note") => "Leave a summary for your team.",
        (Provider::Kustomer, s) if s.contains("outbound_webhook") => "Be told when your team answers.",
        (Provider::Kustomer, s) if s.contains(".team") || s.contains(".user") => {
            "Choose who gets a conversation."
        }
        (Provider::Kustomer, s) if s.contains(".tag") => "Mark conversations that were handed over.",
        _ => "Not needed by AgenStack.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_sentence_and_an_invented_one_is_not_repeated() {
        for (word, _) in REASONS {
            let text = reason_text(Provider::Shopify, word);
            assert!(!text.contains('{') && text.ends_with('.'), "{word}: {text}");
        }
        let invented = "<script>alert(1)</script>";
        assert_eq!(
            reason_text(Provider::Shopify, invented),
            "Shopify could not be connected. Nothing was changed; try again."
        );
        assert_eq!(stable(invented), "not_connected");
    }
}
