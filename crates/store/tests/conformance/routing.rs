//! Whose account is it?

use agenstack_core::ctx::{Actor, OrgCtx};
use agenstack_core::id::{DataKeyId, IntegrationId};
use agenstack_core::integration::{ConnectionStatus, Integration, LastError, Provider};
use agenstack_store::global::key::StoredKey;
use agenstack_store::global::routing::ConnectionCount;
use agenstack_store::tenant::integration::Ends;
use agenstack_store::testing::{World, postgres, sealed, tokens};
use agenstack_store::{Held, both_databases};
use std::collections::BTreeSet;

both_databases! {
    async fn the_owner_of_an_account_is_found_by_account_and_by_connection(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let page = w.connection(&db.store, &lark, Provider::Messenger, "1").await;
        w.connection(&db.store, &ash, Provider::Messenger, "2").await;
        let mut tx = db.store.global_read().await.unwrap();
        let by_account = tx.route_by_account(Provider::Messenger, "1").await.unwrap().unwrap();
        let by_id = tx.route_by_id(Provider::Messenger, &page.id).await.unwrap().unwrap();
        for owned in [by_account, by_id] {
            assert_eq!((&owned.route.org, &owned.route.integration), (lark.org(), &page.id));
            assert_eq!((owned.route.generation, owned.external_id.as_str()), (1, "1"));
            assert_eq!((owned.acting_user_id.as_deref(), owned.webhook_secret), (Some("acting"), tokens("first").webhook_secret));
            assert_eq!(owned.webhook_secret_previous, tokens("first").webhook_secret_previous);
        }
    }

    async fn an_account_of_another_provider_or_of_nobody_has_no_owner(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let page = w.connection(&db.store, &lark, Provider::Messenger, "1").await;
        let mut tx = db.store.global_read().await.unwrap();
        assert!(tx.route_by_account(Provider::Kustomer, "1").await.unwrap().is_none());
        assert!(tx.route_by_account(Provider::Messenger, "2").await.unwrap().is_none());
        assert!(tx.route_by_id(Provider::Kustomer, &page.id).await.unwrap().is_none());
        assert!(tx.route_by_id(Provider::Messenger, &w.id(IntegrationId::new)).await.unwrap().is_none());
    }

    async fn a_disconnected_account_has_no_owner(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let page = w.connection(&db.store, &lark, Provider::Messenger, "1").await;
        let mut tx = db.store.tenant(&lark).await.unwrap();
        tx.integration_end(&page.id, 1).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = db.store.global_read().await.unwrap();
        assert!(tx.route_by_account(Provider::Messenger, "1").await.unwrap().is_none());
        assert!(tx.route_by_id(Provider::Messenger, &page.id).await.unwrap().is_none());
    }

    async fn the_owners_of_many_accounts_are_found_by_one_question_with_their_newest_keys(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let one = w.connection(&db.store, &lark, Provider::Messenger, "1").await;
        let two = w.connection(&db.store, &ash, Provider::Messenger, "2 \"quoted\"").await;
        let ended = w.connection(&db.store, &ash, Provider::Messenger, "3").await;
        w.connection(&db.store, &ash, Provider::Shopify, "4").await;
        let mut tx = db.store.tenant(&ash).await.unwrap();
        tx.integration_end(&ended.id, 1).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = db.store.global().await.unwrap();
        for name in ["former", "newest"] {
            let key = StoredKey { id: w.id(DataKeyId::new), master_key_id: "m".into(), wrapped: sealed(name) };
            tx.key_add(lark.org(), &key, w.now()).await.unwrap();
        }
        tx.commit().await.unwrap();
        let mut tx = db.store.global_read().await.unwrap();
        let (asked, mut held) = (["1", "2 \"quoted\"", "3", "4", "5", "1"], Held::default());
        let found = db.store.routes_by_accounts(&mut held, Provider::Messenger, &asked).await.unwrap();
        for (it, org) in [(&one, &lark), (&two, &ash)] {
            let owner = found.iter().find(|f| f.external_id == it.external_id).unwrap();
            assert_eq!((&owner.route.org, &owner.route.integration, owner.route.generation), (org.org(), &it.id, 1));
            let newest = tx.key_newest(org.org()).await.ok();
            assert_eq!(newest.is_some(), org.org() == lark.org());
            assert_eq!(owner.key.as_ref().map(|(k, at)| (&k.id, *at)), newest.as_ref().map(|(k, at)| (&k.id, *at)));
        }
        assert!(found.iter().all(|f| [&one.external_id, &two.external_id].contains(&&f.external_id)), "{found:?}");
        assert!(db.store.routes_by_accounts(&mut held, Provider::Messenger, &[]).await.unwrap().is_empty());
    }

    async fn everybody_who_ever_held_an_account_is_found_and_nobody_else(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let (elm, _) = w.organization(&db.store, "Elm").await;
        let shop = "lark.myshopify.com";
        let first = w.connection(&db.store, &lark, Provider::Shopify, shop).await;
        let mut tx = db.store.tenant(&lark).await.unwrap();
        tx.integration_end(&first.id, 1).await.unwrap();
        tx.commit().await.unwrap();
        let second = w.connection(&db.store, &ash, Provider::Shopify, shop).await;
        w.connection(&db.store, &elm, Provider::Shopify, "other.myshopify.com").await;
        w.connection(&db.store, &elm, Provider::Messenger, shop).await;
        let mut tx = db.store.global_read().await.unwrap();
        let held = tx.routes_held(Provider::Shopify, shop).await.unwrap();
        let found: Vec<_> = held.iter().map(|o| (&o.route.org, &o.route.integration, o.route.generation)).collect();
        assert_eq!(found, [(lark.org(), &first.id, 2), (ash.org(), &second.id, 1)]);
        assert!(tx.routes_held(Provider::Shopify, "nobody.myshopify.com").await.unwrap().is_empty());
    }

    async fn an_event_that_came_in_is_seen_on_its_connection_only(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let page = w.connection(&db.store, &lark, Provider::Messenger, "1").await;
        let other = w.connection(&db.store, &lark, Provider::Messenger, "2").await;
        let mut tx = db.store.global().await.unwrap();
        tx.routes_seen(std::slice::from_ref(&page.id), w.now()).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = db.store.tenant_read(&lark).await.unwrap();
        assert_eq!(tx.integration_find(&page.id).await.unwrap().unwrap().last_event_at, Some(w.now()));
        assert_eq!(tx.integration_find(&other.id).await.unwrap().unwrap().last_event_at, None);
    }

    async fn the_connections_a_person_made_are_found_in_every_organization(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let one = w.connection(&db.store, &lark, Provider::Messenger, "1").await;
        let two = w.connection(&db.store, &ash, Provider::Messenger, "2").await;
        let ended = w.connection(&db.store, &ash, Provider::Messenger, "3").await;
        w.connection(&db.store, &ash, Provider::Kustomer, "1").await;
        let mut tx = db.store.tenant(&ash).await.unwrap();
        let others = Integration { acting_user_id: Some("another".into()), ..w.integration(ash.org(), Provider::Messenger, "4") };
        tx.integration_put(&others, &tokens("x"), Ends::default(), true).await.unwrap();
        tx.integration_end(&ended.id, 1).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = db.store.global_read().await.unwrap();
        let found = tx.routes_by_actor(Provider::Messenger, "acting").await.unwrap();
        let found: Vec<_> = found.iter().map(|o| (&o.route.org, &o.route.integration)).collect();
        assert_eq!(found, [(lark.org(), &one.id), (ash.org(), &two.id)]);
        assert!(tx.routes_by_actor(Provider::Shopify, "acting").await.unwrap().is_empty());
    }

    async fn what_ends_soon_is_taken_for_renewal_once_the_longest_due_first(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let mut ids = Vec::new();
        for (provider, account, secs) in [
            (Provider::Shopify, "late.myshopify.com", 20),
            (Provider::Kustomer, "soon", 10),
            (Provider::Kustomer, "later", 40),
            (Provider::Messenger, "never", 5),
            (Provider::Shopify, "broken.myshopify.com", 1),
            (Provider::Shopify, "frozen.myshopify.com", 19),
        ] {
            let mut it = w.integration(org.org(), provider, account);
            it.token_expires_at = Some(w.now().plus_secs(secs));
            let ends = Ends { refresh: None, renew_at: it.token_expires_at.filter(|_| provider != Provider::Messenger) };
            let mut tx = db.store.tenant(&org).await.unwrap();
            tx.integration_put(&it, &tokens("x"), ends, true).await.unwrap();
            for (name, status) in [("broken", ConnectionStatus::NeedsReconnect), ("frozen", ConnectionStatus::Paused)] {
                if account.starts_with(name) {
                    let error = LastError { code: "x".into(), message: "no".into(), at: w.now() };
                    assert!(tx.integration_failed(&it.id, 1, Some(status), &error).await.unwrap());
                }
            }
            tx.commit().await.unwrap();
            ids.push(it.id);
        }
        let mut tx = db.store.global().await.unwrap();
        let (now, until) = (w.now().plus_secs(20), w.now().plus_secs(60));
        let first = tx.renewal_claim(now, until, 1).await.unwrap();
        assert_eq!(first.iter().map(|(_, id)| id).collect::<Vec<_>>(), [&ids[1]]);
        assert_eq!(OrgCtx::from_queue(w.ctx(Actor::Worker), &first[0].0).org(), org.org());
        // Paused ones too: their refresh tokens grow old meanwhile.
        let rest = tx.renewal_claim(now, until, 9).await.unwrap();
        let rest: BTreeSet<_> = rest.iter().map(|(_, id)| id).collect();
        assert_eq!(rest, BTreeSet::from([&ids[0], &ids[5]]));
        assert!(tx.renewal_claim(now, until, 9).await.unwrap().is_empty(), "each is taken once");
        assert_eq!(tx.renewal_claim(until, until.plus_secs(60), 9).await.unwrap().len(), 4, "and again when the claim is over");
    }

    async fn connections_are_counted_by_provider_and_state_with_the_nearest_end_of_each(db: TestDb) {
        let w = World::new();
        assert!(db.store.global_read().await.unwrap().connection_count().await.unwrap().is_empty());
        for (name, secs) in [("lark", 20), ("ash", -5)] {
            let (org, _) = w.organization(&db.store, name).await;
            for (provider, expires_at) in
                [(Provider::Kustomer, Some(w.now().plus_secs(secs))), (Provider::Messenger, None)]
            {
                let mut it = w.integration(org.org(), provider, name);
                it.token_expires_at = expires_at;
                let mut tx = db.store.tenant(&org).await.unwrap();
                tx.integration_put(&it, &tokens("x"), Ends::default(), true).await.unwrap();
                if name == "ash" && provider == Provider::Messenger {
                    tx.integration_end(&it.id, 1).await.unwrap();
                }
                tx.commit().await.unwrap();
            }
        }
        let mut all = db.store.global_read().await.unwrap().connection_count().await.unwrap();
        all.sort_by_key(|c| (c.provider, c.status));
        let row = |provider, status, count, nearest_expiry| ConnectionCount { provider, status, count, nearest_expiry };
        assert_eq!(all, [
            row(Provider::Messenger, ConnectionStatus::Connected, 1, None),
            row(Provider::Messenger, ConnectionStatus::Disconnected, 1, None),
            row(Provider::Kustomer, ConnectionStatus::Connected, 2, Some(w.now().plus_secs(-5))),
        ]);
    }

    async fn pages_are_probed_often_and_the_rest_seldom_each_once(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let page = w.connection(&db.store, &org, Provider::Messenger, "1").await;
        let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        let begun = w.now();
        w.clock.advance_millis(100);
        let (now, before) = (w.now(), begun.plus_millis(-1));
        for (often, seldom, expected) in [
            (before, before, vec![]),
            (begun, before, vec![&page.id]),
            (begun, begun, vec![&shop.id]),
            (begun, begun, vec![]),
            (now, begun, vec![&page.id]),
        ] {
            let mut tx = db.store.global().await.unwrap();
            let claimed = tx.probe_claim(now, often, seldom, 9).await.unwrap();
            assert_eq!(claimed.iter().map(|(_, id)| id).collect::<Vec<_>>(), expected);
            tx.commit().await.unwrap();
        }
    }

    async fn what_a_person_connected_can_be_made_due_for_a_probe_at_once(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let one = w.connection(&db.store, &lark, Provider::Messenger, "1").await;
        let two = w.connection(&db.store, &ash, Provider::Messenger, "2").await;
        let ended = w.connection(&db.store, &ash, Provider::Messenger, "3").await;
        w.connection(&db.store, &ash, Provider::Kustomer, "1").await;
        let mut tx = db.store.tenant(&ash).await.unwrap();
        let others = w.integration(ash.org(), Provider::Messenger, "4");
        let others = Integration { acting_user_id: Some("another".into()), ..others };
        tx.integration_put(&others, &tokens("x"), Ends::default(), true).await.unwrap();
        tx.integration_end(&ended.id, 1).await.unwrap();
        tx.commit().await.unwrap();
        let before = w.now().plus_millis(-1);
        let mut tx = db.store.global().await.unwrap();
        assert!(tx.probe_claim(w.now(), before, before, 9).await.unwrap().is_empty());
        assert_eq!(tx.probe_soon(Provider::Messenger, "acting").await.unwrap(), 2);
        let claimed = tx.probe_claim(w.now(), before, before, 9).await.unwrap();
        let claimed: BTreeSet<_> = claimed.iter().map(|(_, id)| id).collect();
        assert_eq!(claimed, BTreeSet::from([&one.id, &two.id]));
        assert!(tx.probe_claim(w.now(), before, before, 9).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn on_postgres_a_node_that_asks_while_another_claims_probes_nothing() {
    const WAITING: &str = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let db = postgres().await;
    let w = World::new();
    let (org, _) = w.organization(&db.store, "Lark").await;
    for n in 0..4 {
        w.connection(&db.store, &org, Provider::Messenger, &n.to_string()).await;
    }
    let begun = w.now();
    w.clock.advance_millis(100);
    let (mut one, mut two) = (db.store.global().await.unwrap(), db.store.global().await.unwrap());
    assert_eq!(one.probe_claim(w.now(), begun, begun, 9).await.unwrap().len(), 4);
    let commit = async {
        // The other waits for these rows, or went on without them.
        for _ in 0..200 {
            let waiting: i64 =
                sqlx::query_scalar(WAITING).fetch_one(db.store.postgres().unwrap()).await.unwrap();
            if waiting > 0 {
                break;
            }
        }
        one.commit().await.unwrap();
    };
    let (claimed, ()) = futures::join!(two.probe_claim(w.now(), begun, begun, 9), commit);
    assert_eq!(claimed.unwrap().len(), 0);
}
