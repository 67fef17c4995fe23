//! Every page can be rendered, says nothing inline, and shows what people wrote as text.

use super::*;
use crate::page::account::{DeletionPage, Landing, LogInPage, OrgRow, Orgs, SignUpPage};
use crate::page::brought::BroughtPage;
use crate::page::chart::{Charts, charts};
use crate::page::connect::{Before, Onward, Pages, StateRefused};
use crate::page::connection::{Came, Change, Connection, Fact};
use crate::page::event::{Events, One, Progress, Row as EventRow, Step as EventStep};
use crate::page::home::{Home, Step};
use crate::page::inbox::{Inbox, Line, Row, Thread};
use crate::page::install::{Choice, InstallPage, InstallRefused};
use crate::page::integration::{Account, Card, Disconnect, Former, Integrations, Notice, Offered, Scope};
use crate::page::operator::{OperatorPage, Row as OperatorRow, Shown};
use crate::page::privacy::{Requests, Row as RequestRow};
use crate::page::reset::{Forgot, Reset};
use crate::page::settings::Settings;
use agenstack_app::connect::PageChoice;
use agenstack_app::import::brought::Brought;
use agenstack_app::operator::Mail;

/// What somebody might write to get into a page.
const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&";

fn text() -> String {
    HOSTILE.to_owned()
}

fn sample_pulse() -> Charts {
    use agenstack_app::pulse::{Beat, Pulse};
    let at = Some(agenstack_core::clock::Timestamp::from_millis(0));
    let beat = Beat { at, accepted: 1, failed: 2, refused: 3, p95_ms: Some(4) };
    let pulse = Pulse { minutes: vec![beat], oldest_ms: Some(5), waits: 6, waits_more: true, since: at };
    charts(&pulse, "/orgs/org_1/events/pulse".into(), "events", true)
}

fn sample_step() -> EventStep {
    EventStep {
        words: "attempt failed",
        class: "state-failed",
        at: None,
        when: "now",
        took: Some(text()),
        reason: Some(text()),
    }
}

fn sample_frame() -> Frame {
    let trouble = |status, mend| Banner {
        title: text(),
        status,
        text: text(),
        since: Some(when()),
        waiting: "2 messages wait.".into(),
        mend,
    };
    let place = Place {
        org: "org_1".into(),
        org_name: text(),
        user: text(),
        role: "owner".into(),
        active: "home",
        troubles: vec![
            trouble("needs_reconnect", Some("/x".into())),
            trouble("needs_reconnect", None),
            trouble("paused", None),
        ],
        more_troubles: 1,
        sees_privacy: true,
    };
    Frame {
        title: text(),
        assets: "/static/0".into(),
        place: Some(place),
        live: Some("/orgs/org_1/live".into()),
        signed_in: true,
    }
}

fn when() -> When {
    When { iso: "2026-11-24T12:00:00.000Z".into(), words: "just now".into() }
}

fn wrong() -> Option<Wrong> {
    Some(Wrong { field: "name".into(), text: text() })
}

fn sample_account(status: &'static str) -> Account {
    let scope = || vec![Scope { name: text(), text: "x" }];
    Account {
        id: "int_1".into(),
        label: text(),
        detail: text(),
        status,
        status_words: "x",
        connected: when(),
        last_event: Some(when()),
        last_success: None,
        expires: None,
        error: Some((text(), when())),
        missing: scope(),
        granted: scope(),
        reconnect: "/x".into(),
    }
}

fn event_row() -> EventRow {
    EventRow {
        id: "evt_1".into(),
        provider: "shopify",
        topic: text(),
        external_id: text(),
        state: "dead",
        attempts: 3,
        received: when(),
        done: None,
        error: Some(text()),
    }
}

fn sample_connection(released: Option<(String, When)>) -> Connection {
    let scope = || Scope { name: text(), text: "x" };
    Connection {
        frame: sample_frame(),
        org: "org_1".into(),
        id: "int_1".into(),
        title: "Shopify",
        label: text(),
        status: "paused",
        status_words: "Paused",
        error: Some((text(), when())),
        notice: Some((false, text())),
        wrong: wrong(),
        facts: vec![Fact { name: "x", text: text(), at: Some(when()) }],
        missing: vec![scope()],
        granted: vec![scope()],
        events: vec![Came { id: "evt_1".into(), topic: text(), state: "done", received: when() }],
        history: vec![Change { status: "paused", status_words: "x", text: text(), by: "you", at: when() }],
        mend: "/x".into(),
        ended: false,
        released,
        may_manage: true,
        may_release: true,
    }
}

fn request_row(done: bool) -> RequestRow {
    RequestRow {
        id: "prv_1".into(),
        title: "x",
        shop: text(),
        is_done: done,
        summary: text(),
        received: when(),
        due: when(),
        due_day: "2026-12-24".into(),
        done: done.then(when),
        export_until: done.then(when),
        export_gone: !done,
        verified: Some(done),
        event: "evt_1".into(),
    }
}

/// All pages, each with everything on it that it can show.
fn pages() -> Vec<(&'static str, String)> {
    let frame = sample_frame;
    let plain = || Frame { place: None, live: None, ..sample_frame() };
    let org = || "org_1".to_owned();
    let before = |provider| Before {
        frame: frame(),
        org: org(),
        provider,
        title: "Shopify",
        set_up: true,
        oauth: true,
        wrong: wrong(),
        shop: text(),
        subdomain: text(),
        onward: Some(Onward { href: "/x".into(), to: text() }),
        redirect_uri: "https://agenstack.example/api/oauth/kustomer/callback".into(),
        roles: text(),
        client_id: text(),
        own: Some(Onward { href: "/x".into(), to: text() }),
        own_open: true,
        asks: vec![("read_orders".into(), "x")],
    };
    let page = |selectable| PageChoice { id: "1".into(), name: text(), selectable, reason: Some(text()) };
    let line = |author| Line {
        author,
        who: text(),
        text: text(),
        at: when(),
        delivery: "sent",
        error: Some(text()),
    };
    let step =
        Step { title: "x", text: text(), done: false, href: "/x".into(), action: "Connect", next: true };
    let card = Card {
        provider: "shopify",
        title: "Shopify",
        purpose: "x",
        set_up: true,
        accounts: vec![sample_account("connected"), sample_account("needs_reconnect")],
        may_add: true,
        former: vec![Former { label: text(), since: Some(when()), connect: "/x".into() }],
    };
    let rendered = |t: Result<String, askama::Error>| t.expect("a sample can be rendered");
    vec![
        ("deletion", rendered(DeletionPage { frame: plain(), done: when() }.render())),
        ("landing", rendered(Landing { frame: plain() }.render())),
        (
            "signup",
            rendered(
                SignUpPage {
                    frame: plain(),
                    wrong: wrong(),
                    email: text(),
                    name: text(),
                    organization_name: text(),
                    next: text(),
                }
                .render(),
            ),
        ),
        (
            "login",
            rendered(LogInPage { frame: plain(), wrong: wrong(), email: text(), next: text() }.render()),
        ),
        ("forgot", rendered(Forgot { frame: plain(), wrong: wrong(), email: text(), asked: true }.render())),
        ("reset", rendered(Reset { frame: plain(), wrong: wrong(), token: text(), chosen: false }.render())),
        (
            "reset, too late",
            rendered(Reset { frame: plain(), wrong: wrong(), token: String::new(), chosen: false }.render()),
        ),
        (
            "reset, done",
            rendered(Reset { frame: plain(), wrong: None, token: String::new(), chosen: true }.render()),
        ),
        (
            "brought",
            rendered(
                BroughtPage {
                    frame: frame(),
                    org: org(),
                    items: vec![Brought { is_bot: true, title: text(), facts: vec![(text(), text())] }],
                    next: Some("bro_1".into()),
                }
                .render(),
            ),
        ),
        (
            "orgs",
            rendered(
                Orgs {
                    frame: plain(),
                    user: text(),
                    orgs: vec![OrgRow { id: org(), name: text(), role: text() }],
                    wrong: wrong(),
                    name: text(),
                }
                .render(),
            ),
        ),
        (
            "home",
            rendered(
                Home {
                    frame: frame(),
                    org: org(),
                    steps: vec![step],
                    all_done: false,
                    open: 1,
                    waiting: 2,
                    may_connect: true,
                }
                .render(),
            ),
        ),
        (
            "integrations",
            rendered(
                Integrations {
                    frame: frame(),
                    org: org(),
                    cards: vec![card],
                    notices: vec![Notice { good: false, text: text() }],
                    offers: vec![Offered {
                        id: "trf_1".into(),
                        title: "Shopify",
                        label: text(),
                        from: text(),
                        until: when(),
                        take: "/x".into(),
                    }],
                    ended: vec![("int_2".into(), text())],
                    may_manage: true,
                }
                .render(),
            ),
        ),
        ("connect shopify", rendered(before("shopify").render())),
        ("connect messenger", rendered(before("messenger").render())),
        ("connect kustomer", rendered(before("kustomer").render())),
        (
            "pages",
            rendered(
                Pages {
                    frame: frame(),
                    org: org(),
                    pages: vec![page(true), page(false)],
                    wrong: wrong(),
                    any: true,
                }
                .render(),
            ),
        ),
        (
            "disconnect",
            rendered(
                Disconnect {
                    frame: frame(),
                    org: org(),
                    id: "int_1".into(),
                    title: "x",
                    label: text(),
                    stops: "x",
                }
                .render(),
            ),
        ),
        ("connection", rendered(sample_connection(Some(("org_2".into(), when()))).render())),
        ("connection on its own", rendered(sample_connection(None).render())),
        (
            "install",
            rendered(
                InstallPage {
                    frame: plain(),
                    shop: text(),
                    user: text(),
                    choices: vec![Choice { name: text(), href: "/x".into(), connected: true }],
                }
                .render(),
            ),
        ),
        (
            "settings",
            rendered(
                Settings {
                    frame: frame(),
                    org: org(),
                    name: text(),
                    role: text(),
                    made: when(),
                    may_delete: true,
                    brought: true,
                    wrong: wrong(),
                }
                .render(),
            ),
        ),
        (
            "operator",
            rendered(
                OperatorPage {
                    frame: plain(),
                    version: "0",
                    database: "sqlite",
                    waiting: 1,
                    states: vec!["Connected"],
                    pulse: sample_pulse(),
                    rows: vec![OperatorRow { title: "Shopify", set_up: true, counts: vec![1] }],
                    mail: false,
                    mails: vec![Shown {
                        at: when(),
                        mail: Mail {
                            address: text(),
                            subject: text(),
                            body: text(),
                            state: "kept".into(),
                            at: agenstack_core::clock::Timestamp::from_millis(0),
                            error: Some(text()),
                        },
                    }],
                    next: Some(text()),
                }
                .render(),
            ),
        ),
        ("install refused", rendered(InstallRefused { frame: plain(), text: text() }.render())),
        ("state refused", rendered(StateRefused { frame: plain(), title: "Shopify" }.render())),
        (
            "inbox",
            rendered(
                Inbox {
                    frame: frame(),
                    org: org(),
                    filter: text(),
                    rows: vec![Row {
                        id: "cnv_1".into(),
                        name: text(),
                        snippet: text(),
                        owner: "bot",
                        owner_words: "Bot",
                        at: when(),
                    }],
                    next: Some(text()),
                }
                .render(),
            ),
        ),
        (
            "thread",
            rendered(
                Thread {
                    frame: frame(),
                    org: org(),
                    id: "cnv_1".into(),
                    name: text(),
                    owner: "bot",
                    owner_words: "Bot",
                    window: text(),
                    window_open: true,
                    handed_over: true,
                    imported: false,
                    lines: vec![line("bot"), line("customer")],
                    older: Some(text()),
                    may_write: true,
                    wrong: wrong(),
                    draft: text(),
                }
                .render(),
            ),
        ),
        (
            "events",
            rendered(
                Events {
                    frame: frame(),
                    org: org(),
                    pulse: Some(sample_pulse()),
                    rows: vec![event_row()],
                    provider: text(),
                    state: text(),
                    topic: text(),
                    since: text(),
                    until: text(),
                    external_id: text(),
                    error: text(),
                    next: Some(text()),
                    replays: vec![Progress {
                        id: text(),
                        what: text(),
                        status: "running",
                        done: 1,
                        total: 2,
                        per_second: 50,
                        begun: when(),
                        pausable: true,
                        resumable: true,
                    }],
                    again: true,
                }
                .render(),
            ),
        ),
        (
            "event",
            rendered(
                One {
                    frame: frame(),
                    org: org(),
                    row: event_row(),
                    steps: vec![sample_step()],
                    payload: Some(text()),
                    may_replay: true,
                }
                .render(),
            ),
        ),
        (
            "privacy",
            rendered(
                Requests {
                    frame: frame(),
                    org: org(),
                    rows: vec![request_row(true), request_row(false)],
                    next: Some("prv_1".into()),
                }
                .render(),
            ),
        ),
    ]
}

#[test]
fn what_people_wrote_is_shown_as_text_on_every_page() {
    for (name, html) in pages() {
        assert!(!html.contains("<img src=x"), "{name}");
        assert!(html.contains("&#60;img src=x") || name == "state refused" || name == "landing", "{name}");
    }
}

#[test]
fn no_page_has_inline_script_or_style() {
    for (name, html) in pages() {
        for forbidden in ["<style", " style=", "javascript:", " onclick=", " onload=", "hx-on", "<script>"] {
            assert!(!html.contains(forbidden), "{name}: {forbidden}");
        }
    }
}

#[test]
fn every_page_has_a_title_one_first_heading_and_a_way_past_the_navigation() {
    for (name, html) in pages() {
        assert_eq!(html.matches("<h1").count(), 1, "{name}");
        assert!(
            html.contains("<title>") && html.contains("lang=\"en\"") && html.contains("href=\"#main\""),
            "{name}"
        );
        assert!(html.contains("id=\"main\""), "{name}");
    }
}
