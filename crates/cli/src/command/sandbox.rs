//! `agenstack sandbox`: the emulated providers alone.

use crate::config::LogFormat;
use crate::wiring::{start_log, told_to_stop};
use crate::{Failure, Given, OK, output};
use agenstack_sandbox::Settings;
use anyhow::Context;
use clap::Args;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// How it is started.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints the settings that make a server speak to it. They are made up and new at every start."
)]
pub struct Arguments {
    /// Its address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// The server that it sends webhooks to
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    product: String,
}

/// Runs until it is told to stop.
pub(crate) async fn run(_given: &Given, arguments: Arguments) -> Result<u8, Failure> {
    start_log(LogFormat::Text, "warn");
    let listener = TcpListener::bind(arguments.listen).await;
    let listener = listener
        .with_context(|| format!("{} is not free; choose another with --listen", arguments.listen))?;
    let address = listener.local_addr().context("the listener has no address")?;
    let product = arguments.product.trim_end_matches('/').to_owned();
    let settings = Settings::demo(format!("http://{address}"), product);
    output::say(&format!("# The sandbox is at http://{address}. Settings for the server:"));
    for (name, value) in settings.product_environment() {
        output::say(&format!("{name}={value}"));
    }
    agenstack_sandbox::serve(listener, settings, told_to_stop()).await.context("the sandbox ended")?;
    Ok(OK)
}
