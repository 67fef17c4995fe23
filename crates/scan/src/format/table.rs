use crate::{Report, Severity};
use anstyle::{AnsiColor, Style};
use std::fmt::Write;

/// For a terminal, in colour if it takes colour.
pub fn table(report: &Report, colour: bool) -> String {
    let mut out = String::new();
    let paint =
        |style: Style, text: &str| if colour { format!("{style}{text}{style:#}") } else { text.to_owned() };
    let place = |f: &crate::Finding| format!("{}:{}:{}", f.file, f.line, f.column);
    let bold = Style::new().bold();
    let dim = Style::new().dimmed();
    for finding in &report.findings {
        let severity = paint(style(finding.severity), &format!("{:<8}", finding.severity.as_str()));
        let commit = finding
            .commit
            .as_deref()
            .map_or(String::new(), |c| format!(" in commit {}", &c[..c.len().min(10)]));
        let _ = writeln!(
            out,
            "{severity}  {:<23}  {}{commit}",
            finding.category.as_str(),
            paint(bold, &place(finding))
        );
        let _ = writeln!(
            out,
            "          {}  {}",
            finding.excerpt,
            paint(dim, &format!("[{}]", finding.fingerprint))
        );
        let _ = writeln!(out, "          {}\n", finding.remedy);
    }
    let s = &report.summary;
    let counts: Vec<String> = Severity::ALL
        .iter()
        .filter_map(|v| {
            s.by_severity.get(v.as_str()).filter(|n| **n > 0).map(|n| format!("{n} {}", v.as_str()))
        })
        .collect();
    let tail = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    let _ = writeln!(out, "{}", paint(bold, &format!("{} findings in {} files{tail}", s.findings, s.files)));
    if s.in_baseline > 0 {
        let _ = writeln!(out, "{} more are in the baseline", s.in_baseline);
    }
    if s.allowed > 0 {
        let _ = writeln!(out, "{} more are allowed by a comment in the code", s.allowed);
    }
    for unread in &s.unreadable {
        let _ = writeln!(out, "not read: {} ({})", unread.file, unread.reason);
    }
    if !s.checklist.is_empty() {
        let _ = writeln!(out, "\nWhat to do, in this order:");
        for (n, step) in s.checklist.iter().enumerate() {
            let _ = writeln!(out, "  {}. [ ] {} ({} places)", n + 1, step.text, step.places);
        }
    }
    out.truncate(out.trim_end().len());
    out
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Critical => Style::new().bold().fg_color(Some(AnsiColor::Red.into())),
        Severity::High => Style::new().fg_color(Some(AnsiColor::Red.into())),
        Severity::Medium => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
        Severity::Low => Style::new().fg_color(Some(AnsiColor::Cyan.into())),
    }
}
