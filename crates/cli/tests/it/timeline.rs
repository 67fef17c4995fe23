//! What became of an event, step by step, and how it goes minute by minute.

use crate::scene::{LARK, Scene, Tenant, environment};
use agenstack_app::pulse;
use agenstack_store::both_databases;
use reqwest::Method;
use serde_json::{Value, json};
use std::process::Command;

/// The newest event of a topic.
async fn event(tenant: &Tenant, topic: &str) -> Value {
    let list = tenant.list(&format!("/events?topic={topic}")).await;
    tenant.browser.get(&tenant.api(&format!("/events/{}", list[0]["id"].as_str().unwrap()))).await.json()
}

fn steps(event: &Value) -> Vec<&str> {
    event["timeline"].as_array().unwrap().iter().map(|m| m["step"].as_str().unwrap()).collect()
}

both_databases! {
    async fn an_event_tells_each_attempt_why_it_failed_and_who_asked_for_it_again(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let fault = json!({"provider": "shopify", "operation": "orders", "status": 503, "times": 1});
        scene.control(Method::POST, "/faults", Some(fault)).await;
        scene.write(LARK.page, "Ana", "order #1001 ana@example.com").await;
        let waits = event(&v, "message.text").await;
        assert_eq!(steps(&waits), ["received", "committed", "failed", "waiting"]);
        let failed = &waits["timeline"][2];
        assert_eq!(failed["reason"], waits["last_error"]);
        assert!(failed["begun_at"].as_str().unwrap() <= failed["at"].as_str().unwrap());
        assert!(failed["duration_ms"].as_i64().unwrap() >= 0);
        assert!(waits["timeline"][1]["at"].is_null() && waits["timeline"][3]["at"].as_str() > failed["at"].as_str());

        scene.pass_time(60);
        scene.settle().await;
        let done = event(&v, "message.text").await;
        assert_eq!(steps(&done), ["received", "committed", "failed", "done"]);
        let end = &done["timeline"][3];
        assert_eq!(end["at"], done["done_at"]);
        assert!(end["begun_at"].as_str().unwrap() > done["timeline"][2]["at"].as_str().unwrap());

        let id = done["id"].as_str().unwrap();
        let me = v.browser.get("/api/me").await.json()["user"]["id"].clone();
        v.browser.post(&v.api(&format!("/events/{id}/replay")), json!({})).await;
        let again = event(&v, "message.text").await;
        assert_eq!(steps(&again), ["received", "committed", "failed", "done", "replayed", "waiting"]);
        assert_eq!((&again["timeline"][3], &again["timeline"][4]["actor"]), (end, &me));
        scene.settle().await;
        assert_eq!(steps(&event(&v, "message.text").await), ["received", "committed", "failed", "done", "replayed", "done"]);

        let page = v.browser.get(&format!("/orgs/{}/events/{id}", v.org)).await.text;
        assert!(page.contains("attempt failed") && page.contains("asked for by you"), "{page}");
        let output = Command::new(env!("CARGO_BIN_EXE_agenstack"))
            .env_clear()
            .envs(environment(&scene.settings, &scene.db.url))
            .args(["events", "show", "--organization", &v.org, id])
            .output()
            .expect("the program starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.lines().any(|line| line.starts_with("replayed ") && line.contains("by usr_")), "{said}");
    }

    async fn how_it_goes_is_drawn_for_the_organization_and_for_the_operator(db: TestDb) {
        let password = "of the operator: 0123456789";
        let scene = Scene::with(db, &[("AGENSTACK_OPERATOR_PASSWORD", password)]).await;
        let app = &scene.running.app;
        let mut speaker = pulse::Speaker::new(app);
        let empty = scene.http.get(format!("{}/operator", scene.product)).basic_auth("x", Some(password)).send().await.unwrap();
        assert!(empty.text().await.unwrap().contains("Nothing came in within the last hour."));
        let v = scene.connected("V", LARK).await;
        scene.write(LARK.page, "Ana", "hello").await;
        let came = v.list("/events?limit=200").await.len() as i64;

        let page = v.browser.get(&format!("/orgs/{}/events", v.org)).await.text;
        let drawn = format!("Accepted a minute, last hour: {came} in all");
        assert!(page.contains(&drawn), "{page}");
        let part = v.browser.get(&format!("/orgs/{}/events/pulse", v.org)).await.text;
        assert!(part.contains(&drawn) && !part.contains("<html"), "{part}");
        assert!(part.contains("Nothing waits."), "{part}");

        speaker.say(app).await.unwrap();
        speaker.say(app).await.unwrap();
        let all = pulse::of_all(app).await.unwrap();
        assert!(all.minutes.iter().map(|m| m.accepted).sum::<i64>() >= came, "{all:?}");
        assert!(all.minutes.iter().any(|m| m.p95_ms.is_some()), "{all:?}");
        assert_eq!((all.minutes.len() as i64, all.oldest_ms), (pulse::SHOWN, None));
        let part = scene.http.get(format!("{}/operator/pulse", scene.product)).basic_auth("x", Some(password)).send().await.unwrap();
        assert!(part.text().await.unwrap().contains("<rect"), "bars are drawn");
        scene.pass_time(2 * 3_600);
        assert!(pulse::of_all(app).await.unwrap().minutes.iter().all(|m| m.accepted == 0), "an hour is shown");
    }
}
