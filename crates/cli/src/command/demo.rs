//! `agenstack demo`: everything on this machine, nothing to configure.

mod seed;

use crate::config::{Config, LogFormat, PublicUrl, Sources};
use crate::wiring::{Role, World, start, start_log, told_to_stop};
use crate::{Failure, Given, OK, output};
use agenstack_core::entropy::OsEntropy;
use agenstack_sandbox::Settings;
use agenstack_vault::MasterKey;
use anyhow::Context;
use clap::Args;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpListener;

/// How it is started.
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing of it reaches the network. Without --data everything is forgotten at the end."
)]
pub struct Arguments {
    /// Keep the database and the master key in this directory
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Add two organizations whose accounts are connected already, and print their log-ins
    #[arg(long)]
    seed: bool,
    /// The server's address; the next free port if it is taken
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The emulated providers' address; the next free port if it is taken
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    sandbox_listen: SocketAddr,
    /// How browsers reach it, if a proxy of yours stands before it; see examples/frontend
    #[arg(long, value_name = "URL", value_parser = PublicUrl::parse)]
    public_url: Option<PublicUrl>,
}

/// Runs until it is told to stop.
pub(crate) async fn run(given: &Given, arguments: Arguments) -> Result<u8, Failure> {
    // One customer's credentials are refused here, too; the platform's own are not needed and not used.
    given.sources()?;
    start_log(LogFormat::Text, "warn");
    let scratch = match &arguments.data {
        Some(_) => None,
        None => Some(tempfile::tempdir().context("there is no place for the demo's database")?),
    };
    let data = match (&arguments.data, &scratch) {
        (Some(data), _) => data.clone(),
        (None, Some(scratch)) => scratch.path().to_owned(),
        (None, None) => unreachable!("a directory is either given or made"),
    };
    let master_key = master_key(&data)?;

    let sandbox = free(arguments.sandbox_listen).await?;
    let listener = free(arguments.listen).await?;
    let url = |l: &TcpListener| {
        l.local_addr().map(|a| format!("http://{a}")).context("the listener has no address")
    };
    let (sandbox_url, listening) = (url(&sandbox)?, url(&listener)?);
    let product_url = arguments.public_url.as_ref().map_or(listening.clone(), PublicUrl::to_string);
    let settings = Settings::demo(sandbox_url.clone(), product_url.clone());
    let mut environment: BTreeMap<String, String> =
        settings.product_environment().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    environment.insert("AGENSTACK_MASTER_KEY".into(), master_key);
    environment.insert("AGENSTACK_PUBLIC_URL".into(), product_url.clone());
    environment.insert("AGENSTACK_DATA_DIR".into(), data.display().to_string());
    let password = hex::encode(agenstack_core::entropy::bytes::<12>(&OsEntropy));
    environment.insert("AGENSTACK_OPERATOR_PASSWORD".into(), password.clone());
    let config = Config::load(&Sources::from_environment(environment))?;

    let (stop_sandbox, stopped) = tokio::sync::oneshot::channel::<()>();
    let emulated = tokio::spawn(agenstack_sandbox::serve(sandbox, settings, async {
        // A sender that is gone is an end as well.
        let _ = stopped.await;
    }));
    let running = start(&config, Role::All, Some(listener), World::default()).await?;
    output::say(&tour(&product_url, &sandbox_url, arguments.data.as_deref(), &password));
    if product_url != listening {
        output::say(&format!("Your proxy leads to  {listening}"));
    }
    if arguments.seed {
        for line in seed::seed(&running.app, &sandbox_url).await? {
            output::say(&line);
        }
    }
    told_to_stop().await;
    running.stop(Duration::from_secs(5)).await;
    // The sandbox may have ended by itself.
    let _ = stop_sandbox.send(());
    let _ = tokio::time::timeout(Duration::from_secs(2), emulated).await;
    Ok(OK)
}

/// The key of a kept demo, or a new one. Kept beside its database, so that the next start opens it again.
fn master_key(data: &Path) -> anyhow::Result<String> {
    std::fs::create_dir_all(data)
        .with_context(|| format!("the directory {} cannot be made", data.display()))?;
    let path = data.join("master.key");
    if path.exists() {
        let text = std::fs::read_to_string(&path);
        return Ok(text.with_context(|| format!("{} cannot be read", path.display()))?.trim().to_owned());
    }
    let key = MasterKey::generate(&OsEntropy).expose_secret().to_owned();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written =
        options.open(&path).and_then(|mut file| std::io::Write::write_all(&mut file, key.as_bytes()));
    written.with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(key)
}

/// The address, or the next free port after it.
async fn free(wanted: SocketAddr) -> anyhow::Result<TcpListener> {
    let mut address = wanted;
    for _ in 0..50 {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(_) if address.port() < u16::MAX => address.set_port(address.port() + 1),
            Err(_) => break,
        }
    }
    anyhow::bail!("no port from {wanted} on is free; choose another with --listen or --sandbox-listen")
}

fn tour(product: &str, sandbox: &str, data: Option<&Path>, password: &str) -> String {
    let kept = match data {
        Some(data) => format!("Everything is kept in {}.", data.display()),
        None => "Everything is forgotten at the end.".to_owned(),
    };
    format!(
        "AgenStack demo

  The product      {product}
  The providers    {sandbox}    (Shopify, Facebook and Kustomer, emulated on this machine)

A short tour

  1. Sign up             {product}/signup
  2. Connect Shopify     the shop is called  lark-supply
     Connect Facebook    continue as Lena Lark, then choose the page Lark Supply
     Connect Kustomer    subdomain  lark-supply,  with a key from  {sandbox}/kustomer-keys
  3. Be a customer       {sandbox}/chat/100000000000001
                         Where is my order 1001?    then    ana@example.com
                         I want to talk to a person
  4. See it live         in your inbox at {product}, and at the desk {sandbox}/desk/lark-supply

  5. Be the operator     {product}/operator    any name, password  {password}

  A second organization: fern-goods, as Finn Fern, page Fern Goods. It has its own order 1001 of the same customer.

{kept} Ctrl-C ends it.
"
    )
}
