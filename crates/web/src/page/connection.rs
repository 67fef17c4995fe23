//! One connection: what was granted, when it ends, whether events reach us, what came in, how it came to be as it is,
//! and what can be done.

use super::integration::{Scope, scopes, words};
use super::{Frame, Page, When, Wrong, go, may, org_frame, page};
use crate::Shared;
use crate::api::Query;
use crate::failure::Outcome;
use crate::gate::Member;
use agenstack_app::connect::scope_text;
use agenstack_app::{integration as deed, transfer};
use agenstack_core::integration::{AccountIdentifier, ConnectionStatus, Provider, StateChange, Subscription};
use agenstack_core::policy::Action;
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;

/// A change of state in words.
pub(super) struct Change {
    pub status: &'static str,
    pub status_words: &'static str,
    pub text: String,
    pub by: &'static str,
    pub at: When,
}

/// An event that came in.
pub(super) struct Came {
    pub id: String,
    pub topic: String,
    pub state: &'static str,
    pub received: When,
}

/// A fact and its value.
pub(super) struct Fact {
    pub name: &'static str,
    pub text: String,
    pub at: Option<When>,
}

#[derive(Template)]
#[template(path = "connection.html")]
pub(super) struct Connection {
    pub frame: Frame,
    pub org: String,
    pub id: String,
    pub title: &'static str,
    pub label: String,
    pub status: &'static str,
    pub status_words: &'static str,
    pub error: Option<(String, When)>,
    pub notice: Option<(bool, String)>,
    pub wrong: Option<Wrong>,
    pub facts: Vec<Fact>,
    pub missing: Vec<Scope>,
    pub granted: Vec<Scope>,
    pub events: Vec<Came>,
    pub history: Vec<Change>,
    pub mend: String,
    pub ended: bool,
    pub released: Option<(String, When)>,
    pub may_manage: bool,
    pub may_release: bool,
}

pub(super) fn by(actor: &str, me: &str) -> &'static str {
    match actor {
        a if a == me => "you",
        a if a.starts_with("usr_") => "a member",
        "worker" => "AgenStack",
        "operator" => "the operator",
        _ => "the provider",
    }
}

async fn shown(
    shared: &Shared,
    member: &Member,
    id: &str,
    notice: Option<(bool, String)>,
    wrong: Option<Wrong>,
) -> Outcome<Connection> {
    let app = shared.app();
    let detail = deed::detail(app, &member.org, id).await?;
    let (it, now) = (detail.integration, app.now());
    let when = |at| When::of(at, now);
    let org = member.org.org().as_str().to_owned();
    let me = member.session.user.id.as_str();
    let ended = it.status == ConnectionStatus::Disconnected;
    let fact = |name, at: Option<_>, none: &str| match at {
        Some(at) => Fact { name, text: String::new(), at: Some(when(at)) },
        None => Fact { name, text: none.to_owned(), at: None },
    };
    let mut facts = Vec::new();
    let account = match &it.account_identifier {
        AccountIdentifier::Shopify { shop, .. } => shop.clone(),
        AccountIdentifier::Messenger { page_id, .. } => format!("Page {page_id}"),
        AccountIdentifier::Kustomer { subdomain, org_name, .. } => format!("{org_name} ({subdomain})"),
    };
    facts.push(Fact { name: "Account", text: account, at: None });
    if let AccountIdentifier::Kustomer { method, .. } = &it.account_identifier {
        let text = super::integration::method_words(method).to_owned();
        facts.push(Fact { name: "Connected by", text, at: None });
    }
    facts.push(fact("Connected", Some(it.connected_at), ""));
    if !ended {
        let forever = match it.provider {
            Provider::Messenger => "has no end of its own; checked every hour",
            _ => "has no end of its own",
        };
        facts.push(fact("Token ends", it.token_expires_at, forever));
        let words = match it.subscription {
            Some((Subscription::Active, _)) => "reach AgenStack, checked",
            Some((Subscription::Refused, _)) => {
                "cannot be subscribed without the missing permission, checked"
            }
            Some((Subscription::Off, _)) => "are switched off at the provider, checked",
            None => "not checked yet",
        };
        let at = it.subscription.map(|(_, at)| when(at));
        facts.push(Fact { name: "Events", text: words.to_owned(), at });
    }
    facts.push(fact("Last event", it.last_event_at, "none yet"));
    facts.push(fact("Last success", it.last_success_at, "none yet"));
    let history = detail.history.into_iter().map(|c: StateChange| Change {
        status: c.status.as_str(),
        status_words: words(c.status),
        by: by(&c.actor, me),
        text: c.message,
        at: when(c.at),
    });
    let events = detail.events.into_iter().map(|e| Came {
        id: e.id.as_str().to_owned(),
        topic: e.topic,
        state: e.state.as_str(),
        received: when(e.received_at),
    });
    // What is needed and granted; what was granted beyond it is told as such.
    let granted = scopes(it.provider, &it.scopes);
    Ok(Connection {
        frame: org_frame(member, it.account_identifier.label(), "integrations"),
        title: if it.provider == Provider::Messenger { "Facebook Messenger" } else { it.provider.title() },
        label: it.account_identifier.label().to_owned(),
        status: it.status.as_str(),
        status_words: words(it.status),
        error: it.last_error.map(|e| (e.message, when(e.at))).filter(|_| !ended),
        notice,
        wrong,
        facts,
        missing: it
            .missing_scopes
            .iter()
            .map(|s| Scope { name: s.clone(), text: scope_text(it.provider, s) })
            .collect(),
        granted: if ended { Vec::new() } else { granted },
        events: events.collect(),
        history: history.collect(),
        mend: super::integration::mend(&org, it.provider, &it.id, &it.account_identifier, ended),
        ended,
        released: detail.released.map(|r| (r.to_organization_id.as_str().to_owned(), when(r.expires_at))),
        may_manage: may(member, Action::IntegrationManage),
        may_release: may(member, Action::IntegrationTransfer) && !ended,
        id: it.id.as_str().to_owned(),
        org,
    })
}

/// What a test found, carried over the redirect as one of these words.
#[derive(Deserialize)]
pub(crate) struct Said {
    transfer: Option<String>,
}

/// `GET /orgs/{org}/integrations/{id}`
pub(crate) async fn one(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
    Query(said): Query<Said>,
) -> Outcome<Response> {
    let notice = match said.transfer.as_deref() {
        Some("released") => Some((true, "Released. The other organization can connect it now.".to_owned())),
        Some("withdrawn") => Some((true, "The release was taken back.".to_owned())),
        _ => None,
    };
    Ok(Page(shown(&shared, &member, &id, notice, None).await?).into_response())
}

/// The page after a test, with what it found.
pub(super) async fn tested(
    shared: &Shared,
    member: &Member,
    id: &str,
    report: deed::TestReport,
) -> Outcome<Response> {
    Ok(Page(shown(shared, member, id, Some((report.ok, report.message)), None).await?).into_response())
}

#[derive(Deserialize)]
pub(crate) struct Release {
    #[serde(default)]
    organization_id: String,
}

/// `POST /orgs/{org}/integrations/{id}/transfer`
pub(crate) async fn release(
    State(shared): State<Shared>,
    member: Member,
    Path((org, id)): Path<(String, String)>,
    super::Form(to): super::Form<Release>,
) -> Outcome<Response> {
    match transfer::offer(shared.app(), &member.org, &id, &to.organization_id).await {
        Ok(_) => Ok(go(&format!("/orgs/{org}/integrations/{id}?transfer=released"))),
        Err(error) => {
            let (status, wrong): (StatusCode, Wrong) = Wrong::of(error)?;
            Ok(page(status, shown(&shared, &member, &id, None, Some(wrong)).await?))
        }
    }
}

/// `POST /orgs/{org}/integrations/{id}/transfer/withdraw`
pub(crate) async fn withdraw(
    State(shared): State<Shared>,
    member: Member,
    Path((org, id)): Path<(String, String)>,
) -> Outcome<Response> {
    transfer::withdraw(shared.app(), &member.org, &id).await?;
    Ok(go(&format!("/orgs/{org}/integrations/{id}?transfer=withdrawn")))
}

/// `POST /orgs/{org}/transfers/{id}/decline`
pub(crate) async fn decline(
    State(shared): State<Shared>,
    member: Member,
    Path((org, id)): Path<(String, String)>,
) -> Outcome<Response> {
    transfer::decline(shared.app(), &member.org, &id).await?;
    Ok(go(&format!("/orgs/{org}/integrations")))
}
