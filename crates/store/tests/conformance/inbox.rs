//! Accepting webhooks.

use crate::common::make::{accept, route};
use agenstack_core::ctx::OrgCtx;
use agenstack_core::event::EventState;
use agenstack_core::integration::{Integration, Provider, SealedTokens};
use agenstack_store::error::Kind;
use agenstack_store::global::inbox::{Addressed, Body, Incoming, key_in_time};
use agenstack_store::tenant::event::EventFilter;
use agenstack_store::tenant::integration::Ends;
use agenstack_store::testing::{World, postgres, sealed};
use agenstack_store::{Held, Store, both_databases};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::collections::BTreeSet;

async fn count(store: &Store, org: &OrgCtx) -> usize {
    let mut tx = store.tenant_read(org).await.unwrap();
    tx.event_list(&EventFilter::default(), None, 100).await.unwrap().len()
}

both_databases! {
    async fn an_accepted_event_is_pending_with_what_it_came_with(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        let id = accept(&db.store, &w, &shop, "a", "order 1").await;
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        let e = tx.event_find(&id).await.unwrap().unwrap();
        assert_eq!((&e.id, &e.organization_id, &e.integration_id, e.generation), (&id, org.org(), &shop.id, 1));
        assert_eq!((e.provider, e.topic.as_str(), e.external_id.as_str()), (Provider::Shopify, "orders/updated", "external a"));
        assert_eq!((e.state, e.attempts, e.received_at, e.done_at), (EventState::Pending, 0, w.now(), None));
        assert_eq!(tx.event_payload(&id).await.unwrap(), sealed("payload"));
    }

    async fn a_replayed_webhook_is_recorded_once(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        accept(&db.store, &w, &shop, "a", "1").await;
        let mut tx = db.store.global().await.unwrap();
        let again = w.incoming(Provider::Shopify, "a", "2");
        assert!(!tx.event_accept(&route(&shop), &again).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(count(&db.store, &org).await, 1);
    }

    async fn of_many_deliveries_of_one_event_at_once_one_is_recorded(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        let deliver = || async {
            let mut tx = db.store.global().await.unwrap();
            let new = tx.event_accept(&route(&shop), &w.incoming(Provider::Shopify, "a", "1")).await.unwrap();
            tx.commit().await.unwrap();
            new
        };
        let new = futures::future::join_all((0..8).map(|_| deliver())).await;
        assert_eq!(new.iter().filter(|n| **n).count(), 1);
        assert_eq!(count(&db.store, &org).await, 1);
    }

    async fn the_same_key_of_another_organization_or_provider_is_another_event(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let one = w.connection(&db.store, &lark, Provider::Shopify, "lark.myshopify.com").await;
        let two = w.connection(&db.store, &ash, Provider::Shopify, "ash.myshopify.com").await;
        let desk = w.connection(&db.store, &lark, Provider::Kustomer, "1").await;
        for it in [&one, &two, &desk] {
            accept(&db.store, &w, it, "a", "1").await;
        }
        assert_eq!((count(&db.store, &lark).await, count(&db.store, &ash).await), (2, 1));
    }

    async fn events_of_several_organizations_are_accepted_together_or_not_at_all(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let one = w.connection(&db.store, &lark, Provider::Messenger, "1").await;
        let two = w.connection(&db.store, &ash, Provider::Messenger, "2").await;
        for whole in [false, true] {
            let mut tx = db.store.global().await.unwrap();
            for it in [&one, &two] {
                assert!(tx.event_accept(&route(it), &w.incoming(Provider::Messenger, "a", "1")).await.unwrap());
                tx.routes_seen(std::slice::from_ref(&it.id), w.now()).await.unwrap();
            }
            assert!(tx.unrouted_add("3", &w.incoming(Provider::Messenger, "b", "1")).await.unwrap());
            if whole { tx.commit().await.unwrap() } else { drop(tx) }
            let n = usize::from(whole);
            assert_eq!((count(&db.store, &lark).await, count(&db.store, &ash).await), (n, n));
            let mut tx = db.store.global().await.unwrap();
            let kept = tx.unrouted_take(Provider::Messenger, "3", w.now().plus_secs(-1)).await.unwrap();
            assert_eq!(kept.len(), n);
        }
    }

    async fn an_event_for_a_connection_that_is_not_there_is_not_recorded(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let mut to = route(&w.integration(org.org(), Provider::Shopify, "lark.myshopify.com"));
        to.org = w.id(agenstack_core::id::OrgId::new);
        let mut tx = db.store.global().await.unwrap();
        assert!(!tx.event_accept(&to, &w.incoming(Provider::Shopify, "a", "1")).await.unwrap());
    }

    async fn of_many_events_those_are_recorded_that_are_new_and_whose_connection_is_what_it_was(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let shop = w.connection(&db.store, &lark, Provider::Shopify, "lark.myshopify.com").await;
        let page = w.connection(&db.store, &ash, Provider::Messenger, "1").await;
        let ended = w.connection(&db.store, &ash, Provider::Shopify, "ash.myshopify.com").await;
        let mut tx = db.store.tenant(&ash).await.unwrap();
        assert!(tx.integration_end(&ended.id, 1).await.unwrap());
        tx.commit().await.unwrap();
        accept(&db.store, &w, &shop, "known", "1").await;
        let to = |it: &Integration, held: bool, dedup: &str| {
            Addressed { to: route(it), held, event: w.incoming(it.provider, dedup, "1") }
        };
        for (before, at_once) in [(1, false), (2, true)] {
            let mut former = to(&page, false, "former");
            former.to.generation = 0;
            let named = |name: &str| format!("{name} {at_once}");
            let all = [
                to(&shop, false, &named("new")), to(&page, false, &named("new")), to(&shop, false, "known"),
                to(&shop, false, &named("new")), former, to(&ended, false, "late"), to(&ended, true, &named("held")),
            ];
            let list: Vec<_> = all.iter().collect();
            let new = if at_once {
                db.store.events_commit(&mut Held::default(), &list).await.unwrap()
            } else {
                let mut tx = db.store.global().await.unwrap();
                let new = tx.events_accept(&list).await.unwrap();
                tx.commit().await.unwrap();
                new
            };
            let expected: BTreeSet<_> = [&all[0], &all[1], &all[6]].map(|a| a.event.id.clone()).into();
            // Of the two with one key in one go, either is the one.
            let other = [&all[3], &all[1], &all[6]].map(|a| a.event.id.clone()).into();
            assert!(new == expected || new == other, "{new:?}");
            assert_eq!((count(&db.store, &lark).await, count(&db.store, &ash).await), (before + 1, before * 2));
        }
    }

    async fn a_connection_that_another_process_has_changed_is_found_out_at_the_next_commit(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let (fern, _) = w.organization(&db.store, "Fern").await;
        let renewed = w.connection(&db.store, &lark, Provider::Shopify, "lark.myshopify.com").await;
        let ended = w.connection(&db.store, &ash, Provider::Shopify, "ash.myshopify.com").await;
        let erased = w.connection(&db.store, &fern, Provider::Shopify, "fern.myshopify.com").await;
        let mut held = Held::default();
        // Whether an event of each is recorded, by who has committed others of them before.
        let mut recorded = async |n: &str, all: &[&Integration]| {
            let events: Vec<_> = all
                .iter()
                .map(|it| Addressed { to: route(it), held: false, event: w.incoming(Provider::Shopify, &format!("{n} {}", it.id.as_str()), "1") })
                .collect();
            let new = db.store.events_commit(&mut held, &events.iter().collect::<Vec<_>>()).await.unwrap();
            events.iter().map(|a| new.contains(&a.event.id)).collect::<Vec<_>>()
        };
        let all = [&renewed, &ended, &erased];
        for n in ["first", "second", "third"] {
            assert_eq!(recorded(n, &all).await, [true; 3], "{n}");
        }
        // Another process, which this one hears nothing of.
        let other = Store::connect(&db.url).await.unwrap();
        let mut tx = other.tenant(&ash).await.unwrap();
        assert!(tx.integration_end(&ended.id, 1).await.unwrap());
        tx.commit().await.unwrap();
        for n in ["ended", "ended before"] {
            assert_eq!(recorded(n, &all).await, [true, false, true], "{n}");
        }
        let again = Integration { generation: 2, ..renewed.clone() };
        let mut tx = other.tenant(&lark).await.unwrap();
        tx.integration_put(&again, &SealedTokens::default(), Ends::default(), false).await.unwrap();
        tx.commit().await.unwrap();
        for n in ["renewed", "renewed before"] {
            assert_eq!(recorded(n, &[&renewed, &again, &ended, &erased]).await, [false, true, false, true], "{n}");
        }
        loop {
            let mut tx = other.tenant(&fern).await.unwrap();
            let n = tx.organization_erase(100).await.unwrap();
            tx.commit().await.unwrap();
            if n == 0 {
                break;
            }
        }
        for n in ["erased", "erased before"] {
            assert_eq!(recorded(n, &[&renewed, &again, &ended, &erased]).await, [false, true, false, false], "{n}");
        }
        assert_eq!(count(&db.store, &fern).await, 0);
    }

    async fn a_batch_of_any_size_is_committed_whole(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let shop = w.connection(&db.store, &lark, Provider::Shopify, "lark.myshopify.com").await;
        let mut held = Held::default();
        let mut all = 0;
        for n in [0, 1, 2, 4, 5, 33, 256, 257] {
            let events: Vec<_> = (0..n)
                .map(|i| Addressed { to: route(&shop), held: false, event: w.incoming(Provider::Shopify, &format!("{n} {i}"), "1") })
                .collect();
            let list: Vec<_> = events.iter().collect();
            let ids: BTreeSet<_> = events.iter().map(|a| a.event.id.clone()).collect();
            assert_eq!(db.store.events_commit(&mut held, &list).await.unwrap(), ids);
            all += n;
            let again = db.store.events_commit(&mut held, &list).await.unwrap();
            assert!(again.is_empty(), "{n} came twice: {again:?}");
        }
        held.let_go();
        let mut tx = db.store.tenant_read(&lark).await.unwrap();
        assert_eq!(tx.event_list(&EventFilter::default(), None, 1_000).await.unwrap().len(), all);
    }

    async fn who_holds_the_writing_connection_gives_it_to_whoever_waits(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let shop = w.connection(&db.store, &lark, Provider::Shopify, "lark.myshopify.com").await;
        let mut held = Held::default();
        let one = |dedup: &str| Addressed { to: route(&shop), held: false, event: w.incoming(Provider::Shopify, dedup, "1") };
        db.store.events_commit(&mut held, &[&one("a")]).await.unwrap();
        let (store, org) = (db.store.clone(), lark.clone());
        let mut other = Box::pin(async move { store.tenant(&org).await.unwrap().commit().await });
        // It waits, if there is one connection that writes; then it has its turn after the commit under way.
        let ready = futures::poll!(&mut other).is_ready();
        db.store.events_commit(&mut held, &[&one("b")]).await.unwrap();
        if !ready {
            other.await.unwrap();
        }
        held.let_go();
        assert_eq!(count(&db.store, &lark).await, 2);
    }

    async fn the_same_body_under_another_id_is_recorded_once_in_this_window_and_the_next(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let shop = w.connection(&db.store, &lark, Provider::Shopify, "lark.myshopify.com").await;
        let other = w.connection(&db.store, &ash, Provider::Shopify, "ash.myshopify.com").await;
        let body = |dedup: &str, window: u8| Incoming {
            body: Some(Body { digest: vec![window, 1], former: Some(vec![window - 1, 1]) }),
            ..w.incoming(Provider::Shopify, dedup, "1")
        };
        let mut tx = db.store.global().await.unwrap();
        assert!(tx.event_accept(&route(&shop), &body("a", 5)).await.unwrap());
        assert!(!tx.event_accept(&route(&shop), &body("b", 5)).await.unwrap(), "the same window");
        assert!(!tx.event_accept(&route(&shop), &body("c", 6)).await.unwrap(), "the next window");
        assert!(tx.event_accept(&route(&shop), &body("d", 7)).await.unwrap(), "long after");
        assert!(tx.event_accept(&route(&other), &body("a", 5)).await.unwrap(), "another organization");
    }

    async fn the_same_id_in_bodies_that_tell_of_another_second_is_another_event(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        let noon = agenstack_core::clock::Timestamp::from_secs(1_795_600_800);
        let at = |ms: i64| Incoming { told_at: Some(noon.plus_millis(ms)), ..w.incoming(Provider::Shopify, "a", "1") };
        let mut tx = db.store.global().await.unwrap();
        for (ms, new) in [(0, true), (999, false), (1_000, true), (1_001, false)] {
            assert_eq!(tx.event_accept(&route(&shop), &at(ms)).await.unwrap(), new, "{ms}");
        }
    }

    async fn what_was_kept_for_nobody_is_found_once_somebody_owns_its_account(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let mut tx = db.store.global().await.unwrap();
        for n in ["a", "b"] {
            tx.unrouted_add("1", &w.incoming(Provider::Messenger, n, "x")).await.unwrap();
        }
        assert!(tx.unrouted_owned(9).await.unwrap().is_empty());
        tx.commit().await.unwrap();
        let page = w.connection(&db.store, &lark, Provider::Messenger, "1").await;
        let owned = db.store.global_read().await.unwrap().unrouted_owned(9).await.unwrap();
        assert_eq!(owned.len(), 1);
        assert_eq!((owned[0].0, owned[0].1.as_str(), &owned[0].2.integration), (Provider::Messenger, "1", &page.id));
    }

    async fn what_nobody_owned_is_taken_once_by_its_account_oldest_first(db: TestDb) {
        let w = World::new();
        let mut tx = db.store.global().await.unwrap();
        let old = w.incoming(Provider::Messenger, "old", "1");
        assert!(tx.unrouted_add("1", &old).await.unwrap());
        w.clock.advance_millis(10_000);
        let (first, second) = (w.incoming(Provider::Messenger, "a", "x"), w.incoming(Provider::Messenger, "b", "x"));
        assert!(tx.unrouted_add("1", &second).await.unwrap());
        assert!(tx.unrouted_add("1", &first).await.unwrap());
        assert!(!tx.unrouted_add("1", &w.incoming(Provider::Messenger, "b", "x")).await.unwrap(), "recorded once");
        assert!(tx.unrouted_add("2", &w.incoming(Provider::Messenger, "c", "x")).await.unwrap());
        assert!(tx.unrouted_add("1", &w.incoming(Provider::Kustomer, "a", "x")).await.unwrap());
        let taken = tx.unrouted_take(Provider::Messenger, "1", old.received_at).await.unwrap();
        assert_eq!(format!("{taken:?}"), format!("{:?}", [first, second]));
        assert_eq!(taken[0].payload, sealed("payload"));
        assert!(tx.unrouted_take(Provider::Messenger, "1", old.received_at).await.unwrap().is_empty());
        assert_eq!(tx.unrouted_take(Provider::Messenger, "2", old.received_at).await.unwrap().len(), 1);
        assert_eq!(tx.unrouted_take(Provider::Kustomer, "1", old.received_at).await.unwrap().len(), 1);
    }

    async fn what_nobody_connected_in_time_is_swept(db: TestDb) {
        let w = World::new();
        let mut tx = db.store.global().await.unwrap();
        let old = w.incoming(Provider::Messenger, "a", "x");
        tx.unrouted_add("1", &old).await.unwrap();
        w.clock.advance_millis(1);
        tx.unrouted_add("1", &w.incoming(Provider::Messenger, "b", "x")).await.unwrap();
        assert_eq!(tx.unrouted_sweep(old.received_at).await.unwrap(), 1);
        assert_eq!(tx.unrouted_take(Provider::Messenger, "1", old.received_at).await.unwrap().len(), 1);
    }

    async fn what_is_kept_for_nobody_can_be_asked_for_its_keys_without_being_taken(db: TestDb) {
        let w = World::new();
        let mut tx = db.store.global().await.unwrap();
        for n in ["a", "b"] {
            tx.unrouted_add("1", &w.incoming(Provider::Messenger, n, "x")).await.unwrap();
        }
        assert_eq!(tx.unrouted_payloads().await.unwrap(), [sealed("payload"), sealed("payload")]);
        assert_eq!(tx.unrouted_payloads().await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn on_postgres_whoever_holds_a_connection_that_the_server_has_ended_goes_on_with_another() {
    let db = postgres().await;
    let w = World::new();
    let (org, _) = w.organization(&db.store, "Lark").await;
    let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
    let mut administrator = PgConnection::connect(&db.url).await.unwrap();
    let (mut commits, mut looks) = (Held::default(), Held::default());
    for n in ["a", "b", "c"] {
        let one = Addressed { to: route(&shop), held: false, event: w.incoming(Provider::Shopify, n, "1") };
        let new = db.store.events_commit(&mut commits, &[&one]).await.unwrap();
        assert_eq!(new, BTreeSet::from([one.event.id]));
        let found = db
            .store
            .routes_by_accounts(&mut looks, Provider::Shopify, &["lark.myshopify.com"])
            .await
            .unwrap();
        assert_eq!(found.len(), 1);
        let ended: i64 = sqlx::query_scalar(
            "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .fetch_one(&mut administrator)
        .await
        .unwrap();
        assert!(ended >= 2, "{ended}");
    }
    assert_eq!(count(&db.store, &org).await, 3);
}

#[tokio::test]
async fn on_postgres_whoever_holds_a_connection_to_a_server_that_only_read_goes_on_when_it_writes_again() {
    let db = postgres().await;
    let w = World::new();
    let (org, _) = w.organization(&db.store, "Lark").await;
    let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
    let mut administrator = PgConnection::connect(&db.url).await.unwrap();
    let name: String =
        sqlx::query_scalar("SELECT current_database()::text").fetch_one(&mut administrator).await.unwrap();
    // What a session may do is settled when it begins: one that is kept would be read-only for ever.
    let set = |to: &str| {
        AssertSqlSafe(format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = {to}"))
    };
    sqlx::query(set("on")).execute(&mut administrator).await.unwrap();
    let mut held = Held::default();
    let one = Addressed { to: route(&shop), held: false, event: w.incoming(Provider::Shopify, "a", "1") };
    let refused = db.store.events_commit(&mut held, &[&one]).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable);
    sqlx::query(set("off")).execute(&mut administrator).await.unwrap();
    let new = db.store.events_commit(&mut held, &[&one]).await.unwrap();
    assert_eq!(new, BTreeSet::from([one.event.id]));
}

#[test]
fn keys_of_one_moment_are_neighbours_and_what_tells_no_time_stands_in_front() {
    let at = |secs, n: u8| key_in_time(secs, &[n; 32]);
    let time = |secs| Some(agenstack_core::clock::Timestamp::from_secs(secs));
    let in_order = [
        at(None, 1),
        at(None, 255),
        at(time(1_795_600_000), 255),
        at(time(1_795_600_001), 0),
        at(time(1_795_600_001), 1),
        at(time(1_795_600_256), 0),
    ];
    assert!(in_order.is_sorted() && in_order.iter().all(|key| key.len() == 16));
    // Nobody can tell a time that has no place.
    for secs in [-1, i64::MAX / 2_000] {
        assert_eq!(at(time(secs), 7), at(None, 7));
    }
}
