//! `agenstack migrate`: the schema.

use crate::wiring::{open_store, start_log};
use crate::{FAILED, Failure, Given, OK, output};
use anyhow::Context;
use clap::Args;

/// What is to be done.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only tell whether the schema is this program's; exit code 1 if it is not
    #[arg(long)]
    check: bool,
}

/// Runs it.
pub(crate) async fn run(given: &Given, arguments: Arguments) -> Result<u8, Failure> {
    let config = given.config()?;
    start_log(config.log.format, &config.log.level);
    let store = open_store(&config).await?;
    if arguments.check {
        return Ok(match store.check().await {
            Ok(()) => {
                output::say("The schema is up to date.");
                OK
            }
            Err(error) => {
                output::error(&error.to_string());
                FAILED
            }
        });
    }
    store.migrate().await.context("the schema could not be brought up to date")?;
    store.close().await;
    output::say("The schema is up to date.");
    Ok(OK)
}
