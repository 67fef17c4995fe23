//! `agenstack migrate`: the schema.

use crate::wiring::{open_store, start_log};
use crate::{FAILED, Failure, Given, OK, output};
use agenstack_store::schema::Schema;
use anyhow::Context;
use clap::Args;

/// What is to be done.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only tell whether this program works with the schema; exit code 1 if it does not
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
            Ok(schema) => {
                output::say(&told(schema));
                OK
            }
            Err(error) => {
                output::error(&error.to_string());
                FAILED
            }
        });
    }
    let schema = store.migrate().await.context("the schema could not be brought up to date")?;
    store.close().await;
    output::say(&told(schema));
    Ok(OK)
}

fn told(schema: Schema) -> String {
    if schema.is_newer() {
        return format!(
            "The schema is newer than this program (migration {}; this program knows those up to {}), and this program works \
             with it.",
            schema.at, schema.known
        );
    }
    "The schema is up to date.".to_owned()
}
