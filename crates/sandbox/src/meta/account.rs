//! `me/accounts`, pages, profiles of customers, and the page's webhook subscription (messenger.md 1.6, 1.10, 3.8).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Caller, Page, error, only, token, unreachable};
use crate::call::{Answer, Incoming};
use crate::signature::form;
use crate::state::Shared;

/// Smaller than anyone's account list, so that a caller has to follow `paging.next`.
const PAGE_SIZE: usize = 2;

/// Fields a page can be subscribed to (messenger.md 1.10).
const FIELDS: [&str; 15] = [
    "messages", "messaging_postbacks", "messaging_referrals", "messaging_optins", "message_deliveries", "message_reads",
    "message_echoes", "message_reactions", "message_edits", "messaging_handovers", "standby",
    "messaging_policy_enforcement", "messaging_account_linking", "feed", "response_feedback",
];

fn shown(page: &Page, access_token: Option<String>) -> Value {
    let mut out = json!({
        "id": page.id, "name": page.name, "tasks": page.tasks, "category": page.category,
        "category_list": [{"id": "2202", "name": page.category}],
        "picture": {"data": {"height": 50, "width": 50, "is_silhouette": true, "url": ""}},
        "link": format!("https://www.facebook.com/{}", page.id),
    });
    if let Some(token) = access_token {
        out["access_token"] = json!(token);
    }
    out
}

pub(super) fn me(shared: &Shared, call: &Incoming, caller: &Caller, operation: &str) -> Answer {
    let user = match caller {
        Caller::User(user) => user.clone(),
        Caller::Page(_, page) if operation == "me" => return self::page(shared, call, caller, page),
        _ => return error(2500, 0, "An active access token must be used to query information about the current user."),
    };
    let grant = shared.read(|s| s.meta.grants.get(&user.person).cloned().unwrap_or_default());
    match operation {
        "me" => {
            let name = shared.read(|s| s.meta.person_name(&user.person));
            Answer::json(200, &only(call, &json!({"id": user.person, "name": name}), &["id", "name"]))
        }
        "me.permissions" => {
            let list: Vec<Value> = grant.scopes.iter().map(|s| json!({"permission": s, "status": "granted"})).collect();
            Answer::json(200, &json!({"data": list}))
        }
        _ => {
            let now = shared.now();
            let list = shared.edit(|s| {
                if !s.meta.allows(&user.person, "pages_show_list") {
                    return Vec::new();
                }
                let mut list = Vec::new();
                for id in &grant.pages {
                    let access = token::of_page(&mut s.meta, &user, id, now);
                    list.extend(s.meta.pages.get(id).map(|p| shown(p, Some(access))));
                }
                list
            });
            Answer::json(200, &paged(shared, call, &user.token, list))
        }
    }
}

/// One page of the list with cursors; `next` carries the token and no proof, as Meta's does.
fn paged(shared: &Shared, call: &Incoming, access_token: &str, list: Vec<Value>) -> Value {
    let limit = call.param("limit").and_then(|l| l.parse::<usize>().ok()).unwrap_or(25);
    let size = limit.clamp(1, PAGE_SIZE);
    let cursor = |at: usize| STANDARD.encode(format!("sandbox:{at}"));
    let after = call.param("after").and_then(|c| STANDARD.decode(c).ok()).and_then(|c| String::from_utf8(c).ok());
    let start = after.and_then(|c| c.strip_prefix("sandbox:")?.parse::<usize>().ok()).map_or(0, |at| at + 1);
    let usual = ["access_token", "category", "category_list", "name", "id", "tasks"];
    let part: Vec<Value> = list.iter().skip(start).take(size).map(|p| only(call, p, &usual)).collect();
    if part.is_empty() {
        return json!({"data": []});
    }
    let last = start + part.len() - 1;
    let mut paging = json!({"cursors": {"before": cursor(start), "after": cursor(last)}});
    if last + 1 < list.len() {
        let fields = call.param("fields").unwrap_or_default();
        let (limit, after) = (size.to_string(), cursor(last));
        let mut pairs = vec![("access_token", access_token), ("limit", &limit), ("after", &after)];
        if !fields.is_empty() {
            pairs.insert(1, ("fields", &fields));
        }
        paging["next"] = json!(format!("{}{}?{}", shared.url, call.path, form(&pairs)));
    }
    json!({"data": part, "paging": paging})
}

pub(super) fn page(shared: &Shared, call: &Incoming, caller: &Caller, id: &str) -> Answer {
    let now = shared.now();
    shared.edit(|s| {
        let access = match caller {
            Caller::Page(token, page) if page == id => token.token.clone(),
            Caller::User(user) if s.meta.grants.get(&user.person).is_some_and(|g| g.pages.iter().any(|p| p == id)) => {
                token::of_page(&mut s.meta, user, id, now)
            }
            _ => return unreachable(id),
        };
        match s.meta.pages.get(id) {
            Some(page) => Answer::json(200, &only(call, &shown(page, Some(access)), &["id", "name"])),
            None => unreachable(id),
        }
    })
}

/// Name of a customer, with the page's own token only.
pub(super) fn profile(shared: &Shared, call: &Incoming, caller: &Caller) -> Answer {
    let psid = call.segments().last().cloned().unwrap_or_default();
    let Caller::Page(_, page) = caller else { return unreachable(&psid) };
    shared.read(|s| match s.meta.pages.get(page).and_then(|p| p.customers.get(&psid)) {
        Some(c) => {
            let full = json!({"id": psid, "first_name": c.first_name, "last_name": c.last_name,
                "name": format!("{} {}", c.first_name, c.last_name), "profile_pic": ""});
            Answer::json(200, &only(call, &full, &["id", "first_name", "last_name"]))
        }
        None => unreachable(&psid),
    })
}

pub(super) fn subscribed_apps(shared: &Shared, call: &Incoming, caller: &Caller, id: &str) -> Answer {
    let app_id = &shared.config.meta.app_id;
    let remove = call.method == http::Method::DELETE;
    match caller {
        Caller::Page(_, page) if page == id => {}
        // The app's own token can still end a subscription when the page's token is dead.
        Caller::App if remove => {}
        Caller::Page(..) => return error(210, 0, "(#210) A page access token of this page is required to request this resource."),
        _ => return error(210, 0, "(#210) A page access token is required to request this resource."),
    }
    shared.edit(|s| {
        let allowed = s.meta.pages.get(id).is_some_and(|p| s.meta.allows(&p.person, "pages_manage_metadata"));
        let Some(page) = s.meta.pages.get_mut(id) else { return unreachable(id) };
        if remove {
            page.subscribed = None;
            return Answer::json(200, &json!({"success": true}));
        }
        if call.method == http::Method::GET {
            let entry = page.subscribed.as_ref().map(|fields| json!({"category": "Business", "link": "https://www.facebook.com/", "name": "AgenStack", "id": app_id, "subscribed_fields": fields}));
            return Answer::json(200, &json!({"data": entry.into_iter().collect::<Vec<_>>()}));
        }
        if !allowed || !page.tasks.iter().any(|t| t == "MODERATE") {
            return error(200, 0, "(#200) To subscribe to the page, one of the following permissions is needed: pages_manage_metadata. Also needs the MODERATE task on the page.");
        }
        let asked = match call.fields.get("subscribed_fields") {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => split(&call.param("subscribed_fields").unwrap_or_default()),
        };
        if asked.is_empty() {
            return error(100, 0, "(#100) The parameter subscribed_fields is required.");
        }
        if let Some(bad) = asked.iter().find(|f| !FIELDS.contains(&f.as_str())) {
            return error(100, 0, &format!("(#100) Param subscribed_fields[0] must be one of {{{}}} - got \"{bad}\".", FIELDS.join(", ")));
        }
        page.subscribed = Some(asked);
        Answer::json(200, &json!({"success": true}))
    })
}

fn split(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|f| !f.is_empty()).map(str::to_owned).collect()
}
