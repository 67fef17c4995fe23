//! How many tokens can be read and opened in one second, in process: each read asks the database for the sealed token of
//! one connection and opens it with the organization's key, as every call to a provider does. Needs a database that
//! `agenstack seed` has filled, named as for `agenstack serve`; prints one line of JSON.

use agenstack::config::{Config, Sources};
use agenstack::wiring::{World, app, open_store};
use agenstack_app::token;
use agenstack_core::ctx::{Actor, OrgCtx};
use agenstack_core::integration::Provider;
use std::time::{Duration, Instant};

/// Connections that are read from, and how long.
const CONNECTIONS: usize = 1_000;
const LENGTH: Duration = Duration::from_secs(5);
const CALLERS: usize = 8;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::load(&Sources::from_environment(agenstack::config::process_environment()))?;
    let store = open_store(&config).await?;
    let app = app(&config, &config.server.public_url, World::default())
        .await
        .map_err(|_| anyhow::anyhow!("the application does not start"))?;
    let mut connections = Vec::new();
    for n in 1..=CONNECTIONS {
        let shop = format!("shop-{n:05}.myshopify.com");
        let Some(owned) = store.global_read().await?.route_by_account(Provider::Shopify, &shop).await? else {
            break;
        };
        let org = OrgCtx::from_signed(app.ctx(Actor::Operator), &owned.route);
        let it = token::connection(&app, &org, Provider::Shopify, None).await?;
        // The first success is recorded on the connection; from then on a call only reads for a minute.
        token::call(&app, &org, &it, |_| async { Ok(()) }).await?;
        let it = token::connection(&app, &org, Provider::Shopify, None).await?;
        connections.push((org, it));
    }
    anyhow::ensure!(!connections.is_empty(), "no seeded shop was found");
    let connections = std::sync::Arc::new(connections);
    let begun = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let (app, connections) = (app.clone(), connections.clone());
        callers.spawn(async move {
            let (mut read, mut slowest) = (0_u64, Duration::ZERO);
            while begun.elapsed() < LENGTH {
                let (org, it) = &connections[(caller + read as usize * CALLERS) % connections.len()];
                let asked = Instant::now();
                token::call(&app, org, it, |_| async { Ok(()) }).await?;
                slowest = slowest.max(asked.elapsed());
                read += 1;
            }
            anyhow::Ok((read, slowest))
        });
    }
    let (mut read, mut slowest) = (0, Duration::ZERO);
    while let Some(done) = callers.join_next().await {
        let (n, longest) = done??;
        (read, slowest) = (read + n, slowest.max(longest));
    }
    let report = serde_json::json!({
        "reads": read,
        "per_s": (read as f64 / begun.elapsed().as_secs_f64()).round(),
        "callers": CALLERS,
        "connections": connections.len(),
        "slowest_ms": slowest.as_secs_f64() * 1000.0,
    });
    #[expect(clippy::print_stdout, reason = "its report is what it is run for")]
    {
        println!("{report}");
    }
    Ok(())
}
