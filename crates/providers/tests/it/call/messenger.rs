//! The Graph API (`messenger.md` 1.4 to 1.10, 3.1, 3.4, 3.5).

use super::failed;
use crate::wire::{APP_ID, NOW, PROOF, Reply, SECRET, TOKEN, Wire, page, secret, token};
use agenstack_providers::Kind;
use agenstack_providers::messenger::{GRAPH_VERSION, SUBSCRIBED_FIELDS};
use http::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

#[tokio::test]
async fn every_call_proves_the_token_that_it_carries() {
    let wire = Wire::with(200, json!({"id": page().as_str(), "success": true, "data": []})).await;
    let messenger = wire.messenger();
    let _ = messenger.pages(&token()).await;
    let _ = messenger.page_info(&page(), &token()).await;
    let _ = messenger.page_offer(&page(), &token()).await;
    let _ = messenger.subscribe(&page(), &token()).await;
    let _ = messenger.unsubscribe(&page(), &token()).await;
    let _ = messenger.send_text(&page(), &token(), "7", "hi", "m").await;
    let _ = messenger.profile("7", &token()).await;
    let asked = wire.asked();
    assert_eq!(asked.len(), 8, "subscribing reads back");
    for asked in asked {
        assert_eq!(asked.header("authorization"), format!("Bearer {TOKEN}"), "{}", asked.path);
        assert_eq!(asked.query("appsecret_proof").as_deref(), Some(PROOF), "{}", asked.path);
        assert!(asked.path.starts_with(&format!("/graph/{GRAPH_VERSION}/")), "{}", asked.path);
    }
    // What the app does in its own name is proven for the app's own token.
    let own = secret(&format!("{APP_ID}|{SECRET}"));
    let wire = Wire::with(200, json!({"success": true, "data": {}})).await;
    wire.messenger().unsubscribe_as_app(&page()).await.unwrap();
    wire.messenger().debug_token(&token()).await.unwrap();
    for asked in wire.asked() {
        assert_eq!(asked.header("authorization"), format!("Bearer {}", own.expose_secret()));
        assert_eq!(asked.query("appsecret_proof"), Some(wire.messenger().appsecret_proof(&own)));
    }
}

#[tokio::test]
async fn all_pages_of_the_list_are_read_and_only_the_cursor_is_taken_from_its_links() {
    let wire = Wire::answering(|asked| {
        let item = |id: &str| json!({"id": id, "name": "P", "access_token": "t", "tasks": ["MESSAGING", "MODERATE"]});
        Reply::Of(
            200,
            match asked.query("after").as_deref() {
                None => json!({"data": [item("1"), {"id": "2", "name": "no token"}], "paging":
                    {"cursors": {"after": "c/1+="}, "next": "http://169.254.169.254/?access_token=x&after=other"}}),
                Some("c/1+=") => {
                    json!({"data": [], "paging": {"next": "https://evil.example/?after=c%262"}})
                }
                Some("c&2") => json!({"data": [item("3")], "paging": {"cursors": {"after": "end"}}}),
                Some(other) => panic!("{other} is no cursor of this list"),
            },
        )
    })
    .await;
    let offers = wire.messenger().pages(&token()).await.unwrap();
    let ids: Vec<&str> = offers.iter().map(|o| o.id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert_eq!(offers[0].problem(), None);
    assert!(offers[1].problem().is_some(), "no token, no choice");
    assert_eq!(wire.asked()[0].query("limit").as_deref(), Some("100"));
    assert!(wire.asked().iter().all(|a| a.method == Method::GET && a.path.ends_with("/me/accounts")));
}

#[tokio::test]
async fn a_list_without_an_end_is_left() {
    let same =
        Wire::with(200, json!({"data": [], "paging": {"cursors": {"after": "c"}, "next": "x?after=c"}}))
            .await;
    assert_eq!(failed(same.messenger().pages(&token()).await).code, "paging_endless");
    assert_eq!(same.asked().len(), 2, "the same cursor twice is enough");
    let growing = Wire::answering(|asked| {
        let next = format!("{}x", asked.query("after").unwrap_or_default());
        Reply::Of(200, json!({"data": [], "paging": {"cursors": {"after": next}, "next": "x"}}))
    })
    .await;
    assert_eq!(failed(growing.messenger().pages(&token()).await).code, "paging_endless");
    assert_eq!(growing.asked().len(), 50);
}

#[tokio::test]
async fn a_number_of_metas_means_what_the_sheet_says() {
    use Kind::*;
    let rows: [(i64, i64, Kind, &str); 63] = [
        (1, 0, Unavailable, "outage"),
        (2, 0, Unavailable, "outage"),
        (1200, 0, Unavailable, "outage"),
        (2, 2018344, Rejected, "contact_terms"),
        (4, 0, RateLimited, "rate_limited"),
        (17, 0, RateLimited, "rate_limited"),
        (32, 0, RateLimited, "rate_limited"),
        (341, 0, RateLimited, "rate_limited"),
        (613, 0, RateLimited, "rate_limited"),
        (80001, 0, RateLimited, "rate_limited"),
        (80006, 0, RateLimited, "rate_limited"),
        (10, 2018065, WindowClosed, "window_closed"),
        (10, 2018278, WindowClosed, "window_closed"),
        (10, 2534022, WindowClosed, "window_closed"),
        (1545041, 0, WindowClosed, "window_closed"),
        (10, 2018108, PersonUnavailable, "cannot_receive"),
        (10, 1893063, Paused, "page_restricted"),
        (1893063, 0, Paused, "page_restricted"),
        (10, 0, Forbidden, "permission_missing"),
        (10, 77, Forbidden, "permission_missing"),
        (100, 2018001, NotFound, "wrong_recipient"),
        (100, 2018034, Rejected, "content_refused"),
        (100, 2018109, Rejected, "content_refused"),
        (100, 2018008, Rejected, "content_refused"),
        (100, 2018047, Rejected, "content_refused"),
        (100, 2018074, Rejected, "content_refused"),
        (100, 2018294, Rejected, "content_refused"),
        (100, 105, Rejected, "content_refused"),
        (100, 194, Rejected, "content_refused"),
        (105, 0, Rejected, "content_refused"),
        (194, 0, Rejected, "content_refused"),
        (100, 2534037, Rejected, "thread_owned_elsewhere"),
        (100, 33, NotFound, "no_access_to_object"),
        (100, 0, Rejected, "invalid_parameter"),
        (100, 77, Rejected, "invalid_parameter"),
        (102, 0, Unauthorized, "token_invalid"),
        (190, 0, Unauthorized, "token_invalid"),
        (190, 458, Unauthorized, "app_removed"),
        (190, 459, Unauthorized, "person_checkpoint"),
        (190, 460, Unauthorized, "password_changed"),
        (190, 463, Unauthorized, "token_expired"),
        (190, 464, Unauthorized, "person_unconfirmed"),
        (190, 467, Unauthorized, "token_invalid"),
        (190, 492, Unauthorized, "role_lost"),
        (190, 77, Unauthorized, "token_invalid"),
        (200, 0, Forbidden, "permission_missing"),
        (230, 0, Forbidden, "permission_missing"),
        (299, 0, Forbidden, "permission_missing"),
        (368, 0, Paused, "policy_block"),
        (368, 77, Paused, "policy_block"),
        (551, 0, PersonUnavailable, "person_unavailable"),
        (551, 1545041, PersonUnavailable, "person_unavailable"),
        (200, 1545041, PersonUnavailable, "person_unavailable"),
        (230, 1545041, PersonUnavailable, "person_unavailable"),
        (2018218, 0, NotFound, "no_profile"),
        (100, 2018218, NotFound, "no_profile"),
        (300, 0, Rejected, "request_refused"),
        (0, 0, Rejected, "request_refused"),
        (-1, 0, Rejected, "request_refused"),
        (9, 0, Rejected, "request_refused"),
        (79_999, 0, Rejected, "request_refused"),
        (81_000, 0, Rejected, "request_refused"),
        (199, 0, Rejected, "request_refused"),
    ];
    for (number, sub, kind, code) in rows {
        let wire = Wire::with(
            400,
            json!({"error": {"message": "(#10) Das geht nicht", "code": number, "error_subcode": sub}}),
        )
        .await;
        let error = failed(wire.messenger().send_text(&page(), &token(), "7", "hi", "m").await);
        assert_eq!((error.kind, error.code), (kind, code), "{number}/{sub}");
        assert_eq!(error.provider_code, Some((number, Some(sub).filter(|s| *s != 0))));
        assert!(!error.outcome_unknown, "{number}/{sub}: an answer of 400 did nothing");
    }
}

#[tokio::test]
async fn an_outage_is_believed_where_the_numbers_leave_room_for_it() {
    for (status, body, kind, unknown) in [
        (500, json!({"error": {"code": 77}}), Kind::Unavailable, true),
        (503, json!("<html>"), Kind::Unavailable, true),
        (400, json!({"error": {"code": 77, "is_transient": true}}), Kind::Unavailable, false),
        (400, json!({"error": {"code": "190", "error_subcode": "463"}}), Kind::Unauthorized, false),
        (200, json!({"error": {"code": 190}}), Kind::Unauthorized, false),
        (400, json!({"error": "no object"}), Kind::Rejected, false),
        (401, json!({}), Kind::Unauthorized, false),
    ] {
        let wire = Wire::with(status, body.clone()).await;
        let error = failed(wire.messenger().send_text(&page(), &token(), "7", "hi", "m").await);
        assert_eq!((error.kind, error.outcome_unknown), (kind, unknown), "{status} {body}");
    }
}

#[tokio::test]
async fn a_wait_is_taken_from_where_meta_says_it() {
    let usage = r#"{"1":[{"type":"messenger","estimated_time_to_regain_access":3}],"2":[{"estimated_time_to_regain_access":7}]}"#;
    let none = r#"{"1":[{"estimated_time_to_regain_access":0}]}"#;
    for (number, headers, secs) in [
        (4, vec![("x-business-use-case-usage", usage)], Some(420)),
        (4, vec![("x-business-use-case-usage", none), ("retry-after", "9")], Some(9)),
        (4, vec![("x-business-use-case-usage", "nonsense")], None),
        (4, vec![], None),
        (1893063, vec![], Some(1800)),
        (368, vec![], None),
    ] {
        let headers: Vec<(&'static str, String)> =
            headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        let wire = Wire::answering(move |_| {
            Reply::With(400, headers.clone(), json!({"error": {"code": number}}).to_string().into_bytes())
        })
        .await;
        let error = failed(wire.messenger().send_text(&page(), &token(), "7", "hi", "m").await);
        assert_eq!(error.retry_after_secs, secs, "{number}");
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_a_code_ends_the_grant_and_an_outage_does_not() {
    for (status, body, kind) in [
        (400, json!({"error": {"code": 100, "error_subcode": 36009}}), Kind::GrantRejected),
        (400, json!({"error": {"code": 190}}), Kind::GrantRejected),
        (400, json!({"error": {"code": 4}}), Kind::RateLimited),
        (500, json!({"error": {"code": 1}}), Kind::Unavailable),
        (200, json!({"token_type": "bearer"}), Kind::Malformed),
    ] {
        let wire = Wire::with(status, body.clone()).await;
        assert_eq!(
            failed(wire.messenger().exchange_code("https://a.example/cb", &secret("c"), NOW).await).kind,
            kind
        );
        assert_eq!(failed(wire.messenger().long_lived(&token(), NOW).await).kind, kind, "{body}");
    }
    let wire = Wire::with(200, json!({"access_token": "long", "expires_in": 5_183_944})).await;
    let grant = wire.messenger().long_lived(&token(), NOW).await.unwrap();
    assert_eq!(
        (grant.access_token.expose_secret(), grant.expires_at),
        ("long", Some(NOW.plus_secs(5_183_944)))
    );
    let form = wire.asked()[0].form();
    assert_eq!(
        (form["grant_type"].as_str(), form["fb_exchange_token"].as_str()),
        ("fb_exchange_token", TOKEN)
    );
    assert_eq!((form["client_id"].as_str(), form["client_secret"].as_str()), (APP_ID, SECRET));
}

#[tokio::test]
async fn a_subscription_counts_by_what_was_kept_of_it() {
    for (kept, missing) in [
        (json!(SUBSCRIBED_FIELDS), None),
        (json!(["messages", "messaging_postbacks"]), Some("message_echoes,messaging_handovers,standby")),
    ] {
        let wire = Wire::answering(move |asked| {
            // In places Meta writes the boolean as a word.
            let list = json!({"data": [{"id": "1", "subscribed_fields": []}, {"id": APP_ID, "subscribed_fields": kept}]});
            Reply::Of(200, if asked.method == Method::POST { json!({"success": "true"}) } else { list })
        })
        .await;
        let outcome = wire.messenger().subscribe(&page(), &token()).await;
        assert_eq!(outcome.as_ref().err().and_then(|e| e.detail.as_deref()), missing);
        assert_eq!(outcome.is_ok(), missing.is_none());
        let fields = wire.asked()[0].query("subscribed_fields");
        assert_eq!(fields, Some(SUBSCRIBED_FIELDS.join(",")));
    }
    let wire = Wire::with(200, json!({"success": false})).await;
    assert_eq!(failed(wire.messenger().subscribe(&page(), &token()).await).code, "not_subscribed");
    assert_eq!(failed(wire.messenger().unsubscribe(&page(), &token()).await).code, "not_unsubscribed");
}

#[tokio::test]
async fn a_message_is_sent_in_the_name_of_its_page_and_impossible_ones_are_not_sent() {
    let wire = Wire::with(200, json!({"recipient_id": "7", "message_id": "m_1"})).await;
    let messenger = wire.messenger();
    assert_eq!(messenger.send_text(&page(), &token(), "7", "hi", "out-1").await, Ok("m_1".to_owned()));
    let sent = wire.asked().remove(0);
    assert_eq!(sent.line(), format!("POST /graph/{GRAPH_VERSION}/{}/messages", page()));
    let message = json!({"recipient": {"id": "7"}, "messaging_type": "RESPONSE",
        "message": {"text": "hi", "metadata": "out-1"}});
    assert_eq!(sent.json(), message);
    for (text, metadata) in [
        (" ".to_owned(), "m".to_owned()),
        ("a".repeat(2000), "m".to_owned()),
        ("a".to_owned(), "m".repeat(1000)),
    ] {
        assert_eq!(
            failed(messenger.send_text(&page(), &token(), "7", &text, &metadata).await).code,
            "content_refused"
        );
    }
    assert_eq!(wire.asked().len(), 1);
    let wire = Wire::with(200, json!({})).await;
    assert!(failed(wire.messenger().send_text(&page(), &token(), "7", "hi", "m").await).outcome_unknown);
}

#[tokio::test]
async fn a_customer_without_a_profile_has_no_name_and_no_path_is_made_of_text() {
    let wire = Wire::with(400, json!({"error": {"code": 100, "error_subcode": 2018218}})).await;
    assert_eq!(wire.messenger().profile("7", &token()).await, Ok(None));
    assert_eq!(wire.messenger().profile("../me", &token()).await, Ok(None));
    assert_eq!(wire.asked().len(), 1);
    let wire = Wire::with(200, json!({"first_name": "Ana", "last_name": "Prieto", "id": "7"})).await;
    assert_eq!(wire.messenger().profile("7", &token()).await, Ok(Some("Ana Prieto".to_owned())));
}

#[tokio::test]
async fn another_page_in_the_answer_is_not_believed() {
    let wire = Wire::with(200, json!({"id": "1", "name": "Other", "access_token": "t"})).await;
    assert_eq!(failed(wire.messenger().page_info(&page(), &token()).await).kind, Kind::Malformed);
    assert_eq!(failed(wire.messenger().page_offer(&page(), &token()).await).kind, Kind::Malformed);
}

#[tokio::test]
async fn what_meta_says_of_a_token_is_read_with_its_pages() {
    let data: Value = json!({"app_id": 734512098811204_u64, "is_valid": true, "user_id": "218471", "expires_at": 0,
        "scopes": ["pages_show_list", "pages_messaging"],
        "granular_scopes": [{"scope": "pages_messaging", "target_ids": ["1", 2]}, {"scope": "pages_show_list"}]});
    let wire = Wire::with(200, json!({"data": data})).await;
    let info = wire.messenger().debug_token(&token()).await.unwrap();
    assert_eq!((info.is_valid, info.app_id.as_deref(), info.expires_at), (true, Some(APP_ID), None));
    assert_eq!(info.targets("pages_messaging"), Some(&["1".to_owned(), "2".to_owned()][..]));
    assert_eq!(info.targets("pages_show_list"), None, "all of them");
    assert_eq!(info.missing_permissions(), ["pages_manage_metadata"]);
    assert_eq!(wire.asked()[0].query("input_token").as_deref(), Some(TOKEN));
}
