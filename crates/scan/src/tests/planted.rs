//! A whole code base with leftovers and look-alikes: how many are found, how many wrongly.

use super::Filler;
use crate::{Category, FingerprintKey, Options, Report, format, scan};
use std::collections::{BTreeMap, BTreeSet};

const TREE: &str = include_str!("planted.txt");

type Place = (String, usize, Category);

struct Planted {
    folder: tempfile::TempDir,
    expected: BTreeSet<Place>,
    look_alikes: usize,
    /// What was filled in and what names the customer's accounts: none of it may be printed.
    secrets: BTreeSet<String>,
}

fn plant(utf16: bool) -> Planted {
    let folder = tempfile::tempdir().unwrap();
    let mut filler = Filler::new(42);
    let (mut files, mut expected, mut secrets) =
        (BTreeMap::<String, String>::new(), BTreeSet::new(), BTreeSet::new());
    let (mut file, mut look_alikes) = (String::new(), 0);
    for line in TREE.lines().skip_while(|line| !line.starts_with("===")) {
        if let Some(name) = line.strip_prefix("=== ") {
            name.clone_into(&mut file);
            continue;
        }
        let (text, marks) = line.rsplit_once(" §").unwrap_or((line, ""));
        let filled = filler.fill(text);
        let body = files.entry(file.clone()).or_default();
        body.push_str(&filled);
        body.push('\n');
        let number = body.lines().count();
        for mark in marks.chars() {
            let category = match mark {
                'e' => Category::TenantCredentialEnv,
                'p' => Category::PlatformSecretExposed,
                'c' => Category::CredentialLiteral,
                't' => Category::TenantLiteral,
                '-' => {
                    look_alikes += 1;
                    continue;
                }
                other => panic!("{other} in {line}"),
            };
            expected.insert((file.clone(), number, category));
        }
    }
    secrets.extend(filler.made.iter().filter(|value| value.len() >= 12).cloned());
    secrets.extend(
        [
            "sour-melon",
            "sourmelon",
            "Sour Melon",
            "SourMelon",
            "admin123",
            "letmein1",
            "sommer2023",
            "Welcome2024!",
            "Start2024!",
            "Admin2024!",
        ]
        .map(str::to_owned),
    );
    for (name, body) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let bytes =
            if utf16 { body.encode_utf16().flat_map(u16::to_le_bytes).collect() } else { body.into_bytes() };
        std::fs::write(path, bytes).unwrap();
    }
    Planted { folder, expected, look_alikes, secrets }
}

fn look(planted: &Planted) -> Report {
    let options =
        Options { customers: vec!["Sour Melon".to_owned()], ..Options::new(FingerprintKey::new([7; 32])) };
    scan(planted.folder.path(), &options, &|_| ()).unwrap()
}

fn measure(utf16: bool) {
    let planted = plant(utf16);
    let report = look(&planted);
    let found: BTreeSet<Place> =
        report.findings.iter().map(|f| (f.file.clone(), f.line, f.category)).collect();
    let right = found.intersection(&planted.expected).count() as f64;
    let (precision, recall) = (right / found.len() as f64, right / planted.expected.len() as f64);
    for place in planted.expected.difference(&found) {
        println!("missed: {place:?}");
    }
    for place in found.difference(&planted.expected) {
        println!("wrong: {place:?}");
    }
    println!(
        "planted: {} findings, {} look-alikes; precision {precision:.3}, recall {recall:.3}",
        planted.expected.len(),
        planted.look_alikes
    );
    assert!(planted.expected.len() >= 120 && planted.look_alikes >= 120);
    assert!(precision >= 0.97 && recall >= 0.97, "precision {precision:.3}, recall {recall:.3}");
}

#[test]
fn a_planted_tree_is_found_and_its_look_alikes_are_not() {
    measure(false);
}

#[test]
fn a_planted_tree_in_utf_16_is_found_as_well() {
    measure(true);
}

#[test]
fn no_value_is_printed_in_any_format() {
    let planted = plant(false);
    assert!(planted.secrets.len() > 60, "{}", planted.secrets.len());
    let report = look(&planted);
    let printed = [
        format::table(&report, true),
        format::table(&report, false),
        format::json(&report),
        format::sarif(&report),
        format::markdown(&report),
        format!("{report:?}"),
    ];
    for (n, text) in printed.iter().enumerate() {
        for secret in &planted.secrets {
            assert!(!text.contains(secret.as_str()), "format {n} prints {secret}");
        }
    }
}

#[test]
fn the_same_tree_gives_the_same_report() {
    let planted = plant(false);
    assert_eq!(look(&planted), look(&planted));
}
