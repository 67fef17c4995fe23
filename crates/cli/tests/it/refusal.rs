//! What belongs to one customer is refused by the built program: every name that `scan` knows, wherever it stands.

use crate::rotation::{Settings, program, run};
use crate::scene::{environment, sandbox_for};
use agenstack::refusal::{EXIT_CODE, Names};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// No placeholder and no credential; nothing that is printed may hold it.
const VALUE: &str = "quiet-willow-4711";

/// Every name of the rule file, with and without a prefix that is published.
fn names() -> Vec<String> {
    let known = Names::get().tenant.iter().flat_map(|rule| &rule.names);
    known.flat_map(|name| [name.clone(), format!("VITE_{name}")]).collect()
}

/// Everything of these settings that could start a server.
async fn settings(folder: &Path) -> Settings {
    let (_, sandbox) = sandbox_for("http://127.0.0.1:9").await;
    let mut settings = environment(&sandbox, &format!("sqlite://{}", folder.join("a.db").display()));
    settings.insert("AGENSTACK_LISTEN".into(), "127.0.0.1:0".into());
    settings
}

#[tokio::test]
async fn serve_demo_and_doctor_refuse_every_name_wherever_it_stands_and_scan_finds_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let names = names();
    assert!(names.len() > 150, "the rule file was read");
    let lines = |format: &dyn Fn(&String) -> String| names.iter().map(format).collect::<String>();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("old.env"), lines(&|name| format!("{name}={VALUE}\n"))).unwrap();
    std::fs::write(at("old.toml"), lines(&|name| format!("{} = '{VALUE}'\n", name.to_lowercase()))).unwrap();
    let settings = settings(folder.path()).await;
    let mut crowded = settings.clone();
    crowded.extend(names.iter().map(|name| (name.clone(), VALUE.to_owned())));

    for command in ["serve", "demo", "doctor"] {
        for (place, settings, arguments) in [
            ("environment", &crowded, vec![command]),
            ("old.env", &settings, vec![command, "--env-file", &at("old.env")]),
            ("old.toml", &settings, vec![command, "--config", &at("old.toml")]),
        ] {
            let refused = run(settings, &arguments).await;
            let said = String::from_utf8(refused.stderr).unwrap();
            assert_eq!(refused.status.code(), Some(EXIT_CODE.into()), "{command} {place}: {said}");
            assert!(refused.stdout.is_empty() && !said.contains(VALUE), "{said}");
            // One line for each, which begins with its name.
            let told: BTreeSet<_> = said
                .lines()
                .map(|line| {
                    let line = line.strip_prefix("error: ").unwrap_or_else(|| panic!("{line}"));
                    assert!(
                        line.contains(place)
                            && line.contains("is refused")
                            && line.contains("Integrations >"),
                        "{line}"
                    );
                    line.split(' ').next().unwrap().to_uppercase()
                })
                .collect();
            assert_eq!(said.lines().count(), names.len(), "{command} {place}");
            assert_eq!(told, names.iter().cloned().collect(), "{command} {place}");
        }
    }
    assert!(!folder.path().join("a.db").exists(), "nothing was begun");

    // The same names by the same rules.
    let found = run(&Settings::new(), &["scan", &at("old.env"), "--format", "json"]).await;
    let report: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    let is_name = |f: &&serde_json::Value| f["category"] == "tenant_credential_env";
    let on: BTreeSet<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(is_name)
        .map(|f| f["line"].as_u64().unwrap())
        .collect();
    assert_eq!(on, (1..=names.len() as u64).collect(), "scan finds each line");
}

#[tokio::test]
async fn a_line_that_cannot_be_read_hides_nothing_that_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old.env").display().to_string();
    let text = format!("KEY='-----BEGIN\nmore\n'\nA=1\nA=2\nKUSTOMER_SUBDOMAIN={VALUE}\n");
    std::fs::write(&file, text).unwrap();
    let refused = run(&settings(folder.path()).await, &["serve", "--env-file", &file]).await;
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(EXIT_CODE.into()));
    assert!(said.starts_with("error: KUSTOMER_SUBDOMAIN ("), "{said}");
    assert!(said.contains("old.env, line 6) is refused"), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("error: line ")).count(), 4, "{said}");
    assert!(!said.contains(VALUE) && !said.contains("BEGIN"), "{said}");
}

#[tokio::test]
async fn the_platforms_own_credentials_work_under_their_old_names_with_a_warning_at_each_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path()).await;
    let renamed = &Names::get().renamed;
    assert_eq!(renamed.len(), 5);
    for rule in renamed {
        let value = settings.remove(&rule.new).expect("the sandbox has an app of each");
        settings.insert(rule.old.clone(), value);
    }
    let warned = |said: &str| {
        for rule in renamed {
            let line =
                said.lines().find(|line| line.starts_with(&format!("warning: {} (environment) ", rule.old)));
            let line = line.unwrap_or_else(|| panic!("{}: {said}", rule.old));
            assert!(line.contains(&format!("call it {}", rule.new)), "{line}");
            let rotate = line.contains("publish") && line.contains("rotate");
            assert_eq!(rotate, rule.secret, "{line}");
            assert!(!line.contains(&settings[&rule.old]), "{line}");
        }
    };
    let doctor = run(&settings, &["doctor"]).await;
    let told = String::from_utf8(doctor.stdout).unwrap();
    assert!(
        told.contains("ok     Shopify can be reached") && told.contains("ok     Messenger can be"),
        "{told}"
    );
    warned(&String::from_utf8(doctor.stderr).unwrap());

    let mut server = program(&settings, &["serve"]).spawn().expect("the program starts");
    let (stdout, stderr) = (server.stdout.take().unwrap(), server.stderr.take().unwrap());
    let read = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("it says that it is ready");
        server.kill().expect("it runs");
        server.wait().expect("it ends");
        let said: Vec<_> = BufReader::new(stderr).lines().map(|line| line.unwrap()).collect();
        (line, said.join("\n"))
    });
    let (ready, said) = read.await.unwrap();
    assert!(ready.starts_with("AgenStack is ready"), "{ready} {said}");
    warned(&said);
    assert!(!said.contains("is not set up"), "{said}");
}
