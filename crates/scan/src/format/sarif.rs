use crate::{Category, Report, Severity};
use serde::Serialize;

/// The part of SARIF 2.1.0 that code-scanning pages read. ADR 9 says why it is written out here.
#[derive(Serialize)]
struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    column_kind: &'static str,
    invocations: [Invocation; 1],
    results: Vec<Outcome>,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
struct Driver {
    name: &'static str,
    version: &'static str,
    rules: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    id: &'static str,
    short_description: Text,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    execution_successful: bool,
    tool_execution_notifications: Vec<Notification>,
}

#[derive(Serialize)]
struct Notification {
    level: &'static str,
    message: Text,
}

#[derive(Serialize)]
struct Text {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    rule_id: &'static str,
    rule_index: usize,
    level: &'static str,
    message: Text,
    locations: [Location; 1],
    partial_fingerprints: Fingerprints,
    properties: Properties,
}

#[derive(Serialize)]
struct Fingerprints {
    #[serde(rename = "agenstack/v1")]
    value: String,
}

#[derive(Serialize)]
struct Properties {
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: Physical,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Artifact,
    region: Region,
}

#[derive(Serialize)]
struct Artifact {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: usize,
    start_column: usize,
    snippet: Text,
}

/// SARIF 2.1.0, for code-scanning pages.
pub fn sarif(report: &Report) -> String {
    let index = |category: Category| Category::ALL.iter().position(|c| *c == category).unwrap_or_default();
    let results = report.findings.iter().map(|f| Outcome {
        rule_id: f.category.as_str(),
        rule_index: index(f.category),
        level: if f.severity >= Severity::High {
            "error"
        } else if f.severity == Severity::Medium {
            "warning"
        } else {
            "note"
        },
        message: Text { text: f.remedy.clone() },
        locations: [Location {
            physical_location: Physical {
                artifact_location: Artifact { uri: uri(&f.file) },
                region: Region {
                    start_line: f.line,
                    start_column: f.column,
                    snippet: Text { text: f.excerpt.clone() },
                },
            },
        }],
        partial_fingerprints: Fingerprints { value: f.fingerprint.clone() },
        properties: Properties { severity: f.severity.as_str(), commit: f.commit.clone() },
    });
    let unread = report.summary.unreadable.iter().map(|u| Notification {
        level: "warning",
        message: Text { text: format!("{} was not read: {}", u.file, u.reason) },
    });
    let log = Log {
        schema: "https://json.schemastore.org/sarif-2.1.0.json",
        version: "2.1.0",
        runs: [Run {
            tool: Tool {
                driver: Driver {
                    name: "agenstack scan",
                    version: env!("CARGO_PKG_VERSION"),
                    rules: Category::ALL
                        .iter()
                        .map(|c| Descriptor {
                            id: c.as_str(),
                            short_description: Text { text: c.explanation().to_owned() },
                        })
                        .collect(),
                },
            },
            column_kind: "unicodeCodePoints",
            invocations: [Invocation {
                execution_successful: true,
                tool_execution_notifications: unread.collect(),
            }],
            results: results.collect(),
        }],
    };
    serde_json::to_string_pretty(&log).expect("plain data")
}

/// A relative reference: what is not allowed in one is written as its bytes.
fn uri(file: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    file.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
