//! Events that are handled again, many at a time: through the API, from the page and by the operator's command.

use crate::scene::{FERN, LARK, Scene, Tenant, environment};
use agenstack_store::both_databases;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::process::{Command, Output};

/// The built program on the scene's database.
fn agenstack(scene: &Scene, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_agenstack"))
        .env_clear()
        .envs(environment(&scene.settings, &scene.db.url))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

async fn begin(tenant: &Tenant, body: Value) -> Value {
    let begun = tenant.browser.post(&tenant.api("/replays"), body).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.text);
    begun.json()
}

async fn turn(tenant: &Tenant, replay: &Value, verb: &str) -> StatusCode {
    let path = tenant.api(&format!("/replays/{}/{verb}", replay["id"].as_str().unwrap()));
    tenant.browser.post(&path, json!({})).await.status
}

async fn found(tenant: &Tenant, replay: &Value) -> (String, i64, i64) {
    let path = tenant.api(&format!("/replays/{}", replay["id"].as_str().unwrap()));
    let now = tenant.browser.get(&path).await.json();
    let number = |name: &str| now[name].as_i64().unwrap();
    (now["status"].as_str().unwrap().to_owned(), number("done"), number("total"))
}

/// Events of an organization in a state.
async fn count(tenant: &Tenant, state: &str) -> i64 {
    tenant.list(&format!("/events?limit=200&state={state}")).await.len() as i64
}

both_databases! {
    async fn many_events_are_handled_again_at_a_pace_and_nothing_is_done_twice(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let other = scene.connected("W", FERN).await;
        for n in 0..3 {
            scene.write(LARK.page, "Ana", &format!("hello {n}")).await;
        }
        scene.write(FERN.page, "Ana", "hello").await;
        let conversation = v.conversation().await;
        let (before, sent) = (v.messages(&conversation).await, scene.calls().await);
        let done = count(&v, "done").await;
        assert!(done >= 3, "{done}");

        let planned = v.browser.post(&v.api("/replays"), json!({"state": "done", "dry_run": true})).await;
        assert_eq!((planned.status, planned.json()["total"].as_i64()), (StatusCode::OK, Some(done)));
        assert!(v.list("/replays").await.is_empty(), "a plan begins nothing");

        let replay = begin(&v, json!({"state": "done", "provider": "messenger", "per_second": 2})).await;
        let total = replay["total"].as_i64().unwrap();
        scene.settle().await;
        assert_eq!(found(&v, &replay).await, ("running".into(), 2, total), "two in the first second");
        assert_eq!(count(&v, "pending").await, 1, "the second of them half a second later");
        assert_eq!(turn(&v, &replay, "pause").await, StatusCode::OK);
        scene.pass_time(60);
        scene.settle().await;
        assert_eq!(found(&v, &replay).await, ("paused".into(), 2, total));
        assert_eq!(turn(&v, &replay, "pause").await, StatusCode::CONFLICT);
        assert_eq!(turn(&v, &replay, "resume").await, StatusCode::OK);
        for _ in 0..total {
            scene.settle().await;
            scene.pass_time(1);
        }
        assert_eq!(found(&v, &replay).await, ("done".into(), total, total));
        assert_eq!(turn(&v, &replay, "cancel").await, StatusCode::CONFLICT, "it has ended");

        assert_eq!(v.messages(&conversation).await, before, "no message is there twice");
        assert_eq!(scene.calls().await, sent, "and nobody was asked anything");
        assert_eq!(count(&v, "done").await, done);
        assert!(other.list("/replays").await.is_empty());
    }

    async fn a_replay_that_cannot_be_is_refused_by_the_name_of_the_field(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        for (body, field) in [
            (json!({"state": "pending"}), "state"),
            (json!({"per_second": 0}), "per_second"),
            (json!({"per_second": 1001}), "per_second"),
            (json!({"since": "yesterday"}), "since"),
            (json!({"since": "2020-01-02T00:00:00Z", "until": "2020-01-01T00:00:00Z"}), "since"),
            (json!({"provider": "x"}), "provider"),
        ] {
            let refused = v.browser.post(&v.api("/replays"), body.clone()).await;
            let told = refused.json()["error"]["field"].clone();
            assert_eq!((refused.status, told), (StatusCode::BAD_REQUEST, json!(field)), "{body}");
        }
        let nothing = v.browser.post(&v.api("/replays"), json!({"topic": "no/such"})).await;
        assert_eq!((nothing.status, nothing.code().as_str()), (StatusCode::CONFLICT, "nothing_matches"));
        assert!(v.list("/replays").await.is_empty());
    }

    async fn an_operator_lists_shows_and_replays_events_of_one_organization(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        scene.write(LARK.page, "Ana", "a very private hello").await;
        let event = v.list("/events?provider=messenger").await.pop().unwrap();
        let id = event["id"].as_str().unwrap();

        let idle = agenstack(&scene, &["events", "list"]);
        assert!(idle.status.success() && said(&idle).contains("No event waits"), "{}", said(&idle));
        let listed = agenstack(&scene, &["events", "list", "--organization", &v.org, "--format", "json"]);
        let items = serde_json::from_slice::<Value>(&listed.stdout).unwrap()["items"].clone();
        assert!(items.as_array().unwrap().iter().any(|e| e["id"] == *id), "{items}");
        let shown = agenstack(&scene, &["events", "show", "--organization", &v.org, id]);
        assert!(said(&shown).contains("done") && !said(&shown).contains("private"), "{}", said(&shown));
        let opened = agenstack(&scene, &["events", "show", "--organization", &v.org, id, "--payload"]);
        assert!(said(&opened).contains("a very private hello"), "{}", said(&opened));

        let again = agenstack(&scene, &["events", "replay", "--organization", &v.org, id]);
        assert!(again.status.success() && said(&again).contains("pending again"), "{}", said(&again));
        let waits = agenstack(&scene, &["events", "list"]);
        assert!(said(&waits).contains(&v.org) && said(&waits).contains("pending"), "{}", said(&waits));
        scene.settle().await;
        let many = ["events", "replay", "--organization", &v.org, "--state", "done", "--detach"];
        assert!(agenstack(&scene, &many).status.success());
        scene.settle().await;
        let replay = v.list("/replays").await.remove(0);
        assert_eq!(found(&v, &replay).await.0, "done");

        let stranger = format!("org_{}", "0".repeat(26));
        for wrong in [["events", "list", "--organization", &stranger], ["events", "list", "--state", "odd"]] {
            let refused = agenstack(&scene, &wrong);
            assert!(!refused.status.success() && !said(&refused).contains("panicked"), "{}", said(&refused));
        }
    }
}
