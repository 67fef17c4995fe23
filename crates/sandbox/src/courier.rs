//! Sends webhooks: one ordered queue for each account, bounded retries, a log of every attempt.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::state::{KEPT, Shared};

/// Waits between the tries of one delivery. The real schedules span hours; a demo must not.
const RETRIES: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(800), Duration::from_millis(2_000)];
/// Shopify and Meta both give a receiver five seconds.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A webhook to be sent.
pub(crate) struct Parcel {
    pub provider: &'static str,
    pub account: String,
    pub topic: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// A webhook as it was sent, with what the receiver answered.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Delivery {
    pub id: u64,
    pub provider: String,
    pub account: String,
    pub topic: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// When it was queued.
    pub at_ms: i64,
    /// One for each try: the status, or 0 when no answer came.
    pub attempts: Vec<u16>,
    /// No further try will be made.
    pub done: bool,
}

impl Delivery {
    /// Whether the last try was answered with a 2xx.
    pub(crate) fn delivered(&self) -> bool {
        self.attempts.last().is_some_and(|s| (200..300).contains(s))
    }
}

struct Job {
    id: u64,
    first: oneshot::Sender<u16>,
}

/// The queues and their workers.
pub(crate) struct Courier {
    client: reqwest::Client,
    queues: Mutex<HashMap<String, mpsc::UnboundedSender<Job>>>,
    workers: Mutex<JoinSet<()>>,
}

impl Courier {
    pub(crate) fn new() -> std::io::Result<Courier> {
        // Someone else in this process may have installed it; either way one is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(std::io::Error::other)?;
        Ok(Courier { client, queues: Mutex::default(), workers: Mutex::default() })
    }

    /// A plain GET without redirects: Meta's verification of a callback.
    pub(crate) async fn get(&self, url: &str) -> Result<(u16, String), reqwest::Error> {
        let response = self.client.get(url).send().await?;
        let status = response.status().as_u16();
        Ok((status, response.text().await?))
    }

    /// A form outside the queues: Meta's deauthorize callbacks.
    pub(crate) async fn post_form(&self, url: &str, body: String) -> Result<(u16, String), reqwest::Error> {
        let request = self.client.post(url).header("content-type", "application/x-www-form-urlencoded");
        let response = request.body(body).send().await?;
        let status = response.status().as_u16();
        Ok((status, response.text().await?))
    }

    /// Ends all workers; queued webhooks are lost, as with a provider that is switched off.
    pub(crate) fn stop(&self) {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

/// Queues a webhook. The receiver resolves with the first answer's status, 0 for none.
pub(crate) fn send(shared: &Shared, parcel: Parcel) -> oneshot::Receiver<u16> {
    let at_ms = shared.now();
    let id = shared.edit(|s| {
        let id = s.deliveries.back().map_or(1, |d| d.id + 1);
        s.deliveries.push_back(Delivery {
            id,
            provider: parcel.provider.to_owned(),
            account: parcel.account.clone(),
            topic: parcel.topic,
            url: parcel.url,
            headers: parcel.headers,
            body: parcel.body,
            at_ms,
            attempts: Vec::new(),
            done: false,
        });
        if s.deliveries.len() > KEPT {
            s.deliveries.pop_front();
        }
        id
    });
    enqueue(shared, format!("{}/{}", parcel.provider, parcel.account), id)
}

/// Sends a recorded webhook once more, byte for byte: what a provider's retry looks like.
pub(crate) fn resend(shared: &Shared, id: u64) -> Option<oneshot::Receiver<u16>> {
    let queue = shared.read(|s| {
        s.deliveries.iter().find(|d| d.id == id).map(|d| format!("{}/{}", d.provider, d.account))
    })?;
    Some(enqueue(shared, queue, id))
}

fn enqueue(shared: &Shared, queue: String, id: u64) -> oneshot::Receiver<u16> {
    let (first, answered) = oneshot::channel();
    let mut queues = shared.courier.queues.lock().unwrap_or_else(PoisonError::into_inner);
    let sender = queues.entry(queue).or_insert_with(|| {
        let (sender, jobs) = mpsc::unbounded_channel();
        let mut workers = shared.courier.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.spawn(work(shared.clone(), jobs));
        sender
    });
    // A closed queue means the sandbox is stopping; the caller then sees no answer.
    let _ = sender.send(Job { id, first });
    answered
}

async fn work(shared: Shared, mut jobs: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        let Some(delivery) = shared.read(|s| s.deliveries.iter().find(|d| d.id == job.id).cloned()) else {
            continue;
        };
        let mut first = Some(job.first);
        for wait in RETRIES.iter().map(Some).chain([None]) {
            let status = attempt(&shared.courier.client, &delivery).await;
            let delivered = (200..300).contains(&status);
            let done = delivered || wait.is_none();
            note(&shared, &delivery, status, done);
            if let Some(first) = first.take() {
                let _ = first.send(status);
            }
            match wait {
                Some(wait) if !delivered => tokio::time::sleep(*wait).await,
                _ => break,
            }
        }
    }
}

async fn attempt(client: &reqwest::Client, delivery: &Delivery) -> u16 {
    let mut request = client.post(&delivery.url).body(delivery.body.clone());
    for (name, value) in &delivery.headers {
        request = request.header(name, value);
    }
    match request.send().await {
        Ok(response) => response.status().as_u16(),
        Err(error) => {
            tracing::debug!(%error, "a sandbox webhook got no answer");
            0
        }
    }
}

fn note(shared: &Shared, delivery: &Delivery, status: u16, done: bool) {
    shared.edit(|s| {
        if let Some(d) = s.deliveries.iter_mut().find(|d| d.id == delivery.id) {
            d.attempts.push(status);
            d.done = done;
        }
    });
    if done && !(200..300).contains(&status) && delivery.provider == "kustomer" {
        crate::kustomer::hook::delivery_failed(shared, &delivery.account, &delivery.url);
    }
}
