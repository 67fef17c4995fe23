//! `agenstack keys`: the master key.

use crate::{OK, output};
use agenstack_core::entropy::OsEntropy;
use agenstack_vault::MasterKey;
use clap::Subcommand;
use secrecy::ExposeSecret;

/// What can be done with it.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a new master key: 32 random bytes in base64
    #[command(
        after_help = "Keep it in a safe place, and give it to the server as AGENSTACK_MASTER_KEY or as a file in\n\
        AGENSTACK_MASTER_KEY_FILE. Whoever has it and the database can read every token; without it nobody can.\n\n  \
        agenstack keys generate > master.key && chmod 400 master.key"
    )]
    Generate,
}

/// Runs it.
pub fn run(command: &Command) -> u8 {
    match command {
        Command::Generate => output::say(MasterKey::generate(&OsEntropy).expose_secret()),
    }
    OK
}
