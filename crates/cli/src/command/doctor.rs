//! `agenstack doctor`: what is wrong, and how to mend it.

use crate::config::Config;
use crate::wiring::{bind, mailer, open_store, providers};
use crate::{FAILED, Failure, Given, OK, output};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found, line by line.
#[derive(Default)]
struct Findings {
    lines: Vec<String>,
    wrong: usize,
}

impl Findings {
    fn good(&mut self, text: impl AsRef<str>) {
        self.lines.push(format!("ok     {}", text.as_ref()));
    }
    fn note(&mut self, text: impl AsRef<str>) {
        self.lines.push(format!("note   {}", text.as_ref()));
    }
    fn bad(&mut self, text: impl AsRef<str>) {
        self.wrong += 1;
        self.lines.push(format!("WRONG  {}", text.as_ref()));
    }
}

/// Runs it.
pub(crate) async fn run(given: &Given) -> Result<u8, Failure> {
    // Wrong settings and refused names end it here, with all of them told.
    let config = given.config()?;
    let mut found = Findings::default();
    match config.keys.vault() {
        Ok(vault) => found.good(format!("master key {}", vault.current_key_id())),
        Err(error) => found.bad(error.to_string()),
    }
    database(&config, &mut found).await;
    public_url(&config, &mut found);
    metrics(&config, &mut found).await;
    hosts(&config, &mut found).await;
    match mailer(&config) {
        Ok(None) => found.note("mail is off (AGENSTACK_SMTP_URL); mails stay in the outbox"),
        Ok(Some(mailer)) => match timeout(PATIENCE, mailer.answers()).await {
            Ok(true) => found.good("the mail server answers and lets us in"),
            _ => found.bad(
                "the mail server of AGENSTACK_SMTP_URL does not answer or does not let us in; check host, port, user and password",
            ),
        },
        Err(error) => found.bad(format!("{error:#}")),
    }
    for line in &found.lines {
        output::say(line);
    }
    output::say(&addresses(&config));
    output::say(&match found.wrong {
        0 => "Nothing is wrong.".to_owned(),
        1 => "1 thing is wrong.".to_owned(),
        n => format!("{n} things are wrong."),
    });
    Ok(if found.wrong == 0 { OK } else { FAILED })
}

async fn database(config: &Config, found: &mut Findings) {
    let store = match timeout(PATIENCE * 2, open_store(config)).await {
        Ok(Ok(store)) => store,
        Ok(Err(error)) => return found.bad(format!("{error:#}")),
        Err(_) => {
            return found
                .bad("the database does not answer; check AGENSTACK_DATABASE_URL and that the server runs");
        }
    };
    match store.check().await {
        Ok(()) => found.good(format!("database ({}), its schema is up to date", store.kind())),
        // `serve` brings it up to date by itself; only a newer one is a mistake.
        Err(error) if error.to_string().contains("newer") => {
            found.bad(format!("{error}; start the newer program"))
        }
        Err(error) => {
            found.note(format!("database ({}): {error}; `serve` does it at its start, too", store.kind()))
        }
    }
    store.close().await;
}

fn public_url(config: &Config, found: &mut Findings) {
    let url = &config.server.public_url;
    if url.is_https() {
        found.good(format!("public URL {url}"));
    } else {
        found.note(format!(
            "public URL {url} is only good for trying; providers need https (AGENSTACK_PUBLIC_URL)"
        ));
    }
}

async fn metrics(config: &Config, found: &mut Findings) {
    let Some(address) = config.server.metrics_listen else {
        return found.note("metrics are off (AGENSTACK_METRICS_LISTEN)");
    };
    match bind(address, "AGENSTACK_METRICS_LISTEN").await {
        Ok(_) => found.good(format!("metrics address {address} is free")),
        Err(_) if matches!(timeout(PATIENCE, serves_metrics(address)).await, Ok(Ok(true))) => {
            found.good(format!("metrics are served at http://{address}/metrics"));
        }
        Err(error) => found.bad(format!("metrics: {error}")),
    }
}

/// Whether a running server of ours has the address.
async fn serves_metrics(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(1024 * 1024).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).contains("\nagenstack_build_info{"))
}

async fn hosts(config: &Config, found: &mut Findings) {
    if let Err(error) = providers(config, &agenstack_providers::Http::new()) {
        found.bad(format!("{error:#}"));
    }
    let not_set_up = |what: &str, names: &str| format!("{what} is not set up; set {names}");
    match &config.shopify.app {
        None => found.note(not_set_up("Shopify", "SHOPIFY_API_KEY and SHOPIFY_API_SECRET")),
        Some(_) => {
            reach("Shopify", &config.shopify.url.as_str().replace("{shop}", "admin.shopify.com"), found).await
        }
    }
    match &config.messenger.app {
        None => found.note(not_set_up(
            "Messenger",
            "MESSENGER_APP_ID, MESSENGER_APP_SECRET and MESSENGER_VERIFY_TOKEN",
        )),
        Some(_) => reach("Messenger", config.messenger.graph_url.as_str(), found).await,
    }
    if config.kustomer.app.is_none() {
        found.note(
            "Kustomer connects by API key only; for OAuth set KUSTOMER_CLIENT_ID and KUSTOMER_CLIENT_SECRET",
        );
    }
    reach("Kustomer", &config.kustomer.api_url.as_str().replace("{org}.", ""), found).await;
}

/// Whether a connection to the host can be opened. Nothing is sent.
async fn reach(who: &str, url: &str, found: &mut Findings) {
    let parsed = Url::parse(url).ok();
    let Some((host, port)) = parsed.as_ref().and_then(|u| Some((u.host_str()?, u.port_or_known_default()?)))
    else {
        return found.bad(format!("{who}: its address is not a URL"));
    };
    match timeout(PATIENCE, TcpStream::connect((host.trim_matches(['[', ']']), port))).await {
        Ok(Ok(_)) => found.good(format!("{who} can be reached at {host}:{port}")),
        _ => found.bad(format!(
            "{who} cannot be reached at {host}:{port}; check the network, the firewall and DNS"
        )),
    }
}

/// What has to be registered with each provider, ready to copy.
fn addresses(config: &Config) -> String {
    let url = &config.server.public_url;
    format!(
        "
To register with the providers
  Shopify    redirect URL   {url}/api/oauth/shopify/callback
             webhooks       {url}/api/webhooks/shopify   (also for the three compliance topics)
  Meta       redirect URI   {url}/api/oauth/messenger/callback
             webhooks       {url}/api/webhooks/messenger   (object page; its verify token is MESSENGER_VERIFY_TOKEN)
             deauthorize    {url}/api/webhooks/messenger/deauthorize
             data deletion  {url}/api/webhooks/messenger/data-deletion
  Kustomer   redirect URI   {url}/api/oauth/kustomer/callback
"
    )
}
