//! The inbox of one organization.

use crate::common::make::{accept, lease};
use agenstack_core::ctx::OrgCtx;
use agenstack_core::event::EventState;
use agenstack_core::id::EventId;
use agenstack_core::integration::{Integration, Provider};
use agenstack_core::privacy::PrivacyKind;
use agenstack_store::global::queue::Queue;
use agenstack_store::tenant::event::EventFilter;
use agenstack_store::tenant::event_minute::{BOUNDS, MinuteRow, Waiting};
use agenstack_store::testing::{World, sealed};
use agenstack_store::{Store, StoreError, both_databases};

async fn shop(w: &World, store: &Store) -> (OrgCtx, Integration) {
    let (org, _) = w.organization(store, "Lark").await;
    let it = w.connection(store, &org, Provider::Shopify, "lark.myshopify.com").await;
    (org, it)
}

/// The ids that a filter lets through, newest first.
async fn listed(store: &Store, org: &OrgCtx, filter: EventFilter) -> Vec<EventId> {
    let mut tx = store.tenant_read(org).await.unwrap();
    tx.event_list(&filter, None, 100).await.unwrap().into_iter().map(|e| e.id).collect()
}

both_databases! {
    async fn events_are_listed_newest_first_page_by_page(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let mut all = Vec::new();
        for n in 0..5 {
            all.push(accept(&db.store, &w, &it, &n.to_string(), "a").await);
        }
        all.reverse();
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        let mut seen: Vec<EventId> = Vec::new();
        for size in [2, 2, 1, 0] {
            let page = tx.event_list(&EventFilter::default(), seen.last(), 2).await.unwrap();
            assert_eq!(page.len(), size);
            seen.extend(page.into_iter().map(|e| e.id));
        }
        assert_eq!(seen, all);
    }

    async fn a_list_is_narrowed_by_provider_topic_state_and_time(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let page = w.connection(&db.store, &org, Provider::Messenger, "1").await;
        let first = accept(&db.store, &w, &it, "a", "a").await;
        let from = w.now().plus_millis(10);
        lease(&db.store, Queue::Events, "t", w.now(), 1).await;
        w.clock.advance_millis(10);
        let second = accept(&db.store, &w, &page, "b", "b").await;
        let (both, none) = (vec![second.clone(), first.clone()], Vec::<EventId>::new());
        let only = |filter| listed(&db.store, &org, filter);
        let any = EventFilter::default;
        assert_eq!(only(any()).await, both);
        assert_eq!(only(EventFilter { provider: Some(Provider::Shopify), ..any() }).await, std::slice::from_ref(&first));
        assert_eq!(only(EventFilter { provider: Some(Provider::Kustomer), ..any() }).await, none);
        assert_eq!(only(EventFilter { topic: Some("orders/updated".into()), ..any() }).await, both);
        assert_eq!(only(EventFilter { topic: Some("orders/%".into()), ..any() }).await, none);
        assert_eq!(only(EventFilter { state: Some(EventState::Running), ..any() }).await, std::slice::from_ref(&first));
        assert_eq!(only(EventFilter { state: Some(EventState::Pending), ..any() }).await, std::slice::from_ref(&second));
        assert_eq!(only(EventFilter { since: Some(from), ..any() }).await, [second]);
        assert_eq!(only(EventFilter { until: Some(from), ..any() }).await, [first]);
    }

    async fn an_event_that_is_not_there_is_not_found(db: TestDb) {
        let w = World::new();
        let (org, _) = shop(&w, &db.store).await;
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        assert!(tx.event_find(&w.id(EventId::new)).await.unwrap().is_none());
        assert!(matches!(tx.event_payload(&w.id(EventId::new)).await, Err(StoreError::NotFound("event"))));
    }

    async fn a_failed_event_says_why_and_a_done_one_when(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let id = accept(&db.store, &w, &it, "a", "a").await;
        lease(&db.store, Queue::Events, "t", w.now(), 1).await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.event_failed(&id, "t", EventState::Failed, w.now(), "no answer").await.unwrap();
        let e = tx.event_find(&id).await.unwrap().unwrap();
        assert_eq!((e.state, e.attempts, e.last_error.as_deref()), (EventState::Failed, 1, Some("no answer")));
        tx.commit().await.unwrap();
        lease(&db.store, Queue::Events, "t", w.now(), 1).await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.event_done(&id, "t", w.now(), w.now()).await.unwrap();
        let e = tx.event_find(&id).await.unwrap().unwrap();
        assert_eq!((e.state, e.attempts, e.last_error, e.done_at), (EventState::Done, 2, None, Some(w.now())));
    }

    async fn an_ended_event_can_be_replayed_and_a_queued_or_running_one_cannot(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let id = accept(&db.store, &w, &it, "a", "a").await;
        for (end, state) in [(true, EventState::Done), (false, EventState::Dead), (false, EventState::Failed)] {
            let mut tx = db.store.tenant(&org).await.unwrap();
            assert!(!tx.event_replay(&id, w.now()).await.unwrap(), "pending");
            drop(tx);
            lease(&db.store, Queue::Events, "t", w.now(), 1).await;
            let mut tx = db.store.tenant(&org).await.unwrap();
            assert!(!tx.event_replay(&id, w.now()).await.unwrap(), "running");
            if end {
                tx.event_done(&id, "t", w.now(), w.now()).await.unwrap();
            } else {
                tx.event_failed(&id, "t", state, w.now().plus_secs(60), "no").await.unwrap();
            }
            assert_eq!(tx.event_find(&id).await.unwrap().unwrap().state, state);
            assert!(tx.event_replay(&id, w.now()).await.unwrap());
            let e = tx.event_find(&id).await.unwrap().unwrap();
            assert_eq!((e.state, e.attempts, e.done_at), (EventState::Pending, 0, None));
            tx.commit().await.unwrap();
        }
    }

    async fn a_wake_makes_waiting_events_due_and_leaves_dead_ones(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let (waits, dead) = (accept(&db.store, &w, &it, "a", "a").await, accept(&db.store, &w, &it, "b", "b").await);
        lease(&db.store, Queue::Events, "t", w.now(), 9).await;
        let tomorrow = w.now().plus_secs(86_400);
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.event_failed(&waits, "t", EventState::Failed, tomorrow, "no").await.unwrap();
        tx.event_failed(&dead, "t", EventState::Dead, tomorrow, "no").await.unwrap();
        assert_eq!(tx.event_wake(w.now(), tomorrow).await.unwrap(), 0, "it waits until then, and not beyond");
        assert_eq!(tx.event_wake(w.now(), tomorrow.plus_millis(-1)).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let due = lease(&db.store, Queue::Events, "t", w.now(), 9).await;
        assert_eq!(crate::common::make::ids(&due), [waits.as_str()]);
    }

    async fn giving_up_leaves_what_customers_of_a_shop_ask_for(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let mut ids = Vec::new();
        for kind in PrivacyKind::ALL {
            let mut asked = w.incoming(Provider::Shopify, kind.as_str(), "a");
            asked.topic = kind.as_str().into();
            let mut tx = db.store.global().await.unwrap();
            assert!(tx.event_accept(&crate::common::make::route(&it), &asked).await.unwrap());
            tx.commit().await.unwrap();
            ids.push(asked.id);
        }
        let mut tx = db.store.tenant(&org).await.unwrap();
        assert_eq!(tx.event_cancel(&it.id, 1, "disconnected", w.now()).await.unwrap(), 0);
        for id in ids {
            assert_eq!(tx.event_find(&id).await.unwrap().unwrap().state, EventState::Pending);
        }
    }

    async fn events_of_a_provider_are_read_in_order_with_what_they_carried(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let page = w.connection(&db.store, &org, Provider::Messenger, "1").await;
        let first = accept(&db.store, &w, &it, "a", "a").await;
        accept(&db.store, &w, &page, "b", "b").await;
        let second = accept(&db.store, &w, &it, "c", "c").await;
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        let one = tx.event_scan(Provider::Shopify, None, 1).await.unwrap();
        assert_eq!((one.len(), &one[0].event.id, &one[0].payload), (1, &first, &sealed("payload")));
        let rest = tx.event_scan(Provider::Shopify, Some(&first), 9).await.unwrap();
        assert_eq!(rest.iter().map(|e| &e.event.id).collect::<Vec<_>>(), [&second]);
    }

    async fn the_ended_events_of_a_conversation_are_found_here_and_at_its_help_desk(db: TestDb) {
        let w = World::new();
        let (org, _) = shop(&w, &db.store).await;
        let page = w.connection(&db.store, &org, Provider::Messenger, "1").await;
        let desk = w.connection(&db.store, &org, Provider::Kustomer, "desk").await;
        let mut ended = Vec::new();
        for (it, dedup, order) in [
            (&page, "a", "1:7".to_owned()),
            (&page, "b", "1:8".to_owned()),
            (&desk, "c", format!("{}:abc", desk.id)),
            (&desk, "d", format!("{}:-", desk.id)),
            (&desk, "e", "other:abc".to_owned()),
        ] {
            let id = accept(&db.store, &w, it, dedup, &order).await;
            lease(&db.store, Queue::Events, "t", w.now(), 9).await;
            let mut tx = db.store.tenant(&org).await.unwrap();
            tx.event_done(&id, "t", w.now(), w.now()).await.unwrap();
            tx.commit().await.unwrap();
            ended.push(id);
        }
        accept(&db.store, &w, &page, "waits", "1:7").await;
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        let both = [ended[0].clone(), ended[2].clone()];
        assert_eq!(tx.event_of_conversation("1:7", Some("abc")).await.unwrap(), both);
        assert_eq!(tx.event_of_conversation("1:7", None).await.unwrap(), both[..1]);
        assert!(tx.event_of_conversation("1:9", Some("ab")).await.unwrap().is_empty());
    }

    async fn an_erased_event_stays_in_the_log_and_keeps_its_repeat_out(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let (ended, waits) = (accept(&db.store, &w, &it, "a", "order 1").await, accept(&db.store, &w, &it, "b", "order 1").await);
        lease(&db.store, Queue::Events, "t", w.now(), 1).await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.event_done(&ended, "t", w.now(), w.now()).await.unwrap();
        for id in [&ended, &waits] {
            assert!(tx.event_erase(id, &sealed("nothing")).await.unwrap());
            assert_eq!(tx.event_payload(id).await.unwrap(), sealed("nothing"));
        }
        assert!(!tx.event_erase(&w.id(EventId::new), &sealed("nothing")).await.unwrap());
        assert!(tx.event_of_conversation("order 1", None).await.unwrap().is_empty());
        tx.commit().await.unwrap();
        let mut tx = db.store.global().await.unwrap();
        let again = w.incoming(Provider::Shopify, "a", "order 1");
        assert!(!tx.event_accept(&crate::common::make::route(&it), &again).await.unwrap());
        tx.commit().await.unwrap();
        // What waits keeps its place in the order.
        assert_eq!(lease(&db.store, Queue::Events, "t", w.now(), 9).await.len(), 1);
    }

    async fn giving_up_ends_the_waiting_events_of_a_connection_up_to_a_generation(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let page = w.connection(&db.store, &org, Provider::Messenger, "1").await;
        let runs = accept(&db.store, &w, &it, "a", "a").await;
        lease(&db.store, Queue::Events, "t", w.now(), 1).await;
        let waits = accept(&db.store, &w, &it, "b", "b").await;
        let newer = Integration { generation: 2, ..it.clone() };
        let newer = accept(&db.store, &w, &newer, "c", "c").await;
        let others = accept(&db.store, &w, &page, "d", "d").await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        assert_eq!(tx.event_cancel(&it.id, 1, "disconnected", w.now()).await.unwrap(), 1);
        let e = tx.event_find(&waits).await.unwrap().unwrap();
        assert_eq!((e.state, e.last_error.as_deref()), (EventState::Dead, Some("disconnected")));
        for (id, state) in [(runs, EventState::Running), (newer, EventState::Pending), (others, EventState::Pending)] {
            assert_eq!(tx.event_find(&id).await.unwrap().unwrap().state, state);
        }
    }

    async fn the_newest_events_are_counted_by_the_minute_and_by_how_long_they_took(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let first = w.now();
        accept(&db.store, &w, &it, "long ago", "x").await;
        w.clock.advance_millis(3_600_000);
        let minute = w.now().millis() / 60_000;
        for (n, (took, state)) in
            [(0, EventState::Done), (40, EventState::Done), (41, EventState::Done), (5, EventState::Dead)].into_iter().enumerate()
        {
            let id = accept(&db.store, &w, &it, &n.to_string(), &n.to_string()).await;
            let received = w.now();
            lease(&db.store, Queue::Events, "t", w.now(), 9).await;
            let mut tx = db.store.tenant(&org).await.unwrap();
            match state {
                EventState::Done => tx.event_done(&id, "t", received, received.plus_millis(took)).await.unwrap(),
                other => tx.event_failed(&id, "t", other, w.now(), "no").await.unwrap(),
            }
            tx.commit().await.unwrap();
        }
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        let (mut rows, from) = tx.event_minutes(first.plus_secs(60), 100).await.unwrap();
        rows.sort_by_key(|r| (r.failed, r.bound));
        let row = |failed, bound, count| MinuteRow { minute, failed, bound, count };
        assert_eq!((rows, from), (vec![row(false, Some(0), 1), row(false, Some(2), 2), row(true, None, 1)], None));
        let (rows, from) = tx.event_minutes(first, 2).await.unwrap();
        assert_eq!((rows.iter().map(|r| r.count).sum::<i64>(), from), (2, Some(w.now())), "the newest only");
        let (rows, _) = tx.event_minutes(first, 100).await.unwrap();
        assert_eq!(rows.iter().map(|r| r.count).sum::<i64>(), 5);
        assert_eq!(BOUNDS.len(), 15, "what the statement calls longer than the last");
    }

    async fn what_waits_is_counted_up_to_a_limit_with_the_oldest_of_it(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        assert_eq!(tx.event_waiting(2).await.unwrap(), Waiting { count: 0, more: false, oldest: None });
        drop(tx);
        let first = w.now();
        for n in 0..3 {
            accept(&db.store, &w, &it, &n.to_string(), "same").await;
            w.clock.advance_millis(1_000);
        }
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        assert_eq!(tx.event_waiting(3).await.unwrap(), Waiting { count: 3, more: false, oldest: Some(first) });
        let some = tx.event_waiting(2).await.unwrap();
        assert_eq!((some.count, some.more, some.oldest.is_some()), (2, true, true));
    }

    async fn a_list_is_narrowed_by_the_providers_id_and_by_what_the_error_says(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let done = accept(&db.store, &w, &it, "a", "a").await;
        let mut ids = Vec::new();
        for (key, why) in [("b", "100% of it: No answer"), ("c", "no_answer!")] {
            let id = accept(&db.store, &w, &it, key, key).await;
            lease(&db.store, Queue::Events, "t", w.now(), 9).await;
            let mut tx = db.store.tenant(&org).await.unwrap();
            tx.event_failed(&id, "t", EventState::Dead, w.now(), why).await.unwrap();
            tx.commit().await.unwrap();
            ids.push(id);
        }
        let any = EventFilter::default;
        let of = |error: &str| EventFilter { error: Some(error.into()), ..any() };
        assert_eq!(listed(&db.store, &org, of("no answer")).await, [ids[0].clone()]);
        assert_eq!(listed(&db.store, &org, of("NO_ANSWER!")).await, [ids[1].clone()]);
        assert_eq!(listed(&db.store, &org, of("0% of")).await, [ids[0].clone()]);
        assert!(listed(&db.store, &org, of("%")).await.len() == 1, "it stands in one of them");
        let dead = EventFilter { state: Some(EventState::Dead), ..of("answer") };
        assert_eq!(listed(&db.store, &org, dead).await, [ids[1].clone(), ids[0].clone()]);
        let named = |name: &str| EventFilter { external_id: Some(name.into()), ..any() };
        assert_eq!(listed(&db.store, &org, named("external a")).await, [done]);
        assert!(listed(&db.store, &org, named("external")).await.is_empty());
    }

    async fn a_look_for_what_is_rare_is_bounded_and_goes_on_where_it_stopped(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let page = w.connection(&db.store, &org, Provider::Messenger, "1").await;
        let rare = accept(&db.store, &w, &page, "rare", "rare").await;
        for n in 0..5 {
            accept(&db.store, &w, &it, &n.to_string(), "a").await;
        }
        let filter = EventFilter { provider: Some(Provider::Messenger), ..EventFilter::default() };
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        let (mut before, mut looks, mut found) = (None, 0, Vec::new());
        loop {
            let part = tx.event_search_within(&filter, before.as_ref(), 10, 2).await.unwrap();
            found.extend(part.events.into_iter().map(|e| e.id));
            looks += 1;
            before = part.searched_to;
            if before.is_none() {
                break;
            }
        }
        assert_eq!((looks, found), (4, vec![rare.clone()]));
        let whole = tx.event_search(&filter, None, 10).await.unwrap();
        assert_eq!((whole.events.len(), whole.searched_to), (1, None));
    }
}
