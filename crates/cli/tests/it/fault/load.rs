//! Providers that deliver: many lines, each of which sends its next event when the one before was acknowledged, and sends
//! again what was not, to whichever node.

use super::ledger::Ledger;
use super::node::{Node, Stage};
use crate::scene::client_that;
use crate::wire::{delivery, message, meta_signature_by, shopify_signature_by};
use agenstack_sandbox::Settings;
use reqwest::{Client, RequestBuilder, StatusCode, header};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The page of the first organization is the one after this.
const PAGES: usize = 100_000_000_000_000;
/// Connections that were not used for so long are not used again: a node that ends waits a second for what was on its way.
const KEPT: Duration = Duration::from_millis(100);
/// Nobody waits longer for an answer; providers hang up after five seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is sent where.
pub struct Load {
    http: Client,
    settings: Settings,
    nodes: RwLock<Vec<String>>,
    /// The first of them, and how many.
    organizations: (usize, usize),
    pub ledger: Ledger,
    over: AtomicBool,
    next: AtomicUsize,
}

/// Lines at work; they end when they are told to.
pub struct Running {
    pub load: Arc<Load>,
    lines: JoinSet<()>,
}

impl Load {
    pub fn new(stage: &Stage, nodes: &[Node], organizations: usize) -> Arc<Self> {
        Self::to(stage, nodes, (1, organizations))
    }

    /// For so many organizations from a later one on.
    pub fn to(stage: &Stage, nodes: &[Node], organizations: (usize, usize)) -> Arc<Self> {
        Arc::new(Self {
            http: client_that(|builder| builder.pool_idle_timeout(KEPT)),
            settings: stage.settings.clone(),
            nodes: RwLock::new(nodes.iter().map(|n| n.at.clone()).collect()),
            organizations,
            ledger: Ledger::default(),
            over: AtomicBool::new(false),
            next: AtomicUsize::new(0),
        })
    }

    /// From now on it is sent to these.
    pub fn balance<'a>(&self, nodes: impl Iterator<Item = &'a Node>) {
        *self.nodes.write().unwrap() = nodes.map(|n| n.at.clone()).collect();
    }

    /// Starts `lines` lines, each a customer who goes on writing and an order that goes on changing.
    pub fn run(self: Arc<Self>, lines: usize) -> Running {
        let mut all = JoinSet::new();
        for line in 0..lines {
            let (load, line) = (self.clone(), line + 1_000 * (self.organizations.0 - 1));
            all.spawn(async move {
                let mut n = 0;
                while !load.over.load(Ordering::SeqCst) {
                    load.send(line, &mut n).await;
                }
            });
        }
        Running { load: self, lines: all }
    }

    /// The same for `conversations` customers, each of whom writes `each` messages and is done; `at_once` of them write at a
    /// time.
    pub fn converse(self: Arc<Self>, conversations: usize, each: usize, at_once: usize) -> Running {
        let mut all = JoinSet::new();
        for _ in 0..at_once {
            let load = self.clone();
            all.spawn(async move {
                loop {
                    let line = load.next.fetch_add(1, Ordering::SeqCst);
                    if line >= conversations {
                        return;
                    }
                    let mut n = 0;
                    while n < each {
                        load.send(line, &mut n).await;
                    }
                }
            });
        }
        Running { load: self, lines: all }
    }

    /// Sends the next delivery of a line until it is acknowledged: of four, one holds two messages and one is an order.
    async fn send(&self, line: usize, n: &mut usize) {
        let (from, organizations) = self.organizations;
        let organization = from + line % organizations;
        let first = *n;
        if first % 4 == 3 {
            let body = format!(r#"{{"id":{line},"name":"{first}"}}"#);
            let event = format!("w_{line}_{first}");
            let signature = shopify_signature_by(&self.settings.shopify_api_secret, &body);
            let request = |at: &str| {
                self.http
                    .post(format!("{at}/api/webhooks/shopify"))
                    .header("x-shopify-topic", "orders/updated")
                    .header("x-shopify-shop-domain", format!("shop-{organization:05}.myshopify.com"))
                    .header("x-shopify-webhook-id", &event)
                    .header("x-shopify-api-version", "2026-10")
                    .header("x-shopify-hmac-sha256", &signature)
                    .body(body.clone())
            };
            *n += 1;
            return self.deliver(line + first, std::slice::from_ref(&event), request).await;
        }
        let (page, psid) = ((PAGES + organization).to_string(), format!("7{line:015}"));
        let events: Vec<String> =
            (first..first + 1 + usize::from(first % 4 == 1)).map(|n| format!("m_{line}_{n}")).collect();
        *n += events.len();
        let items: Vec<_> = events.iter().map(|mid| message(&page, &psid, mid, mid)).collect();
        let body = delivery(&page, &items).to_string();
        let (name, signature) = meta_signature_by(&self.settings.meta_app_secret, &body);
        let request = |at: &str| {
            self.http.post(format!("{at}/api/webhooks/messenger")).header(name, &signature).body(body.clone())
        };
        self.deliver(line + first, &events, request).await;
    }

    async fn deliver(&self, start: usize, events: &[String], request: impl Fn(&str) -> RequestBuilder) {
        let mut again = tokio::time::interval(Duration::from_millis(50));
        for attempt in start.. {
            again.tick().await;
            let at = {
                let nodes = self.nodes.read().unwrap();
                nodes[attempt % nodes.len()].clone()
            };
            if self.once(events, request(&at)).await.is_break() {
                return;
            }
        }
    }

    async fn once(&self, events: &[String], request: RequestBuilder) -> ControlFlow<()> {
        let began = Instant::now();
        match request.timeout(PATIENCE).send().await {
            Ok(answer) if answer.status().is_success() => {
                self.ledger.acked(events, began.elapsed());
                return ControlFlow::Break(());
            }
            Ok(answer)
                if answer.status() == StatusCode::SERVICE_UNAVAILABLE
                    && answer.headers().contains_key(header::RETRY_AFTER) =>
            {
                self.ledger.refused(began.elapsed());
            }
            Ok(answer) => {
                let status = answer.status();
                let text = answer.text().await.unwrap_or_default();
                self.ledger.wrong(format!("{events:?} was answered {status}: {text}"));
                return ControlFlow::Break(());
            }
            Err(error) => self.ledger.unanswered(!error.is_connect()),
        }
        ControlFlow::Continue(())
    }
}

impl Running {
    /// Waits until every line has what it sent last acknowledged, and sends no more.
    pub async fn stop(self) -> Arc<Load> {
        self.load.over.store(true, Ordering::SeqCst);
        self.finish().await
    }

    /// Waits until every line is done by itself.
    pub async fn finish(self) -> Arc<Load> {
        self.lines.join_all().await;
        self.load
    }
}
