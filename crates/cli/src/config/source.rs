//! Where settings come from, before anyone asks what they mean.

use super::dotenv::{self, Parsed};
use super::{ConfigError, Problem, setting};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, io};
use toml::{Table, Value};

/// A place where settings stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A variable of the process.
    Environment,
    /// The file that `--env-file` names.
    EnvFile(String),
    /// The TOML file.
    File(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("environment"),
            Self::EnvFile(path) | Self::File(path) => f.write_str(path),
        }
    }
}

/// Which files to read.
#[derive(Clone, Debug, Default)]
pub struct Location {
    /// `--config`. Without it `agenstack.toml` in the directory is read if it is there.
    pub config: Option<PathBuf>,
    /// `--env-file`. Without it no such file is read.
    pub env_file: Option<PathBuf>,
    /// The working directory; empty for that of the process.
    pub directory: PathBuf,
}

/// All sources, parsed but not understood.
#[derive(Clone)]
pub struct Sources {
    pub(super) environment: BTreeMap<String, String>,
    pub(super) env_file: Option<(Source, Parsed)>,
    pub(super) file: Option<(Source, Vec<Leaf>)>,
}

/// A value of the TOML file under its dotted key.
#[derive(Clone)]
pub(super) struct Leaf {
    pub(super) key: String,
    /// `None` if the value is nothing that a setting can be: a table, a date, a list of lists.
    pub(super) text: Option<String>,
}

/// A name that stands in a source.
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) source: Source,
    /// The line of an env file.
    pub(crate) line: Option<usize>,
    pub(crate) empty: bool,
    /// The variable of the setting that it gives, if it is one.
    pub(crate) setting: Option<&'static str>,
}

impl Sources {
    /// Only the environment.
    pub fn from_environment(environment: BTreeMap<String, String>) -> Self {
        Self { environment, env_file: None, file: None }
    }

    /// The environment and the files.
    pub fn gather(location: &Location, environment: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut sources = Self::from_environment(environment);
        if let Some(path) = &location.env_file {
            sources.add_env_file(&path.display().to_string(), &read(&location.directory, path)?);
        }
        let usual = Path::new("agenstack.toml");
        match &location.config {
            Some(path) => sources.add_file(&path.display().to_string(), &read(&location.directory, path)?)?,
            None if location.directory.join(usual).exists() => {
                sources.add_file("agenstack.toml", &read(&location.directory, usual)?)?;
            }
            None => {}
        }
        Ok(sources)
    }

    /// Adds the text of an env file, which lies under the environment.
    pub fn add_env_file(&mut self, path: &str, text: &str) {
        self.env_file = Some((Source::EnvFile(path.to_owned()), dotenv::parse(text)));
    }

    /// Whether every line of the env file could be read. Asked after what is refused was told: a broken line hides
    /// nothing of it.
    ///
    /// # Errors
    /// Names the lines that could not.
    pub fn complete(&self) -> Result<(), ConfigError> {
        let problems: Vec<_> = self.problems().collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }

    pub(super) fn problems(&self) -> impl Iterator<Item = Problem> {
        self.env_file.iter().flat_map(|(source, parsed)| {
            parsed.problems.iter().map(|(line, message)| Problem {
                name: format!("line {line}"),
                source: Some(source.clone()),
                message: message.clone(),
            })
        })
    }

    /// Adds the text of the TOML file, which lies under everything else.
    pub fn add_file(&mut self, path: &str, text: &str) -> Result<(), ConfigError> {
        let source = Source::File(path.to_owned());
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            // The parser's own text quotes the line, and with it perhaps a secret. Only the place is safe to tell.
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
            let (line, column) = (
                before.matches('\n').count() + 1,
                before.chars().rev().take_while(|c| *c != '\n').count() + 1,
            );
            let message = "not valid TOML; texts stand in quotes, and no key may stand there twice";
            ConfigError::one(format!("line {line}, column {column}"), Some(source.clone()), message)
        })?;
        let mut leaves = Vec::new();
        flatten("", &table, &mut leaves);
        self.file = Some((source, leaves));
        Ok(())
    }

    /// Every name in every source.
    pub(crate) fn names(&self) -> Vec<Found> {
        let found = |name: &String, value: &String, source: &Source, line: Option<usize>| Found {
            name: name.clone(),
            source: source.clone(),
            line,
            empty: value.trim().is_empty(),
            setting: setting::by_variable(name).map(|setting| setting.name),
        };
        let environment = self.environment.iter().map(|(n, v)| found(n, v, &Source::Environment, None));
        let env_file = self.env_file.iter().flat_map(|(source, parsed)| {
            let line = |name| parsed.lines.get(name).copied();
            parsed.variables.iter().map(move |(n, v)| found(n, v, source, line(n)))
        });
        let keys = self.file.iter().flat_map(|(source, leaves)| {
            leaves.iter().map(|leaf| Found {
                name: leaf.key.clone(),
                source: source.clone(),
                line: None,
                empty: leaf.text.as_ref().is_some_and(|text| text.trim().is_empty()),
                setting: setting::by_key(&leaf.key).map(|setting| setting.name),
            })
        });
        environment.chain(env_file).chain(keys).collect()
    }
}

impl fmt::Debug for Sources {
    /// Names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names().iter().map(|found| &found.name)).finish()
    }
}

fn read(directory: &Path, path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(directory.join(path)).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "no such file".to_owned(),
            io::ErrorKind::InvalidData => "not UTF-8 text".to_owned(),
            kind => kind.to_string(),
        };
        ConfigError::one(path.display().to_string(), None, format!("cannot be read: {why}"))
    })
}

fn flatten(prefix: &str, table: &Table, leaves: &mut Vec<Leaf>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) if !inner.is_empty() => flatten(&key, inner, leaves),
            Value::Array(items) if items.iter().any(Value::is_table) => {
                for item in items {
                    match item {
                        Value::Table(inner) => flatten(&key, inner, leaves),
                        _ => leaves.push(Leaf { key: key.clone(), text: None }),
                    }
                }
            }
            Value::Array(items) => {
                let texts: Option<Vec<_>> = items.iter().map(scalar).collect();
                leaves.push(Leaf { key, text: texts.map(|texts| texts.join(",")) });
            }
            // The header of a section that says nothing is no setting; one that nobody knows is a mistake.
            Value::Table(_) if setting::is_section(&key) => {}
            _ => leaves.push(Leaf { key, text: scalar(value) }),
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}
