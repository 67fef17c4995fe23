use crate::Report;
use std::fmt::Write;

/// For a ticket or a pull request.
pub fn markdown(report: &Report) -> String {
    let s = &report.summary;
    let mut out = format!("## {} findings in {} files\n", s.findings, s.files);
    if !report.findings.is_empty() {
        out.push_str("\n| severity | category | place | excerpt | what to do | fingerprint |\n|---|---|---|---|---|---|\n");
    }
    for f in &report.findings {
        let commit = f.commit.as_deref().map_or(String::new(), |c| format!(" in {}", &c[..c.len().min(10)]));
        let _ = writeln!(
            out,
            "| {} | {} | {}:{}:{}{commit} | {} | {} | `{}` |",
            f.severity.as_str(),
            f.category.as_str(),
            cell(&f.file),
            f.line,
            f.column,
            code(&f.excerpt),
            cell(&f.remedy),
            f.fingerprint
        );
    }
    for unread in &s.unreadable {
        let _ = writeln!(out, "\nNot read: {} ({})", cell(&unread.file), cell(&unread.reason));
    }
    if !s.checklist.is_empty() {
        out.push_str("\n### What to do, in this order\n\n");
        for step in &s.checklist {
            let _ = writeln!(out, "- [ ] **{}** ({} places): {}", step.step, step.places, step.text);
        }
    }
    out.truncate(out.trim_end().len());
    out
}

fn cell(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('*', "\\*")
}

/// A code span whose fence is longer than any inside.
fn code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    format!("{fence} {} {fence}", text.replace('|', "\\|"))
}
