//! How the installation goes, minute by minute.

use crate::common::make::{accept, lease};
use agenstack_core::integration::Provider;
use agenstack_store::both_databases;
use agenstack_store::global::minute::Minute;
use agenstack_store::global::queue::Queue;
use agenstack_store::testing::World;

both_databases! {
    async fn each_process_says_what_it_did_and_corrects_itself(db: TestDb) {
        let first = Minute { minute: 7, accepted: 1, refused: 2, failed: 3, dead: 4, lags: vec![0, 5] };
        let more = Minute { accepted: 9, lags: vec![1, 5], ..first.clone() };
        let others = Minute { minute: 8, ..first.clone() };
        let mut tx = db.store.global().await.unwrap();
        tx.minute_put("one", &first).await.unwrap();
        tx.minute_put("one", &more).await.unwrap();
        tx.minute_put("two", &others).await.unwrap();
        assert_eq!(tx.minute_list(0).await.unwrap(), [more, others.clone()]);
        assert_eq!(tx.minute_list(8).await.unwrap(), [others]);
        assert_eq!(tx.minute_sweep(8).await.unwrap(), 1);
        assert_eq!(tx.minute_list(0).await.unwrap().len(), 1);
    }

    async fn what_has_its_turn_next_says_since_when_it_is_due(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let it = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        assert_eq!(db.store.global_read().await.unwrap().queue_front().await.unwrap(), None);
        accept(&db.store, &w, &it, "a", "a").await;
        let first = w.now();
        w.clock.advance_millis(5);
        accept(&db.store, &w, &it, "b", "b").await;
        assert_eq!(db.store.global_read().await.unwrap().queue_front().await.unwrap(), Some(first));
        lease(&db.store, Queue::Events, "t", w.now(), 1).await;
        assert_eq!(db.store.global_read().await.unwrap().queue_front().await.unwrap(), Some(w.now()));
    }
}
