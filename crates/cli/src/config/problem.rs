//! What is wrong with a setting, told so that it can be mended.

use super::Source;
use std::fmt;

/// One wrong setting. Carries no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable or the key of the file.
    pub name: String,
    /// Where it was set; `None` if it is missing.
    pub source: Option<Source>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{} ({source}): {}", self.name, self.message),
            None => write!(f, "{}: {}", self.name, self.message),
        }
    }
}

/// Everything that is wrong, at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// One for each wrong setting.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn one(name: impl Into<String>, source: Option<Source>, message: impl Into<String>) -> Self {
        Self { problems: vec![Problem { name: name.into(), source, message: message.into() }] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.problems.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigError {}
