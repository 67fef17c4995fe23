//! The bot's judgement, as conversations.

use super::*;
use serde_json::json;

fn say(memory: &mut Memory, text: &str) -> Decision {
    decide(memory, Input::Text(text))
}

fn said(decision: &Decision) -> &str {
    match decision {
        Decision::Say(text) | Decision::HandOver(text) => text,
        Decision::LookUp { .. } => "",
    }
}

fn order(name: &str, email: Option<&str>) -> Order {
    serde_json::from_value(json!({
        "id": "gid://shopify/Order/1", "name": name, "email": email,
        "displayFinancialStatus": "PAID", "displayFulfillmentStatus": "FULFILLED",
        "lineItems": {"nodes": [{"title": "Oak\nbench", "quantity": 1}]},
        "fulfillments": [{"status": "SUCCESS", "displayStatus": "IN_TRANSIT", "estimatedDeliveryAt": "2026-11-27T10:00:00Z",
            "trackingInfo": [{"company": "DHL", "number": "LARK1001", "url": "https://track.example/LARK1001"},
                {"url": "javascript:alert(1)"}]}],
    }))
    .unwrap()
}

fn look_up(number: &str, email: &str) -> Decision {
    Decision::LookUp { number: number.into(), email: email.into() }
}

#[test]
fn an_order_question_asks_for_the_address_then_looks_it_up_and_tells_status_and_tracking() {
    let mut memory = Memory::default();
    let asked = say(&mut memory, "Where is my order 1001?");
    assert!(said(&asked).contains("e-mail address") && said(&asked).contains("#1001"), "{asked:?}");
    assert_eq!(say(&mut memory, "ana@example.com"), look_up("1001", "ana@example.com"));
    let told = answer(&mut memory, "1001", "ana@example.com", Some(&order("#1001", Some("Ana@Example.com"))));
    insta::assert_snapshot!(said(&told), @r"
    Order #1001 is on its way.
    In it: 1 × Oak bench.
    Tracking: DHL LARK1001 https://track.example/LARK1001
    Expected on 27 November 2026.
    ");
    assert_eq!(memory.verified_order(), Some("#1001"));
    assert_eq!(memory.verified_email(), Some("ana@example.com"));
}

#[test]
fn what_is_missing_is_asked_for_in_any_order() {
    let mut memory = Memory::default();
    assert_eq!(said(&say(&mut memory, "where is my package?")), format!("Hello! {}", text::ASK_BOTH));
    assert_eq!(said(&say(&mut memory, "it's ana@example.com")), text::ASK_NUMBER);
    assert_eq!(say(&mut memory, "1001"), look_up("1001", "ana@example.com"));
    let mut memory = Memory::default();
    assert_eq!(say(&mut memory, "#1001 ana@example.com"), look_up("1001", "ana@example.com"));
}

#[test]
fn another_persons_order_and_one_that_is_not_there_get_the_same_answer_five_times_and_then_a_person() {
    let strangers = order("#1001", Some("someone@example.com"));
    let other = order("#1001-EXCHANGE", Some("ana@example.com"));
    let mut answers = Vec::new();
    for found in [Some(&strangers), None, Some(&other)] {
        let mut memory = Memory::default();
        say(&mut memory, "order #1001 ana@example.com");
        answers.push(answer(&mut memory, "1001", "ana@example.com", found));
        assert_eq!((memory.verified_order(), memory.verified_email()), (None, None));
    }
    assert!(answers.iter().all(|a| *a == answers[0]), "{answers:?}");

    let mut memory = Memory::default();
    for attempt in 1..=MOST_TRIES {
        let asked = say(&mut memory, "order #1001 ana@example.com");
        assert_eq!(asked, look_up("1001", "ana@example.com"));
        let told = answer(&mut memory, "1001", "ana@example.com", Some(&strangers));
        assert_eq!(matches!(told, Decision::HandOver(_)), attempt == MOST_TRIES, "{attempt}");
    }
    assert_eq!(
        say(&mut memory, "order #1001 ana@example.com"),
        Decision::HandOver(text::TOO_MANY_TRIES.into())
    );
}

#[test]
fn a_second_order_needs_its_own_address_again() {
    let mut memory = Memory::default();
    say(&mut memory, "order #1001 ana@example.com");
    answer(&mut memory, "1001", "ana@example.com", Some(&order("#1001", Some("ana@example.com"))));
    let asked = say(&mut memory, "and where is my order 1002?");
    assert!(said(&asked).contains("#1002") && said(&asked).contains("e-mail"), "{asked:?}");
}

#[test]
fn a_hidden_address_proves_nothing() {
    let mut memory = Memory::default();
    say(&mut memory, "order #1001 ana@example.com");
    let told = answer(&mut memory, "1001", "ana@example.com", Some(&order("#1001", None)));
    assert!(said(&told).contains("cannot check"), "{told:?}");
    assert_eq!(memory.verified_order(), None);
}

#[test]
fn a_person_is_fetched_when_asked_for_and_after_three_messages_that_make_no_sense() {
    let mut memory = Memory::default();
    assert_eq!(say(&mut memory, "I want to talk to a human"), Decision::HandOver(text::PASSING_ON.into()));
    let mut memory = Memory::default();
    assert_eq!(say(&mut memory, "qwertz"), Decision::Say(text::GREETING.into()));
    assert_eq!(decide(&mut memory, Input::Other), Decision::Say(text::ONLY_TEXT.into()));
    assert_eq!(say(&mut memory, "asdf"), Decision::HandOver(text::NOT_MINE.into()));
}

#[test]
fn a_greeting_is_answered_and_thanks_end_politely() {
    let mut memory = Memory::default();
    assert_eq!(say(&mut memory, "Hi there"), Decision::Say(text::GREETING.into()));
    assert_eq!(say(&mut memory, "Thanks a lot!"), Decision::Say(text::WELCOME.into()));
}

#[test]
fn a_memory_of_an_older_shape_is_read_as_far_as_it_goes() {
    let memory: Memory = serde_json::from_str(r#"{"greeted":true,"former":1}"#).unwrap();
    assert_eq!(memory, Memory { greeted: true, ..Memory::default() });
}
