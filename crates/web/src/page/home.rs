//! An organization's first page.

use super::integration::connect_former;
use super::{Frame, Page, may, org_frame};
use crate::Shared;
use crate::failure::Outcome;
use crate::gate::Member;
use agenstack_app::home;
use agenstack_core::integration::Provider;
use agenstack_core::policy::Action;
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

/// One line of the set-up checklist.
pub(super) struct Step {
    pub title: &'static str,
    pub text: String,
    pub done: bool,
    pub href: String,
    pub action: &'static str,
    /// The first step that is not done gets the one strong button.
    pub next: bool,
}

#[derive(Template)]
#[template(path = "home.html")]
pub(super) struct Home {
    pub frame: Frame,
    pub org: String,
    pub steps: Vec<Step>,
    pub all_done: bool,
    pub open: i64,
    pub waiting: i64,
    pub may_connect: bool,
}

/// `GET /orgs/{org}`
pub(crate) async fn home(State(shared): State<Shared>, member: Member) -> Outcome<Response> {
    let seen = home::overview(shared.app(), &member.org).await?;
    let org = member.org.org().as_str().to_owned();
    let account = |provider: Provider| {
        seen.integrations
            .iter()
            .find(|it| it.provider == provider)
            .map(|it| it.account_identifier.label().to_owned())
    };
    let former_of = |provider: Provider| seen.former.iter().find(|f| f.provider == provider);
    let step = |provider: Provider, title, why: &str| {
        let found = account(provider);
        Step {
            title,
            done: found.is_some(),
            href: former_of(provider).map_or_else(
                || format!("/orgs/{org}/integrations/{provider}/connect"),
                |f| connect_former(&org, f),
            ),
            action: if former_of(provider).is_some() && found.is_none() { "Reconnect" } else { "Connect" },
            text: found.unwrap_or_else(|| match former_of(provider) {
                Some(f) => format!("Your former platform had {} connected. Connect it here.", f.label),
                None => why.to_owned(),
            }),
            next: false,
        }
    };
    let mut steps = vec![
        step(Provider::Shopify, "Connect Shopify", "So that the bot can look up orders and tracking."),
        step(Provider::Messenger, "Connect your Facebook Page", "So that customers can write to the bot."),
        step(Provider::Kustomer, "Connect Kustomer", "So that people can take over a conversation."),
        Step {
            title: "Say hello to your page",
            text: if seen.any_conversation {
                "A message has arrived.".into()
            } else {
                "Write to your page as a customer would; the conversation appears in the inbox.".into()
            },
            done: seen.any_conversation,
            href: format!("/orgs/{org}/inbox"),
            action: "Open the inbox",
            next: false,
        },
    ];
    if let Some(first) = steps.iter_mut().find(|s| !s.done) {
        first.next = true;
    }
    Ok(Page(Home {
        frame: org_frame(&member, "Home", "home"),
        all_done: steps.iter().all(|s| s.done),
        steps,
        open: seen.open,
        waiting: seen.waiting,
        may_connect: may(&member, Action::IntegrationManage),
        org,
    })
    .into_response())
}
