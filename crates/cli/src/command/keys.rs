//! `agenstack keys`: the master key.

use crate::wiring::{open_store, start_log};
use crate::{FAILED, Failure, Given, OK, output};
use agenstack_app::rotation::{self, Progress};
use agenstack_core::entropy::OsEntropy;
use agenstack_vault::MasterKey;
use anyhow::Context;
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
    /// Wrap every organization's data key with the present master key, while the server runs
    #[command(
        after_help = "Before: set the new key as AGENSTACK_MASTER_KEY and the old one as AGENSTACK_MASTER_KEY_PREVIOUS on every\n\
        node, and restart them. It can be stopped and started again. Afterwards ask `agenstack keys status`\n\
        whether the old one can go."
    )]
    Rotate,
    /// Tell which master keys are in use, and whether the previous one can go
    Status,
}

/// Runs it.
pub(crate) async fn run(given: &Given, command: &Command) -> Result<u8, Failure> {
    if let Command::Generate = command {
        output::say(MasterKey::generate(&OsEntropy).expose_secret());
        return Ok(OK);
    }
    let config = given.config()?;
    start_log(config.log.format, &config.log.level);
    let vault = config.keys.vault()?;
    let store = open_store(&config).await?;
    store.check().await.context("the schema is not this program's")?;
    if let Command::Rotate = command {
        let told = |p: Progress| output::say(&format!("{} of {} data keys", p.done, p.total));
        let done = rotation::rotate(&store, &vault, &OsEntropy, told)
            .await
            .context("the rotation was interrupted")?;
        output::say(&format!("{} data keys are wrapped by {} now.", done.done, vault.current_key_id()));
        if done.stuck > 0 {
            output::error(&format!(
                "{} data keys need a master key that was not given; set it as AGENSTACK_MASTER_KEY_PREVIOUS and run this again",
                done.stuck
            ));
            return Ok(FAILED);
        }
    }
    let status = rotation::status(&store, &vault).await.context("the keys cannot be counted")?;
    for (what, counts) in [("data keys", &status.data_keys), ("events of nobody yet", &status.unrouted)] {
        for (id, n) in counts {
            let mark = if *id == status.current { " (current)" } else { "" };
            output::say(&format!("{n:>8} {what} under {id}{mark}"));
        }
    }
    output::say(if status.only_current() {
        "Nothing needs another key: AGENSTACK_MASTER_KEY_PREVIOUS can be removed."
    } else if status.data_keys.keys().all(|id| *id == status.current) {
        "Only events that belong to nobody yet need the previous key; they are gone within a day."
    } else {
        "The previous key is still needed: run `agenstack keys rotate`."
    });
    Ok(OK)
}
