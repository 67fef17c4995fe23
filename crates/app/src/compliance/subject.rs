//! Who is meant, and whether something is about them. Pure: everything that was sealed is opened by whoever asks.

use crate::bot::{Memory, bare};
use agenstack_vault::DataKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// Shorter numbers are no telephone numbers.
const LEAST_PHONE: usize = 7;
/// How many last digits tell two ways of writing a number with and without its country to be the same.
const SURE_PHONE: usize = 8;
/// A shorter id is found in any text: it counts only where ids stand.
const LEAST_ID_IN_TEXT: usize = 6;

/// The customer that a request names. Not `Debug`: it must not come into a log.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subject {
    /// Shopify's id.
    pub id: Option<String>,
    /// In lower case.
    pub email: Option<String>,
    /// As it was given.
    pub phone: Option<String>,
    /// Shopify's ids of the orders that are meant.
    pub orders: BTreeSet<String>,
}

/// An id as digits, however JSON writes it.
fn id(value: &Value) -> Option<String> {
    let text = match value {
        Value::Number(n) => n.to_string(),
        Value::String(s) => s.rsplit('/').next().unwrap_or(s).to_owned(),
        _ => return None,
    };
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then_some(text)
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

impl Subject {
    /// Reads the body of a request (`shopify.md` 2.6).
    pub(crate) fn of(body: &Value) -> Self {
        let customer = &body["customer"];
        let text = |field: &str| customer[field].as_str().map(str::trim).filter(|t| !t.is_empty());
        let orders = ["orders_requested", "orders_to_redact"].into_iter().filter_map(|f| body[f].as_array());
        Self {
            id: id(&customer["id"]),
            email: text("email").map(str::to_lowercase),
            phone: text("phone").map(str::to_owned).filter(|p| digits(p).len() >= LEAST_PHONE),
            orders: orders.flatten().filter_map(id).collect(),
        }
    }

    /// Stands for the customer in a receipt: whoever has the key and the request's body can make it again, and nobody
    /// can read it.
    pub(crate) fn digest(&self, key: &DataKey) -> String {
        let phone = self.phone.as_deref().map(digits);
        let data = serde_json::to_vec(&(&self.id, &self.email, &phone)).expect("text is always JSON");
        hex::encode(key.digest("privacy-customer", &data))
    }

    /// As much of it as something held tells already.
    pub(crate) fn known_from(&self, held: &Value) -> Self {
        let mut text = String::new();
        spell(held, &mut text);
        let lower = text.to_lowercase();
        let numbers: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_digit()).collect();
        Self {
            id: self.id.clone().filter(|id| numbers.contains(id.as_str())),
            email: self.email.clone().filter(|email| mentions(&lower, email)),
            phone: self.phone.clone().filter(|_| phone_like(&text).any(|run| self.is_phone(run))),
            orders: self.orders.iter().filter(|o| numbers.contains(o.as_str())).cloned().collect(),
        }
    }

    /// Whether another request is about the same person, at the same shop or, by e-mail or phone, at any.
    pub(crate) fn is_same(&self, other: &Self, same_shop: bool) -> bool {
        let equal = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        (same_shop && equal(&self.id, &other.id))
            || equal(&self.email, &other.email)
            || other.phone.as_deref().is_some_and(|p| self.is_phone(p))
    }

    fn is_phone(&self, text: &str) -> bool {
        let Some(ours) = self.phone.as_deref().map(digits) else { return false };
        let theirs = digits(text);
        // A nought or two in front stand for what a country code would say.
        let (ours, theirs) = (ours.trim_start_matches('0'), theirs.trim_start_matches('0'));
        let (short, long) = if ours.len() < theirs.len() { (ours, theirs) } else { (theirs, ours) };
        short.len() >= LEAST_PHONE && (short == long || (short.len() >= SURE_PHONE && long.ends_with(short)))
    }

    /// Which of the customer's names a text holds, as a word for people.
    pub(crate) fn in_text(&self, text: &str) -> Option<&'static str> {
        if self.email.as_deref().is_some_and(|email| mentions(&text.to_lowercase(), email)) {
            return Some("e-mail");
        }
        if self.phone.is_some() && phone_like(text).any(|run| self.is_phone(run)) {
            return Some("phone");
        }
        let long = |n: &&str| n.len() >= LEAST_ID_IN_TEXT;
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter(long);
        numbers.find_map(|n| match () {
            () if self.id.as_deref() == Some(n) => Some("customer id"),
            () if self.orders.contains(n) => Some("order id"),
            () => None,
        })
    }

    /// Whether the bot remembers this customer: what they wrote of themselves, or an order of theirs, by its id or by
    /// one of the `names` that their orders have, which they proved to know.
    pub(crate) fn in_memory(&self, memory: &Memory, names: &BTreeSet<String>) -> bool {
        let order = memory.verified_order().map(bare);
        order.is_some_and(|o| names.contains(&o) || self.orders.contains(&o))
            || serde_json::to_value(memory).is_ok_and(|told| self.is_within(&told, true))
    }

    /// The name of the order that an event is about, if it is one of those meant.
    pub(crate) fn order_name(&self, topic: &str, body: &Value) -> Option<String> {
        let ours =
            topic.starts_with("orders/") && id(&body["id"]).is_some_and(|id| self.orders.contains(&id));
        body["name"].as_str().filter(|_| ours).map(bare)
    }

    /// Whether what a shop sent names the customer or one of the orders. Ids count only at the shop that asks.
    pub(crate) fn in_event(&self, topic: &str, body: &Value, same_shop: bool) -> bool {
        let own = if same_shop { id(&body["id"]) } else { None };
        let about = topic.split('/').next().unwrap_or_default();
        own.is_some_and(|own| match about {
            "orders" => self.orders.contains(&own),
            "customers" => self.id.as_ref() == Some(&own),
            _ => false,
        }) || self.is_within(body, same_shop)
    }

    fn is_within(&self, value: &Value, ids: bool) -> bool {
        match value {
            Value::String(text) => self.in_text(text).is_some_and(|how| ids || !how.ends_with("id")),
            Value::Array(list) => list.iter().any(|v| self.is_within(v, ids)),
            Value::Object(fields) => fields.iter().any(|(name, v)| {
                let is_customer = |v| id(v).is_some() && id(v) == self.id;
                let named = match name.as_str() {
                    "customer" => ids && is_customer(&v["id"]),
                    "customer_id" => ids && is_customer(v),
                    "order_id" => ids && id(v).is_some_and(|o| self.orders.contains(&o)),
                    "phone" => v.as_str().is_some_and(|p| self.is_phone(p)),
                    _ => false,
                };
                named || self.is_within(v, ids)
            }),
            _ => false,
        }
    }
}

/// All that a value says, line by line.
fn spell(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => {
            out.push_str(text);
            out.push('\n');
        }
        Value::Number(n) => {
            out.push_str(&n.to_string());
            out.push('\n');
        }
        Value::Array(list) => list.iter().for_each(|v| spell(v, out)),
        Value::Object(fields) => fields.values().for_each(|v| spell(v, out)),
        Value::Bool(_) | Value::Null => {}
    }
}

/// Whether a text in lower case holds this address, and not a longer one that ends or begins with it.
fn mentions(text: &str, email: &str) -> bool {
    let local = |c: char| c.is_alphanumeric() || "._%+-".contains(c);
    text.match_indices(email).any(|(at, _)| {
        let mut after = text[at + email.len()..].chars();
        let goes_on = match after.next() {
            Some('.' | '-') => after.next().is_some_and(char::is_alphanumeric),
            next => next.is_some_and(char::is_alphanumeric),
        };
        !goes_on && !text[..at].chars().next_back().is_some_and(local)
    })
}

/// The stretches of a text that could be telephone numbers.
fn phone_like(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_digit() || " +-()./\u{a0}".contains(c)))
        .filter(|run| run.bytes().filter(u8::is_ascii_digit).count() >= LEAST_PHONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ana() -> Subject {
        Subject::of(&json!({
            "customer": {"id": 7_000_001, "email": " Ana@Example.com ", "phone": "+1 (555) 010-0199"},
            "orders_to_redact": [450_789_469, "450789470"],
        }))
    }

    #[test]
    fn a_request_is_read_whatever_of_the_customer_it_holds() {
        let all = ana();
        assert_eq!((all.id.as_deref(), all.email.as_deref()), (Some("7000001"), Some("ana@example.com")));
        assert_eq!(all.orders.iter().map(String::as_str).collect::<Vec<_>>(), ["450789469", "450789470"]);
        let one = Subject::of(&json!({"customer": {"email": "a@b.c", "id": null, "phone": "12"}}));
        assert!(one.id.is_none() && one.phone.is_none() && one.orders.is_empty() && one.email.is_some());
        assert!(Subject::of(&json!({})) == Subject::default());
    }

    #[test]
    fn a_text_that_holds_one_of_the_customers_names_is_about_them() {
        for (text, how) in [
            ("write to ANA@example.com.", Some("e-mail")),
            ("<ana@example.com>", Some("e-mail")),
            ("joana@example.com", None),
            ("x.ana@example.com", None),
            ("ana@example.com.au", None),
            ("ana@example.community", None),
            ("call 555 010 0199 please", Some("phone")),
            ("call 0015550100199", Some("phone")),
            ("call 010-0199", None),
            ("call 15550100198", None),
            ("I am customer 7000001", Some("customer id")),
            ("order 450789470?", Some("order id")),
            ("order 4507894701?", None),
            ("", None),
        ] {
            assert_eq!(ana().in_text(text), how, "{text}");
        }
        assert_eq!(Subject::default().in_text("ana@example.com 15550100199"), None);
    }

    #[test]
    fn a_short_id_is_not_looked_for_in_texts() {
        let short = Subject::of(&json!({"customer": {"id": 1}, "orders_to_redact": [1001]}));
        assert_eq!(short.in_text("1 of my order 1001"), None);
        assert!(short.in_event("orders/updated", &json!({"id": 1001}), true));
        assert!(short.in_event("refunds/create", &json!({"id": 5, "order_id": 1001}), true));
        assert!(short.in_event("orders/updated", &json!({"id": 5, "customer": {"id": 1}}), true));
        assert!(!short.in_event("orders/updated", &json!({"id": 1, "customer": {"id": 1001}}), true));
    }

    #[test]
    fn what_a_shop_sent_is_about_them_by_ids_of_that_shop_or_by_address_and_phone_of_any() {
        for (body, here, elsewhere) in [
            (json!({"id": 450_789_469}), true, false),
            (json!({"id": 1, "customer": {"id": 7_000_001}}), true, false),
            (
                json!({"id": 1, "customer": {"admin_graphql_api_id": "gid://shopify/Customer/7000001"}}),
                true,
                false,
            ),
            (json!({"id": 1, "customer_id": "7000001"}), true, false),
            (json!({"id": 1, "email": "ANA@example.com"}), true, true),
            (json!({"id": 1, "billing_address": {"phone": "5550100199"}}), true, true),
            (json!({"id": 1, "note": ["for ana@example.com"]}), true, true),
            (json!({"id": 2, "email": "bo@example.com", "customer": {"id": 8_000_001}}), false, false),
            (json!({}), false, false),
        ] {
            assert_eq!(ana().in_event("orders/updated", &body, true), here, "{body}");
            assert_eq!(ana().in_event("orders/updated", &body, false), elsewhere, "{body}");
        }
        assert!(ana().in_event("customers/update", &json!({"id": 7_000_001}), true));
        assert!(!ana().in_event("products/update", &json!({"id": 7_000_001}), true));
    }

    #[test]
    fn the_bot_remembers_them_by_what_they_wrote_or_by_an_order_they_proved_to_know() {
        let memory = |text: Value| serde_json::from_value::<Memory>(text).unwrap();
        let names = BTreeSet::from(["1001".to_owned()]);
        let none = BTreeSet::new();
        assert!(ana().in_memory(&memory(json!({"email": "ana@example.com"})), &none));
        assert!(ana().in_memory(&memory(json!({"verified": "#1001", "email": "x@y.z"})), &names));
        assert!(!ana().in_memory(&memory(json!({"verified": "#1001", "email": "x@y.z"})), &none));
        // Anybody can write a number.
        assert!(!ana().in_memory(&memory(json!({"number": "1001"})), &names));
        assert_eq!(
            ana().order_name("orders/updated", &json!({"id": 450_789_469, "name": "#1001"})),
            Some("1001".into())
        );
        assert_eq!(ana().order_name("orders/updated", &json!({"id": 5, "name": "#1001"})), None);
    }

    #[test]
    fn who_knew_a_part_of_the_customer_learns_nothing_more() {
        let known = ana().known_from(&json!([{"text": "I am\nANA@example.com"}, {"id": 450_789_470}]));
        assert_eq!((known.id, known.email.as_deref(), known.phone), (None, Some("ana@example.com"), None));
        assert_eq!(known.orders.iter().map(String::as_str).collect::<Vec<_>>(), ["450789470"]);
        assert!(ana().known_from(&json!("hello")) == Subject::default());
        let all = json!("7000001 450789469 450789470 ana@example.com 5550100199");
        assert!(ana().known_from(&all) == ana());
    }

    #[test]
    fn two_requests_are_about_the_same_person_by_id_address_or_phone() {
        let other = |customer: Value| Subject::of(&json!({"customer": customer}));
        assert!(ana().is_same(&other(json!({"id": 7_000_001})), true));
        assert!(!ana().is_same(&other(json!({"id": 7_000_001})), false));
        assert!(ana().is_same(&other(json!({"email": "ana@EXAMPLE.com"})), false));
        assert!(ana().is_same(&other(json!({"phone": "5550100199"})), false));
        assert!(!ana().is_same(&other(json!({"email": "bo@example.com"})), true));
        assert!(!Subject::default().is_same(&Subject::default(), true));
    }
}
