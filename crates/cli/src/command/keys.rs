//! `agenstack keys`: the master key.

use crate::wiring::{open_store, start_log};
use crate::{FAILED, Failure, Given, OK, output};
use agenstack_app::AppError;
use agenstack_app::keyring::Keyring;
use agenstack_app::renewal;
use agenstack_app::rotation::{self, Progress};
use agenstack_core::entropy::OsEntropy;
use agenstack_core::id::OrgId;
use agenstack_store::Store;
use agenstack_vault::MasterKey;
use anyhow::Context;
use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use std::sync::Arc;

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
    /// Give organizations a new data key; running servers seal their values anew
    #[command(
        after_help = "This happens by itself for a key that has sealed for 90 days. It can be stopped and started again: what got a\n\
        new key within the last hour is left alone, unless it is named. `agenstack keys status` tells how far it is."
    )]
    Renew(Renew),
    /// Tell which keys are in use, how far their renewal is, and whether the previous master key can go
    Status,
}

/// Whose keys.
#[derive(Debug, Args)]
pub struct Renew {
    /// Only this organization's, however young its key is
    #[arg(long, value_name = "ORG")]
    organization: Option<String>,
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
    if let Command::Renew(which) = command {
        let clock = store.clock().await.context("the database does not tell its time")?;
        let keyring = Keyring::new(store.clone(), vault, clock, Arc::new(OsEntropy));
        return renew(&store, &keyring, which).await;
    }
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
    renewal_status(&store).await?;
    Ok(OK)
}

async fn renew(store: &Store, keyring: &Keyring, which: &Renew) -> Result<u8, Failure> {
    let begun = match &which.organization {
        None => renewal::begin_all(keyring).await,
        Some(org) => {
            let Some(org) = OrgId::parse(org) else {
                output::error("--organization: not the id of an organization; it begins with org_");
                return Ok(FAILED);
            };
            match renewal::begin_one(keyring, &org).await {
                Err(AppError::NotFound) => {
                    output::error("there is no such organization, or it is deleted");
                    return Ok(FAILED);
                }
                begun => begun.map(i64::from),
            }
        }
    };
    let begun = begun.context("the renewal was interrupted; what was done holds")?;
    output::say(&format!(
        "{begun} organizations have a new data key; running servers seal their values anew."
    ));
    renewal_status(store).await?;
    Ok(OK)
}

/// How far the renewal of data keys is, in plain lines.
async fn renewal_status(store: &Store) -> Result<(), Failure> {
    let clock = store.clock().await.context("the database does not tell its time")?;
    let status = renewal::status(store, clock.now()).await.context("the keys cannot be counted")?;
    let all = status.under_way;
    output::say(&format!("{:>8} organizations have a data key older than 90 days", status.overdue));
    output::say(&format!("{:>8} organizations still have former data keys", all.organizations));
    if all.organizations > 0 {
        output::say(&format!("{:>8} of them wait for their next look", all.waiting));
        output::say(&format!("{:>8} of their values are sealed anew", all.resealed));
    }
    if all.unreadable > 0 {
        output::say(&format!("{:>8} of their values do not open; their keys are kept", all.unreadable));
    }
    Ok(())
}
