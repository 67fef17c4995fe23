//! The conformance suite: what the store promises, on SQLite and on PostgreSQL, one file per noun.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;

mod account;
mod brought;
mod conversation;
mod database;
mod event;
mod event_history;
mod farewell;
mod flow;
mod former;
mod history;
mod import;
mod inbox;
mod integration;
mod isolation;
mod job;
mod key;
mod message;
mod minute;
mod notice;
mod offer;
mod outbox;
mod privacy;
mod queue;
mod renewal;
mod replay;
mod reset;
mod retention;
mod routing;
mod transfer;
mod way;

use std::path::PathBuf;

/// The public methods of the store's sources below `folder`, with the file they are in.
fn methods(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(format!("{}/src/{folder}", env!("CARGO_MANIFEST_DIR")))];
    while let Some(within) = folders.pop() {
        for entry in std::fs::read_dir(within).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                if let Some(rest) = line.strip_prefix("    pub async fn ") {
                    let name = rest.split(['(', '<']).next().unwrap();
                    found.push((path.file_name().unwrap().to_string_lossy().into_owned(), name.to_owned()));
                }
            }
        }
    }
    assert!(found.len() > 15, "the sources of {folder} are not where they were");
    found
}

#[test]
fn every_public_method_is_visited_by_this_suite() {
    let folder = format!("{}/tests/conformance", env!("CARGO_MANIFEST_DIR"));
    let mut suite = include_str!("../common/make.rs").to_owned();
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|path| path.is_file()) {
        suite.push_str(&std::fs::read_to_string(file).unwrap());
    }
    for (file, method) in methods("tenant").into_iter().chain(methods("global")) {
        // `leases!` names its method without a dot.
        let visited = suite.contains(&format!(".{method}(")) || suite.contains(&format!(", {method}("));
        assert!(visited, "nothing visits {method} of {file}");
    }
}
