//! JSON lines: the example of the documentation is taken, and what is wrong is told by line and field.

use super::{KINDS, count, import, old, picture, rows, told};
use crate::scene::Scene;
use agenstack_store::both_databases;
use serde_json::{Value, json};

/// The file that `docs/import.md` shows.
fn example() -> &'static str {
    let (_, rest) =
        include_str!("../../../../../docs/import.md").split_once("```jsonl\n").expect("an example");
    rest.split_once("```").expect("an end of the example").0
}

struct File(tempfile::TempDir);

impl File {
    fn of(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("old.jsonl"), text).unwrap();
        Self(folder)
    }
    fn path(&self) -> String {
        self.0.path().join("old.jsonl").display().to_string()
    }
}

both_databases! {
    async fn the_example_of_the_documentation_is_taken_once(db: TestDb) {
        let scene = Scene::on(db).await;
        let (file, empty) = (File::of(example()), picture(&scene).await);
        let run = async |more: &[&str]| -> Value {
            let path = file.path();
            let arguments = [&[path.as_str(), "--format", "json"], more].concat();
            serde_json::from_str(&told(&scene, &arguments).await).unwrap()
        };
        let dry = run(&["--dry-run"]).await;
        assert_eq!(picture(&scene).await, empty);
        let first = run(&[]).await;
        assert_eq!((&first["people"]["taken"], &first["mails"]), (&json!(2), &json!(2)), "{first:#}");
        assert_eq!(first["rows"], json!([]), "nothing in the example is left out");
        let new = |report: &Value| -> Vec<u64> {
            KINDS.iter().map(|kind| count(report, "shop-1", kind).0).collect()
        };
        assert_eq!((new(&dry), new(&first)), (vec![2, 2, 1, 1, 1, 1, 3], vec![2, 2, 1, 1, 1, 1, 3]));
        let filled = picture(&scene).await;
        assert_eq!(new(&run(&[]).await), [0; 7]);
        assert_eq!(picture(&scene).await, filled);
        // Another platform's organization of the same id is another one.
        assert_eq!(new(&run(&["--source", "second"]).await), [2, 2, 1, 1, 1, 1, 3]);
        // The report for people says the same.
        let text = told(&scene, &[&file.path()]).await;
        assert!(text.starts_with("Imported.\n\nLark Supply (shop-1): already there, org_"), "{text}");
    }

    async fn a_token_is_refused_wherever_it_stands_and_never_repeated(db: TestDb) {
        let scene = Scene::on(db).await;
        let token = old::token();
        let lines = [
            json!({"kind": "organization", "id": "o1", "name": "Lark"}),
            json!({"kind": "user", "email": "ana@lark.example.org", "name": token}),
            json!({"kind": "user", "email": "bo@lark.example.org"}),
            json!({"kind": "membership", "organization": "o1", "email": "bo@lark.example.org", "role": "owner"}),
            json!({"kind": "bot", "organization": "o1", "id": "b", "name": "B", "instructions": format!("use {token}")}),
            json!({"kind": "knowledge", "organization": "o1", "id": "k", "title": "K", "content": "x", "tags": [token]}),
            json!({"kind": "customer", "organization": "o1", "id": "c", "name": token}),
            json!({"kind": "account", "organization": "o1", "provider": "shopify", "account": "lark", "name": token}),
            json!({"kind": "conversation", "organization": "o1", "id": "v"}),
            json!({"kind": "message", "organization": "o1", "conversation": "v", "id": "m1", "author": "customer", "text": token, "created_at": "2025-05-01T10:00:00Z"}),
            json!({"kind": "message", "organization": "o1", "conversation": "v", "id": "m2", "author": "customer", "text": "hello", "created_at": "2025-05-01T10:00:01Z"}),
        ];
        let file = File::of(&lines.map(|l| l.to_string()).join("\n"));
        let report: Value = serde_json::from_str(&told(&scene, &[&file.path(), "--format", "json"]).await).unwrap();
        let refused = rows(&report, "refused");
        let places: Vec<_> = refused.iter().map(|r| r.split(':').next().unwrap()).collect();
        assert_eq!(places, ["line 2", "line 5", "line 6", "line 7", "line 8", "line 10"]);
        assert_eq!(count(&report, "o1", "messages"), (1, 0));
        assert!(!crate::privacy::holds(&crate::privacy::everything(&scene).await, token.as_bytes()));
    }

    async fn a_bad_line_names_line_and_field_and_nothing_is_half_written(db: TestDb) {
        let scene = Scene::on(db).await;
        let empty = picture(&scene).await;
        let secret = old::PASSWORDS[0];
        let org = json!({"kind": "organization", "id": "o1", "name": "Lark"});
        let user = |field: &str| json!({"kind": "user", "email": "a@b.example.org", field: secret});
        for (line, expected) in [
            (user("password"), "line 3, field password: is a credential by its name"),
            (user("passwordHash"), "line 3, field passwordHash: is a credential by its name"),
            (user("access_token"), "line 3, field access_token: is a credential by its name"),
            (user("apiKey"), "line 3, field apiKey: is a credential by its name"),
            (user("nickname"), "line 3, field nickname: is not known in a record of the kind user"),
            (json!({"kind": "user", "name": secret}), "line 3, field email: is missing"),
            (json!({"kind": "organization", "id": 7, "name": secret}), "line 3, field id: has to be text"),
            (json!({"kind": "organization", "id": "o2", "name": "x", "created_at": secret}), "line 3, field created_at: has to be a time"),
            (json!({"kind": secret}), "line 3, field kind: has to be one of organization"),
            (json!({"id": secret}), "line 3, field kind: is missing"),
            (json!([secret]), "line 3: is no JSON object"),
            (json!({"kind": "message", "organization": "o1", "conversation": "v", "id": "m", "author": "customer", "text": "x", "created_at": "2025-05-01T10:00:00Z"}),
                "line 3, field conversation: there is no such conversation"),
            (json!({"kind": "message", "organization": "o1", "conversation": "v", "id": "m", "author": secret, "text": "x", "created_at": "2025-05-01T10:00:00Z"}),
                "line 3, field author: has to be one of customer"),
        ] {
            let file = File::of(&format!("{org}\n\n{line}\n"));
            let done = import(&scene, &[&file.path()]).await;
            let err = String::from_utf8_lossy(&done.stderr);
            assert_eq!(done.status.code(), Some(1), "{expected}: {err}");
            assert!(err.contains(&format!("error: {expected}")), "{expected}: {err}");
            assert!(err.contains("nothing was imported") && !err.contains(secret), "{err}");
        }
        let twice = File::of("{\"kind\": \"user\", \"email\": \"a@b.example.org\", \"email\": \"c@d.example.org\"}\n{");
        let done = import(&scene, &[&twice.path()]).await;
        let err = String::from_utf8_lossy(&done.stderr);
        assert!(err.contains("line 1, field email: is there twice") && err.contains("line 2: is no JSON object"), "{err}");
        assert_eq!(picture(&scene).await, empty);
    }
}
