//! `agenstack serve`: the server.

#[cfg(feature = "otlp")]
use crate::otlp::collector;
use crate::wiring::{Role, World, bind, start, start_log, told_to_stop};
use crate::{Failure, Given, OK, output};
use clap::Args;
#[cfg(not(feature = "otlp"))]
use {crate::config::Trace, agenstack_app::trace::Collector, std::sync::Arc};

/// How it is started.
#[derive(Debug, Args)]
#[command(
    after_help = "Needs a master key (agenstack keys generate) and, for each provider, the platform's app credentials;\n\
    agenstack doctor tells what is missing. The schema is brought up to date at the start.\n\
    Several nodes on one PostgreSQL: give each --role web, worker or all."
)]
pub struct Arguments {
    /// Which part of the work this node does
    #[arg(long, value_enum, default_value_t = Role::All)]
    role: Role,
}

/// Who takes spans: nobody, in a program that cannot send them.
#[cfg(not(feature = "otlp"))]
fn collector(settings: &Trace) -> anyhow::Result<Option<Arc<dyn Collector>>> {
    if settings.endpoint.is_some() {
        tracing::warn!(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and this program was built without the feature otlp: no spans are sent"
        );
    }
    Ok(None)
}

/// Runs until it is told to stop.
pub(crate) async fn run(given: &Given, arguments: Arguments) -> Result<u8, Failure> {
    let config = given.config()?;
    start_log(config.log.format, &config.log.level);
    let listener = match arguments.role {
        Role::Worker => None,
        _ => Some(bind(config.server.listen, "AGENSTACK_LISTEN").await?),
    };
    let world = World { collector: collector(&config.trace)?, ..World::default() };
    let running = start(&config, arguments.role, listener, world).await?;
    for (name, missing) in [
        ("Shopify", config.shopify.app.is_none()),
        ("Messenger", config.messenger.app.is_none()),
        ("Kustomer's OAuth", config.kustomer.app.is_none()),
    ] {
        if missing {
            tracing::warn!("{name} is not set up; agenstack doctor tells which settings are missing");
        }
    }
    // In the log: whoever starts the program reads its one line, that it is ready, and may close the pipe.
    if let Some(address) = running.metrics {
        tracing::info!(%address, "Prometheus' metrics are at /metrics");
    }
    match running.address {
        Some(address) => output::say(&format!(
            "AgenStack is ready at {} (listening on {address})",
            running.app.public_url()
        )),
        None => output::say("AgenStack works on what was accepted"),
    }
    told_to_stop().await;
    tracing::info!("stopping");
    running.stop(config.server.shutdown).await;
    Ok(OK)
}
