//! Replays of many events.

use crate::common::make::{accept, lease, route};
use agenstack_core::ctx::OrgCtx;
use agenstack_core::event::{EventState, Replay, ReplayStatus};
use agenstack_core::id::{EventId, ReplayId};
use agenstack_core::integration::Provider;
use agenstack_store::global::queue::Queue;
use agenstack_store::testing::World;
use agenstack_store::{Store, both_databases};

fn replay(w: &World) -> Replay {
    Replay {
        id: w.id(ReplayId::new),
        provider: None,
        topic: None,
        state: EventState::Dead,
        since: None,
        until: w.now().plus_secs(1),
        per_second: 2,
        status: ReplayStatus::Running,
        total: 0,
        done: 0,
        position: None,
        created_at: w.now(),
        ended_at: None,
    }
}

/// Events that were given up, each of another order key.
async fn dead(
    store: &Store,
    w: &World,
    org: &OrgCtx,
    shop: &agenstack_core::integration::Integration,
    n: usize,
) -> Vec<EventId> {
    let mut all = Vec::new();
    for i in 0..n {
        all.push(accept(store, w, shop, &format!("{i}"), &format!("{i}")).await);
    }
    lease(store, Queue::Events, "t", w.now(), 99).await;
    let mut tx = store.tenant(org).await.unwrap();
    for id in &all {
        tx.event_failed(id, "t", EventState::Dead, w.now(), "no").await.unwrap();
    }
    tx.commit().await.unwrap();
    all
}

both_databases! {
    async fn a_replay_goes_on_from_where_it_was_and_counts_exactly(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        let all = dead(&db.store, &w, &org, &shop, 5).await;
        let mut r = replay(&w);
        let mut tx = db.store.tenant(&org).await.unwrap();
        r.total = tx.replay_count(&r).await.unwrap();
        assert_eq!(r.total, 5);
        tx.replay_add(&r).await.unwrap();
        assert_eq!(tx.replay_find(&r.id).await.unwrap().unwrap(), r);
        for (moved, done) in [(2, 2), (2, 4), (1, 5), (0, 5)] {
            let now = tx.replay_find(&r.id).await.unwrap().unwrap();
            assert_eq!(tx.replay_step(&now, 2, w.now()).await.unwrap(), moved);
            assert_eq!(tx.replay_find(&r.id).await.unwrap().unwrap().done, done);
        }
        for id in &all {
            assert_eq!(tx.event_find(id).await.unwrap().unwrap().state, EventState::Pending);
        }
        tx.commit().await.unwrap();
        assert_eq!(lease(&db.store, Queue::Events, "u", w.now().plus_secs(1), 99).await.len(), 5);
    }

    async fn what_is_handled_again_takes_turns_over_a_second_and_others_go_in_between(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        dead(&db.store, &w, &org, &shop, 4).await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        let r = replay(&w);
        tx.replay_add(&r).await.unwrap();
        assert_eq!(tx.replay_step(&r, 4, w.now()).await.unwrap(), 4);
        tx.commit().await.unwrap();
        let (other, _) = w.organization(&db.store, "Ash").await;
        let its = w.connection(&db.store, &other, Provider::Shopify, "ash.myshopify.com").await;
        let mut event = w.incoming(Provider::Shopify, "other", "other");
        event.rank = w.now().plus_millis(300);
        let mut tx = db.store.global().await.unwrap();
        assert!(tx.event_accept(&route(&its), &event).await.unwrap());
        tx.commit().await.unwrap();
        // 0, 250 ms; 300 ms; 500, 750 ms.
        for (millis, limit, theirs, others) in [(0, 9, 1, 1), (249, 9, 0, 0), (500, 9, 2, 0), (750, 9, 1, 0)] {
            let leased = lease(&db.store, Queue::Events, "u", w.now().plus_millis(millis), limit).await;
            let of = |org: &OrgCtx| leased.iter().filter(|row| row.org == *org.org()).count();
            assert_eq!((of(&org), of(&other)), (theirs, others), "after {millis} ms");
        }
    }

    async fn a_replay_means_what_its_filter_names_only(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        dead(&db.store, &w, &org, &shop, 3).await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        let r = replay(&w);
        for (narrowed, n) in [
            (Replay { provider: Some(Provider::Shopify), ..r.clone() }, 3),
            (Replay { provider: Some(Provider::Messenger), ..r.clone() }, 0),
            (Replay { topic: Some("orders/updated".into()), ..r.clone() }, 3),
            (Replay { topic: Some("orders/create".into()), ..r.clone() }, 0),
            (Replay { state: EventState::Done, ..r.clone() }, 0),
            (Replay { since: Some(w.now()), ..r.clone() }, 3),
            (Replay { since: Some(w.now().plus_millis(1)), ..r.clone() }, 0),
            (Replay { until: w.now(), ..r.clone() }, 0),
        ] {
            assert_eq!(tx.replay_count(&narrowed).await.unwrap(), n, "{narrowed:?}");
            let added = Replay { id: w.id(ReplayId::new), ..narrowed };
            tx.replay_add(&added).await.unwrap();
            if n == 0 {
                assert_eq!(tx.replay_step(&added, 9, w.now()).await.unwrap(), 0);
            }
        }
        assert_eq!(tx.replay_list(99).await.unwrap().len(), 8);
    }

    async fn a_replay_turns_only_from_the_status_it_is_in(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let r = replay(&w);
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.replay_add(&r).await.unwrap();
        let (running, paused) = (ReplayStatus::Running, ReplayStatus::Paused);
        assert!(!tx.replay_turn(&r.id, paused, running, None).await.unwrap());
        assert!(tx.replay_turn(&r.id, running, paused, None).await.unwrap());
        assert!(tx.replay_turn(&r.id, paused, ReplayStatus::Cancelled, Some(w.now())).await.unwrap());
        let ended = tx.replay_find(&r.id).await.unwrap().unwrap();
        assert_eq!((ended.status, ended.ended_at), (ReplayStatus::Cancelled, Some(w.now())));
    }

    async fn the_backlog_tells_whose_events_wait_or_are_dead(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let (other, _) = w.organization(&db.store, "Ash").await;
        let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        let ash = w.connection(&db.store, &other, Provider::Shopify, "ash.myshopify.com").await;
        dead(&db.store, &w, &org, &shop, 2).await;
        accept(&db.store, &w, &ash, "a", "a").await;
        let mut tx = db.store.global_read().await.unwrap();
        let told = tx.events_by_organization(9).await.unwrap();
        let told: Vec<_> = told.iter().map(|b| (&b.org, b.state, b.count)).collect();
        assert_eq!(told, [(org.org(), EventState::Dead, 2), (other.org(), EventState::Pending, 1)]);
        assert_eq!(tx.queue_state().await.unwrap(), (2, Some(w.now())));
        // SQLite keeps no former versions of rows.
        let tables: Vec<_> = tx.table_rows().await.unwrap().into_iter().map(|it| it.table).collect();
        let expected: &[&str] = if db.store.postgres().is_some() { &["events", "jobs"] } else { &[] };
        assert_eq!(tables, expected);
        let found = tx.organization_by_id(org.org()).await.unwrap().unwrap();
        assert_eq!((&found.id, found.name.as_str()), (org.org(), "Lark"));
    }
}
