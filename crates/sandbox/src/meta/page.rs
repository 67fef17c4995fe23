//! `/facebook-page/{page}` and the chat in which a person is a customer of that page.

use askama::Template;
use axum::extract::{Path, RawForm, State};
use axum::response::Response;

use super::{Customer, From};
use crate::clock;
use crate::page::{self, Params, Row};
use crate::state::Shared;

struct Who {
    psid: String,
    name: String,
    current: bool,
    last: String,
}

struct Bubble {
    mine: bool,
    text: String,
    note: String,
}

#[derive(Template)]
#[template(path = "thread.html")]
struct Thread {
    bubbles: Vec<Bubble>,
}

#[derive(Template)]
#[template(path = "chat.html")]
struct Chat {
    page_id: String,
    page_name: String,
    psid: String,
    name: String,
    people: Vec<Who>,
    fresh_psid: String,
    subscribed: bool,
    thread: String,
}

#[derive(Template)]
#[template(path = "facebook_page.html")]
struct Facebook {
    id: String,
    name: String,
    owner: String,
    category: String,
    tasks: String,
    fields: Option<String>,
    people: Vec<Who>,
    fresh_psid: String,
    deliveries: Vec<Row>,
    calls: Vec<Row>,
}

fn bubbles(customer: &Customer) -> Vec<Bubble> {
    let note = |from: From| match from {
        From::Customer => "you",
        From::App => "the app",
        From::Inbox => "a person in the page inbox",
    };
    let bubble = |m: &super::Message| Bubble {
        mine: m.from == From::Customer,
        text: m.text.clone(),
        note: format!("{} · {}", note(m.from), clock::hour(m.at_ms)),
    };
    customer.thread.iter().map(bubble).collect()
}

fn people(page: &super::Page, current: &str) -> Vec<Who> {
    let who = |(psid, c): (&String, &Customer)| Who {
        psid: psid.clone(),
        name: format!("{} {}", c.first_name, c.last_name),
        current: psid == current,
        last: c.thread.last().map(|m| m.text.chars().take(48).collect()).unwrap_or_else(|| "nothing said yet".to_owned()),
    };
    page.customers.iter().map(who).collect()
}

/// A number that no customer of the page has yet.
fn fresh(page: &super::Page) -> String {
    let highest = page.customers.keys().filter_map(|k| k.parse::<u64>().ok()).max().unwrap_or(7_900_000_000_000_000);
    (highest + 1).to_string()
}

fn gone(id: &str) -> Response {
    page::problem(404, "meta", "This page does not exist", &format!("The sandbox has no page {id}."))
}

/// `GET /facebook-page/{page}`.
pub(crate) async fn show(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    let deliveries = page::deliveries(&shared, "meta", &id);
    let calls = page::calls(&shared, "meta", &id, 20);
    let facebook = shared.read(|s| s.meta.pages.get(&id).map(|p| Facebook {
        id: p.id.clone(),
        name: p.name.clone(),
        owner: s.meta.person_name(&p.person),
        category: p.category.clone(),
        tasks: p.tasks.join(", ").to_lowercase().replace('_', " "),
        fields: p.subscribed.as_ref().map(|f| f.join(", ")),
        people: people(p, ""),
        fresh_psid: fresh(p),
        deliveries,
        calls,
    }));
    facebook.map_or_else(|| gone(&id), |f| page::html(&f))
}

/// `GET /messenger/{page}/chat/{psid}`.
pub(crate) async fn chat(State(shared): State<Shared>, Path((id, psid)): Path<(String, String)>) -> Response {
    let chat = shared.read(|s| {
        let p = s.meta.pages.get(&id)?;
        let customer = p.customers.get(&psid);
        let thread = Thread { bubbles: customer.map(bubbles).unwrap_or_default() };
        Some(Chat {
            page_id: id.clone(),
            page_name: p.name.clone(),
            name: customer.map_or("New visitor".to_owned(), |c| format!("{} {}", c.first_name, c.last_name)),
            people: people(p, &psid),
            fresh_psid: fresh(p),
            subscribed: p.subscribed.is_some(),
            thread: thread.render().unwrap_or_default(),
            psid,
        })
    });
    chat.map_or_else(|| gone(&id), |c| page::html(&c))
}

/// `GET /messenger/{page}/chat/{psid}/thread`: only the bubbles, for the polling script.
pub(crate) async fn thread(State(shared): State<Shared>, Path((id, psid)): Path<(String, String)>) -> Response {
    let bubbles = shared.read(|s| s.meta.pages.get(&id)?.customers.get(&psid).map(bubbles));
    page::html(&Thread { bubbles: bubbles.unwrap_or_default() })
}

/// `POST /messenger/{page}/chat/{psid}`: the composer.
pub(crate) async fn say(State(shared): State<Shared>, Path((id, psid)): Path<(String, String)>, RawForm(body): RawForm) -> Response {
    let params = Params::parse(&body);
    let text = params.get("text").trim();
    let digits = !psid.is_empty() && psid.bytes().all(|b| b.is_ascii_digit());
    if !text.is_empty() && digits && super::control::write(&shared, &id, &psid, text).is_none() {
        return gone(&id);
    }
    page::back(&format!("/messenger/{id}/chat/{psid}#newest"))
}
