//! Payloads that are signed and cannot be handled, or only badly: row 12 of the experiments. Each is stored as it came and
//! acknowledged once; each fails by itself, with its reason, and nobody else waits for it.

use super::ledger::{change, rows};
use super::tell;
use crate::scene::{FERN, LARK, Scene, Tenant};
use crate::wire::{self, delivery, message, messenger_signed, meta_signature};
use agenstack_app::worker;
use agenstack_core::clock::Clock;
use agenstack_store::both_databases;
use agenstack_store::global::queue::{Attempt, Fronts, Queue, Wanted};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

/// Bodies of an order that nobody can want, by what they are; `true` if they are JSON after all.
fn bodies() -> Vec<(&'static str, Vec<u8>, bool)> {
    let deep = |open: &str, close: &str, depth: usize| {
        [open.repeat(depth), close.repeat(depth)].concat().into_bytes()
    };
    // What `gzip` makes of a mebibyte of zeros ends up like this: short, and no JSON.
    let packed = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3][..], &[0xed, 0xc1, 1, 1, 0, 0], &[0; 1000]].concat();
    vec![
        ("a mebibyte of nested arrays", deep("[", "]", 512 * 1024 - 1), false),
        ("objects 100,000 deep", deep("{\"a\":", "}", 100_000), false),
        ("half an emoji", br#"{"id":1,"note":"\ud83d"}"#.to_vec(), true),
        ("two halves in the wrong order", br#"{"id":2,"note":"\ude00\ud83d"}"#.to_vec(), true),
        ("keys that repeat", br#"{"id":3,"id":4,"id":{"id":5}}"#.to_vec(), true),
        ("an escaped NUL", br#"{"id":6,"note":"a\u0000b"}"#.to_vec(), true),
        ("a bare NUL", b"{\"id\":7,\"note\":\"a\0b\"}".to_vec(), false),
        ("a number past all numbers", br#"{"id":1e999999}"#.to_vec(), false),
        ("a number of 100,000 digits", [b"{\"id\":", "9".repeat(100_000).as_bytes(), b"}"].concat(), false),
        ("bytes that are no text", vec![0xff, 0xfe, 0x00, 0xc3, 0x28], false),
        ("half of something", br#"{"id":8,"no"#.to_vec(), false),
        ("no object", b"[1,2,3]".to_vec(), true),
        ("packed", packed, false),
    ]
}

/// Sends an order, again if it is told to.
async fn order(scene: &Scene, id: &str, body: &[u8], packed: bool) -> u16 {
    let mut again = tokio::time::interval(Duration::from_millis(500));
    for _ in 0..5 {
        again.tick().await;
        let status = order_once(scene, id, body, packed).await;
        // A debug build beside others may not be done with a mebibyte in the time that a provider waits.
        if status != 503 {
            return status;
        }
    }
    503
}

async fn order_once(scene: &Scene, id: &str, body: &[u8], packed: bool) -> u16 {
    let mut request = scene
        .http
        .post(format!("{}/api/webhooks/shopify", scene.product))
        .header("x-shopify-topic", "orders/updated")
        .header("x-shopify-shop-domain", LARK.shop())
        .header("x-shopify-webhook-id", id)
        .header("x-shopify-api-version", "2026-10")
        .header("x-shopify-hmac-sha256", wire::shopify_signature_of(scene, body));
    if packed {
        request = request.header("content-encoding", "gzip");
    }
    request.body(body.to_vec()).send().await.expect("the server answers").status().as_u16()
}

async fn event(v: &Tenant, external: &str) -> Value {
    let all = v.list("/events?limit=100").await;
    let mut found: Vec<_> = all.into_iter().filter(|e| e["external_id"] == external).collect();
    assert_eq!(found.len(), 1, "{external}");
    found.remove(0)
}

/// A customer writes; gives how it was answered.
async fn writes(scene: &Scene, psid: &str, mid: &str) -> u16 {
    let body = delivery(LARK.page, &[message(LARK.page, psid, mid, mid)]);
    messenger_signed(scene, &body).await.as_u16()
}

async fn is_there(scene: &Scene, mid: &str) -> bool {
    let sql = format!("SELECT external_id, '', CAST(0 AS BIGINT) FROM messages WHERE external_id = '{mid}'");
    rows(&scene.db.store, &sql).await.len() == 1
}

/// A process takes what is due first in a queue, and is never heard of again.
async fn dies_over(scene: &Scene, queue: Queue) {
    scene.pass_time(60);
    let now = scene.clock.now();
    let mut tx = scene.db.store.global().await.unwrap();
    let mut taken = 0;
    for attempt in [Attempt::First, Attempt::Again] {
        let wanted = Wanted { queue, attempt, limit: 1, each: 1, busy: &[], fronts: Fronts::default() };
        taken += tx
            .lease(wanted, "a process that died", now, now.plus_secs(worker::LEASE_SECS))
            .await
            .unwrap()
            .len();
    }
    tx.commit().await.unwrap();
    assert_eq!(taken, 1, "one line of work, of which the first is due");
    assert_eq!(worker::reclaim(&scene.running.app).await.unwrap(), 0, "it may still be at work");
    scene.pass_time(worker::LEASE_SECS);
    assert_eq!(worker::reclaim(&scene.running.app).await.unwrap(), 1);
}

/// One of many messages of one customer.
fn long(n: usize) -> Value {
    message(LARK.page, "7000000000000001", &format!("m_{n}"), "and?")
}

/// The customer's first message is being worked on elsewhere, so that no other of theirs can be. Six hundred others of theirs are
/// more than a lease looks at.
async fn is_with_another_process(scene: &Scene) {
    assert_eq!(writes(scene, "7000000000000001", "m_first").await, 200);
    let now = scene.clock.now();
    let mut tx = scene.db.store.global().await.unwrap();
    let wanted = Wanted {
        queue: Queue::Events,
        attempt: Attempt::First,
        limit: 1,
        each: 1,
        busy: &[],
        fronts: Fronts::default(),
    };
    assert_eq!(tx.lease(wanted, "another process", now, now.plus_secs(60)).await.unwrap().len(), 1);
    tx.commit().await.unwrap();
}

both_databases! {
    async fn a_signed_body_that_cannot_be_read_is_stored_as_it_came_and_fails_alone_with_its_reason(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let all = bodies();
        for (n, (what, body, _)) in all.iter().enumerate() {
            for again in 0..2 {
                let began = Instant::now();
                assert_eq!(order(&scene, &format!("w-{n}"), body, *what == "packed").await, 200, "{what}");
                if again == 0 {
                    tell(&format!("{what}: {} bytes acknowledged in {:?}", body.len(), began.elapsed()));
                }
            }
        }
        // Among them is one that everybody can read.
        assert_eq!(writes(&scene, "7000000000000001", "m_well").await, 200);
        scene.settle().await;
        assert!(is_there(&scene, "m_well").await);
        for (n, (what, body, readable)) in all.iter().enumerate() {
            let told = event(&v, &format!("w-{n}")).await;
            let state = if *readable { "done" } else { "dead" };
            assert_eq!(told["state"], state, "{what}: {told}");
            // An order that can be read is for the log only: nobody has to attempt anything.
            assert_eq!(told["attempts"], i64::from(!readable), "{what}: {told}");
            assert_eq!(told["last_error"].is_string(), !readable, "{what}: {told}");
            // What was stored is what came.
            let path = v.api(&format!("/events/{}", told["id"].as_str().unwrap()));
            let whole = v.browser.get(&path).await.json();
            if !readable {
                assert_eq!(whole["payload"], String::from_utf8_lossy(body).as_ref(), "{what}");
            }
        }
    }

    async fn a_customer_whose_hundreds_of_messages_wait_for_one_holds_up_nobody_else(db: TestDb) {
        let scene = Scene::on(db).await;
        let _v = scene.connected("V", LARK).await;
        is_with_another_process(&scene).await;
        let all: Vec<_> = (0..600).map(long).collect();
        assert_eq!(messenger_signed(&scene, &delivery(LARK.page, &all)).await.as_u16(), 200);
        assert_eq!(writes(&scene, "7000000000000002", "m_other").await, 200);
        let worked_on = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            while !is_there(&scene, "m_other").await {
                tick.tick().await;
            }
        };
        worker::run(scene.running.app.clone(), 4, worked_on, Duration::from_secs(60)).await;
        let waiting = rows(&scene.db.store, "SELECT '', '', CAST(COUNT(*) AS BIGINT) FROM events WHERE state = 'pending'").await;
        assert_eq!(waiting[0].2, 600, "the customer's own order is kept");
    }

    async fn an_organization_with_a_long_conversation_and_a_provider_that_stalls_holds_its_share_of_places(db: TestDb) {
        const HELD: &str = "SELECT '', '', CAST(COUNT(*) AS BIGINT) FROM events
            WHERE state = 'running' AND lease_token <> 'another process'";
        let scene = Scene::on(db).await;
        let _v = scene.connected("V", LARK).await;
        let _w = scene.connected("W", FERN).await;
        is_with_another_process(&scene).await;
        for n in 2..5 {
            let stall = json!({"provider": "meta", "account": format!("700000000000000{n}"), "times": 1_000, "hold_ms": 60_000});
            scene.control(Method::POST, "/faults", Some(stall)).await;
        }
        let seen = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            assert_eq!(writes(&scene, "7000000000000002", "m_two").await, 200);
            while rows(&scene.db.store, HELD).await[0].2 == 0 {
                tick.tick().await;
            }
            // One that is found in front, and one behind it; of eight places an organization may hold two.
            let mut all = vec![message(LARK.page, "7000000000000003", "m_three", "hello")];
            all.extend((0..600).map(long));
            all.push(message(LARK.page, "7000000000000004", "m_four", "hello"));
            assert_eq!(messenger_signed(&scene, &delivery(LARK.page, &all)).await.as_u16(), 200);
            let other = delivery(FERN.page, &[message(FERN.page, "7000000000000005", "m_other", "hello")]);
            assert_eq!(messenger_signed(&scene, &other).await.as_u16(), 200);
            while !is_there(&scene, "m_other").await {
                tick.tick().await;
            }
            rows(&scene.db.store, HELD).await[0].2
        };
        let (told, over) = tokio::sync::oneshot::channel();
        let ended = async { over.await.expect("it is told") };
        let working = worker::run(scene.running.app.clone(), 8, ended, Duration::ZERO);
        let ((), held) = tokio::join!(working, async {
            let held = seen.await;
            told.send(()).expect("the worker listens");
            held
        });
        assert_eq!(held, 2);
    }

    async fn a_message_with_poison_in_its_names_is_stored_or_dropped_and_spoils_nothing_beside_it(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        // Nothing that an index could make shorter.
        let long: String = (0..5_000).map(|n| hex::encode(&Sha256::digest([n as u8, (n >> 8) as u8])[..1])).collect();
        let items = [
            message(LARK.page, "7000000000000001", "m_before", "before"),
            message(LARK.page, "7000000000000002", "m_\u{0}", "NUL in the id"),
            message(LARK.page, "7\u{0}", "m_nul_psid", "NUL in the customer"),
            message(LARK.page, "7000000000000003", "m_nul_text", "NUL \u{0} in the text"),
            message(LARK.page, "7000000000000004", &long, "a long id"),
            message(LARK.page, &long, "m_long_psid", "a long customer"),
            json!({"sender": {"id": {"id": 1}}, "recipient": [], "timestamp": "x", "message": 7}),
            message(LARK.page, "7000000000000001", "m_after", "after"),
        ];
        assert_eq!(messenger_signed(&scene, &delivery(LARK.page, &items)).await, 200);
        // Half an emoji, as its escape.
        let half = delivery(LARK.page, &[message(LARK.page, "7000000000000005", "m_half", "HALF")]).to_string();
        let half = half.replace("HALF", r"\ud83d");
        assert_eq!(wire::messenger(&scene, &half, Some(meta_signature(&scene, &half))).await, 200);
        scene.settle().await;
        for mid in ["m_before", "m_after", "m_nul_text", "m_half"] {
            assert!(is_there(&scene, mid).await, "{mid}");
        }
        // The next of everybody, also of those who sent poison.
        for (n, psid) in ["7000000000000001", "7000000000000002", "7000000000000003", "7000000000000004"].iter().enumerate() {
            assert_eq!(writes(&scene, psid, &format!("m_next_{n}")).await, 200);
        }
        scene.settle().await;
        for n in 0..4 {
            assert!(is_there(&scene, &format!("m_next_{n}")).await, "{n}");
        }
        let left = v.list("/events?limit=100").await;
        let left: Vec<_> = left.iter().filter(|e| e["state"] != "done").collect();
        assert!(left.is_empty(), "{left:?}");
    }

    async fn an_event_whose_ciphertext_was_altered_is_dead_with_its_reason_and_its_conversation_goes_on(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        for (psid, mid) in [("7000000000000001", "m_1"), ("7000000000000001", "m_2"), ("7000000000000002", "m_3")] {
            assert_eq!(writes(&scene, psid, mid).await, 200);
        }
        // One byte of the first, behind the product's back: another event's ciphertext under its id.
        let taken = "UPDATE events SET payload = (SELECT o.payload FROM events o WHERE o.external_id = 'm_3') WHERE external_id = 'm_1'";
        assert_eq!(change(&scene.db.store, taken).await, 1);
        scene.settle().await;
        let told = event(&v, "m_1").await;
        assert_eq!((&told["state"], &told["attempts"]), (&json!("dead"), &json!(1)), "{told}");
        assert!(told["last_error"].is_string(), "{told}");
        assert!(!is_there(&scene, "m_1").await);
        for mid in ["m_2", "m_3"] {
            assert!(is_there(&scene, mid).await, "{mid}");
        }
    }

    async fn what_ends_its_process_each_time_is_dead_after_five_and_what_comes_after_it_goes_on(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        for mid in ["m_1", "m_2"] {
            assert_eq!(writes(&scene, "7000000000000001", mid).await, 200);
        }
        for n in 1..=5 {
            assert_eq!(event(&v, "m_1").await["attempts"], n - 1);
            dies_over(&scene, Queue::Events).await;
        }
        scene.pass_time(60);
        scene.settle().await;
        let told = event(&v, "m_1").await;
        assert_eq!((&told["state"], &told["attempts"]), (&json!("dead"), &json!(6)), "{told}");
        assert!(told["last_error"].as_str().unwrap().contains("ended together with the process"), "{told}");
        assert!(!is_there(&scene, "m_1").await && is_there(&scene, "m_2").await);

        // An answer that nobody could send says so.
        let conversation = v.conversation().await;
        let path = v.api(&format!("/conversations/{conversation}/messages"));
        assert_eq!(v.browser.post(&path, json!({"text": "Hello."})).await.status, 201);
        for _ in 0..5 {
            dies_over(&scene, Queue::Jobs).await;
        }
        scene.pass_time(60);
        scene.settle().await;
        let last = v.messages(&conversation).await.pop().unwrap();
        assert_eq!((last.1.as_str(), last.2.as_str()), ("Hello.", "failed"));
        // A person who knows better may have the event handled again.
        let again = v.api(&format!("/events/{}/replay", told["id"].as_str().unwrap()));
        assert!(v.browser.post(&again, json!({})).await.status.is_success());
        scene.settle().await;
        assert!(is_there(&scene, "m_1").await);
    }
}
