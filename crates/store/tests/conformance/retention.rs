//! What was kept long enough.

use crate::common::make::{accept, lease};
use agenstack_core::ctx::OrgCtx;
use agenstack_core::event::{EventState, Replay, ReplayStatus};
use agenstack_core::id::{EventId, JobId, ReplayId};
use agenstack_core::integration::{Integration, Provider};
use agenstack_store::global::queue::Queue;
use agenstack_store::tenant::event::EventFilter;
use agenstack_store::tenant::retention::{Expired, Kept};
use agenstack_store::testing::{TestDb, World};
use agenstack_store::{Store, both_databases};

const DAY: i64 = 86_400;

async fn shop(w: &World, store: &Store) -> (OrgCtx, Integration) {
    let (org, _) = w.organization(store, "Lark").await;
    let it = w.connection(store, &org, Provider::Shopify, "lark.myshopify.com").await;
    (org, it)
}

fn kept(w: &World) -> Kept {
    Kept { done: w.now().plus_secs(-30 * DAY), dead: w.now().plus_secs(-90 * DAY) }
}

/// An event that has come to its end now.
async fn ended(
    db: &TestDb,
    w: &World,
    (org, it): (&OrgCtx, &Integration),
    key: &str,
    how: EventState,
) -> EventId {
    let id = accept(&db.store, w, it, key, key).await;
    lease(&db.store, Queue::Events, "t", w.now(), 1).await;
    let mut tx = db.store.tenant(org).await.unwrap();
    match how {
        EventState::Done => tx.event_done(&id, "t", w.now(), w.now()).await.unwrap(),
        how => tx.event_failed(&id, "t", how, w.now(), "no answer").await.unwrap(),
    }
    tx.commit().await.unwrap();
    id
}

async fn left(db: &TestDb, org: &OrgCtx) -> Vec<EventId> {
    let mut tx = db.store.tenant_read(org).await.unwrap();
    tx.event_list(&EventFilter::default(), None, 100).await.unwrap().into_iter().map(|e| e.id).rev().collect()
}

both_databases! {
    async fn what_is_done_goes_first_what_was_given_up_later_and_what_waits_never(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let done = ended(&db, &w, (&org, &it), "done", EventState::Done).await;
        let dead = ended(&db, &w, (&org, &it), "dead", EventState::Dead).await;
        let again = ended(&db, &w, (&org, &it), "done late", EventState::Done).await;
        let failed = ended(&db, &w, (&org, &it), "failed", EventState::Failed).await;
        let runs = accept(&db.store, &w, &it, "runs", "runs").await;
        lease(&db.store, Queue::Events, "long", w.now(), 9).await;
        let waits = accept(&db.store, &w, &it, "waits", "waits").await;
        // The failed one is leased, too: it is what runs, and what is tried again.
        let expire = async || {
            let mut tx = db.store.tenant(&org).await.unwrap();
            let expired = tx.event_expire(None, kept(&w), 100).await.unwrap();
            tx.commit().await.unwrap();
            expired
        };
        w.clock.advance_millis(29 * DAY * 1000);
        assert_eq!(expire().await, Expired { events: 0, more: None });
        // Handled again lately: it counts from then.
        let mut tx = db.store.tenant(&org).await.unwrap();
        assert!(tx.event_replay(&again, w.now()).await.unwrap());
        tx.commit().await.unwrap();
        lease(&db.store, Queue::Events, "late", w.now(), 9).await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.event_done(&again, "late", w.now(), w.now()).await.unwrap();
        tx.commit().await.unwrap();
        w.clock.advance_millis(2 * DAY * 1000);
        assert_eq!(expire().await.events, 1);
        assert_eq!(left(&db, &org).await, [dead.clone(), again.clone(), failed.clone(), runs.clone(), waits.clone()]);
        w.clock.advance_millis(60 * DAY * 1000);
        assert_eq!(expire().await.events, 2);
        assert_eq!(left(&db, &org).await, [failed, runs, waits]);
        assert!(!left(&db, &org).await.contains(&done));
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        assert_eq!(tx.event_oldest().await.unwrap().as_ref(), left(&db, &org).await.first());
    }

    async fn a_batch_is_bounded_and_the_next_one_goes_on_behind_what_stays(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let mut all = Vec::new();
        for n in 0..5 {
            let how = if n % 2 == 0 { EventState::Dead } else { EventState::Done };
            all.push(ended(&db, &w, (&org, &it), &n.to_string(), how).await);
        }
        w.clock.advance_millis(31 * DAY * 1000);
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let mut tx = db.store.tenant(&org).await.unwrap();
            let batch = tx.event_expire(after.as_ref(), kept(&w), 2).await.unwrap();
            tx.commit().await.unwrap();
            seen.push(batch.events);
            after = batch.more;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, [1, 1, 0]);
        assert_eq!(left(&db, &org).await, [all[0].clone(), all[2].clone(), all[4].clone()]);
    }

    async fn what_a_replay_is_still_to_come_to_stays_until_it_is_over(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let first = ended(&db, &w, (&org, &it), "first", EventState::Done).await;
        let second = ended(&db, &w, (&org, &it), "second", EventState::Done).await;
        w.clock.advance_millis(31 * DAY * 1000);
        let replay = Replay {
            id: w.id(ReplayId::new), provider: None, topic: Some("orders/updated".into()), state: EventState::Done, since: None,
            until: w.now(), per_second: 9, status: ReplayStatus::Paused, total: 1, done: 0, position: None,
            created_at: w.now(), ended_at: None,
        };
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.replay_add(&replay).await.unwrap();
        assert_eq!(tx.event_expire(None, kept(&w), 9).await.unwrap().events, 0);
        let other = Replay { id: w.id(ReplayId::new), topic: Some("products/updated".into()), ..replay.clone() };
        assert!(tx.replay_turn(&replay.id, ReplayStatus::Paused, ReplayStatus::Cancelled, Some(w.now())).await.unwrap());
        tx.replay_add(&other).await.unwrap();
        assert_eq!(tx.replay_expire(w.now()).await.unwrap(), 0, "it has just ended");
        assert_eq!(tx.replay_expire(w.now().plus_secs(1)).await.unwrap(), 1);
        assert_eq!(tx.replay_find(&other.id).await.unwrap(), Some(other));
        assert_eq!(tx.event_expire(None, kept(&w), 9).await.unwrap().events, 2);
        for id in [first, second] {
            assert!(tx.event_find(&id).await.unwrap().is_none());
        }
    }

    async fn what_became_of_an_event_goes_with_it(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let goes = ended(&db, &w, (&org, &it), "goes", EventState::Done).await;
        let stays = ended(&db, &w, (&org, &it), "stays", EventState::Dead).await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        for id in [&goes, &stays] {
            tx.event_history_add(id, &crate::event_history::failed(&w)).await.unwrap();
        }
        w.clock.advance_millis(31 * DAY * 1000);
        assert_eq!(tx.event_expire(None, kept(&w), 9).await.unwrap().events, 1);
        assert!(tx.event_history_list(&goes).await.unwrap().is_empty());
        assert_eq!(tx.event_history_list(&stays).await.unwrap().len(), 1);
    }

    async fn deeds_that_were_given_up_go_a_few_at_a_time(db: TestDb) {
        let w = World::new();
        let (org, _) = shop(&w, &db.store).await;
        let ids: Vec<_> = (0..4).map(|_| w.id(JobId::new)).collect();
        let mut tx = db.store.tenant(&org).await.unwrap();
        for id in &ids {
            tx.job_add(id, "send", "{}", id.as_str(), w.now(), w.now()).await.unwrap();
        }
        tx.commit().await.unwrap();
        lease(&db.store, Queue::Jobs, "t", w.now(), 3).await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        for id in &ids[..3] {
            tx.job_failed(id, "t", EventState::Dead, w.now(), "no").await.unwrap();
        }
        tx.commit().await.unwrap();
        let later = w.now().plus_secs(1);
        assert!(db.store.global_read().await.unwrap().retention_look(None, later, 9).await.unwrap()[0].dead_jobs);
        let mut tx = db.store.tenant(&org).await.unwrap();
        assert_eq!(tx.job_expire(w.now(), 2).await.unwrap(), 0);
        assert_eq!(tx.job_expire(later, 2).await.unwrap(), 2);
        assert_eq!(tx.job_expire(later, 2).await.unwrap(), 1);
        assert_eq!(tx.job_expire(later, 2).await.unwrap(), 0);
        tx.commit().await.unwrap();
        assert!(!db.store.global_read().await.unwrap().retention_look(None, later, 9).await.unwrap()[0].dead_jobs);
    }

    async fn one_at_a_time_looks_through_the_organizations_and_keeps_its_place(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let (other, _) = w.organization(&db.store, "Ash").await;
        let event = accept(&db.store, &w, &it, "a", "a").await;
        let (now, held) = (w.now(), w.now().plus_secs(60));
        let mut tx = db.store.global().await.unwrap();
        let mut all = tx.retention_look(None, now, 9).await.unwrap();
        all.sort_by(|a, b| a.org.cmp(&b.org));
        let of = |holding: &agenstack_store::global::upkeep::Holding| (holding.org.clone(), holding.oldest.clone());
        assert_eq!(all.iter().map(of).collect::<Vec<_>>(), [(org.org().clone(), Some(event.clone())), (other.org().clone(), None)]);
        assert_eq!(tx.retention_look(Some(&all[0].org), now, 9).await.unwrap().len(), 1);
        assert_eq!(tx.retention_look(None, now, 1).await.unwrap().len(), 1);

        let mut it = tx.upkeep_claim(now, held).await.unwrap().unwrap();
        assert!(tx.upkeep_claim(now, held).await.unwrap().is_none(), "it is held");
        (it.place, it.found, it.oldest) = (Some(org.org().clone()), Some(event.clone()), Some(event));
        (it.next_at, it.ended_at) = (now, Some(now));
        assert!(!tx.upkeep_save(&it, now).await.unwrap(), "whoever let it run out cannot save");
        assert!(tx.upkeep_save(&it, held).await.unwrap());
        assert_eq!(tx.upkeep().await.unwrap(), it);
        // Whoever died is followed when its time has run out.
        assert!(tx.upkeep_claim(now, held).await.unwrap().is_some());
        assert!(tx.upkeep_claim(held, held.plus_secs(60)).await.unwrap().is_some());
    }
}
