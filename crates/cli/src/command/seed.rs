//! `agenstack seed`: organizations for measuring.

use crate::wiring::{World, app, start_log};
use crate::{Failure, Given, OK, output};
use agenstack_app::seed;
use anyhow::Context;
use clap::Args;

/// What is to be made.
#[derive(Debug, Args)]
#[command(
    after_help = "For measuring, into an empty database only: organization i has the connected shop named shop-0000i (of five digits) and\n\
    the connected page 100000000000000+i, with made-up tokens that no provider accepts. Nobody can log in."
)]
pub struct Arguments {
    /// How many organizations
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    organizations: u32,
}

/// Runs it.
pub(crate) async fn run(given: &Given, arguments: Arguments) -> Result<u8, Failure> {
    let config = given.config()?;
    start_log(config.log.format, &config.log.level);
    let app = app(&config, &config.server.public_url, World::default()).await?;
    let n = arguments.organizations;
    let told = |done: u32| {
        if done.is_multiple_of(1_000) || done == n {
            output::say(&format!("{done} of {n} organizations"));
        }
    };
    seed::seed(&app, n, told).await.map_err(anyhow::Error::new).context("nothing more was seeded")?;
    Ok(OK)
}
