//! Conversations.

use super::{Form, Frame, Page, When, Wrong, go, may, org_frame, page};
use crate::Shared;
use crate::api::Query;
use crate::api::conversation::Narrow;
use crate::failure::Outcome;
use crate::gate::Member;
use agenstack_app::conversation::{self as deed, Summary};
use agenstack_core::clock::Timestamp;
use agenstack_core::conversation::{Author, Delivery, Message, Owner};
use agenstack_core::policy::Action;
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

/// A line of the list.
pub(super) struct Row {
    pub id: String,
    pub name: String,
    pub snippet: String,
    pub owner: &'static str,
    pub owner_words: &'static str,
    pub at: When,
}

#[derive(Template)]
#[template(path = "inbox.html")]
pub(super) struct Inbox {
    pub frame: Frame,
    pub org: String,
    pub filter: String,
    pub rows: Vec<Row>,
    pub next: Option<String>,
}

fn owner_words(owner: Owner) -> &'static str {
    match owner {
        Owner::Bot => "Bot",
        Owner::Person => "Person",
        Owner::Paused => "Paused",
    }
}

fn row(s: &Summary, now: Timestamp) -> Row {
    let c = &s.conversation;
    Row {
        id: c.id.as_str().to_owned(),
        name: c.contact.name.clone(),
        snippet: s.snippet.clone(),
        owner: c.owner.as_str(),
        owner_words: owner_words(c.owner),
        at: When::of(c.last_message_at, now),
    }
}

/// `GET /orgs/{org}/inbox`
pub(crate) async fn list(
    State(shared): State<Shared>,
    member: Member,
    Query(narrow): Query<Narrow>,
) -> Outcome<Response> {
    let cursor = narrow.cursor.as_deref().filter(|c| !c.is_empty());
    let found = deed::list(shared.app(), &member.org, &narrow.filter()?, cursor, Some(30)).await?;
    let now = shared.app().now();
    Ok(Page(Inbox {
        frame: org_frame(&member, "Inbox", "inbox"),
        org: member.org.org().as_str().to_owned(),
        filter: narrow.owner.unwrap_or_default(),
        rows: found.items.iter().map(|s| row(s, now)).collect(),
        next: found.next_cursor,
    })
    .into_response())
}

/// A message in the thread.
pub(super) struct Line {
    pub author: &'static str,
    pub who: String,
    pub text: String,
    pub at: When,
    pub delivery: &'static str,
    pub error: Option<String>,
}

#[derive(Template)]
#[template(path = "thread.html")]
pub(super) struct Thread {
    pub frame: Frame,
    pub org: String,
    pub id: String,
    pub name: String,
    pub owner: &'static str,
    pub owner_words: &'static str,
    pub window: String,
    pub window_open: bool,
    pub handed_over: bool,
    /// It came from a former platform: nobody can be answered in it.
    pub imported: bool,
    pub lines: Vec<Line>,
    pub older: Option<String>,
    pub may_write: bool,
    pub wrong: Option<Wrong>,
    pub draft: String,
}

fn line(m: &Message, customer: &str, now: Timestamp) -> Line {
    let who = match m.author {
        Author::Customer => customer.to_owned(),
        Author::Bot => "Bot".into(),
        Author::Agent => "Team".into(),
        Author::System => "AgenStack".into(),
    };
    let delivery = match (m.author, m.delivery) {
        (Author::Customer | Author::System, _) => "",
        (_, Delivery::Queued) => "waiting to be sent",
        (_, Delivery::Sent) => "sent",
        (_, Delivery::Delivered) => "delivered",
        (_, Delivery::Read) => "read",
        (_, Delivery::Failed) => "not sent",
        (_, Delivery::Unknown) => "not known whether it arrived",
        (_, Delivery::Received) => "",
    };
    Line {
        author: m.author.as_str(),
        who,
        text: m.text.clone(),
        at: When::of(m.created_at, now),
        delivery,
        error: m.error.clone(),
    }
}

async fn thread_page(
    shared: &Shared,
    member: &Member,
    id: &str,
    cursor: Option<&str>,
    wrong: Option<Wrong>,
    draft: String,
) -> Outcome<Thread> {
    let app = shared.app();
    let found = deed::get(app, &member.org, id).await?;
    let mut messages = deed::messages(app, &member.org, id, cursor, Some(100)).await?;
    messages.items.reverse();
    let now = app.now();
    let c = &found.conversation;
    let imported = c.integration_id.is_none();
    let window_open = found.window_ends_at > now && !imported;
    let window = if imported {
        "This conversation came from your former platform and runs over no connection of this one: nobody can be answered in it. When \
         the customer writes to your page, a new conversation begins."
            .into()
    } else if window_open {
        format!("You can answer until the window closes {}.", When::of(found.window_ends_at, now).words)
    } else {
        "The 24-hour window has closed. Messenger allows an answer when the customer writes again.".into()
    };
    Ok(Thread {
        frame: org_frame(member, &c.contact.name, "inbox"),
        org: member.org.org().as_str().to_owned(),
        id: id.to_owned(),
        name: c.contact.name.clone(),
        owner: c.owner.as_str(),
        owner_words: owner_words(c.owner),
        window,
        window_open,
        handed_over: c.kustomer_id.is_some(),
        imported,
        lines: messages.items.iter().map(|m| line(m, &c.contact.name, now)).collect(),
        older: messages.next_cursor,
        may_write: may(member, Action::ConversationWrite),
        wrong,
        draft,
    })
}

/// `GET /orgs/{org}/inbox/{id}`
pub(crate) async fn thread(
    State(shared): State<Shared>,
    member: Member,
    Path((_, id)): Path<(String, String)>,
    Query(paging): Query<crate::api::Paging>,
) -> Outcome<Response> {
    Ok(Page(thread_page(&shared, &member, &id, paging.cursor(), None, String::new()).await?).into_response())
}

#[derive(Deserialize)]
pub(crate) struct Answer {
    #[serde(default)]
    text: String,
}

/// `POST /orgs/{org}/inbox/{id}`
pub(crate) async fn answer(
    State(shared): State<Shared>,
    member: Member,
    Path((org, id)): Path<(String, String)>,
    Form(answer): Form<Answer>,
) -> Outcome<Response> {
    match deed::answer(shared.app(), &member.org, &id, &answer.text).await {
        Ok(_) => Ok(go(&format!("/orgs/{org}/inbox/{id}#end"))),
        Err(error) => {
            let (status, wrong) = Wrong::of(error)?;
            Ok(page(status, thread_page(&shared, &member, &id, None, Some(wrong), answer.text).await?))
        }
    }
}

/// `POST /orgs/{org}/inbox/{id}/takeover`
pub(crate) async fn take_over(
    State(shared): State<Shared>,
    member: Member,
    Path((org, id)): Path<(String, String)>,
) -> Outcome<Response> {
    deed::take_over(shared.app(), &member.org, &id).await?;
    Ok(go(&format!("/orgs/{org}/inbox/{id}#end")))
}

/// `POST /orgs/{org}/inbox/{id}/handback`
pub(crate) async fn hand_back(
    State(shared): State<Shared>,
    member: Member,
    Path((org, id)): Path<(String, String)>,
) -> Outcome<Response> {
    deed::hand_back(shared.app(), &member.org, &id).await?;
    Ok(go(&format!("/orgs/{org}/inbox/{id}#end")))
}
