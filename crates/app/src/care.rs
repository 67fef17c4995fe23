//! Looks after connections off the path of requests: tokens are renewed well before they end, pages are asked hourly
//! whether their subscription is still there (Meta drops it silently, `messenger.md` 2.4), everything is probed daily,
//! and what a provider has paused comes back by itself.
//!
//! Every node does it. Of two that renew one token the lease in the database lets one through; of two that probe, the
//! claim.

use crate::{App, integration, token};
use agenstack_core::ctx::{Actor, OrgCtx, QueuedFor};
use agenstack_core::id::IntegrationId;
use agenstack_store::StoreError;
use futures::StreamExt;
use futures::stream;
use std::time::Duration;
use tokio::time::Instant;

/// How long a renewal that was taken is left to whoever took it; who fails says when next.
const CLAIM_SECS: i64 = 30;
/// How often pages, and what is paused, are probed; and the rest.
const OFTEN_SECS: i64 = 3600;
const SELDOM_SECS: i64 = 86_400;
/// How many are taken at a time, and how many of each kind are at work at once: 100,000 shops, whose tokens live an hour,
/// and as many pages are 28 of each a second, and a probe of a page is three calls.
const BATCH: i64 = 200;
const AT_ONCE: usize = 32;
/// One begins after the other: when all fail at once, what is written of it must not stand in the way of what comes in.
const PACE: Duration = Duration::from_millis(20);

/// Renews the tokens that end soon. What fails says when it is due again.
pub async fn renew(app: App) {
    all(&app, Deed::Renew).await;
}

/// Probes what was not probed for long enough. What it finds is recorded at the connection.
pub async fn probe(app: App) {
    all(&app, Deed::Probe).await;
}

/// What is due for a connection.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Renew,
    Probe,
}

/// Does it for all that are due.
async fn all(app: &App, deed: Deed) {
    loop {
        let due = match claim(app, deed).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, ?deed, "connections that are due could not be listed");
                return;
            }
        };
        let there_may_be_more = due.len() as i64 == BATCH;
        each(app, due, deed).await;
        if !there_may_be_more {
            return;
        }
    }
}

/// Takes those that are due longest.
async fn claim(app: &App, deed: Deed) -> Result<Vec<(QueuedFor, IntegrationId)>, StoreError> {
    let now = app.now();
    let mut tx = app.store().global().await?;
    let due = match deed {
        Deed::Renew => tx.renewal_claim(now, now.plus_secs(CLAIM_SECS), BATCH).await?,
        Deed::Probe => {
            tx.probe_claim(now, now.plus_secs(-OFTEN_SECS), now.plus_secs(-SELDOM_SECS), BATCH).await?
        }
    };
    tx.commit().await?;
    Ok(due)
}

/// Does it for each, a few at a time, with the authority of the connection's own organization.
async fn each(app: &App, due: Vec<(QueuedFor, IntegrationId)>, deed: Deed) {
    let begun = Instant::now();
    stream::iter((0..).zip(due))
        .for_each_concurrent(AT_ONCE, |(n, (proof, id))| async move {
            tokio::time::sleep_until(begun + PACE * n).await;
            let org = OrgCtx::from_queue(app.ctx(Actor::Worker), &proof);
            let done = match deed {
                Deed::Renew => token::renew(app, &org, &id).await,
                Deed::Probe => integration::look_after(app, &org, &id).await,
            };
            if let Err(error) = done {
                tracing::info!(org.id = %org.org(), integration.id = %id, ?deed, code = error.code(), "a connection could not be looked after");
            }
        })
        .await;
}
