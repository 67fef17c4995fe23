//! Trees on disk: what is walked, what is known already, what the history holds.

use super::{Filler, looker};
use crate::{Baseline, Category, FingerprintKey, Options, Report, Severity, format, scan};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

fn key() -> FingerprintKey {
    FingerprintKey::new([7; 32])
}

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut filler = Filler::new(9);
    for (name, text) in files {
        write(folder.path(), name, &filler.fill(text));
    }
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn look(folder: &Path, options: Options) -> Report {
    scan(folder, &options, &|_| ()).unwrap()
}

fn files(report: &Report) -> Vec<&str> {
    report.findings.iter().map(|f| f.file.as_str()).collect()
}

const TOKEN: &str = "t = 'shpat_{hex:32}'\n";

#[test]
fn ignored_and_vendored_files_are_left_out_and_hidden_ones_are_not() {
    let folder = tree(&[
        (".gitignore", "out/\n"),
        ("out/a.js", TOKEN),
        ("node_modules/x/a.js", TOKEN),
        (".github/a.yml", TOKEN),
        ("src/a.js", TOKEN),
        ("src/b.py", TOKEN),
    ]);
    let usual = Options::new(key());
    assert_eq!(files(&look(folder.path(), usual.clone())), [".github/a.yml", "src/a.js", "src/b.py"]);
    let all = Options { ignore: false, ..usual.clone() };
    assert_eq!(files(&look(folder.path(), all)), [".github/a.yml", "out/a.js", "src/a.js", "src/b.py"]);
    let only = Options {
        include: vec!["*.py".to_owned(), "*.js".to_owned()],
        exclude: vec!["*.js".to_owned()],
        ..usual
    };
    assert_eq!(files(&look(folder.path(), only)), ["src/b.py"]);
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tree(&[("a.js", TOKEN)]);
    let large = std::fs::File::create(folder.path().join("dump.sql")).unwrap();
    large.set_len(33 << 20).unwrap();
    let report = look(folder.path(), Options::new(key()));
    assert_eq!(files(&report), ["a.js"]);
    assert_eq!(report.summary.unreadable[0].file, "dump.sql");
    for text in [
        format::table(&report, false),
        format::json(&report),
        format::markdown(&report),
        format::sarif(&report),
    ] {
        assert!(text.contains("dump.sql"), "{text}");
    }
}

#[test]
fn a_fallback_is_the_worst_and_says_so() {
    let seen = looker().look(
        "src/a.js",
        // agenstack: allow the subject of this test
        "const t = shop.token || process.env.SHOPIFY_ACCESS_TOKEN;\nconst u = process.env.SHOPIFY_ACCESS_TOKEN;\n",
    );
    let [worst, other] = &seen.findings[..] else { panic!("{:?}", seen.findings) };
    assert_eq!((worst.severity, other.severity), (Severity::Critical, Severity::High));
    assert!(worst.remedy.starts_with("Fallback: ") && !other.remedy.contains("Fallback"));
}

#[test]
fn equal_values_have_equal_fingerprints_under_one_key_only() {
    let mut filler = Filler::new(3);
    let text = filler.fill(TOKEN);
    let twice = text.clone() + &text + &filler.fill(TOKEN);
    let of = |key| {
        let looker = Options::new(key).looker().unwrap();
        looker.look("a.js", &twice).findings.into_iter().map(|f| f.fingerprint).collect::<Vec<_>>()
    };
    let (one, other) = (of(key()), of(FingerprintKey::new([8; 32])));
    assert_eq!(one[0], one[1]);
    assert_ne!(one[0], one[2]);
    assert_ne!(one[0], other[0]);
}

#[test]
fn what_the_baseline_knows_is_not_told_again_and_one_more_is() {
    let folder = tree(&[("a.js", TOKEN)]);
    let first = look(folder.path(), Options::new(key()));
    let text = Baseline::of(&first, &key()).to_text();
    let baseline = Baseline::parse(&text).unwrap();
    assert_eq!(Baseline::of(&first, &baseline.key().unwrap()), baseline);
    let old = std::fs::read_to_string(folder.path().join("a.js")).unwrap();
    // Lines move; the finding stays known.
    write(folder.path(), "a.js", &format!("\n\n{old}"));
    let moved = baseline.without_known(look(folder.path(), Options::new(baseline.key().unwrap())));
    assert_eq!((moved.findings.len(), moved.summary.in_baseline), (0, 1));
    write(folder.path(), "a.js", &format!("{old}{old}"));
    let more = baseline.without_known(look(folder.path(), Options::new(key())));
    assert_eq!((more.findings.len(), more.summary.in_baseline), (1, 1));
    assert!(Baseline::parse("{}").is_err());
    assert!(Baseline::parse(&text.replace("\"version\": 1", "\"version\": 2")).is_err());
}

#[test]
fn an_allowance_needs_a_reason() {
    let mut filler = Filler::new(4);
    let mut seen = |text: &str| looker().look("a.py", &filler.fill(text));
    let allowed = seen("t = 'shpat_{hex:32}'  # agenstack: allow revoked in March\n");
    assert_eq!((allowed.findings.len(), allowed.allowed), (0, 1));
    assert_eq!(seen("# agenstack: allow revoked in March\nt = 'shpat_{hex:32}'\n").findings.len(), 0);
    assert_eq!(seen("t = 'shpat_{hex:32}'  # agenstack: allow\n").findings.len(), 1);
    assert_eq!(seen("x = 1  # agenstack: allow only this line\nt = 'shpat_{hex:32}'\n").findings.len(), 1);
}

#[test]
fn a_credential_that_was_removed_is_found_in_the_history() {
    let folder = tree(&[("src/a.js", TOKEN), ("src/stays.js", TOKEN)]);
    let git = |arguments: &[&str]| {
        let done = Command::new("git")
            .args(["-c", "user.name=Ana", "-c", "user.email=ana@example.com", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .expect("git is there wherever this project was cloned");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "one"]);
    let first = git(&["rev-parse", "HEAD"]);
    write(folder.path(), "src/a.js", "t = shop.token\n");
    git(&["commit", "-qam", "two"]);
    assert_eq!(files(&look(folder.path(), Options::new(key()))), ["src/stays.js"]);
    let report = look(folder.path(), Options { history: true, ..Options::new(key()) });
    assert_eq!(files(&report), ["src/a.js", "src/stays.js"]);
    assert_eq!(report.findings[0].commit.as_deref(), Some(first.as_str()));
    assert!(report.findings[1].commit.is_none());
    git(&["gc", "-q", "--aggressive", "--prune=now"]);
    assert_eq!(look(folder.path(), Options { history: true, ..Options::new(key()) }), report);
}

#[test]
fn programs_read_the_fields_of_the_contract() {
    let report = look(tree(&[("src/ä b.js", TOKEN)]).path(), Options::new(key()));
    let json: serde_json::Value = serde_json::from_str(&format::json(&report)).unwrap();
    let fields: BTreeMap<String, serde_json::Value> =
        serde_json::from_value(json["findings"][0].clone()).unwrap();
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(names, ["category", "column", "excerpt", "file", "fingerprint", "line", "remedy", "severity"]);
    assert_eq!(json["summary"]["checklist"][0]["step"], "remove");
    assert_eq!(fields["excerpt"], "t = '****'");
    let sarif: serde_json::Value = serde_json::from_str(&format::sarif(&report)).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(result["ruleId"], Category::CredentialLiteral.as_str());
    assert_eq!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "src/%C3%A4%20b.js");
}
