//! Makes a tree of many files, scans it and prints how long that took and how much memory it held.
//!
//! `cargo run --release -p agenstack-scan --example many_files -- 100000`

#![expect(clippy::print_stdout, reason = "it is a program for a terminal")]

use agenstack_scan::{FingerprintKey, Options, scan};
use std::fmt::Write;
use std::time::Instant;

const EXTENSIONS: [&str; 10] = ["js", "ts", "tsx", "py", "rb", "go", "json", "yml", "sql", "md"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files: usize = std::env::args().nth(1).map_or(Ok(100_000), |n| n.parse())?;
    let folder = tempfile::tempdir()?;
    let mut bytes = 0;
    for n in 0..files {
        let place = folder.path().join(format!("part{}/area{}", n % 40, n / 40 % 50));
        std::fs::create_dir_all(&place)?;
        let mut text = String::new();
        // A usual file is some three kilobytes; words of the rules occur in it, and one file in a hundred has a finding.
        for line in 0..60 {
            writeln!(text, "export const value{line} = load(store.organization, 'page {n}', {line});")?;
        }
        if n % 100 == 0 {
            // agenstack: allow it is what the scan is to find
            writeln!(text, "const shop = process.env.SHOPIFY_STORE_NAME;")?;
        }
        bytes += text.len();
        std::fs::write(place.join(format!("file{n}.{}", EXTENSIONS[n % EXTENSIONS.len()])), text)?;
    }
    let before = peak();
    let start = Instant::now();
    let report = scan(folder.path(), &Options::new(FingerprintKey::new([1; 32])), &|_| ())?;
    let took = start.elapsed();
    println!(
        "{} files, {} MiB, {} findings: {:.1} s, {} MiB more memory at its peak",
        report.summary.files,
        bytes >> 20,
        report.findings.len(),
        took.as_secs_f64(),
        peak().saturating_sub(before) >> 10
    );
    Ok(())
}

/// The most memory this process ever held, in KiB, where the system tells.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
