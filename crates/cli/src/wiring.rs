//! Puts the rooms together: from a configuration to a running server.

use crate::config::{Config, LogFormat, PublicUrl};
use crate::{Failure, files};
use agenstack_app::mail::Mailer;
use agenstack_app::trace::Collector;
use agenstack_app::{App, Parts, Providers, worker};
use agenstack_core::clock::Clock;
use agenstack_core::entropy::{Entropy, OsEntropy};
use agenstack_providers::{Http, Kustomer, KustomerApp, Messenger, MetaApp, Shopify, ShopifyApp};
use agenstack_store::Store;
use agenstack_web::Web;
use anyhow::Context;
use secrecy::ExposeSecret;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

/// Runs a command's future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("the operating system gives no threads")?;
    let outcome = runtime.block_on(future);
    // What hangs outside (a stuck name look-up) does not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Begins to write the log, to standard error.
pub(crate) fn start_log(format: LogFormat, level: &str) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// Opens the database; the directory of an embedded one is made.
///
/// # Errors
/// Says what cannot be opened, never with a password.
pub async fn open_store(config: &Config) -> anyhow::Result<Store> {
    if let Some(folder) =
        config.storage.database.sqlite_path().and_then(|p| p.parent().map(ToOwned::to_owned))
    {
        let made = std::fs::create_dir_all(&folder);
        made.with_context(|| {
            format!("the directory {} cannot be made; see AGENSTACK_DATA_DIR", folder.display())
        })?;
    }
    let url = config.storage.database.expose();
    let opened = Store::connect(url.expose_secret()).await;
    opened.context("the database cannot be opened; check AGENSTACK_DATABASE_URL and that the server runs")
}

/// The providers as the operator set them up.
///
/// # Errors
/// If an address cannot be used.
pub fn providers(config: &Config, http: &Http) -> anyhow::Result<Providers> {
    let calls = http.tally();
    let shopify = config.shopify.app.as_ref().map(|app| {
        let app = ShopifyApp {
            api_key: app.api_key.clone(),
            api_secret: app.api_secret.clone(),
            api_secret_previous: app.api_secret_previous.clone(),
            scopes: config.shopify.scopes.clone(),
        };
        Shopify::new(app, config.shopify.url.as_str().to_owned(), http.clone())
            .context("SHOPIFY_URL cannot be used")
    });
    let messenger = config.messenger.app.as_ref().map(|app| {
        let app = MetaApp {
            app_id: app.app_id.clone(),
            app_secret: app.app_secret.clone(),
            verify_token: app.verify_token.clone(),
        };
        let (dialog, graph) = (&config.messenger.facebook_url, &config.messenger.graph_url);
        Messenger::new(app, dialog.as_str().to_owned(), graph.as_str().to_owned(), http.clone())
            .context("FACEBOOK_URL or GRAPH_URL cannot be used")
    });
    let app = config.kustomer.app.as_ref().map(|app| KustomerApp {
        client_id: app.client_id.clone(),
        client_secret: app.client_secret.clone(),
    });
    let kustomer_oauth = app.is_some();
    let kustomer =
        Kustomer::new(http.clone(), config.kustomer.url.as_str(), config.kustomer.api_url.as_str(), app)
            .context("KUSTOMER_URL or KUSTOMER_API_URL cannot be used")?;
    Ok(Providers {
        shopify: shopify.transpose()?,
        messenger: messenger.transpose()?,
        kustomer,
        kustomer_oauth,
        calls,
    })
}

/// The mail server, if there is one.
///
/// # Errors
/// If its settings cannot be used.
pub fn mailer(config: &Config) -> anyhow::Result<Option<Mailer>> {
    match (&config.mail.smtp_url, &config.mail.from) {
        (Some(url), Some(from)) => Ok(Some(Mailer::new(url, from)?)),
        _ => Ok(None),
    }
}

/// Where time, randomness and the way outside come from. Tests give their own.
#[derive(Clone)]
pub struct World {
    /// Time; the one that all share who work on the database ([`Store::clock`]), if none is given.
    pub clock: Option<Arc<dyn Clock>>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The way to the providers.
    pub http: Http,
    /// Who takes the spans of events.
    pub collector: Option<Arc<dyn Collector>>,
}

impl Default for World {
    fn default() -> Self {
        Self { clock: None, entropy: Arc::new(OsEntropy), http: Http::new(), collector: None }
    }
}

/// The application, on a database whose schema is this program's.
///
/// # Errors
/// If the master key is missing, the database cannot be reached, or its roles would not keep tenants apart.
pub async fn app(config: &Config, public_url: &PublicUrl, world: World) -> Result<App, Failure> {
    let vault = config.keys.vault()?;
    let store = open_store(config).await?;
    // Under the migrations' own lock: of several nodes that start at once one does it.
    let schema = store.migrate().await.context("the schema could not be brought up to date")?;
    if schema.is_newer() {
        tracing::info!(
            at = schema.at,
            known = schema.known,
            "the schema is newer than this program, which works with it"
        );
    }
    let missing =
        agenstack_app::rotation::missing(&store, &vault).await.context("the keys cannot be counted")?;
    if !missing.is_empty() {
        return Err(Failure::Configuration(format!(
            "AGENSTACK_MASTER_KEY: this database was sealed under {}, and that key was not given; give it here, or as \
             AGENSTACK_MASTER_KEY_PREVIOUS while you rotate",
            missing.join(" and ")
        )));
    }
    let clock = match world.clock {
        Some(clock) => clock,
        None => store.clock().await.context("the database does not tell its time")?,
    };
    let parts = Parts {
        store,
        vault,
        providers: providers(config, &world.http)?,
        clock,
        entropy: world.entropy,
        public_url: public_url.as_str().to_owned(),
        mailer: mailer(config)?,
        retention: config.inbox.retention,
        collector: world.collector,
    };
    Ok(App::new(parts))
}

/// Which part of the work a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Everything
    All,
    /// Pages, API and webhooks
    Web,
    /// What was accepted
    Worker,
}

/// A running node.
pub struct Running {
    /// Where it listens; `None` for a worker.
    pub address: Option<SocketAddr>,
    /// Where `/metrics` is; `None` if that is off.
    pub metrics: Option<SocketAddr>,
    /// The application, for whoever runs it in this process.
    pub app: App,
    closing: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    listening: JoinHandle<()>,
    saying: JoinHandle<()>,
}

/// Connections that the system keeps for us until we take them, if it is allowed to (`net.core.somaxconn`). The usual 128 are
/// fewer than come at once when a sale begins, and who comes past them has to try again a second later.
const BACKLOG: u32 = 4_096;

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that a restart need not wait for the last connections of the process before it.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes an address, or says which setting changes it.
///
/// # Errors
/// If it is taken, or not this machine's.
pub(crate) async fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    listen(address).with_context(|| format!("{address} is not free; set {setting}"))
}

/// Starts a node on a listener that is bound already.
///
/// # Errors
/// As [`app`].
pub async fn start(
    config: &Config,
    role: Role,
    listener: Option<TcpListener>,
    world: World,
) -> Result<Running, Failure> {
    let address = listener.as_ref().map(TcpListener::local_addr).transpose();
    let address = address.context("the listener has no address")?;
    let public_url = match address {
        Some(address) if !config.server.public_url_given => PublicUrl::of(address),
        _ => config.server.public_url.clone(),
    };
    let metrics = match config.server.metrics_listen {
        Some(address) => Some(bind(address, "AGENSTACK_METRICS_LISTEN").await?),
        None => None,
    };
    let app = app(config, &public_url, world).await?;
    if role == Role::Web {
        app.tell_work();
    }
    let listening = tokio::spawn(app.clone().listen());
    let saying = tokio::spawn(agenstack_app::pulse::say(app.clone()));
    let (closing, closed) = watch::channel(false);
    let ended = |mut closed: watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which is an end as well.
        let _ = closed.wait_for(|over| *over).await;
    };
    let mut tasks = Vec::new();
    if let Some(listener) = listener.filter(|_| role != Role::Worker) {
        let web = Web {
            app: app.clone(),
            trusted_proxies: config.server.trusted_proxies.clone(),
            operator_password: config.server.operator_password.clone(),
            closing: closed.clone(),
        };
        let connections = files::connections(files::raise());
        let usual = agenstack_web::server::Limits::default();
        let last = usual.last.min(config.server.shutdown / 20);
        let limits = agenstack_web::server::Limits { connections, last, ..usual };
        if connections < usual.connections {
            tracing::warn!(
                connections,
                "the system gives few open files; agenstack doctor tells how to have more"
            );
        }
        let over = ended(closed.clone());
        tasks.push(tokio::spawn(agenstack_web::server::serve(
            listener,
            agenstack_web::router(web),
            limits,
            over,
        )));
    }
    let metrics = match metrics {
        Some(listener) => {
            let address = listener.local_addr().context("the listener has no address")?;
            let over = ended(closed.clone());
            let service = agenstack_web::metrics(app.clone());
            // One collector asks every few seconds; whoever else gets there shall not take the files of the server.
            let few =
                agenstack_web::server::Limits { connections: 64, last: Duration::ZERO, ..Default::default() };
            tasks.push(tokio::spawn(agenstack_web::server::serve(listener, service, few, over)));
            Some(address)
        }
        None => None,
    };
    if role != Role::Web {
        let grace = share(config.server.shutdown, 8);
        tasks.push(tokio::spawn(worker::run(app.clone(), config.server.workers, ended(closed), grace)));
    }
    Ok(Running { address, metrics, app, closing, tasks, listening, saying })
}

/// So many tenths of the time in which a node has to have ended: at eight of them work is handed back, at nine nothing is
/// waited for any more.
fn share(shutdown: Duration, tenths: u32) -> Duration {
    shutdown / 10 * tenths
}

impl Running {
    /// Stops within `shutdown`: accepts nothing more, finishes what is under way, and hands back the leases of what is not
    /// finished in time.
    pub async fn stop(self, shutdown: Duration) {
        // No receiver is left when everything has ended by itself.
        let _ = self.closing.send(true);
        let all = async {
            for task in self.tasks {
                let _ = task.await;
            }
        };
        if tokio::time::timeout(share(shutdown, 9), all).await.is_err() {
            tracing::warn!("some requests were not finished in time");
        }
        self.listening.abort();
        self.saying.abort();
        if let Some(collector) = self.app.collector().cloned() {
            // It may block for a moment.
            let _ = tokio::task::spawn_blocking(move || collector.end()).await;
        }
    }
}

/// Waits until the operator ends the program: Ctrl-C, or SIGTERM from a supervisor.
pub(crate) async fn told_to_stop() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        if let Ok(mut terminate) = terminate {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = interrupt.await;
}
