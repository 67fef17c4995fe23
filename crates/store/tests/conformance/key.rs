//! Wrapped data keys.

use agenstack_core::id::{DataKeyId, OrgId};
use agenstack_store::global::key::StoredKey;
use agenstack_store::testing::{World, sealed};
use agenstack_store::{StoreError, both_databases};

fn key(w: &World, master: &str) -> StoredKey {
    StoredKey { id: w.id(DataKeyId::new), master_key_id: master.into(), wrapped: sealed(master) }
}

both_databases! {
    async fn the_newest_key_is_given_unless_another_is_asked_for(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let (old, new) = (key(&w, "m1"), key(&w, "m2"));
        let mut tx = db.store.global().await.unwrap();
        // Whichever was stored last: an id tells when the key was made.
        tx.key_add(org.org(), &new, w.now()).await.unwrap();
        tx.key_add(org.org(), &old, w.now()).await.unwrap();
        let newest = tx.key_get(org.org(), None).await.unwrap();
        assert_eq!((newest.id, newest.wrapped), (new.id, new.wrapped));
        let found = tx.key_get(org.org(), Some(&old.id)).await.unwrap();
        assert_eq!((found.master_key_id, found.wrapped), (old.master_key_id, old.wrapped));
    }

    async fn a_key_is_found_for_its_own_organization_only(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let stored = key(&w, "m1");
        let mut tx = db.store.global().await.unwrap();
        tx.key_add(lark.org(), &stored, w.now()).await.unwrap();
        for id in [None, Some(&stored.id)] {
            assert!(matches!(tx.key_get(ash.org(), id).await, Err(StoreError::NotFound("data key"))));
            assert!(tx.key_get(lark.org(), id).await.is_ok());
        }
        assert!(matches!(tx.key_get(&w.id(OrgId::new), None).await, Err(StoreError::NotFound(_))));
    }

    async fn a_key_of_an_organization_that_is_not_there_is_refused(db: TestDb) {
        let w = World::new();
        let mut tx = db.store.global().await.unwrap();
        assert!(matches!(tx.key_add(&w.id(OrgId::new), &key(&w, "m1"), w.now()).await, Err(StoreError::Sql(_))));
    }

    async fn a_key_is_never_overwritten(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let stored = key(&w, "m1");
        let mut tx = db.store.global().await.unwrap();
        tx.key_add(org.org(), &stored, w.now()).await.unwrap();
        assert!(matches!(tx.key_add(org.org(), &stored, w.now()).await, Err(StoreError::Conflict(_))));
    }

    async fn keys_of_another_master_key_are_listed_page_by_page_and_wrapped_anew_once(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let mut tx = db.store.global().await.unwrap();
        assert!(tx.key_masters().await.unwrap().is_empty());
        for (org, master) in [(&lark, "m1"), (&lark, "m1"), (&ash, "m1"), (&ash, "m2")] {
            tx.key_add(org.org(), &key(&w, master), w.now()).await.unwrap();
        }
        assert_eq!(tx.key_count().await.unwrap(), [("m1".to_owned(), 3), ("m2".to_owned(), 1)]);
        assert_eq!(tx.key_masters().await.unwrap(), ["m1", "m2"]);
        let first = tx.key_stale("m2", None, 2).await.unwrap();
        let last = first.last().map(|k| (&k.org, &k.key.id));
        let second = tx.key_stale("m2", last, 2).await.unwrap();
        let all: Vec<_> = first.iter().chain(&second).map(|k| (&k.org, k.key.master_key_id.as_str())).collect();
        assert_eq!(all, [(lark.org(), "m1"), (lark.org(), "m1"), (ash.org(), "m1")]);
        assert!(tx.key_rewrap(&first[0], "m2", &sealed("anew")).await.unwrap());
        assert!(!tx.key_rewrap(&first[0], "m2", &sealed("again")).await.unwrap(), "somebody did it meanwhile");
        let found = tx.key_get(lark.org(), Some(&first[0].key.id)).await.unwrap();
        assert_eq!((found.master_key_id.as_str(), found.wrapped), ("m2", sealed("anew")));
        assert_eq!(tx.key_stale("m2", None, 9).await.unwrap().len(), 2);
        assert_eq!(tx.key_count().await.unwrap(), [("m1".to_owned(), 2), ("m2".to_owned(), 2)]);
    }

    async fn a_key_is_followed_by_one_and_only_while_it_is_the_newest(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let (first, second, third, of_ash) = (key(&w, "m1"), key(&w, "m1"), key(&w, "m1"), key(&w, "m1"));
        let made = w.now();
        let mut tx = db.store.global().await.unwrap();
        tx.key_add(lark.org(), &first, made).await.unwrap();
        tx.key_add(ash.org(), &of_ash, made).await.unwrap();
        let (late, later) = (made.plus_secs(5), made.plus_secs(9));
        assert_eq!(tx.key_overdue(made).await.unwrap(), 2);
        assert!(tx.key_succeed(lark.org(), &first.id, &second, late).await.unwrap());
        assert!(!tx.key_succeed(lark.org(), &first.id, &third, later).await.unwrap(), "it is the newest no more");
        assert!(!tx.key_succeed(ash.org(), &first.id, &third, later).await.unwrap(), "it is another's");
        let (newest, at) = tx.key_newest(lark.org()).await.unwrap();
        assert_eq!((newest.id, at), (second.id.clone(), late));
        assert_eq!(tx.key_overdue(made).await.unwrap(), 1);
        assert_eq!(tx.key_made_until(None, made, 9).await.unwrap(), [ash.org().clone()]);
        assert_eq!(tx.key_made_until(None, late, 1).await.unwrap(), [lark.org().clone()]);
        assert_eq!(tx.key_made_until(Some(lark.org()), late, 9).await.unwrap(), [ash.org().clone()]);
        assert_eq!(tx.key_destroy_older(lark.org(), &second.id).await.unwrap(), 1);
        assert!(matches!(tx.key_get(lark.org(), Some(&first.id)).await, Err(StoreError::NotFound(_))));
        assert!(tx.key_get(lark.org(), None).await.is_ok());
        assert!(tx.key_get(ash.org(), Some(&of_ash.id)).await.is_ok());
    }
}
