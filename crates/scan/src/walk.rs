//! Walks a tree, on every core, one file in memory for each.

use crate::ScanError;
use crate::customer::Customer;
use crate::finding::{Finding, FingerprintKey};
use crate::look::{Looker, Seen};
use crate::report::{Report, Summary, Unread};
use crate::text::{self, Content};
use ignore::overrides::OverrideBuilder;
use ignore::{WalkBuilder, WalkState};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A file above this is data, not code; it is named in the summary.
const LARGEST: u64 = 32 << 20;

/// Folders of other people's code, and of tools.
const VENDORED: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    "node_modules",
    "bower_components",
    "jspm_packages",
    "vendor",
    "third_party",
    ".venv",
    "venv",
    "site-packages",
    "__pycache__",
    "Pods",
    ".yarn",
    ".pnpm-store",
    ".terraform",
    ".tox",
];

/// What to look at, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of known customers.
    pub customers: Vec<String>,
    /// Globs: only these.
    pub include: Vec<String>,
    /// Globs: not these.
    pub exclude: Vec<String>,
    /// Whether `.gitignore` counts.
    pub ignore: bool,
    /// Whether the history is looked through for credentials.
    pub history: bool,
    /// For fingerprints.
    pub key: FingerprintKey,
}

impl Options {
    /// The usual ones.
    pub fn new(key: FingerprintKey) -> Self {
        Self {
            customers: Vec::new(),
            include: Vec::new(),
            exclude: Vec::new(),
            ignore: true,
            history: false,
            key,
        }
    }

    pub(crate) fn looker(&self) -> Result<Looker, ScanError> {
        let customer = |name: &String| Customer::new(name).ok_or_else(|| ScanError::Customer(name.clone()));
        let customers = self.customers.iter().map(customer).collect::<Result<_, _>>()?;
        Ok(Looker::new(customers, self.key.clone()))
    }
}

/// Something that happened on the way, for a progress bar and `--debug`.
pub enum Event<'a> {
    /// A file was looked at.
    File,
    /// Something was let pass: file, line, rule, reason. Never the value.
    Passed(&'a str, usize, &'a str, &'a str),
}

#[derive(Default)]
struct Sum {
    findings: Vec<Finding>,
    unread: Vec<Unread>,
    allowed: usize,
}

/// Scans a directory, or one file.
pub fn scan(root: &Path, options: &Options, tell: &(dyn Fn(Event<'_>) + Sync)) -> Result<Report, ScanError> {
    if !root.exists() {
        return Err(ScanError::Missing(root.to_owned()));
    }
    let looker = options.looker()?;
    let mut globs = OverrideBuilder::new(root);
    let mut glob = |text: String| globs.add(&text).map(|_| ()).map_err(|e| ScanError::Glob(e.to_string()));
    options.include.iter().try_for_each(|g| glob(g.clone()))?;
    options.exclude.iter().try_for_each(|g| glob(format!("!{g}")))?;
    let globs = globs.build().map_err(|e| ScanError::Glob(e.to_string()))?;
    let sum = Mutex::new(Sum::default());
    let files = AtomicUsize::new(0);
    let mut walker = WalkBuilder::new(root);
    // Hidden files hold settings. What only this machine ignores must not change what is found.
    walker
        .hidden(false)
        .ignore(false)
        .git_global(false)
        .git_exclude(false)
        .require_git(false)
        .follow_links(false);
    walker.git_ignore(options.ignore).parents(options.ignore).overrides(globs);
    walker.filter_entry(|entry| {
        let folder = entry.depth() > 0 && entry.file_type().is_some_and(|t| t.is_dir());
        !(folder && entry.file_name().to_str().is_some_and(|name| VENDORED.contains(&name)))
    });
    walker.build_parallel().run(|| {
        Box::new(|entry| {
            let add = |file: String, reason: String| {
                sum.lock().expect("no thread panics with it").unread.push(Unread { file, reason })
            };
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    add(place(&error).map_or_else(String::new, |path| relative(root, &path)), plain(&error));
                    return WalkState::Continue;
                }
            };
            if !entry.file_type().is_some_and(|t| t.is_file()) {
                return WalkState::Continue;
            }
            let file = relative(root, entry.path());
            match read(entry.path()) {
                Ok(Some(text)) => {
                    let seen = looker.look(&file, &text);
                    files.fetch_add(1, Ordering::Relaxed);
                    take(&sum, &file, seen, tell);
                }
                Ok(None) => {}
                Err(reason) => add(file, reason),
            }
            tell(Event::File);
            WalkState::Continue
        })
    });
    let mut sum = sum.into_inner().expect("no thread panics with it");
    if options.history {
        let old = crate::history::findings(root, options, &sum.findings)?;
        sum.findings.extend(old);
    }
    let summary = Summary {
        files: files.into_inner(),
        allowed: sum.allowed,
        unreadable: sum.unread,
        ..Summary::default()
    };
    Ok(Report::new(sum.findings, summary))
}

fn take(sum: &Mutex<Sum>, file: &str, seen: Seen, tell: &(dyn Fn(Event<'_>) + Sync)) {
    for (line, rule, reason) in &seen.passed {
        tell(Event::Passed(file, *line, rule, reason));
    }
    if seen.allowed > 0 || !seen.findings.is_empty() {
        let mut sum = sum.lock().expect("no thread panics with it");
        sum.allowed += seen.allowed;
        sum.findings.extend(seen.findings);
    }
}

fn read(path: &Path) -> Result<Option<String>, String> {
    let size = path.metadata().map_err(|e| e.kind().to_string())?.len();
    if size > LARGEST {
        return Err(format!("larger than {} MiB", LARGEST >> 20));
    }
    match text::decode(std::fs::read(path).map_err(|e| e.kind().to_string())?) {
        Content::Text(text) => Ok(Some(text)),
        Content::Binary => Ok(None),
    }
}

fn relative(root: &Path, path: &Path) -> String {
    let inner = path.strip_prefix(root).ok().filter(|p| !p.as_os_str().is_empty());
    let inner = inner.or_else(|| path.file_name().map(Path::new)).unwrap_or(path);
    inner.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn place(error: &ignore::Error) -> Option<PathBuf> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path.clone()),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => place(err),
        _ => None,
    }
}

fn plain(error: &ignore::Error) -> String {
    error.io_error().map_or_else(|| error.to_string(), |e| e.kind().to_string())
}
