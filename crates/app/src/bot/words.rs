//! What a customer's words ask for, in English, by plain rules.

use agenstack_core::org::email_address;

/// What was understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub about_order: bool,
    pub wants_person: bool,
    pub greets: bool,
    pub thanks: bool,
    pub number: Option<String>,
    pub email: Option<String>,
}

/// Messages are read up to here; a longer one asks nothing more.
const MOST_CHARS: usize = 2000;

/// Reads a message. `asked`: the bot has just asked for a number or an address, so that a bare one counts.
pub(super) fn read(said: &str, asked: bool) -> Heard {
    let said: String = said.chars().take(MOST_CHARS).collect();
    let lower = said.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !(c.is_alphanumeric() || c == '\'')).filter(|w| !w.is_empty()).collect();
    let has = |list: &[&str]| words.iter().any(|w| list.contains(w));
    let says = |list: &[&str]| list.iter().any(|phrase| contains_words(&words, phrase));

    let email = said
        .split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '(' | ')' | ',' | ';' | '"'))
        .find_map(|t| {
            let t = t
                .trim_start_matches("mailto:")
                .trim_matches(|c: char| !c.is_alphanumeric() && c != '+' && c != '_');
            email_address(t)
        });
    let order_word = has(&[
        "order", "orders", "package", "parcel", "delivery", "shipment", "tracking", "purchase", "ordered",
    ]);
    let about_order = says(&[
        "where is my order",
        "where's my order",
        "wheres my order",
        "where is my package",
        "where's my package",
        "where is my parcel",
        "where is it",
        "track my",
        "tracking number",
        "order status",
        "status of my order",
        "has my order shipped",
        "has it shipped",
        "when will my",
        "when does my",
        "when is my",
        "still waiting for",
        "not arrived",
        "hasn't arrived",
        "haven't received",
        "not received",
        "did not arrive",
        "didn't arrive",
        "my order",
        "my package",
        "my parcel",
        "my delivery",
        "my shipment",
        "an order",
    ]) || (order_word
        && (has(&["where", "when", "status", "track", "late", "arrive", "arrived", "shipped", "missing"])));
    let number = order_number(&said, about_order || order_word || asked || email.is_some());
    Heard {
        about_order: about_order || (order_word && number.is_some()),
        wants_person: says(&[
            "a person",
            "real person",
            "a human",
            "real human",
            "human being",
            "an agent",
            "live agent",
            "speak to",
            "talk to",
            "speak with",
            "talk with",
            "customer service",
            "customer support",
            "representative",
            "someone real",
        ]) || matches!(
            words.as_slice(),
            ["person" | "human" | "agent" | "operator"] | ["person" | "human" | "agent", "please"]
        ),
        greets: words.len() <= 6
            && has(&["hi", "hello", "hey", "hiya", "greetings", "morning", "afternoon", "evening", "start"]),
        thanks: words.len() <= 8 && has(&["thanks", "thank", "thx", "cheers", "great", "perfect"]),
        number,
        email,
    }
}

fn contains_words(words: &[&str], phrase: &str) -> bool {
    let phrase: Vec<&str> = phrase.split(' ').collect();
    words.windows(phrase.len()).any(|w| w == phrase.as_slice())
}

/// An order's number: with `#` always, without it only where one is expected. Letters may stand around the digits
/// (`EN1001`, `1001-A`); phone numbers, years in dates and prices are not orders.
fn order_number(said: &str, expected: bool) -> Option<String> {
    let tokens = || said.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '(' | ')' | '"'));
    let marked = tokens().find_map(|t| {
        let body = t.split_once('#')?.1;
        shape(body)
    });
    // "# 1001" and "order no. 1001" come apart.
    marked.or_else(|| {
        let bare = tokens().filter(|t| !t.contains('@')).filter_map(shape);
        if expected { bare.into_iter().next() } else { None }
    })
}

fn shape(token: &str) -> Option<String> {
    let token = token.trim_matches(|c: char| !c.is_alphanumeric());
    let digits = token.chars().filter(char::is_ascii_digit).count();
    let fits = (3..=12).contains(&digits)
        && token.chars().count() <= 20
        && token.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        // More letters than a prefix and a suffix are a word with digits in it.
        && token.chars().filter(char::is_ascii_alphabetic).count() <= 6;
    fits.then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_question_is_recognised_however_it_is_put() {
        for said in [
            "Where is my order 1001?",
            "where's my package",
            "Has my order shipped yet??",
            "order #1001",
            "when will my parcel arrive",
            "I still haven't received order 1001",
            "tracking for 1001 please? my order",
            "Order status",
        ] {
            assert!(read(said, false).about_order, "{said}");
        }
        for said in ["hello", "do you sell tea?", "thanks!", "what are your opening hours", "in order to win"]
        {
            assert!(!read(said, false).about_order, "{said}");
        }
    }

    #[test]
    fn numbers_and_addresses_are_found_and_other_figures_are_not() {
        for (said, asked, number, email) in [
            ("Where is my order 1001?", false, Some("1001"), None),
            ("#1001, ana@example.com", false, Some("1001"), Some("ana@example.com")),
            ("1001", true, Some("1001"), None),
            ("1001", false, None, None),
            ("It is EN1001.", true, Some("EN1001"), None),
            ("my mail is <Ana@Example.com>.", true, None, Some("ana@example.com")),
            ("order (#1002-A)", false, Some("1002-A"), None),
            ("mailto:ana+1001@example.com", true, None, Some("ana+1001@example.com")),
            ("I paid 12 for it, order 1003", false, Some("1003"), None),
            ("call me at 0049301234567890", true, None, None),
        ] {
            let heard = read(said, asked);
            assert_eq!((heard.number.as_deref(), heard.email.as_deref()), (number, email), "{said}");
        }
    }

    #[test]
    fn asking_for_a_person_is_recognised() {
        for said in [
            "I want to talk to a human",
            "person",
            "Agent please",
            "can I speak to someone",
            "customer service",
        ] {
            assert!(read(said, false).wants_person, "{said}");
        }
        for said in ["the person who ordered", "travel agency", "humankind"] {
            assert!(!read(said, false).wants_person, "{said}");
        }
    }
}
