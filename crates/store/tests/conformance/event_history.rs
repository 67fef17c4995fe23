//! What became of an event before it was as it is.

use crate::common::make::{accept, lease};
use agenstack_core::event::{EventHistory, EventState, EventStep, HISTORY_KEPT, Replay, ReplayStatus};
use agenstack_core::id::{EventId, ReplayId};
use agenstack_core::integration::Provider;
use agenstack_store::both_databases;
use agenstack_store::global::queue::Queue;
use agenstack_store::testing::World;

/// An attempt that failed now.
pub fn failed(w: &World) -> EventHistory {
    EventHistory {
        step: EventStep::Failed,
        begun_at: Some(w.now().plus_secs(-1)),
        at: w.now(),
        reason: Some("no answer".into()),
        actor: None,
    }
}

both_databases! {
    async fn steps_are_listed_in_their_order_and_the_last_ones_are_kept(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let (id, other) = (w.id(EventId::new), w.id(EventId::new));
        let mut tx = db.store.tenant(&org).await.unwrap();
        let mut all = Vec::new();
        for _ in 0..HISTORY_KEPT + 3 {
            w.clock.advance_millis(1);
            all.push(failed(&w));
            tx.event_history_add(&id, all.last().unwrap()).await.unwrap();
        }
        assert_eq!(tx.event_history_list(&id).await.unwrap(), all[3..]);
        let asked = EventHistory { step: EventStep::Replayed, begun_at: None, at: w.now(), reason: None, actor: Some("ana".into()) };
        tx.event_history_add(&other, &asked).await.unwrap();
        assert_eq!(tx.event_history_list(&other).await.unwrap(), [asked]);
        assert_eq!(tx.event_history_list(&id).await.unwrap().len() as i64, HISTORY_KEPT);
    }

    async fn how_an_event_was_done_is_kept_when_it_is_handled_again(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let it = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        let id = accept(&db.store, &w, &it, "a", "a").await;
        lease(&db.store, Queue::Events, "t", w.now(), 1).await;
        let begun = w.now();
        w.clock.advance_millis(40);
        let mut tx = db.store.tenant(&org).await.unwrap();
        assert_eq!(tx.event_history_keep(&id).await.unwrap(), 0, "it is not done");
        tx.event_done(&id, "t", begun, w.now()).await.unwrap();
        assert_eq!(tx.event_history_keep(&id).await.unwrap(), 1);
        let done = EventHistory { step: EventStep::Done, begun_at: Some(begun), at: w.now(), reason: None, actor: None };
        assert_eq!(tx.event_history_list(&id).await.unwrap(), [done]);
    }

    async fn a_replay_of_many_says_so_of_each_and_no_other(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let it = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        let mut ids = Vec::new();
        for n in 0..3 {
            let id = accept(&db.store, &w, &it, &n.to_string(), &n.to_string()).await;
            lease(&db.store, Queue::Events, "t", w.now(), 1).await;
            let mut tx = db.store.tenant(&org).await.unwrap();
            tx.event_done(&id, "t", w.now(), w.now()).await.unwrap();
            tx.commit().await.unwrap();
            ids.push(id);
        }
        let replay = Replay {
            id: w.id(ReplayId::new), provider: None, topic: None, state: EventState::Done, since: None,
            until: w.now().plus_secs(1), per_second: 2, status: ReplayStatus::Running, total: 3, done: 0, position: None,
            created_at: w.now(), ended_at: None,
        };
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.replay_add(&replay).await.unwrap();
        assert_eq!(tx.replay_step(&replay, 2, w.now()).await.unwrap(), 2);
        for id in &ids[..2] {
            let steps = tx.event_history_list(id).await.unwrap();
            assert_eq!(steps.iter().map(|s| s.step).collect::<Vec<_>>(), [EventStep::Done, EventStep::Replayed]);
            assert_eq!(steps[1].actor.as_deref(), Some(replay.id.as_str()));
        }
        assert!(tx.event_history_list(&ids[2]).await.unwrap().is_empty());
    }

    async fn what_is_given_up_with_its_connection_says_why(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let it = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        let id = accept(&db.store, &w, &it, "a", "a").await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        assert_eq!(tx.event_cancel(&it.id, 1, "disconnected", w.now()).await.unwrap(), 1);
        assert_eq!(tx.event_cancel(&it.id, 1, "disconnected", w.now()).await.unwrap(), 0);
        let steps = tx.event_history_list(&id).await.unwrap();
        assert_eq!(steps.iter().map(|s| (s.step, s.reason.as_deref())).collect::<Vec<_>>(), [(EventStep::Cancelled, Some("disconnected"))]);
    }
}
