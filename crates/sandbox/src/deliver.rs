//! Sends webhooks, in order within a lane, and tries again for a while as the real ones do.

use crate::clock;
use crate::record::Delivery;
use crate::state::Sandbox;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// A webhook to be sent.
pub(crate) struct Webhook {
    pub provider: &'static str,
    pub account: String,
    pub topic: String,
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// One queue for each provider's account and conversation.
pub(crate) struct Lanes {
    client: reqwest::Client,
    queues: Mutex<HashMap<String, mpsc::UnboundedSender<Webhook>>>,
    /// How many wait or are being sent.
    waiting: watch::Sender<usize>,
}

/// Milliseconds to wait before each further try: about two minutes in all, where the real ones take hours.
const WAITS: [u64; 9] = [200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000];

impl Lanes {
    pub(crate) fn new() -> Self {
        // An error means that the process has a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent("AgenStack-Sandbox")
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .tls_backend_preconfigured(
                rustls::ClientConfig::builder()
                    .with_root_certificates(rustls::RootCertStore::empty())
                    .with_no_client_auth(),
            )
            .build()
            .expect("no part of this needs the machine");
        Self { client, queues: Mutex::default(), waiting: watch::Sender::new(0) }
    }
}

impl Sandbox {
    /// Sends once and gives the product's status; for tests that look at the answer.
    pub(crate) async fn post(&self, webhook: &Webhook) -> u16 {
        let mut request = self.lanes().client.post(&webhook.url).body(webhook.body.clone());
        for (name, value) in &webhook.headers {
            request = request.header(*name, value);
        }
        request.send().await.map_or(0, |answer| answer.status().as_u16())
    }

    /// Queues a webhook behind those of its lane.
    pub(crate) fn deliver(&self, lane: &str, webhook: Webhook) {
        let mut queues = self.lanes().queues.lock().expect("no holder of this lock can panic");
        let queue = queues.entry(format!("{} {lane}", webhook.provider)).or_insert_with(|| {
            let (sender, mut receiver) = mpsc::unbounded_channel::<Webhook>();
            let sandbox = self.clone();
            tokio::spawn(async move {
                while let Some(webhook) = receiver.recv().await {
                    sandbox.send(&webhook).await;
                    sandbox.lanes().waiting.send_modify(|n| *n -= 1);
                }
            });
            sender
        });
        self.lanes().waiting.send_modify(|n| *n += 1);
        // The receiver lives as long as the sender stands in the map.
        let _ = queue.send(webhook);
    }

    /// Waits until nothing waits or is being sent any more.
    pub(crate) async fn settled(&self) {
        // The sender lives as long as the sandbox.
        let _ = self.lanes().waiting.subscribe().wait_for(|n| *n == 0).await;
    }

    async fn send(&self, webhook: &Webhook) {
        let mut delivery = Delivery {
            at: clock::rfc3339(clock::now_ms()),
            provider: webhook.provider,
            account: webhook.account.clone(),
            topic: webhook.topic.clone(),
            url: webhook.url.clone(),
            attempts: 0,
            status: 0,
        };
        for wait in [0].into_iter().chain(WAITS) {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            delivery.attempts += 1;
            delivery.status = self.post(webhook).await;
            // What is not signed rightly will not be believed the next time either.
            if (200..300).contains(&delivery.status) || matches!(delivery.status, 400 | 401 | 403 | 413) {
                break;
            }
        }
        self.record().deliveries.push(delivery);
    }
}
