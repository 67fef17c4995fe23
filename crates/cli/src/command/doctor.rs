//! `agenstack doctor`: what is wrong, and how to mend it.

mod address;
mod clock;
mod network;
mod storage;

use crate::config::Config;
use crate::wiring::{bind, mailer};
use crate::{FAILED, Failure, Given, OK, files, output};
use agenstack_core::clock::SystemClock;
use agenstack_providers::Http;
use agenstack_web::server::Limits;
use clock::Clocks;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

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
    /// Nothing is called wrong without the way to mend it.
    fn bad(&mut self, what: impl AsRef<str>, mend: impl AsRef<str>) {
        self.wrong += 1;
        self.lines.push(format!("WRONG  {}; {}", what.as_ref(), mend.as_ref()));
    }
}

/// Runs it.
pub(crate) async fn run(given: &Given) -> Result<u8, Failure> {
    // Wrong settings and refused names end it here, with all of them told.
    let config = given.config()?;
    let (mut found, mut clocks) = (Findings::default(), Clocks::new(&SystemClock));
    let vault = config.keys.vault();
    match &vault {
        Ok(vault) => found.good(format!("master key {}", vault.current_key_id())),
        Err(_) => found.bad(
            "there is no master key, and nothing is stored unencrypted",
            "make one with `agenstack keys generate`, keep a copy in a safe place, and give it as AGENSTACK_MASTER_KEY_FILE",
        ),
    }
    open_files(&mut found);
    storage::folder(&config, &mut found);
    storage::database(&config, vault.ok().as_ref(), &mut clocks, &mut found).await;
    let http = Http::with_timeout(PATIENCE);
    network::public_url(&config, &http, &mut found).await;
    metrics(&config, &mut found).await;
    network::hosts(&config, &http, &mut clocks, &mut found).await;
    clocks.tell(&mut found);
    mail(&config, &mut found).await;
    for line in &found.lines {
        output::say(line);
    }
    output::say(&address::to_register(&config));
    output::say(&match found.wrong {
        0 => "Nothing is wrong.".to_owned(),
        1 => "1 thing is wrong.".to_owned(),
        n => format!("{n} things are wrong."),
    });
    Ok(if found.wrong == 0 { OK } else { FAILED })
}

/// `serve` takes as many as it gets.
fn open_files(found: &mut Findings) {
    let (most, usual) = (files::most(), Limits::default().connections);
    let room = files::connections(most);
    let Some(most) = most else { return };
    if room == usual {
        found.good(format!("{most} files may be open at once, enough for {usual} connections"));
    } else {
        found.note(format!(
            "{most} files may be open at once, so that there is room for {room} connections and not for {usual}; raise the hard \
             limit of open files (LimitNOFILE= of a systemd unit, nofile of a container)"
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
        Err(_) => found.bad(
            format!("the metrics address {address} cannot be taken, and no server of ours has it"),
            "set AGENSTACK_METRICS_LISTEN to a free address of this machine",
        ),
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

async fn mail(config: &Config, found: &mut Findings) {
    match mailer(config) {
        Ok(None) => found.note("mail is off (AGENSTACK_SMTP_URL); mails stay in the outbox"),
        Ok(Some(mailer)) => match timeout(PATIENCE, mailer.answers()).await {
            Ok(true) => found.good("the mail server answers and lets us in"),
            _ => found.bad(
                "the mail server of AGENSTACK_SMTP_URL does not answer or does not let us in",
                "check host, port, user and password",
            ),
        },
        Err(error) => {
            found.bad(
                format!("{error:#}"),
                "see AGENSTACK_SMTP_URL and AGENSTACK_MAIL_FROM in docs/configuration.md",
            );
        }
    }
}
