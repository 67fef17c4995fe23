//! `agenstack scan`: what still ties a code base to a single customer. Reads no configuration of a server.

use crate::{FAILED, Failure, Given, OK, USAGE, output};
use agenstack_core::entropy::{Entropy, OsEntropy};
use agenstack_scan::{Baseline, Event, FingerprintKey, Options, ScanError, Severity, format};
use anyhow::Context;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::path::PathBuf;

/// How it was called.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code 1 if anything is found at or above --fail-on, 2 if the command line is wrong.\n\
    A line is let pass by a comment on it, or alone on the line above:  agenstack: allow REASON\n\
    docs/scan.md explains each finding and what to do."
)]
pub struct Arguments {
    /// The code base: a directory, or one file
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// How to print what is found
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// The name of a known customer, found in every spelling; may be repeated
    #[arg(long, value_name = "NAME")]
    tenant: Vec<String>,
    /// The least severity that makes the exit code 1
    #[arg(long, value_enum, value_name = "SEVERITY", default_value = "high")]
    fail_on: Level,
    /// Tell only what this file does not know; it is written if it is not there
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Look only at files that match this glob; may be repeated
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Do not look at files that match this glob; may be repeated
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Look at files that .gitignore names as well
    #[arg(long)]
    no_ignore: bool,
    /// Look through the git history for credentials that were once committed
    #[arg(long)]
    history: bool,
    /// Tell on standard error what was let pass and why, never the value
    #[arg(long)]
    debug: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
    Sarif,
    Markdown,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    Low,
    Medium,
    High,
    Critical,
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::Low => Self::Low,
            Level::Medium => Self::Medium,
            Level::High => Self::High,
            Level::Critical => Self::Critical,
        }
    }
}

/// Runs it.
pub(crate) fn run(given: &Given, arguments: Arguments) -> Result<u8, Failure> {
    match scan(given, arguments) {
        Ok(code) => Ok(code),
        Err(error) => match error.downcast_ref::<ScanError>() {
            Some(ScanError::Missing(_) | ScanError::Glob(_) | ScanError::Customer(_)) => {
                output::error(&format!("{error:#}"));
                Ok(USAGE)
            }
            _ => Err(error.into()),
        },
    }
}

fn scan(given: &Given, arguments: Arguments) -> anyhow::Result<u8> {
    let root = given.location.directory.join(&arguments.directory);
    let mut random = [0; 32];
    OsEntropy.fill(&mut random);
    let mut key = FingerprintKey::new(random);
    let place = arguments.baseline.map(|file| given.location.directory.join(file));
    let known = match &place {
        Some(file) if file.exists() => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("{} cannot be read", file.display()))?;
            let baseline = Baseline::parse(&text)?;
            key = baseline.key()?;
            Some(baseline)
        }
        _ => None,
    };
    let options = Options {
        customers: arguments.tenant,
        include: arguments.include,
        exclude: arguments.exclude,
        ignore: !arguments.no_ignore,
        history: arguments.history,
        ..Options::new(key.clone())
    };
    let bar = bar();
    let debug = arguments.debug;
    let report = agenstack_scan::scan(&root, &options, &|event| match event {
        Event::File => bar.inc(1),
        Event::Passed(file, line, rule, reason) if debug => {
            bar.suspend(|| output::note(&format!("{file}:{line}: {rule} let pass: {reason}")));
        }
        Event::Passed(..) => {}
    });
    bar.finish_and_clear();
    let report = report?;
    let report = match (&known, &place) {
        (Some(baseline), _) => baseline.without_known(report),
        (None, Some(file)) => {
            std::fs::write(file, Baseline::of(&report, &key).to_text())
                .with_context(|| format!("{} cannot be written", file.display()))?;
            output::note(&format!("{} is written; from now on only what is new is told", file.display()));
            report
        }
        (None, None) => report,
    };
    let colour = std::io::stdout().is_terminal() && !given.environment.contains_key("NO_COLOR");
    output::say(&match arguments.format {
        Format::Table => format::table(&report, colour),
        Format::Json => format::json(&report),
        Format::Sarif => format::sarif(&report),
        Format::Markdown => format::markdown(&report),
    });
    Ok(if report.has(arguments.fail_on.into()) { FAILED } else { OK })
}

/// Shown on a terminal only.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{spinner} {pos} files, {per_sec}").expect("the template is constant");
    ProgressBar::new_spinner().with_style(style)
}

#[cfg(test)]
mod tests {
    use crate::{FAILED, OK, USAGE, run};
    use std::ffi::OsString;
    use std::path::Path;

    fn call(folder: &Path, words: &[&str]) -> u8 {
        let words = ["agenstack", "scan"].iter().chain(words).map(OsString::from);
        run(words, [].into(), folder.to_owned())
    }

    #[test]
    fn the_exit_code_tells_whether_anything_is_bad_enough() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(call(folder.path(), &["."]), OK);
        // agenstack: allow the subject of this test
        std::fs::write(folder.path().join("a.js"), "const t = process.env.KUSTOMER_SUBDOMAIN;\n").unwrap();
        for format in ["table", "json", "sarif", "markdown"] {
            assert_eq!(call(folder.path(), &[".", "--format", format]), FAILED);
        }
        assert_eq!(call(folder.path(), &[".", "--fail-on", "critical"]), OK);
        assert_eq!(call(folder.path(), &[".", "--exclude", "*.js"]), OK);
        assert_eq!(call(folder.path(), &["a.js"]), FAILED);
    }

    #[test]
    fn a_command_line_that_makes_no_sense_ends_with_2() {
        let folder = tempfile::tempdir().unwrap();
        for words in [
            &["nowhere"][..],
            &[],
            &[".", "--tenant", "a"],
            &[".", "--fail-on", "never"],
            &[".", "--include", "a[", "--exclude", "{"],
        ] {
            assert_eq!(call(folder.path(), words), USAGE, "{words:?}");
        }
        assert_eq!(call(folder.path(), &[".", "--history"]), FAILED);
    }

    #[test]
    fn a_baseline_is_written_once_and_then_lets_pass_what_it_knows() {
        let folder = tempfile::tempdir().unwrap();
        // agenstack: allow the subject of this test
        let read = "const t = process.env.KUSTOMER_SUBDOMAIN;\n";
        std::fs::write(folder.path().join("a.js"), read).unwrap();
        let words = [".", "--baseline", "known.json"];
        assert_eq!(call(folder.path(), &words), FAILED);
        assert_eq!(call(folder.path(), &words), OK);
        std::fs::write(folder.path().join("b.js"), read).unwrap();
        assert_eq!(call(folder.path(), &words), FAILED);
        std::fs::write(folder.path().join("known.json"), "{}").unwrap();
        assert_eq!(call(folder.path(), &words), FAILED);
    }
}
