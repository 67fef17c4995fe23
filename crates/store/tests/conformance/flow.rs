//! Authorizations: begun by an organization, consumed once.

use crate::common::make::flow;
use agenstack_core::id::{IntegrationId, SessionId};
use agenstack_core::integration::Provider;
use agenstack_store::global::flow::Flow;
use agenstack_store::testing::World;
use agenstack_store::{Store, StoreError, both_databases};

async fn begin(w: &World, store: &Store) -> Flow {
    let (org, _) = w.organization(store, "Lark").await;
    let mut it = flow(w, org.org(), Provider::Shopify);
    it.reconnects = Some(w.id(IntegrationId::new));
    let mut tx = store.tenant(&org).await.unwrap();
    tx.flow_add(&it, it.id.as_str().as_bytes()).await.unwrap();
    tx.commit().await.unwrap();
    it
}

async fn consume(w: &World, store: &Store, it: &Flow) -> Option<Flow> {
    let mut tx = store.global().await.unwrap();
    let hash = it.id.as_str().as_bytes();
    let found = tx.flow_consume(hash, it.provider, &it.session, w.now()).await.unwrap();
    tx.commit().await.unwrap();
    found
}

both_databases! {
    async fn a_flow_is_consumed_once_and_whole(db: TestDb) {
        let w = World::new();
        let it = begin(&w, &db.store).await;
        let found = consume(&w, &db.store, &it).await.unwrap();
        assert_eq!(format!("{found:?}"), format!("{it:?}"));
        assert_eq!(found.verifier, it.verifier);
        assert_eq!(found.client, it.client);
        assert!(consume(&w, &db.store, &it).await.is_none());
    }

    async fn of_many_who_consume_a_flow_at_once_one_finds_it(db: TestDb) {
        let w = World::new();
        let it = begin(&w, &db.store).await;
        let found = futures::future::join_all((0..8).map(|_| consume(&w, &db.store, &it))).await;
        assert_eq!(found.iter().flatten().count(), 1);
    }

    async fn another_session_or_provider_or_state_finds_nothing_and_burns_nothing(db: TestDb) {
        let w = World::new();
        let it = begin(&w, &db.store).await;
        let hash = it.id.as_str().as_bytes();
        let mut tx = db.store.global().await.unwrap();
        let session = w.id(SessionId::new);
        assert!(tx.flow_consume(hash, it.provider, &session, w.now()).await.unwrap().is_none());
        assert!(tx.flow_consume(hash, Provider::Kustomer, &it.session, w.now()).await.unwrap().is_none());
        assert!(tx.flow_consume(b"other", it.provider, &it.session, w.now()).await.unwrap().is_none());
        tx.commit().await.unwrap();
        assert!(consume(&w, &db.store, &it).await.is_some());
    }

    async fn a_flow_is_good_until_the_moment_it_expires(db: TestDb) {
        let w = World::new();
        let (late, early) = (begin(&w, &db.store).await, begin(&w, &db.store).await);
        w.clock.advance_millis(599_999);
        assert!(consume(&w, &db.store, &early).await.is_some());
        w.clock.advance_millis(1);
        assert!(consume(&w, &db.store, &late).await.is_none());
    }

    async fn a_consumer_that_rolls_back_leaves_the_flow_for_the_next(db: TestDb) {
        let w = World::new();
        let it = begin(&w, &db.store).await;
        let mut tx = db.store.global().await.unwrap();
        let hash = it.id.as_str().as_bytes();
        assert!(tx.flow_consume(hash, it.provider, &it.session, w.now()).await.unwrap().is_some());
        drop(tx);
        assert!(consume(&w, &db.store, &it).await.is_some());
    }

    async fn flows_that_are_over_are_swept_used_or_not(db: TestDb) {
        let w = World::new();
        let used = begin(&w, &db.store).await;
        consume(&w, &db.store, &used).await.unwrap();
        begin(&w, &db.store).await;
        w.clock.advance_millis(1);
        let fresh = begin(&w, &db.store).await;
        let mut tx = db.store.global().await.unwrap();
        assert_eq!(tx.flow_sweep(used.expires_at).await.unwrap(), 2);
        tx.commit().await.unwrap();
        assert!(consume(&w, &db.store, &fresh).await.is_some());
    }

    async fn two_flows_never_share_a_state(db: TestDb) {
        let w = World::new();
        let it = begin(&w, &db.store).await;
        let (org, _) = w.organization(&db.store, "Ash").await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        let again = tx.flow_add(&flow(&w, org.org(), Provider::Shopify), it.id.as_str().as_bytes()).await;
        assert!(matches!(again, Err(StoreError::Conflict(_))));
    }

    async fn a_flow_is_recorded_for_the_organization_of_the_transaction_whatever_it_says(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let (other, _) = w.organization(&db.store, "Ash").await;
        let it = flow(&w, other.org(), Provider::Shopify);
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.flow_add(&it, it.id.as_str().as_bytes()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(consume(&w, &db.store, &it).await.unwrap().org, *org.org());
    }
}
