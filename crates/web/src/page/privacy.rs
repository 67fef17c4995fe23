//! What customers of a shop asked for: to see what is held of them, or to have it erased.

use super::{Frame, Page, When, org_frame};
use crate::Shared;
use crate::api::{Paging, Query};
use crate::failure::Outcome;
use crate::gate::Member;
use agenstack_app::compliance::{self as deed, Counts, Outcome as Came, Request};
use agenstack_core::clock::Timestamp;
use agenstack_core::privacy::PrivacyKind;
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

/// A request in words.
pub(super) struct Row {
    pub id: String,
    pub title: &'static str,
    pub shop: String,
    pub is_done: bool,
    pub summary: String,
    pub received: When,
    pub due: When,
    pub due_day: String,
    pub done: Option<When>,
    pub export_until: Option<When>,
    pub export_gone: bool,
    pub verified: Option<bool>,
    pub event: String,
}

fn row(r: Request, now: Timestamp) -> Row {
    let found = r.kind == PrivacyKind::DataRequest && r.counts.is_some_and(|c| c != Counts::default());
    Row {
        title: match r.kind {
            PrivacyKind::DataRequest => "A customer wants to see their data",
            PrivacyKind::CustomerRedact => "A customer wants their data erased",
            PrivacyKind::ShopRedact => "The shop was uninstalled: erase its data",
        },
        is_done: r.done_at.is_some(),
        summary: match (r.outcome, &r.counts) {
            (Some(outcome), Some(counts)) => summary(outcome, counts),
            _ if r.done_at.is_some() => {
                "What was done cannot be told: the receipt is not genuine.".to_owned()
            }
            _ => "It is being done. If this stays so, look at its event.".to_owned(),
        },
        received: When::of(r.received_at, now),
        due: When::of(r.due_at, now),
        due_day: r.due_at.rfc3339().chars().take(10).collect(),
        done: r.done_at.map(|at| When::of(at, now)),
        export_gone: found && r.export_until.is_none(),
        export_until: r.export_until.map(|at| When::of(at, now)),
        verified: r.receipt_verified,
        event: r.event_id.as_str().to_owned(),
        id: r.id.as_str().to_owned(),
        shop: r.shop,
    }
}

/// What was found or erased, in numbers.
fn summary(outcome: Came, counts: &Counts) -> String {
    let verb = match outcome {
        Came::KeptConnected => {
            return "Nothing was erased: the shop has the app again.".to_owned();
        }
        Came::Exported | Came::ExportedInPart => "Found",
        Came::Erased => "Erased",
    };
    let told = |n: u64, one: &str, more: &str| match n {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {more}")),
    };
    let parts: Vec<String> = [
        told(counts.conversations, "conversation", "conversations"),
        told(counts.messages, "message", "messages"),
        told(counts.memories, "memory of the bot", "memories of the bot"),
        told(counts.names, "name", "names"),
        told(counts.events, "stored event", "stored events"),
        told(counts.exports, "earlier export", "earlier exports"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let list = match parts.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    };
    let more = if outcome == Came::ExportedInPart {
        " There was more than one export can hold; ask the operator of this installation."
    } else {
        ""
    };
    format!("{verb}: {list}.{more}")
}

#[derive(Template)]
#[template(path = "privacy.html")]
pub(super) struct Requests {
    pub frame: Frame,
    pub org: String,
    pub rows: Vec<Row>,
    pub next: Option<String>,
}

/// `GET /orgs/{org}/privacy`
pub(crate) async fn list(
    State(shared): State<Shared>,
    member: Member,
    Query(paging): Query<Paging>,
) -> Outcome<Response> {
    let limit = paging.limit.or(Some(30));
    let found = deed::list(shared.app(), &member.org, paging.cursor(), limit).await?;
    let now = shared.app().now();
    Ok(Page(Requests {
        frame: org_frame(&member, "Privacy requests", "privacy"),
        org: member.org.org().as_str().to_owned(),
        rows: found.items.into_iter().map(|r| row(r, now)).collect(),
        next: found.next_cursor,
    })
    .into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told_in_numbers() {
        let counts = Counts { conversations: 1, messages: 4, events: 1, ..Counts::default() };
        assert_eq!(summary(Came::Erased, &counts), "Erased: 1 conversation, 4 messages and 1 stored event.");
        assert_eq!(summary(Came::Exported, &Counts::default()), "Found: nothing.");
        let one = Counts { memories: 2, ..Counts::default() };
        assert!(
            summary(Came::ExportedInPart, &one).starts_with("Found: 2 memories of the bot. There was more")
        );
        assert_eq!(summary(Came::KeptConnected, &counts), "Nothing was erased: the shop has the app again.");
    }
}
