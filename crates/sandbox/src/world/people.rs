//! The people who manage pages, the pages, and the customers who write to them.

use crate::sign::digits_of;
use serde::Serialize;
use std::collections::BTreeMap;

/// Somebody with a Facebook account.
pub(crate) struct Person {
    pub key: String,
    pub name: String,
    /// App-scoped id.
    pub id: String,
    pub pages: Vec<Role>,
}

/// What a person may do on a page.
pub(crate) struct Role {
    pub page: String,
    pub tasks: Vec<&'static str>,
    /// Meta leaves the token out of some list items.
    pub has_token: bool,
}

/// A page.
pub(crate) struct Page {
    pub id: String,
    pub name: String,
    /// What our app is subscribed to; empty: not at all.
    pub subscribed: Vec<String>,
    pub chats: BTreeMap<String, Chat>,
}

/// A conversation of a page with one customer.
pub(crate) struct Chat {
    pub psid: String,
    pub name: String,
    pub messages: Vec<ChatMessage>,
    /// When the customer last wrote, in milliseconds; the 24-hour window counts from here.
    pub last_customer_ms: i64,
    /// The customer blocked the page.
    pub blocked: bool,
}

/// One message.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ChatMessage {
    /// `customer` or `page`.
    pub from: &'static str,
    pub text: String,
    pub mid: String,
    pub at: String,
    pub at_ms: i64,
}

/// A customer's id for one page: another page has another for the same person.
pub(crate) fn psid(page: &str, name: &str) -> String {
    digits_of(&format!("{page} {}", name.to_lowercase()), 16)
}

const FULL: [&str; 6] = ["ADVERTISE", "ANALYZE", "CREATE_CONTENT", "MESSAGING", "MODERATE", "MANAGE"];

/// The people and their pages.
pub(crate) fn all() -> (BTreeMap<String, Person>, BTreeMap<String, Page>) {
    let mut pages = BTreeMap::new();
    let mut add = |id: String, name: &str| {
        let page =
            Page { id: id.clone(), name: name.to_owned(), subscribed: Vec::new(), chats: BTreeMap::new() };
        pages.insert(id.clone(), page);
        id
    };
    let full = |page: String| Role { page, tasks: FULL.to_vec(), has_token: true };
    let lark = add("100000000000001".into(), "Lark Supply");
    let fern = add("100000000000002".into(), "Fern Goods");
    let shared = add("100000000000003".into(), "Lark & Fern Market Stall");
    let mut persons = BTreeMap::new();
    let mut person = |key: &str, name: &str, roles: Vec<Role>| {
        let id = digits_of(name, 15);
        persons.insert(key.to_owned(), Person { key: key.into(), name: name.into(), id, pages: roles });
    };
    let stats = add("100000000000011".into(), "Lark Stories");
    let tokenless = add("100000000000012".into(), "Lark Careers");
    person(
        "lena",
        "Lena Lark",
        vec![
            full(lark),
            Role { page: stats, tasks: vec!["ANALYZE", "CREATE_CONTENT"], has_token: true },
            Role { page: tokenless, tasks: FULL.to_vec(), has_token: false },
            full(shared.clone()),
        ],
    );
    let outlet = add("100000000000021".into(), "Fern Outlet");
    person("finn", "Finn Fern", vec![full(fern), full(outlet), full(shared)]);
    // More pages than one answer holds.
    let many = (0..13u64)
        .map(|n| full(add((100_000_000_000_100 + n).to_string(), &format!("Moss Market {}", n + 1))));
    person("mo", "Mo Moss", many.collect());
    (persons, pages)
}
