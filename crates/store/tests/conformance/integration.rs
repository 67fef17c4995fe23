//! Connections: one owner, generations, the right to refresh.

mod model;

use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::integration::{
    ConnectionStatus, Integration, LastError, Provider, ReplacedSecret, SealedTokens, Subscription,
};
use agenstack_store::tenant::integration::{Ends, RefreshedTokens, Tokens};
use agenstack_store::testing::{World, sealed, tokens};
use agenstack_store::{Store, StoreError, both_databases};

const SHOP: &str = "lark.myshopify.com";

async fn shop(w: &World, store: &Store) -> (OrgCtx, Integration) {
    let (org, _) = w.organization(store, "Lark").await;
    let it = w.connection(store, &org, Provider::Shopify, SHOP).await;
    (org, it)
}

async fn put(store: &Store, org: &OrgCtx, it: &Integration, is_new: bool) -> Result<(), StoreError> {
    let mut tx = store.tenant(org).await?;
    tx.integration_put(it, &tokens("put"), Ends::default(), is_new).await?;
    tx.commit().await
}

async fn end(store: &Store, org: &OrgCtx, it: &Integration, generation: i64) -> bool {
    let mut tx = store.tenant(org).await.unwrap();
    let ended = tx.integration_end(&it.id, generation).await.unwrap();
    tx.commit().await.unwrap();
    ended
}

fn pair(w: &World) -> RefreshedTokens {
    RefreshedTokens {
        access_token: sealed("second access"),
        refresh_token: Some(sealed("second refresh")),
        expires_at: Some(w.now().plus_secs(7200)),
        refresh_expires_at: Some(w.now().plus_secs(99_999)),
        renew_at: Some(w.now().plus_secs(6000)),
    }
}

fn parts(t: &SealedTokens) -> [Option<&[u8]>; 5] {
    let previous = t.webhook_secret_previous.as_ref().map(|p| &p.secret);
    [
        t.access_token.as_ref(),
        t.refresh_token.as_ref(),
        t.webhook_secret.as_ref(),
        previous,
        t.client_secret.as_ref(),
    ]
    .map(|s| s.map(|s| s.as_bytes()))
}

async fn take(
    store: &Store,
    org: &OrgCtx,
    it: &Integration,
    seen: &Tokens,
    now: Timestamp,
    until: Timestamp,
) -> bool {
    let mut tx = store.tenant(org).await.unwrap();
    let taken = tx.integration_refresh_lease(&it.id, seen, now, until).await.unwrap();
    tx.commit().await.unwrap();
    taken
}

both_databases! {
    async fn a_connection_is_stored_whole_and_found_by_id_and_account(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        let by_id = tx.integration_find(&it.id).await.unwrap().unwrap();
        let by_account = tx.integration_by_account(Provider::Shopify, SHOP).await.unwrap().unwrap();
        assert_eq!(format!("{by_id:?}"), format!("{it:?}"));
        assert_eq!(format!("{by_account:?}"), format!("{it:?}"));
        assert!(tx.integration_by_account(Provider::Kustomer, SHOP).await.unwrap().is_none());
        let stored = tx.integration_tokens(&it.id).await.unwrap();
        assert_eq!(parts(&stored.sealed), parts(&tokens("first")));
        assert_eq!((stored.expires_at, stored.generation, stored.status), (it.token_expires_at, 1, it.status));
    }

    async fn the_list_leaves_out_what_is_disconnected(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let page = w.connection(&db.store, &org, Provider::Messenger, "1").await;
        assert!(end(&db.store, &org, &it, 1).await);
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        let list = tx.integration_list().await.unwrap();
        assert_eq!(list.iter().map(|i| &i.id).collect::<Vec<_>>(), [&page.id]);
        let ended = tx.integration_ended(9).await.unwrap();
        assert_eq!(ended.iter().map(|i| &i.id).collect::<Vec<_>>(), [&it.id]);
        assert!(tx.integration_find(&it.id).await.unwrap().is_some());
    }

    async fn an_account_has_one_owner_across_organizations(db: TestDb) {
        let w = World::new();
        let (lark, it) = shop(&w, &db.store).await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let other = w.integration(ash.org(), Provider::Shopify, SHOP);
        assert!(matches!(put(&db.store, &ash, &other, true).await, Err(StoreError::Conflict(_))));
        // Once it is free, another may have it, and the former owner finds it taken.
        assert!(end(&db.store, &lark, &it, 1).await);
        put(&db.store, &ash, &other, true).await.unwrap();
        let back = Integration { generation: 3, ..it };
        assert!(matches!(put(&db.store, &lark, &back, false).await, Err(StoreError::Conflict(_))));
    }

    async fn of_organizations_that_connect_an_account_at_once_one_gets_it(db: TestDb) {
        let w = World::new();
        let mut all = Vec::new();
        for n in 0..6 {
            let (org, _) = w.organization(&db.store, &format!("Org {n}")).await;
            let it = w.integration(org.org(), Provider::Shopify, SHOP);
            all.push((org, it));
        }
        let results = futures::future::join_all(all.iter().map(|(org, it)| put(&db.store, org, it, true))).await;
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
        assert_eq!(results.iter().filter(|r| matches!(r, Err(StoreError::Conflict(_)))).count(), 5);
    }

    async fn an_organization_has_one_row_for_an_account_even_after_its_end(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        end(&db.store, &org, &it, 1).await;
        let second = w.integration(org.org(), Provider::Shopify, SHOP);
        assert!(matches!(put(&db.store, &org, &second, true).await, Err(StoreError::Conflict(_))));
    }

    async fn connecting_anew_keeps_the_row_and_replaces_tokens_error_and_generation(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let error = LastError { code: "revoked".into(), message: "no".into(), at: w.now() };
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.integration_failed(&it.id, 1, Some(ConnectionStatus::NeedsReconnect), &error).await.unwrap();
        tx.commit().await.unwrap();
        w.clock.advance_millis(5);
        let anew = Integration { generation: 2, connected_at: w.now(), scopes: vec!["all".into()], ..it };
        put(&db.store, &org, &anew, false).await.unwrap();
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        assert_eq!(format!("{:?}", tx.integration_find(&anew.id).await.unwrap().unwrap()), format!("{anew:?}"));
        assert_eq!(parts(&tx.integration_tokens(&anew.id).await.unwrap().sealed), parts(&tokens("put")));
    }

    async fn of_two_who_connect_it_anew_at_once_one_does(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let anew = Integration { generation: 2, ..it };
        put(&db.store, &org, &anew, false).await.unwrap();
        assert!(matches!(put(&db.store, &org, &anew, false).await, Err(StoreError::NotFound("integration"))));
    }

    async fn what_was_never_connected_cannot_be_connected_anew(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let it = w.integration(org.org(), Provider::Shopify, SHOP);
        assert!(matches!(put(&db.store, &org, &it, false).await, Err(StoreError::NotFound("integration"))));
    }

    async fn an_end_erases_the_tokens_raises_the_generation_and_happens_once(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        assert!(!end(&db.store, &org, &it, 2).await, "of another generation");
        assert!(end(&db.store, &org, &it, 1).await);
        assert!(!end(&db.store, &org, &it, 2).await, "ended already");
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        let stored = tx.integration_tokens(&it.id).await.unwrap();
        assert_eq!(parts(&stored.sealed), [None, None, None, None, None]);
        assert_eq!((stored.expires_at, stored.generation, stored.status), (None, 2, ConnectionStatus::Disconnected));
        let found = tx.integration_find(&it.id).await.unwrap().unwrap();
        assert_eq!((found.webhook_id, found.client_id), (None, None));
    }

    async fn tokens_of_a_connection_that_is_not_there_are_not_found(db: TestDb) {
        let w = World::new();
        let (org, _) = shop(&w, &db.store).await;
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        let id = w.id(agenstack_core::id::IntegrationId::new);
        assert!(matches!(tx.integration_tokens(&id).await, Err(StoreError::NotFound("integration"))));
    }

    async fn a_success_ends_a_pause_and_clears_the_error(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let error = LastError { code: "x".into(), message: "no".into(), at: w.now() };
        let mut tx = db.store.tenant(&org).await.unwrap();
        for status in [Some(ConnectionStatus::Paused), None] {
            assert_eq!(tx.integration_failed(&it.id, 1, status, &error).await.unwrap(), status.is_some(), "another state");
            assert!(!tx.integration_failed(&it.id, 1, status, &error).await.unwrap(), "the same state");
            let failed = tx.integration_find(&it.id).await.unwrap().unwrap();
            assert_eq!((failed.status, failed.last_error.as_ref()), (status.unwrap_or(ConnectionStatus::Connected), Some(&error)));
            assert_eq!(tx.integration_succeeded(&it.id, 1, w.now()).await.unwrap(), status.is_some());
            let after = tx.integration_find(&it.id).await.unwrap().unwrap();
            assert_eq!((after.status, after.last_error, after.last_success_at), (ConnectionStatus::Connected, None, Some(w.now())));
        }
    }

    async fn what_was_under_way_while_a_connection_broke_neither_mends_it_nor_hides_why(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let error = |code: &str| LastError { code: code.into(), message: "no".into(), at: w.now() };
        let mut tx = db.store.tenant(&org).await.unwrap();
        let revoked = error("revoked");
        assert!(tx.integration_failed(&it.id, 1, Some(ConnectionStatus::NeedsReconnect), &revoked).await.unwrap());
        let broken = format!("{:?}", tx.integration_find(&it.id).await.unwrap().unwrap());
        assert!(!tx.integration_succeeded(&it.id, 1, w.now()).await.unwrap());
        for status in [None, Some(ConnectionStatus::Paused), Some(ConnectionStatus::NeedsReconnect)] {
            assert!(!tx.integration_failed(&it.id, 1, status, &error("later")).await.unwrap(), "{status:?}");
        }
        assert_eq!(format!("{:?}", tx.integration_find(&it.id).await.unwrap().unwrap()), broken);
    }

    async fn what_a_former_generation_learned_changes_nothing(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let now = Integration { generation: 2, ..it };
        put(&db.store, &org, &now, false).await.unwrap();
        let error = LastError { code: "x".into(), message: "no".into(), at: w.now() };
        let mut tx = db.store.tenant(&org).await.unwrap();
        let before = tx.integration_tokens(&now.id).await.unwrap();
        let stale = Tokens { sealed: tokens("x"), generation: 1, ..before.clone() };
        assert!(!tx.integration_succeeded(&now.id, 1, w.now()).await.unwrap());
        assert!(!tx.integration_failed(&now.id, 1, Some(ConnectionStatus::Paused), &error).await.unwrap());
        tx.integration_scopes(&now.id, 1, &[], &["read".into()]).await.unwrap();
        tx.integration_webhook(&now.id, 1, "stale", &sealed("stale"), None).await.unwrap();
        tx.integration_wait(&now.id, 1, w.now()).await.unwrap();
        assert!(!tx.integration_refresh_lease(&now.id, &stale, w.now(), w.now().plus_secs(9)).await.unwrap());
        assert!(!tx.integration_end(&now.id, 1).await.unwrap());
        assert_eq!(format!("{:?}", tx.integration_find(&now.id).await.unwrap().unwrap()), format!("{now:?}"));
        assert_eq!(parts(&tx.integration_tokens(&now.id).await.unwrap().sealed), parts(&before.sealed));
    }

    async fn a_failure_after_the_end_does_not_bring_a_connection_back(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        end(&db.store, &org, &it, 1).await;
        let error = LastError { code: "x".into(), message: "no".into(), at: w.now() };
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.integration_failed(&it.id, 2, Some(ConnectionStatus::Paused), &error).await.unwrap();
        let found = tx.integration_find(&it.id).await.unwrap().unwrap();
        assert_eq!((found.status, found.last_error), (ConnectionStatus::Disconnected, None));
    }

    async fn scopes_and_webhook_of_this_generation_are_stored(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.integration_scopes(&it.id, 1, &["read".into()], &["write".into()]).await.unwrap();
        let previous = ReplacedSecret { secret: sealed("secret 1"), until: w.now().plus_secs(60) };
        assert!(tx.integration_webhook(&it.id, 1, "hook 2", &sealed("secret 2"), Some(&previous)).await.unwrap());
        tx.integration_subscription(&it.id, 1, Subscription::Off, w.now()).await.unwrap();
        tx.integration_subscription(&it.id, 2, Subscription::Active, w.now()).await.unwrap();
        let found = tx.integration_find(&it.id).await.unwrap().unwrap();
        assert_eq!((found.scopes, found.missing_scopes), (vec!["read".to_owned()], vec!["write".to_owned()]));
        assert_eq!(found.webhook_id.as_deref(), Some("hook 2"));
        assert_eq!(found.subscription, Some((Subscription::Off, w.now())));
        let stored = tx.integration_tokens(&it.id).await.unwrap().sealed;
        assert_eq!((stored.webhook_secret, stored.webhook_secret_previous), (Some(sealed("secret 2")), Some(previous)));
        assert!(!tx.integration_webhook(&it.id, 2, "hook 3", &sealed("secret 3"), None).await.unwrap());
    }

    async fn a_wait_that_the_provider_asked_for_is_kept_until_the_connection_is_made_anew(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let (soon, late) = (w.now().plus_secs(10), w.now().plus_secs(60));
        let mut tx = db.store.tenant(&org).await.unwrap();
        assert_eq!(tx.integration_tokens(&it.id).await.unwrap().wait_until, None);
        tx.integration_wait(&it.id, 2, late).await.unwrap();
        assert_eq!(tx.integration_tokens(&it.id).await.unwrap().wait_until, None, "of another generation");
        for until in [late, soon] {
            tx.integration_wait(&it.id, 1, until).await.unwrap();
            assert_eq!(tx.integration_tokens(&it.id).await.unwrap().wait_until, Some(late));
        }
        tx.commit().await.unwrap();
        put(&db.store, &org, &Integration { generation: 2, ..it.clone() }, false).await.unwrap();
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        assert_eq!(tx.integration_tokens(&it.id).await.unwrap().wait_until, None);
    }

    async fn of_many_who_would_refresh_at_once_one_may(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let seen = db.store.tenant_read(&org).await.unwrap().integration_tokens(&it.id).await.unwrap();
        let until = w.now().plus_secs(30);
        let taken = (0..6).map(|_| take(&db.store, &org, &it, &seen, w.now(), until));
        assert_eq!(futures::future::join_all(taken).await.iter().filter(|t| **t).count(), 1);
    }

    async fn a_refreshed_pair_is_stored_by_the_holder_and_the_next_sees_it_is_done(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let seen = db.store.tenant_read(&org).await.unwrap().integration_tokens(&it.id).await.unwrap();
        let until = w.now().plus_secs(30);
        assert!(take(&db.store, &org, &it, &seen, w.now(), until).await);
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.integration_refreshed(&it.id, 1, until, &pair(&w)).await.unwrap();
        let stored = tx.integration_tokens(&it.id).await.unwrap();
        assert_eq!(stored.sealed.access_token, Some(sealed("second access")));
        assert_eq!(stored.sealed.refresh_token, Some(sealed("second refresh")));
        assert_eq!(stored.sealed.webhook_secret, tokens("first").webhook_secret);
        assert_eq!(stored.expires_at, pair(&w).expires_at);
        tx.commit().await.unwrap();
        // Who read the old pair must not refresh again; who read the new one may.
        let later = until.plus_secs(1);
        assert!(!take(&db.store, &org, &it, &seen, later, later.plus_secs(30)).await);
        assert!(take(&db.store, &org, &it, &stored, later, later.plus_secs(30)).await);
    }

    async fn a_right_to_refresh_that_ran_out_goes_to_another_and_the_first_is_fenced_off(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let seen = db.store.tenant_read(&org).await.unwrap().integration_tokens(&it.id).await.unwrap();
        let first = w.now().plus_secs(30);
        assert!(take(&db.store, &org, &it, &seen, w.now(), first).await);
        assert!(!take(&db.store, &org, &it, &seen, first, first.plus_secs(30)).await, "held to its last moment");
        let later = first.plus_millis(1);
        let second = later.plus_secs(30);
        assert!(take(&db.store, &org, &it, &seen, later, second).await);
        let mut tx = db.store.tenant(&org).await.unwrap();
        let late = tx.integration_refreshed(&it.id, 1, first, &pair(&w)).await;
        assert!(matches!(late, Err(StoreError::LeaseLost)));
        // Nor does the first give back what is the second's.
        let late = tx.integration_refresh_failed(&it.id, first, w.now()).await;
        assert!(matches!(late, Err(StoreError::LeaseLost)));
        assert_eq!(tx.integration_tokens(&it.id).await.unwrap().renew_failures, 0);
        tx.integration_refreshed(&it.id, 1, second, &pair(&w)).await.unwrap();
    }

    async fn a_right_to_refresh_that_was_given_back_is_free_and_tells_when_to_try_again(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let seen = db.store.tenant_read(&org).await.unwrap().integration_tokens(&it.id).await.unwrap();
        let until = w.now().plus_secs(30);
        assert!(take(&db.store, &org, &it, &seen, w.now(), until).await);
        let mut tx = db.store.tenant(&org).await.unwrap();
        let again = w.now().plus_secs(120);
        tx.integration_refresh_failed(&it.id, until, again).await.unwrap();
        let stored = tx.integration_tokens(&it.id).await.unwrap();
        assert_eq!((stored.renew_at, stored.renew_failures), (Some(again), 1));
        tx.commit().await.unwrap();
        assert!(take(&db.store, &org, &it, &seen, w.now(), until).await);
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.integration_refreshed(&it.id, 1, until, &pair(&w)).await.unwrap();
        let stored = tx.integration_tokens(&it.id).await.unwrap();
        assert_eq!((stored.renew_at, stored.renew_failures), (pair(&w).renew_at, 0));
        assert_eq!(stored.refresh_expires_at, pair(&w).refresh_expires_at);
    }

    async fn a_refresh_that_ends_after_the_connection_stores_nothing(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let seen = db.store.tenant_read(&org).await.unwrap().integration_tokens(&it.id).await.unwrap();
        let until = w.now().plus_secs(30);
        assert!(take(&db.store, &org, &it, &seen, w.now(), until).await);
        end(&db.store, &org, &it, 1).await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        for generation in [1, 2] {
            let late = tx.integration_refreshed(&it.id, generation, until, &pair(&w)).await;
            assert!(matches!(late, Err(StoreError::LeaseLost)));
        }
        assert_eq!(parts(&tx.integration_tokens(&it.id).await.unwrap().sealed), [None, None, None, None, None]);
    }

    async fn a_connection_whose_token_never_expires_can_be_refreshed_once_at_a_time(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let it = Integration { token_expires_at: None, ..w.integration(org.org(), Provider::Kustomer, "1") };
        put(&db.store, &org, &it, true).await.unwrap();
        let seen = db.store.tenant_read(&org).await.unwrap().integration_tokens(&it.id).await.unwrap();
        assert!(take(&db.store, &org, &it, &seen, w.now(), w.now().plus_secs(30)).await);
        assert!(!take(&db.store, &org, &it, &seen, w.now(), w.now().plus_secs(60)).await);
    }

    async fn a_forgotten_authorization_leaves_the_connection_without_tokens_or_person(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let error = LastError { code: "deauthorized".into(), message: "no".into(), at: w.now() };
        let mut tx = db.store.tenant(&org).await.unwrap();
        assert!(!tx.integration_forget(&it.id, 2, &error).await.unwrap(), "of another generation");
        assert!(tx.integration_forget(&it.id, 1, &error).await.unwrap());
        let found = tx.integration_find(&it.id).await.unwrap().unwrap();
        assert_eq!((found.status, found.acting_user_id), (ConnectionStatus::NeedsReconnect, None));
        assert_eq!((found.last_error, found.token_expires_at), (Some(error.clone()), None));
        let stored = tx.integration_tokens(&it.id).await.unwrap().sealed;
        assert_eq!((stored.access_token, stored.refresh_token), (None, None));
        assert!(tx.integration_end(&it.id, 1).await.unwrap());
        assert!(!tx.integration_forget(&it.id, 2, &error).await.unwrap(), "ended");
    }
}
