//! AgenStack: configuration, wiring and commands.
//!
//! The only room that reads the environment, the command line and files of the operator. It may import everything.
//!
//! Look first at [`config`] (what can be set), [`refusal`] (what must not be) and [`wiring`] (how the rooms are put
//! together); each command has a file in `command`.

pub mod command;
pub mod config;
mod files;
#[cfg(feature = "otlp")]
mod otlp;
mod output;
pub mod refusal;
pub mod wiring;

use clap::{Parser, Subcommand};
use config::{Config, ConfigError, Location, Sources};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// It worked.
pub const OK: u8 = 0;
/// It failed; the text says why and what to do.
pub const FAILED: u8 = 1;
/// The command line is not understood.
pub const USAGE: u8 = 2;

/// A support chatbot for online shops: many organizations, each with its own store, page and help desk.
#[derive(Debug, Parser)]
#[command(name = "agenstack", version, about, long_about = None, propagate_version = true)]
#[command(
    after_help = "Try it without configuring anything:  agenstack demo\nEvery setting is explained in docs/configuration.md."
)]
struct Arguments {
    /// The configuration file; without this, agenstack.toml in the working directory if it is there
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file of NAME=value lines to read settings from; never read unless it is named here
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything on this machine, nothing to configure: a fresh database, the emulated providers and the server
    Demo(command::demo::Arguments),
    /// The server
    Serve(command::serve::Arguments),
    /// Bring the database's schema to the newest version
    Migrate(command::migrate::Arguments),
    /// Check the configuration, the database and the providers, and print what is wrong and how to mend it
    Doctor,
    /// Copy the embedded database into a file while the server runs
    Backup(command::backup::Arguments),
    /// The inbox: list, show and replay what providers sent
    #[command(subcommand)]
    Events(command::events::Command),
    /// The master key
    #[command(subcommand)]
    Keys(command::keys::Command),
    /// Find what still ties a code base to a single customer
    Scan(command::scan::Arguments),
    /// Take over organizations, people, bots, knowledge and conversations from an older platform, never its credentials
    Import(command::import::Arguments),
    /// Fill an empty database with organizations, for measuring
    Seed(command::seed::Arguments),
    /// The emulated providers alone
    Sandbox(command::sandbox::Arguments),
}

/// Why a command ended without having done its work.
#[derive(Debug)]
pub enum Failure {
    /// A setting is wrong, missing, or one customer's: exit code 78.
    Configuration(String),
    /// Anything else: exit code 1.
    Other(anyhow::Error),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Configuration(error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// Where a command finds its settings.
pub(crate) struct Given {
    pub location: Location,
    pub environment: BTreeMap<String, String>,
}

impl Given {
    /// All sources, with credentials of one customer refused and old names told.
    pub(crate) fn sources(&self) -> Result<Sources, Failure> {
        let sources = Sources::gather(&self.location, self.environment.clone())?;
        let report = refusal::check(&sources);
        for warning in &report.warnings {
            output::warn(warning);
        }
        if report.refused.is_empty() {
            sources.complete()?;
            return Ok(sources);
        }
        let mut lines: Vec<String> = report.refused.iter().map(ToString::to_string).collect();
        lines.extend(sources.complete().err().map(|error| error.to_string()));
        Err(Failure::Configuration(lines.join("\n")))
    }

    /// Everything that was set, checked.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let config = Config::load(&self.sources()?)?;
        for warning in &config.warnings {
            output::warn(warning);
        }
        Ok(config)
    }
}

/// Runs a command line and gives its exit code.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: BTreeMap<String, String>,
    directory: PathBuf,
) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            output::usage(&error);
            return if error.use_stderr() { USAGE } else { OK };
        }
    };
    let location = Location { config: arguments.config, env_file: arguments.env_file, directory };
    let given = Given { location, environment };
    let outcome = match arguments.command {
        Command::Demo(a) => wiring::block_on(command::demo::run(&given, a)),
        Command::Serve(a) => wiring::block_on(command::serve::run(&given, a)),
        Command::Migrate(a) => wiring::block_on(command::migrate::run(&given, a)),
        Command::Doctor => wiring::block_on(command::doctor::run(&given)),
        Command::Backup(a) => wiring::block_on(command::backup::run(&given, a)),
        Command::Events(c) => wiring::block_on(command::events::run(&given, c)),
        Command::Keys(c) => wiring::block_on(command::keys::run(&given, &c)),
        Command::Scan(a) => command::scan::run(&given, a),
        Command::Import(a) => wiring::block_on(command::import::run(&given, a)),
        Command::Seed(a) => wiring::block_on(command::seed::run(&given, a)),
        Command::Sandbox(a) => wiring::block_on(command::sandbox::run(&given, a)),
    };
    match outcome {
        Ok(code) => code,
        Err(Failure::Configuration(text)) => {
            output::error(&text);
            refusal::EXIT_CODE
        }
        Err(Failure::Other(error)) => {
            output::error(&format!("{error:#}"));
            FAILED
        }
    }
}

#[cfg(test)]
mod tests;
