//! Looks after connections off the path of requests: tokens are renewed well before they end, pages are asked hourly
//! whether their subscription is still there (Meta drops it silently, `messenger.md` 2.4), everything is probed daily,
//! and what a provider has paused comes back by itself.
//!
//! Every node does it. Of two that renew one token the lease in the database lets one through; of two that probe, the
//! claim.

use crate::{App, integration, token};
use agenstack_core::ctx::{Actor, OrgCtx, QueuedFor};
use agenstack_core::id::IntegrationId;
use futures::StreamExt;
use futures::stream;

/// How long a renewal that was taken is left to whoever took it; who fails says when next.
const CLAIM_SECS: i64 = 30;
/// How often pages, and what is paused, are probed; and the rest.
const OFTEN_SECS: i64 = 3600;
const SELDOM_SECS: i64 = 86_400;
/// What one round takes at most, and how much of it at once.
const ROUND: i64 = 200;
const AT_ONCE: usize = 8;

/// One round. What fails is recorded at the connection, and is due again at the next round or in an hour.
pub async fn round(app: App) {
    let now = app.now();
    let due = async {
        let mut tx = app.store().global().await?;
        let due = tx.renewal_claim(now, now.plus_secs(CLAIM_SECS), ROUND).await?;
        tx.commit().await?;
        Ok::<_, agenstack_store::StoreError>(due)
    };
    match due.await {
        Ok(due) => each(&app, due, Deed::Renew).await,
        Err(error) => tracing::warn!(%error, "tokens that end soon could not be listed"),
    }
    let due = async {
        let mut tx = app.store().global().await?;
        let due = tx.probe_claim(now, now.plus_secs(-OFTEN_SECS), now.plus_secs(-SELDOM_SECS), ROUND).await?;
        tx.commit().await?;
        Ok::<_, agenstack_store::StoreError>(due)
    };
    match due.await {
        Ok(due) => each(&app, due, Deed::Probe).await,
        Err(error) => tracing::warn!(%error, "connections to be probed could not be listed"),
    }
}

/// What is due for a connection.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Renew,
    Probe,
}

/// Does it for each, a few at a time, with the authority of the connection's own organization.
async fn each(app: &App, due: Vec<(QueuedFor, IntegrationId)>, deed: Deed) {
    stream::iter(due)
        .for_each_concurrent(AT_ONCE, |(proof, id)| async move {
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
