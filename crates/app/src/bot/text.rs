//! What the bot says. Numbers, dates and links come from the order, never from what a customer wrote.

use agenstack_core::clock::Timestamp;
use agenstack_providers::shopify::{Fulfillment, Order};

pub(super) const HELLO: &str = "Hello! ";
pub(super) const GREETING: &str = "Hello! I am the shop's automated assistant. I can tell you where your order is, or pass you to a person. What can I do for you?";
pub(super) const WELCOME: &str = "You are welcome!";
pub(super) const NOT_UNDERSTOOD: &str = "I did not understand that. Ask me where your order is, or write \"person\" to talk to somebody of the team.";
pub(super) const ONLY_TEXT: &str =
    "I can only read text. Ask me where your order is, or write \"person\" to talk to somebody of the team.";
pub(super) const ASK_BOTH: &str = "I can look that up. Please send me the order number (such as #1001) and the e-mail address of the order.";
pub(super) const ASK_NUMBER: &str = "Thank you. And what is the order number? It looks like #1001.";
pub(super) const PASSING_ON: &str = "I am passing you to a person of the team. They will answer you here.";
pub(super) const NOT_MINE: &str =
    "I cannot help with that, so I am passing you to a person of the team. They will answer you here.";
pub(super) const TOO_MANY_TRIES: &str = "I could not find the order with what you sent, so I am passing you to a person of the team. They will answer you here.";
pub(super) const COULD_NOT_LOOK: &str = "I cannot look up orders at the moment, so I am passing you to a person of the team. They will answer you here.";

pub(super) fn ask_email(number: &str) -> String {
    let number = number.trim_start_matches('#');
    format!(
        "I can look up order #{number}. Please send me the e-mail address of the order, so that I know it is yours."
    )
}

/// One answer for a wrong number and a wrong address; another where the shop hides addresses from us.
pub(super) fn no_such_order(address_hidden: bool) -> &'static str {
    if address_hidden {
        "I cannot check the e-mail address of this order, so I may not tell anything about it. Write \"person\" to talk to somebody of the team."
    } else {
        "I found no order with this number and e-mail address. Please check both and send them again, or write \"person\" to talk to somebody of the team."
    }
}

/// How an order stands, with its tracking.
pub(super) fn order(order: &Order) -> String {
    let mut lines = vec![headline(order)];
    let items: Vec<String> =
        order.items.iter().take(5).map(|i| format!("{} × {}", i.quantity, one_line(&i.title))).collect();
    if !items.is_empty() {
        let more = if order.items.len() > 5 { ", and more" } else { "" };
        lines.push(format!("In it: {}{more}.", items.join(", ")));
    }
    lines.extend(order.fulfillments.iter().filter(|f| !is(f.status.as_deref(), "CANCELLED")).map(parcel));
    lines.join("\n")
}

fn is(word: Option<&str>, expected: &str) -> bool {
    word == Some(expected)
}

fn headline(order: &Order) -> String {
    let name = one_line(&order.name);
    if let Some(at) = &order.cancelled_at {
        let paid_back = match order.financial_status.as_deref() {
            Some("REFUNDED") => " and refunded",
            Some("PARTIALLY_REFUNDED") => " and partly refunded",
            _ => "",
        };
        return format!("Order {name} was cancelled on {}{paid_back}.", day(at));
    }
    if let Some(word) =
        order.fulfillments.iter().rev().find_map(|f| f.display_status.as_deref()).and_then(shipment)
    {
        return format!("Order {name} {word}.");
    }
    let word = match order.fulfillment_status.as_deref() {
        Some("FULFILLED") => "has been shipped",
        Some("PARTIALLY_FULFILLED") => "has been shipped in part",
        Some("IN_PROGRESS" | "PENDING_FULFILLMENT") => "is being packed",
        Some("ON_HOLD") => "is on hold at the shop",
        Some("SCHEDULED") => "is scheduled to be shipped",
        Some("RESTOCKED") => "was taken back into stock",
        Some("UNFULFILLED" | "OPEN") => "has been received and is not shipped yet",
        _ => "has been received",
    };
    let paid_back = match order.financial_status.as_deref() {
        Some("REFUNDED") => " It was refunded.",
        Some("PARTIALLY_REFUNDED") => " It was partly refunded.",
        Some("PENDING") => " The payment is pending.",
        _ => "",
    };
    format!("Order {name} {word}.{paid_back}")
}

/// Words for a parcel's way; those we do not know are left to the order's own status.
fn shipment(status: &str) -> Option<&'static str> {
    Some(match status {
        "LABEL_PRINTED" | "LABEL_PURCHASED" | "CONFIRMED" | "SUBMITTED" => {
            "is ready to be picked up by the carrier"
        }
        "CARRIER_PICKED_UP" | "IN_TRANSIT" => "is on its way",
        "OUT_FOR_DELIVERY" => "is out for delivery today",
        "ATTEMPTED_DELIVERY" => "could not be delivered yet; the carrier tried",
        "READY_FOR_PICKUP" => "is ready for you to pick up",
        "PICKED_UP" => "was picked up",
        "DELIVERED" => "was delivered",
        "DELAYED" => "is delayed on its way",
        "FAILURE" | "NOT_DELIVERED" => "could not be delivered",
        _ => return None,
    })
}

fn parcel(f: &Fulfillment) -> String {
    let mut parts = Vec::new();
    for t in &f.tracking {
        let mut part = String::new();
        if let Some(company) = &t.company {
            part += &format!("{} ", one_line(company));
        }
        if let Some(number) = &t.number {
            part += &one_line(number);
        }
        // A link of another kind than the web's is not passed on.
        if let Some(url) = t.url.as_deref().filter(|u| u.starts_with("https://") || u.starts_with("http://"))
        {
            part += &format!(" {}", one_line(url));
        }
        if !part.trim().is_empty() {
            parts.push(part.trim().to_owned());
        }
    }
    let mut line = if parts.is_empty() {
        "There is no tracking for this parcel.".to_owned()
    } else {
        format!("Tracking: {}", parts.join("; "))
    };
    if let Some(at) = &f.delivered_at {
        line += &format!("\nDelivered on {}.", day(at));
    } else if let Some(at) = &f.estimated_delivery_at {
        line += &format!("\nExpected on {}.", day(at));
    }
    line
}

/// Text of a shop in one line without control characters.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect::<String>().trim().to_owned()
}

/// `24 November 2026`; the text itself if it is no time.
fn day(rfc3339: &str) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let Some(text) = Timestamp::parse_rfc3339(rfc3339).map(Timestamp::rfc3339) else {
        return one_line(rfc3339);
    };
    let mut parts = text[..10].split('-').map(|p| p.parse::<usize>().unwrap_or(0));
    let (year, month, day) =
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    format!("{day} {} {year}", MONTHS.get(month.wrapping_sub(1)).copied().unwrap_or("?"))
}
