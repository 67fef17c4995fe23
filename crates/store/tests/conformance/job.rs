//! Queued deeds; how they are leased is in `queue`.

use crate::common::make::{ids, lease};
use agenstack_core::event::EventState;
use agenstack_core::id::JobId;
use agenstack_store::global::queue::Queue;
use agenstack_store::testing::World;
use agenstack_store::{StoreError, both_databases};

both_databases! {
    async fn a_job_is_queued_with_the_change_that_asks_for_it_or_not_at_all(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let id = w.id(JobId::new);
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.job_add(&id, "send", "{}", "a", w.now(), w.now()).await.unwrap();
        drop(tx);
        assert!(lease(&db.store, Queue::Jobs, "t", w.now(), 9).await.is_empty());
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.job_add(&id, "send", "{}", "a", w.now(), w.now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(ids(&lease(&db.store, Queue::Jobs, "t", w.now(), 9).await), [id.as_str()]);
    }

    async fn the_subject_of_a_job_is_told_to_its_holder_only(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let id = w.id(JobId::new);
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.job_add(&id, "send", r#"{"message":"1"}"#, "a", w.now(), w.now()).await.unwrap();
        tx.commit().await.unwrap();
        lease(&db.store, Queue::Jobs, "t", w.now(), 1).await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        assert_eq!(tx.job_subject(&id, "t").await.unwrap(), r#"{"message":"1"}"#);
        assert!(matches!(tx.job_subject(&id, "u").await, Err(StoreError::LeaseLost)));
        tx.job_done(&id, "t").await.unwrap();
        assert!(matches!(tx.job_subject(&id, "t").await, Err(StoreError::LeaseLost)));
    }

    async fn a_wake_makes_waiting_jobs_due_and_leaves_dead_ones(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let (waits, dead) = (w.id(JobId::new), w.id(JobId::new));
        let mut tx = db.store.tenant(&org).await.unwrap();
        for id in [&waits, &dead] {
            tx.job_add(id, "send", "{}", id.as_str(), w.now(), w.now()).await.unwrap();
        }
        tx.commit().await.unwrap();
        lease(&db.store, Queue::Jobs, "t", w.now(), 9).await;
        let tomorrow = w.now().plus_secs(86_400);
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.job_failed(&waits, "t", EventState::Failed, tomorrow, "no").await.unwrap();
        tx.job_failed(&dead, "t", EventState::Dead, tomorrow, "no").await.unwrap();
        assert_eq!(tx.job_wake(w.now(), tomorrow).await.unwrap(), 0, "it waits until then, and not beyond");
        assert_eq!(tx.job_wake(w.now(), tomorrow.plus_millis(-1)).await.unwrap(), 1);
        tx.commit().await.unwrap();
        assert_eq!(ids(&lease(&db.store, Queue::Jobs, "t", tomorrow, 9).await), [waits.as_str()]);
    }
}
