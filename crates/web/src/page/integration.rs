//! The three cards.

use super::{Form, Frame, Page, When, go, may, org_frame};
use crate::Shared;
use crate::api::Query;
use crate::failure::Outcome;
use crate::gate::Member;
use agenstack_app::connect::{reason_text, scope_text};
use agenstack_app::former::{self, FormerAccount};
use agenstack_app::{integration as deed, transfer};
use agenstack_core::id::IntegrationId;
use agenstack_core::integration::{AccountIdentifier, ConnectionStatus, Integration, Provider};
use agenstack_core::policy::Action;
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::collections::HashMap;

/// A permission and what it is for.
pub(super) struct Scope {
    pub name: String,
    pub text: &'static str,
}

/// One connected account.
pub(super) struct Account {
    pub id: String,
    pub label: String,
    pub detail: String,
    pub status: &'static str,
    pub status_words: &'static str,
    pub connected: When,
    pub last_event: Option<When>,
    pub last_success: Option<When>,
    pub expires: Option<When>,
    pub error: Option<(String, When)>,
    pub missing: Vec<Scope>,
    pub granted: Vec<Scope>,
    /// Where to mend it.
    pub reconnect: String,
}

/// A provider with what is connected to it.
pub(super) struct Card {
    pub provider: &'static str,
    pub title: &'static str,
    pub purpose: &'static str,
    pub set_up: bool,
    pub accounts: Vec<Account>,
    /// Whether another account can be added.
    pub may_add: bool,
    /// What a former platform had connected: label, since when, and where to connect it.
    pub former: Vec<Former>,
}

/// An account that a former platform had connected, and that is not connected here.
pub(super) struct Former {
    pub label: String,
    pub since: Option<When>,
    pub connect: String,
}

/// Where an account of a former platform is connected here.
pub(super) fn connect_former(org: &str, f: &FormerAccount) -> String {
    let connect = format!("/orgs/{org}/integrations/{}/connect", f.provider);
    match f.provider {
        Provider::Shopify => format!("{connect}?shop={}", f.account),
        Provider::Kustomer => format!("{connect}?subdomain={}", f.account),
        Provider::Messenger => connect,
    }
}

/// What has just happened.
pub(super) struct Notice {
    pub good: bool,
    pub text: String,
}

#[derive(Template)]
#[template(path = "integrations.html")]
pub(super) struct Integrations {
    pub frame: Frame,
    pub org: String,
    pub cards: Vec<Card>,
    pub notices: Vec<Notice>,
    /// Accounts that other organizations release to this one.
    pub offers: Vec<Offered>,
    /// Connections that have ended: id and label.
    pub ended: Vec<(String, String)>,
    pub may_manage: bool,
}

/// An account that another organization releases to this one.
pub(super) struct Offered {
    pub id: String,
    pub title: &'static str,
    pub label: String,
    pub from: String,
    pub until: When,
    pub take: String,
}

pub(super) fn words(status: ConnectionStatus) -> &'static str {
    match status {
        ConnectionStatus::Connected => "Connected",
        ConnectionStatus::NeedsReconnect => "Needs reconnecting",
        ConnectionStatus::Paused => "Paused by the provider",
        ConnectionStatus::Disconnected => "Not connected",
    }
}

pub(super) fn scopes(provider: Provider, names: &[String]) -> Vec<Scope> {
    names.iter().map(|n| Scope { name: n.clone(), text: scope_text(provider, n) }).collect()
}

/// How a Kustomer account was connected.
pub(super) fn method_words(method: &str) -> &'static str {
    match method {
        "api_key" => "API key",
        "private_app" => "its own app",
        _ => "OAuth",
    }
}

/// Where a connection is mended: a key is typed in anew, everything else is authorized anew, and what has ended is
/// connected like a new one.
pub(super) fn mend(
    org: &str,
    provider: Provider,
    id: &IntegrationId,
    account: &AccountIdentifier,
    ended: bool,
) -> String {
    let typed = matches!(account, AccountIdentifier::Kustomer { method, .. } if method == "api_key");
    match account {
        AccountIdentifier::Shopify { shop, .. } if ended => {
            format!("/orgs/{org}/integrations/shopify/connect?shop={shop}")
        }
        _ if typed || ended => format!("/orgs/{org}/integrations/{provider}/connect"),
        _ => format!("/orgs/{org}/integrations/{id}/reconnect"),
    }
}

fn account(org: &str, it: &Integration, now: agenstack_core::clock::Timestamp) -> Account {
    let when = |at| When::of(at, now);
    let detail = match &it.account_identifier {
        AccountIdentifier::Shopify { shop, .. } => shop.clone(),
        AccountIdentifier::Messenger { page_id, .. } => format!("Page {page_id}"),
        AccountIdentifier::Kustomer { org_name, method, .. } => {
            format!("{org_name}, by {}", method_words(method))
        }
    };
    Account {
        id: it.id.as_str().to_owned(),
        label: match &it.account_identifier {
            AccountIdentifier::Shopify { store_name, .. } => store_name.clone(),
            other => other.label().to_owned(),
        },
        detail,
        status: it.status.as_str(),
        status_words: words(it.status),
        connected: when(it.connected_at),
        last_event: it.last_event_at.map(when),
        last_success: it.last_success_at.map(when),
        expires: it.token_expires_at.map(when),
        error: it.last_error.as_ref().map(|e| (e.message.clone(), when(e.at))),
        missing: scopes(it.provider, &it.missing_scopes),
        granted: scopes(it.provider, &it.scopes),
        reconnect: mend(org, it.provider, &it.id, &it.account_identifier, false),
    }
}

async fn shown(shared: &Shared, member: &Member, notices: Vec<Notice>) -> Outcome<Response> {
    let app = shared.app();
    let list = deed::list(app, &member.org).await?;
    let org = member.org.org().as_str().to_owned();
    let now = app.now();
    let elsewhere = former::list(app, &member.org).await?;
    let former_of = |provider: Provider| -> Vec<Former> {
        let of = elsewhere.iter().filter(|f| f.provider == provider);
        of.map(|f| Former {
            label: f.label.clone(),
            since: f.connected_at.map(|at| When::of(at, now)),
            connect: connect_former(&org, f),
        })
        .collect()
    };
    let card = |provider: Provider, purpose| {
        let accounts: Vec<Account> =
            list.iter().filter(|it| it.provider == provider).map(|it| account(&org, it, now)).collect();
        Card {
            provider: provider.as_str(),
            title: if provider == Provider::Messenger { "Facebook Messenger" } else { provider.title() },
            purpose,
            set_up: app.is_set_up(provider),
            former: former_of(provider),
            may_add: accounts.is_empty() || provider == Provider::Messenger,
            accounts,
        }
    };
    let cards = vec![
        card(Provider::Shopify, "Your store. The bot looks up a customer's order and its tracking here."),
        card(Provider::Messenger, "Your Facebook Pages. Customers write here, and the bot answers here."),
        card(
            Provider::Kustomer,
            "Your help desk. When a customer wants a person, the conversation goes here.",
        ),
    ];
    let may_manage = may(member, Action::IntegrationManage);
    let offers = if may_manage { transfer::on_offer(app, &member.org).await? } else { Vec::new() };
    let offers = offers.into_iter().map(|o| Offered {
        id: o.id.as_str().to_owned(),
        title: o.provider.title(),
        take: match o.provider {
            Provider::Shopify => format!("/orgs/{org}/integrations/shopify/connect?shop={}", o.account),
            Provider::Kustomer if app.kustomer_oauth() => {
                format!("/orgs/{org}/integrations/kustomer/connect?subdomain={}", o.label)
            }
            other => format!("/orgs/{org}/integrations/{other}/connect"),
        },
        label: o.label,
        from: o.from_name,
        until: When::of(o.expires_at, now),
    });
    let ended = deed::ended(app, &member.org).await?.into_iter().map(|it| {
        (it.id.as_str().to_owned(), format!("{}: {}", it.provider.title(), it.account_identifier.label()))
    });
    Ok(Page(Integrations {
        frame: org_frame(member, "Integrations", "integrations"),
        offers: offers.collect(),
        ended: ended.collect(),
        org,
        cards,
        notices,
        may_manage,
    })
    .into_response())
}

/// `GET /orgs/{org}/integrations`; the address says how a connection ended (`?shopify=error&reason=denied`).
pub(crate) async fn list(
    State(shared): State<Shared>,
    member: Member,
    Query(query): Query<HashMap<String, String>>,
) -> Outcome<Response> {
    let mut notices = Vec::new();
    for provider in Provider::ALL {
        match query.get(provider.as_str()).map(String::as_str) {
            Some("connected") => {
                notices.push(Notice { good: true, text: format!("{} is connected.", provider.title()) });
            }
            Some("disconnected") => {
                notices.push(Notice {
                    good: true,
                    text: format!("{} is disconnected and its tokens are erased.", provider.title()),
                });
            }
            Some("told_later") => {
                let who = provider.title();
                let text = format!(
                    "{who} is disconnected here. {who} did not answer; it is told as soon as it does, for a day, and the tokens are erased then."
                );
                notices.push(Notice { good: true, text });
            }
            Some("error") => {
                let reason = query.get("reason").map_or("", String::as_str);
                notices.push(Notice { good: false, text: reason_text(*provider, reason) });
            }
            _ => {}
        }
    }
    shown(&shared, &member, notices).await
}

/// On which page the button was.
#[derive(Deserialize)]
pub(crate) struct Asked {
    back: Option<String>,
}

/// `POST /orgs/{org}/integrations/{id}/test`
pub(crate) async fn test(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
    Form(asked): Form<Asked>,
) -> Outcome<Response> {
    let report = deed::test(shared.app(), &member.org, &id).await?;
    if asked.back.as_deref() == Some("connection") {
        return super::connection::tested(&shared, &member, &id, report).await;
    }
    shown(&shared, &member, vec![Notice { good: report.ok, text: report.message }]).await
}

/// `GET /orgs/{org}/integrations/{id}/reconnect`: to the provider, pinned to the same account.
pub(crate) async fn reconnect(
    State(shared): State<Shared>,
    member: Member,
    Path((org, id)): Path<(String, String)>,
) -> Outcome<Response> {
    use agenstack_app::AppError;
    match agenstack_app::connect::reconnect(shared.app(), &member.org, &member.session, &id).await {
        Ok(url) => Ok(go(&url)),
        Err(AppError::Conflict { code: "replace_key" | "replace_client", .. }) => {
            Ok(go(&format!("/orgs/{org}/integrations/kustomer/connect")))
        }
        Err(e) => Err(e.into()),
    }
}

#[derive(Template)]
#[template(path = "disconnect.html")]
pub(super) struct Disconnect {
    pub frame: Frame,
    pub org: String,
    pub id: String,
    pub title: &'static str,
    pub label: String,
    pub stops: &'static str,
}

/// `GET /orgs/{org}/integrations/{id}/disconnect`: what would stop.
pub(crate) async fn before_disconnect(
    State(shared): State<Shared>,
    member: Member,
    Path((org, id)): Path<(String, String)>,
) -> Outcome<Response> {
    let it = deed::get(shared.app(), &member.org, &id).await?;
    let stops = match it.provider {
        Provider::Shopify => {
            "The bot can no longer look up orders, and passes every order question to a person. AgenStack is uninstalled from the store."
        }
        Provider::Messenger => {
            "Messages to this page no longer reach AgenStack, and nothing is answered there. Waiting answers are not sent."
        }
        Provider::Kustomer => {
            "Conversations are no longer handed over to Kustomer, and answers written there no longer reach customers."
        }
    };
    Ok(Page(Disconnect {
        frame: org_frame(&member, "Disconnect", "integrations"),
        org,
        id,
        title: it.provider.title(),
        label: it.account_identifier.label().to_owned(),
        stops,
    })
    .into_response())
}

/// `POST /orgs/{org}/integrations/{id}/disconnect`
pub(crate) async fn disconnect(
    State(shared): State<Shared>,
    member: Member,
    Path((org, id)): Path<(String, String)>,
) -> Outcome<Response> {
    let it = deed::get(shared.app(), &member.org, &id).await?;
    let told = deed::disconnect(shared.app(), &member.org, &id).await?;
    let how = if told == deed::Told::Now { "disconnected" } else { "told_later" };
    Ok(go(&format!("/orgs/{org}/integrations?{}={how}", it.provider)))
}
