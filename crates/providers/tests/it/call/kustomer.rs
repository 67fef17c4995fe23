//! The REST API of an account (`kustomer.md` 1.2, 1.6, 2.3 to 2.5, 3.2).

use super::failed;
use crate::wire::{Asked, NOW, Reply, SECRET, TOKEN, Wire, org, secret, token};
use agenstack_providers::kustomer::{Client, Direction, Turn, WebhookState};
use agenstack_providers::{Kind, KustomerApp};
use http::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

#[tokio::test]
async fn a_status_means_what_the_sheet_says() {
    let other_pod = "the token belongs to pod prod2, and prod1 handled the call";
    for (status, text, kind, code) in [
        (400, "bad_request", Kind::Rejected, "request_refused"),
        (401, "Expired token", Kind::Unauthorized, "token_invalid"),
        (403, "forbidden", Kind::Forbidden, "permission_missing"),
        (404, "none", Kind::NotFound, "not_found"),
        (409, "conflict", Kind::Rejected, "duplicate"),
        (413, "too large", Kind::Rejected, "content_refused"),
        (429, "slow down", Kind::RateLimited, "rate_limited"),
        (500, "sorry", Kind::Unavailable, "outage"),
        (503, "sorry", Kind::Unavailable, "outage"),
        (400, other_pod, Kind::Rejected, "wrong_region"),
        (401, other_pod, Kind::Rejected, "wrong_region"),
        (403, other_pod, Kind::Rejected, "wrong_region"),
        (401, "this podium is not a region", Kind::Unauthorized, "token_invalid"),
        (500, other_pod, Kind::Unavailable, "outage"),
    ] {
        let wire = Wire::with(status, json!({"errors": [{"code": "x", "message": text}]})).await;
        let error = failed(wire.kustomer().verify_token(&org(), &token()).await);
        assert_eq!((error.kind, error.code, error.outcome_unknown), (kind, code, false), "{status} {text}");
        let error = failed(wire.kustomer().note_add(&org(), &token(), "v", "n").await);
        assert_eq!((error.kind, error.code), (kind, code), "{status} {text}");
        assert_eq!(error.outcome_unknown, status >= 500, "{status}: a POST is not idempotent");
    }
}

#[tokio::test]
async fn a_spent_budget_waits_as_long_as_is_asked_or_a_minute() {
    for (headers, secs) in [
        (vec![("retry-after", "7")], 7),
        (vec![], 60),
        // An instant by a clock that ours need not agree with.
        (vec![("x-ratelimit-reset", "1795518017")], 60),
    ] {
        let headers: Vec<(&'static str, String)> =
            headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        let wire = Wire::answering(move |_| Reply::With(429, headers.clone(), b"{}".to_vec())).await;
        let error = failed(wire.kustomer().verify_token(&org(), &token()).await);
        assert_eq!((error.kind, error.retry_after_secs), (Kind::RateLimited, Some(secs)));
    }
}

#[tokio::test]
async fn tokens_are_asked_for_in_a_form_and_refused_for_good_or_for_now() {
    let wire =
        Wire::with(200, json!({"access_token": "a", "expires_in": 86_400, "scope": "offline_access b,c"}))
            .await;
    let (code, verifier) = (secret("c0de"), secret("verifier"));
    let grant = wire
        .kustomer()
        .exchange_code(Client::Platform, &org(), &code, "https://a.example/cb", &verifier, NOW)
        .await
        .unwrap();
    assert_eq!(grant.access_token.expose_secret(), "a");
    assert!(grant.refresh_token.is_none());
    assert_eq!((grant.expires_at, grant.scopes.len()), (Some(NOW.plus_secs(86_400)), 3));
    let asked = wire.asked().remove(0);
    assert_eq!(asked.line(), "POST /acme/oauth/token");
    let form: Vec<(String, String)> = asked.form().into_iter().collect();
    let expected = [
        ("client_id", "kust-client"),
        ("client_secret", SECRET),
        ("code", "c0de"),
        ("code_verifier", "verifier"),
        ("grant_type", "authorization_code"),
        ("redirect_uri", "https://a.example/cb"),
    ];
    assert_eq!(form, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));

    for (status, word, kind) in [
        (400, "invalid_grant", Kind::GrantRejected),
        (401, "", Kind::GrantRejected),
        (403, "", Kind::GrantRejected),
        (401, "invalid_client", Kind::Rejected),
        (400, "invalid_client", Kind::Rejected),
        (429, "", Kind::RateLimited),
        (502, "", Kind::Unavailable),
    ] {
        let wire = Wire::with(status, json!({"error": word})).await;
        assert_eq!(
            failed(wire.kustomer().refresh(Client::Platform, &org(), &secret("r"), NOW).await).kind,
            kind,
            "{status} {word}"
        );
    }
}

#[tokio::test]
async fn who_a_token_acts_as_is_asked_and_a_name_that_is_not_told_is_left_out() {
    let user = json!({"data": {"id": "u1", "relationships": {"org": {"data": {"id": "o1"}}}}});
    for (status, name) in [(200, Some("Acme Outdoor")), (403, None), (404, None), (500, None)] {
        let user = user.clone();
        let wire = Wire::answering(move |asked| match asked.path.as_str() {
            "/acme/v1/users/current" => Reply::Of(200, user.clone()),
            "/acme/v1/orgs/o1" => Reply::Of(
                status,
                json!({"data": {"attributes": {"displayName": "Acme Outdoor", "name": "acme"}}}),
            ),
            other => panic!("{other} is not asked for"),
        })
        .await;
        let identity = wire.kustomer().identity(&org(), &token()).await.unwrap();
        assert_eq!((identity.user_id.as_str(), identity.org_id.as_str()), ("u1", "o1"));
        assert_eq!(identity.org_name.as_deref(), name, "{status}");
        assert!(wire.asked().iter().all(|a| a.header("authorization") == format!("Bearer {TOKEN}")));
    }
}

#[tokio::test]
async fn a_role_is_missing_where_a_cheap_read_is_forbidden_and_nowhere_else() {
    let wire = Wire::answering(|asked| match asked.path.as_str() {
        "/acme/v1/teams" => Reply::Of(403, json!({})),
        path if path.contains("/customers/") => Reply::Of(404, json!({})),
        _ => Reply::Of(200, json!({"data": []})),
    })
    .await;
    let missing = wire.kustomer().missing_roles(&org(), &token(), &[]).await.unwrap();
    assert_eq!(missing, ["org.permission.team.read"]);
    // What was granted names the roles that cannot be tried; a read that works counts more than what it says.
    let granted = [
        "org.permission.message",
        "org.permission.note",
        "org.permission.user.read",
        "org.permission.tag.read",
    ];
    let granted = granted.map(str::to_owned);
    let missing = wire.kustomer().missing_roles(&org(), &token(), &granted).await.unwrap();
    let expected = [
        "org.permission.conversation.create",
        "org.permission.conversation.update",
        "org.permission.customer.create",
        "org.permission.customer.update",
        "org.permission.outbound_webhook.create",
        "org.permission.outbound_webhook.delete",
        "org.permission.team.read",
    ];
    assert_eq!(missing, expected);
    let wire = Wire::with(401, json!({})).await;
    assert_eq!(failed(wire.kustomer().missing_roles(&org(), &token(), &[]).await).kind, Kind::Unauthorized);
}

/// Answers look-ups with 404 until something was posted, and the post as told.
fn made_meanwhile(
    post: fn() -> Reply,
    found_after: bool,
) -> impl Fn(&Asked) -> Reply + Send + Sync + 'static {
    let posted = AtomicUsize::new(0);
    move |asked| {
        if asked.method == Method::POST {
            posted.fetch_add(1, Ordering::SeqCst);
            return post();
        }
        if posted.load(Ordering::SeqCst) > 0 && found_after {
            Reply::Of(200, json!({"data": {"id": "there"}}))
        } else {
            Reply::Of(404, json!({}))
        }
    }
}

#[tokio::test]
async fn what_somebody_else_made_meanwhile_or_an_answer_lost_is_looked_up_again() {
    let posts: [fn() -> Reply; 4] = [
        || Reply::Of(409, json!({"errors": [{"code": "duplicate"}]})),
        || Reply::Of(400, json!({"errors": [{"message": "externalId must be unique"}]})),
        || Reply::Lost,
        || Reply::Of(502, json!({})),
    ];
    for post in posts {
        let wire = Wire::answering(made_meanwhile(post, true)).await;
        let found = wire
            .kustomer()
            .customer_find_or_create(&org(), &token(), "chat/1", "Ana", Some("a+b@c.example"))
            .await;
        assert_eq!(found, Ok("there".to_owned()));
        assert_eq!(
            wire.lines(),
            [
                "GET /acme/v1/customers/externalId=chat%2F1",
                "GET /acme/v1/customers/email=a%2Bb%40c%2Eexample",
                "POST /acme/v1/customers",
                "GET /acme/v1/customers/externalId=chat%2F1",
            ]
        );
        let wire = Wire::answering(made_meanwhile(post, true)).await;
        let found =
            wire.kustomer().conversation_find_or_create(&org(), &token(), "c1", "chat 1", "Order?").await;
        assert_eq!(found, Ok("there".to_owned()));
        let path = "/acme/v1/conversations";
        let look = format!("GET {path}/externalId=chat%201");
        assert_eq!(wire.lines(), [look.clone(), format!("POST {path}"), look]);

        let wire = Wire::answering(made_meanwhile(post, false)).await;
        let stands =
            wire.kustomer().conversation_find_or_create(&org(), &token(), "c1", "chat", "Order?").await;
        assert!(failed(stands).kind != Kind::NotFound, "the error of the post stands, not that of looking");
    }
}

#[tokio::test]
async fn what_is_there_is_not_made_again() {
    let wire = Wire::with(200, json!({"data": {"id": "there"}})).await;
    let kustomer = wire.kustomer();
    assert_eq!(
        kustomer.customer_find_or_create(&org(), &token(), "1", "Ana", None).await,
        Ok("there".to_owned())
    );
    assert_eq!(
        kustomer.conversation_find_or_create(&org(), &token(), "c", "1", "O").await,
        Ok("there".to_owned())
    );
    assert!(wire.asked().iter().all(|a| a.method == Method::GET));
}

/// A conversation that keeps its messages, two on a page, and loses the answer to some of what it is told.
struct Timeline(Mutex<Vec<Value>>);

impl Timeline {
    fn with(ids: &[&str]) -> Arc<Self> {
        Arc::new(Self(Mutex::new(ids.iter().map(|id| json!({"externalId": id})).collect())))
    }

    fn ids(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|m| m["externalId"].as_str().unwrap().to_owned()).collect()
    }

    fn answer(&self, asked: &Asked, lose: &str) -> Reply {
        let mut all = self.0.lock().unwrap();
        if asked.method == Method::POST {
            let body = asked.json();
            let lost = body["externalId"] == lose;
            all.push(body);
            return if lost { Reply::Lost } else { Reply::Of(201, json!({"data": {"id": "m"}})) };
        }
        let page: usize = asked.query("page").unwrap().parse().unwrap();
        let data: Vec<Value> =
            all.iter().skip((page - 1) * 2).take(2).map(|m| json!({"id": "m", "attributes": m})).collect();
        let next = (page * 2 < all.len()).then(|| format!("/v1/conversations/v1/messages?page={}", page + 1));
        Reply::Of(200, json!({"data": data, "links": {"next": next}}))
    }
}

fn turns<'a>(ids: &[&'a str]) -> Vec<Turn<'a>> {
    ids.iter()
        .map(|id| Turn { external_id: id, direction: Direction::Out, text: "hello", sent_at: NOW })
        .collect()
}

#[tokio::test]
async fn messages_that_are_there_are_left_out_on_whatever_page_they_stand() {
    let timeline = Timeline::with(&["t1", "t2", "t3"]);
    let kept = timeline.clone();
    let wire = Wire::answering(move |asked| kept.answer(asked, "")).await;
    let all = turns(&["t1", "t2", "t3", "t4", "t5"]);
    wire.kustomer().messages_add(&org(), &token(), "v1", &all).await.unwrap();
    assert_eq!(timeline.ids(), ["t1", "t2", "t3", "t4", "t5"]);
    let written = wire.asked().into_iter().find(|a| a.method == Method::POST).unwrap();
    assert_eq!(written.path, "/acme/v1/conversations/v1/messages");
    let expected = json!({"channel": "chat", "app": "agenstack", "direction": "out", "externalId": "t4",
        "preview": "hello", "sentAt": "2026-11-24T11:00:00.000Z"});
    assert_eq!(written.json(), expected);
    wire.kustomer().messages_add(&org(), &token(), "v1", &all).await.unwrap();
    assert_eq!(timeline.ids().len(), 5, "repeating adds nothing");
}

#[tokio::test]
async fn a_message_whose_answer_was_lost_is_not_written_twice() {
    let timeline = Timeline::with(&[]);
    let kept = timeline.clone();
    let wire = Wire::answering(move |asked| kept.answer(asked, "t2")).await;
    wire.kustomer().messages_add(&org(), &token(), "v1", &turns(&["t1", "t2", "t3"])).await.unwrap();
    assert_eq!(timeline.ids(), ["t1", "t2", "t3"]);
}

#[tokio::test]
async fn a_message_that_was_refused_stops_the_transcript_with_its_error() {
    let wire = Wire::answering(|asked| {
        if asked.method == Method::POST {
            Reply::Of(403, json!({}))
        } else {
            Reply::Of(200, json!({"data": []}))
        }
    })
    .await;
    let error = failed(wire.kustomer().messages_add(&org(), &token(), "v1", &turns(&["t1", "t2"])).await);
    assert_eq!(error.kind, Kind::Forbidden);
    assert_eq!(wire.asked().iter().filter(|a| a.method == Method::POST).count(), 1, "in order or not at all");
}

#[tokio::test]
async fn webhooks_of_an_address_are_found_and_one_is_made_with_all_events() {
    let ours = "https://a.example/w";
    let wire = Wire::answering(move |asked| {
        let hook = |id: &str, url: &str| json!({"id": id, "attributes": {"url": url}});
        match asked.method {
            Method::GET => Reply::Of(
                200,
                json!({"data": [hook("w1", ours), hook("w2", "https://b.example/w"), hook("w/3", ours)]}),
            ),
            _ => Reply::Of(201, json!({"data": {"id": "w9", "attributes": {"token": "hook-secret"}}})),
        }
    })
    .await;
    assert_eq!(wire.kustomer().webhooks_at(&org(), &token(), ours).await.unwrap(), ["w1", "w/3"]);
    let made = wire.kustomer().webhook_create(&org(), &token(), ours, "AgenStack").await.unwrap();
    assert_eq!((made.id.as_str(), made.secret.expose_secret()), ("w9", "hook-secret"));
    let path = "/acme/v1/outbound-webhooks";
    assert_eq!(wire.lines(), [format!("GET {path}"), format!("POST {path}")]);
    let body = wire.asked().pop().unwrap().json();
    assert_eq!((&body["url"], body["events"].as_array().map(Vec::len)), (&json!(ours), Some(3)));
}

#[tokio::test]
async fn a_webhook_is_on_again_only_if_the_answer_says_so() {
    for (answer, expected) in [(json!(true), true), (json!(false), false), (Value::Null, false)] {
        let wire = Wire::with(200, json!({"data": {"attributes": {"enabled": answer}}})).await;
        let on = wire.kustomer().webhook_enable(&org(), &token(), "w/1", "https://a.example/w", "A").await;
        assert_eq!(on, Ok(expected));
        assert_eq!(wire.lines(), ["PUT /acme/v1/outbound-webhooks/w%2F1"]);
    }
}

#[tokio::test]
async fn a_merchants_own_app_is_sent_and_its_refusals_name_what_to_mend() {
    let own = KustomerApp::from_input(" own-client ", &secret(" own-secret-0006 ")).unwrap();
    let wire = Wire::with(200, json!({"access_token": "a"})).await;
    wire.kustomer().refresh(Client::Own(&own), &org(), &secret("r"), NOW).await.unwrap();
    let form = wire.asked().remove(0).form();
    assert_eq!((&*form["client_id"], &*form["client_secret"]), ("own-client", "own-secret-0006"));
    let url =
        wire.kustomer().authorize_url(Client::Own(&own), &org(), "https://a.example/cb", "s", "c").unwrap();
    assert!(url.contains("client_id=own-client") && !url.contains("own-secret"), "{url}");
    assert!(!format!("{own:?}").contains("own-secret"));
    let invalid_client = json!({"errors": [{"code": "bad_request", "message": "Invalid Client"}]});
    for (status, body, code) in [
        (400, json!({"error": "invalid_client"}), "app_not_installed"),
        (400, invalid_client, "app_not_installed"),
        (401, json!({"error": "invalid_client"}), "client_secret_refused"),
        (400, json!({"error": "invalid_grant"}), "grant_refused"),
    ] {
        let wire = Wire::with(status, body).await;
        let error = failed(wire.kustomer().refresh(Client::Own(&own), &org(), &secret("r"), NOW).await);
        assert_eq!((error.kind, error.code), (Kind::GrantRejected, code));
    }
}

#[test]
fn a_client_is_printable_and_of_a_likely_length() {
    let long = "x".repeat(257);
    for (id, word) in [
        ("", "long enough"),
        ("abc", "longenough"),
        ("client", "short"),
        ("a client", "longenough"),
        ("client", "long\nenough"),
        ("clïent", "longenough"),
        (&*long, "longenough"),
        ("client", &*long),
    ] {
        assert!(KustomerApp::from_input(id, &secret(word)).is_err(), "{id} {word}");
    }
    assert!(KustomerApp::from_input("client", &secret("longenough")).is_ok());
}

#[tokio::test]
async fn a_webhook_is_made_though_the_list_is_forbidden_and_refused_with_its_reason() {
    for (status, body, code) in [
        (201, json!({"data": {"id": "w", "attributes": {"token": "t"}}}), None),
        (400, json!({"errors": [{"message": "limit reached"}]}), Some("webhook_refused")),
        (400, json!({"errors": [{"message": "wrong pod"}]}), Some("wrong_region")),
        (403, json!({}), Some("permission_missing")),
        (201, json!({"data": {"id": "w", "attributes": {}}}), Some("answer_unexpected")),
    ] {
        let wire = Wire::answering(move |asked| {
            if asked.method == Method::POST {
                Reply::Of(status, body.clone())
            } else {
                Reply::Of(403, json!({}))
            }
        })
        .await;
        let outcome = wire.kustomer().webhook_create(&org(), &token(), "https://a.example/w", "A").await;
        assert_eq!(outcome.err().map(|e| e.code), code, "{status}");
    }
}

#[tokio::test]
async fn a_webhook_is_on_off_or_gone_and_deleting_one_that_is_gone_is_fine() {
    for (status, enabled, expected) in [
        (200, json!(true), WebhookState::On),
        (200, Value::Null, WebhookState::On),
        (200, json!(false), WebhookState::Off),
        (404, json!(true), WebhookState::Gone),
    ] {
        let wire = Wire::with(status, json!({"data": {"attributes": {"enabled": enabled}}})).await;
        assert_eq!(wire.kustomer().webhook_state(&org(), &token(), "w").await, Ok(expected));
        assert_eq!(wire.kustomer().webhook_delete(&org(), &token(), "w").await, Ok(()));
    }
}
