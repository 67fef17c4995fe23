//! All findings, and what to do about them in order.

use crate::finding::{Category, Finding, Severity};
use serde::Serialize;
use std::collections::BTreeMap;

/// A file that was not looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unread {
    /// The file.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// What there is to do, in the order to do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `remove`, `rotate` or `connect`.
    pub step: &'static str,
    /// In one sentence.
    pub text: String,
    /// In how many places.
    pub places: usize,
}

/// The end of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Files looked at.
    pub files: usize,
    /// Findings told.
    pub findings: usize,
    /// How many of each severity.
    pub by_severity: BTreeMap<&'static str, usize>,
    /// How many of each category.
    pub by_category: BTreeMap<&'static str, usize>,
    /// Findings that a comment in the code allows.
    pub allowed: usize,
    /// Findings that the baseline knows.
    pub in_baseline: usize,
    /// Files that could not be read.
    pub unreadable: Vec<Unread>,
    /// What to do.
    pub checklist: Vec<Step>,
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Sorted by file and place.
    pub findings: Vec<Finding>,
    /// The end of it.
    pub summary: Summary,
}

impl Report {
    /// Sorts and counts.
    pub fn new(mut findings: Vec<Finding>, mut summary: Summary) -> Self {
        findings.sort();
        findings.dedup();
        summary.unreadable.sort();
        summary.findings = findings.len();
        let count = |test: &dyn Fn(&Finding) -> bool| findings.iter().filter(|f| test(f)).count();
        summary.by_severity =
            Severity::ALL.iter().map(|s| (s.as_str(), count(&|f| f.severity == *s))).collect();
        summary.by_category =
            Category::ALL.iter().map(|c| (c.as_str(), count(&|f| f.category == *c))).collect();
        let rotate =
            count(&|f| f.remedy.to_ascii_lowercase().contains("rotate") || f.remedy.contains("change it"));
        let connect = count(&|f| f.remedy.contains("Integrations >"));
        let step = |step, text: &str, places| Step { step, text: text.to_owned(), places };
        summary.checklist = [
            step("remove", "Remove what was found from files and settings, fallbacks first.", findings.len()),
            step("rotate", "Rotate every credential that stood in the code, its history or a published bundle: removing it does not make it secret again.", rotate),
            step("connect", "Let each customer sign up and connect its own accounts under Integrations.", connect),
        ]
        .into_iter()
        .filter(|step| step.places > 0)
        .collect();
        Self { findings, summary }
    }

    /// Whether anything is at least this bad.
    pub fn has(&self, severity: Severity) -> bool {
        self.findings.iter().any(|finding| finding.severity >= severity)
    }
}
