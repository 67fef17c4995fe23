//! The demo orgs. Ids and keys are fixed, so that a guide can name them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::record::Record;
use super::{Key, Org, User};
use crate::signature::jwt;

/// Signs the made-up keys; nobody verifies it, as nobody outside Kustomer can.
const SECRET: &str = "sandbox-kustomer-jwt";
const ISSUED: i64 = 1_790_000_000;
const EXPIRED: i64 = 1_700_000_000;

/// The least set of kustomer.md 1.3.
const FULL: [&str; 18] = [
    "org.permission.customer.read", "org.permission.customer.create", "org.permission.customer.update",
    "org.permission.conversation.read", "org.permission.conversation.create", "org.permission.conversation.update",
    "org.permission.conversation.delete", "org.permission.message.read", "org.permission.message.create",
    "org.permission.note.read", "org.permission.note.create", "org.permission.user.read", "org.permission.team.read",
    "org.permission.tag.read", "org.permission.outbound_webhook.create", "org.permission.outbound_webhook.read",
    "org.permission.outbound_webhook.delete", "org.permission.outbound_webhook.update",
];
const READER: [&str; 2] = ["org.permission.customer.read", "org.permission.conversation.read"];

fn org(at: u8, name: &str, title: &str, app_installed: bool, agent: &str, now: i64) -> Org {
    let id = |what: u8, n: u8| format!("61be74fe2bdb1ed0850d{at:02x}{what:01x}{n:01x}");
    let org_id = id(0, 0);
    let agent_id = id(1, 1);
    let mut users = vec![User { id: agent_id.clone(), name: agent.to_owned(), machine: false }];
    let mut keys = Vec::new();
    let kinds: [(&str, &[&str], Option<i64>); 4] = [
        ("Full access", &FULL, None),
        ("Reader only", &READER, None),
        ("Chat key", &["org.tracking"], None),
        ("Expired", &FULL, Some(EXPIRED)),
    ];
    for (n, (label, roles, exp)) in (2u8..).zip(kinds) {
        let (key, user) = (id(2, n), id(1, n));
        let mut claims = json!({"id": key, "user": user, "sub": user, "org": org_id, "orgName": name, "userType": "machine",
            "roles": roles, "aud": "urn:consumer", "iss": "urn:api", "iat": exp.map_or(ISSUED, |e| e - 86_400)});
        if let Some(exp) = exp {
            claims["exp"] = json!(exp);
        }
        users.push(User { id: user.clone(), name: format!("{label} key"), machine: true });
        keys.push(Key {
            id: key,
            label: label.to_owned(),
            token: jwt(SECRET, &claims),
            user,
            roles: roles.iter().map(|r| (*r).to_owned()).collect(),
            expires_ms: exp.map(|e| e * 1000),
            deleted: false,
        });
    }
    let ana = Map::from_iter([
        ("name".to_owned(), json!("Ana Brandt")),
        ("displayName".to_owned(), json!("Ana Brandt")),
        ("emails".to_owned(), json!([{"type": "home", "email": "ana@example.com", "verified": true}])),
        ("phones".to_owned(), Value::Array(Vec::new())),
        ("tags".to_owned(), Value::Array(Vec::new())),
    ]);
    let mut customer = Record::new("customer", ana, &agent_id, now);
    customer.id = id(5, 1);
    Org {
        name: name.to_owned(),
        id: org_id,
        title: title.to_owned(),
        app_installed,
        users,
        teams: vec![(id(3, 1), "Support".to_owned()), (id(3, 2), "Returns".to_owned())],
        tags: vec![(id(4, 1), "vip".to_owned())],
        keys,
        codes: Vec::new(),
        sessions: Vec::new(),
        records: vec![customer],
        hooks: Vec::new(),
        window: (0, 0),
    }
}

/// All orgs. The app is not installed in the last one.
pub(crate) fn orgs(now: i64) -> BTreeMap<String, Org> {
    let orgs = [
        org(0xa1, "lark", "Lark Supply", true, "Lena Hoff", now),
        org(0xa2, "moss", "Moss Goods", true, "Milan Petrov", now),
        org(0xa3, "tin", "Tin Atelier", true, "Tara Singh", now),
        org(0xa4, "bare", "Bare Orchard", false, "Bo Lind", now),
    ];
    orgs.into_iter().map(|o| (o.name.clone(), o)).collect()
}
