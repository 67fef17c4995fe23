//! A provider that refuses and breaks off for one tenant: rows 8 and 9 of the experiments. It is asked no more than it allows, and
//! nobody else waits for it.

use super::{Dice, tell, times};
use crate::scene::{FERN, LARK, Scene};
use agenstack_core::clock::Clock;
use agenstack_store::both_databases;
use reqwest::Method;
use serde_json::{Value, json};

/// Calls that one connection may have under way.
const AT_ONCE: usize = 4;

/// The next answers of the shop's storm: how they are made, and for how many seconds nobody may ask after it.
fn answer(dice: &Dice) -> (Value, i64) {
    let secs = 1 + dice.below(120);
    match dice.below(5) {
        0 => (json!({"status": 429, "retry_after": secs}), secs as i64),
        1 => (json!({"status": 503, "retry_after": secs}), secs as i64),
        2 => (json!({"status": 429, "headers": {"retry-after": "in a while"}}), 0),
        3 => (json!({"status": 500}), 0),
        _ => (json!({"status": 200, "ends": "cut"}), 0),
    }
}

/// How often the shop was asked for an order.
async fn asked(scene: &Scene) -> usize {
    let shop = LARK.shop();
    scene.received("shopify").await.iter().filter(|r| r.0 == shop && r.1 == "orders").count()
}

/// The time in the scene, in seconds.
fn now(scene: &Scene) -> i64 {
    scene.clock.now().secs()
}

both_databases! {
    async fn a_storm_of_refusals_and_outages_is_met_with_one_probe_at_a_time_and_never_before_it_may_be(db: TestDb) {
        let storm = times("AGENSTACK_TEST_STORM", 12);
        let customers = 20 + storm / 10;
        let (scene, dice) = (Scene::on(db).await, Dice::new());
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.connected("Fern Goods", FERN).await;
        scene.control(Method::DELETE, "/received", None).await;
        let mut waits = Vec::new();
        for _ in 0..storm {
            let (mut fault, wait) = answer(&dice);
            fault["provider"] = json!("shopify");
            fault["account"] = json!(LARK.shop());
            fault["operation"] = json!("orders");
            scene.control(Method::POST, "/faults", Some(fault)).await;
            waits.push(wait);
        }
        let mut psids = Vec::new();
        for n in 0..customers {
            let written = json!({"page_id": LARK.page, "from": format!("Customer {n}"), "text": "order #1001 ana@example.com"});
            let sent = scene.control(Method::POST, "/messages", Some(written)).await;
            psids.push(sent["psid"].as_str().unwrap().to_owned());
        }

        // In each step everything is done that is due; then a while passes.
        let (began, mut not_before, mut seen, mut first) = (now(&scene), 0, 0, 0);
        while seen < storm {
            let before = now(&scene);
            scene.settle().await;
            let (here, after) = (asked(&scene).await - seen, now(&scene));
            let refused = here.min(storm - seen);
            assert!(here == 0 || after >= not_before, "asked {} s too early", not_before - after);
            if seen == 0 {
                first = here;
                // Four at a time, until four in a row have failed; meanwhile one comes for each that ends.
                assert!(here < 2 * AT_ONCE, "{here} calls before it was noticed");
                let other = scene.write(FERN.page, "Bo", "order #1001 ana@example.com").await;
                assert!(other.last().unwrap().1.contains("FERN1001"), "another is answered meanwhile: {other:?}");
            } else {
                assert!(here <= 1, "{here} calls where one finds out, after {seen} refusals");
            }
            if let Some(longest) = waits[seen..seen + refused].iter().max() {
                not_before = not_before.max(before + longest);
            }
            seen += refused;
            assert!(after - began < 600 * storm as i64, "the storm does not end: {seen} of {storm}");
            scene.pass_time(15);
        }
        let over = now(&scene);
        while !lark.list("/events?state=failed&limit=200").await.is_empty() {
            assert!(now(&scene) < over + 6 * 3600, "what waits is not done");
            scene.settle().await;
            scene.pass_time(30);
        }
        let took = now(&scene) - over;
        assert!(took <= 900, "all is done within a quarter of an hour, and not after {took} s");
        for psid in &psids {
            let thread = scene.thread(LARK.page, psid).await;
            assert_eq!(thread.iter().filter(|m| m.1.contains("LARK1001")).count(), 1, "{thread:?}");
        }
        assert_eq!(asked(&scene).await, storm + customers, "one call for each customer, and one for each refusal");
        tell(&format!("a storm of {storm} refusals: {first} calls until it was noticed, then one at a time; {} s long, all answered {} s later",
            over - began, took));
    }
}
