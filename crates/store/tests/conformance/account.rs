//! People, sessions, organizations, memberships.

use agenstack_core::ctx::{Actor, OrgCtx};
use agenstack_core::id::{OrgId, SessionId};
use agenstack_core::org::{Organization, User};
use agenstack_core::policy::Role;
use agenstack_store::testing::World;
use agenstack_store::{StoreError, both_databases};

both_databases! {
    async fn a_person_is_found_by_address_with_the_hash_of_the_password(db: TestDb) {
        let w = World::new();
        let user = w.user(&db.store).await;
        let mut tx = db.store.global_read().await.unwrap();
        let found = tx.user_by_email(&user.email).await.unwrap().unwrap();
        assert_eq!((found.user.id, found.user.name, found.password_hash.as_str()), (user.id, user.name, "none"));
        assert!(tx.user_by_email(&user.email.to_uppercase()).await.unwrap().is_none());
        assert!(tx.user_by_email("nobody@example.com").await.unwrap().is_none());
    }

    async fn an_address_belongs_to_one_person(db: TestDb) {
        let w = World::new();
        let user = w.user(&db.store).await;
        let other = User { id: w.user(&db.store).await.id, ..user };
        let mut tx = db.store.global().await.unwrap();
        assert!(matches!(tx.user_add(&other, "none", w.now()).await, Err(StoreError::Conflict(_))));
    }

    async fn a_session_is_found_by_the_hash_of_its_token_until_it_is_over(db: TestDb) {
        let w = World::new();
        let user = w.user(&db.store).await;
        let (id, over) = (w.id(SessionId::new), w.now().plus_secs(60));
        let mut tx = db.store.global().await.unwrap();
        tx.session_add(&id, b"hash", &user.id, w.now(), over).await.unwrap();
        let found = tx.session_find(b"hash", over.plus_millis(-1)).await.unwrap().unwrap();
        assert_eq!((found.id, found.user.id, found.user.email), (id, user.id, user.email));
        assert!(tx.session_find(b"hash", over).await.unwrap().is_none());
        assert!(tx.session_find(b"hasH", w.now()).await.unwrap().is_none());
    }

    async fn signing_out_ends_one_session_and_no_other(db: TestDb) {
        let w = World::new();
        let user = w.user(&db.store).await;
        let (here, there, over) = (w.id(SessionId::new), w.id(SessionId::new), w.now().plus_secs(60));
        let mut tx = db.store.global().await.unwrap();
        tx.session_add(&here, b"here", &user.id, w.now(), over).await.unwrap();
        tx.session_add(&there, b"there", &user.id, w.now(), over).await.unwrap();
        tx.session_end(&here).await.unwrap();
        assert!(tx.session_find(b"here", w.now()).await.unwrap().is_none());
        assert!(tx.session_find(b"there", w.now()).await.unwrap().is_some());
    }

    async fn sessions_that_are_over_are_swept_and_others_stay(db: TestDb) {
        let w = World::new();
        let user = w.user(&db.store).await;
        let mut tx = db.store.global().await.unwrap();
        for (token, secs) in [(b"a", 10), (b"b", 20), (b"c", 30)] {
            tx.session_add(&w.id(SessionId::new), token, &user.id, w.now(), w.now().plus_secs(secs)).await.unwrap();
        }
        assert_eq!(tx.session_sweep(w.now().plus_secs(20)).await.unwrap(), 2);
        assert!(tx.session_find(b"c", w.now()).await.unwrap().is_some());
    }

    async fn two_sessions_never_share_a_token(db: TestDb) {
        let w = World::new();
        let user = w.user(&db.store).await;
        let mut tx = db.store.global().await.unwrap();
        tx.session_add(&w.id(SessionId::new), b"a", &user.id, w.now(), w.now()).await.unwrap();
        let again = tx.session_add(&w.id(SessionId::new), b"a", &user.id, w.now(), w.now()).await;
        assert!(matches!(again, Err(StoreError::Conflict(_))));
    }

    async fn the_organizations_of_a_person_are_listed_by_name_with_their_roles(db: TestDb) {
        let w = World::new();
        let (_, lark) = w.organization(&db.store, "Lark").await;
        let (_, ash) = w.organization(&db.store, "Ash").await;
        w.organization(&db.store, "Birch").await;
        let mut tx = db.store.global().await.unwrap();
        tx.membership_add(&ash.organization.id, &lark.user, Role::Agent, w.now()).await.unwrap();
        let list = tx.membership_list(&lark.user).await.unwrap();
        let list: Vec<_> = list.iter().map(|m| (m.organization.name.as_str(), m.role, &m.user)).collect();
        assert_eq!(list, [("Ash", Role::Agent, &lark.user), ("Lark", Role::Owner, &lark.user)]);
    }

    async fn a_stranger_and_an_organization_that_is_not_there_look_the_same(db: TestDb) {
        let w = World::new();
        let (_, lark) = w.organization(&db.store, "Lark").await;
        let stranger = w.user(&db.store).await;
        let mut tx = db.store.global_read().await.unwrap();
        assert!(tx.membership_find(&lark.organization.id, &lark.user).await.unwrap().is_some());
        assert!(tx.membership_find(&lark.organization.id, &stranger.id).await.unwrap().is_none());
        assert!(tx.membership_find(&w.id(OrgId::new), &stranger.id).await.unwrap().is_none());
    }

    async fn an_organization_that_has_ended_has_no_key_member_or_name_and_its_rows_go_step_by_step(db: TestDb) {
        let w = World::new();
        let own = crate::common::sweep::Full::new(&w, &db.store, "ash").await;
        let other = crate::common::sweep::Full::new(&w, &db.store, "fern").await;
        let kept = crate::common::catalog::dump(&db.store, other.org.org()).await;
        let mut tx = db.store.global().await.unwrap();
        assert!(!tx.organization_remove(&own.org).await.unwrap(), "it has not ended");
        assert!(tx.organization_close(&own.org, w.now()).await.unwrap());
        assert!(!tx.organization_close(&own.org, w.now()).await.unwrap());
        assert!(tx.key_get(own.org.org(), None).await.is_err());
        assert!(tx.recipients(&own.org).await.unwrap().is_empty());
        let closed = tx.organizations_closed(9).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(closed.len(), 1);
        let proof = OrgCtx::from_queue(w.ctx(Actor::Worker), &closed[0]);
        assert_eq!(proof.org(), own.org.org());
        let mut steps = 0;
        loop {
            let mut tx = db.store.tenant(&proof).await.unwrap();
            let n = tx.organization_erase(1).await.unwrap();
            tx.commit().await.unwrap();
            assert!(n <= 1);
            steps += 1;
            if n == 0 {
                break;
            }
        }
        assert!(steps > 15, "{steps}");
        for (table, rows) in crate::common::catalog::dump(&db.store, own.org.org()).await {
            // What is one row for each organization goes with it.
            let last = ["organizations", "key_renewals"].contains(&table.as_str());
            assert!(rows.is_empty() || last, "{table} is not empty");
        }
        let mut tx = db.store.global().await.unwrap();
        assert!(tx.organization_remove(&own.org).await.unwrap());
        assert!(tx.organizations_closed(9).await.unwrap().is_empty());
        tx.commit().await.unwrap();
        assert_eq!(crate::common::catalog::dump(&db.store, other.org.org()).await, kept);
    }

    async fn whether_there_is_any_organization_is_told(db: TestDb) {
        let w = World::new();
        assert!(!db.store.global_read().await.unwrap().organization_any().await.unwrap());
        w.organization(&db.store, "Lark").await;
        assert!(db.store.global_read().await.unwrap().organization_any().await.unwrap());
    }

    async fn nobody_is_a_member_twice(db: TestDb) {
        let w = World::new();
        let (_, lark) = w.organization(&db.store, "Lark").await;
        let mut tx = db.store.global().await.unwrap();
        let again = tx.membership_add(&lark.organization.id, &lark.user, Role::Agent, w.now()).await;
        assert!(matches!(again, Err(StoreError::Conflict(_))));
    }

    async fn an_organization_whose_owner_is_not_there_is_not_made(db: TestDb) {
        let w = World::new();
        let org = Organization { id: w.id(OrgId::new), name: "Lark".into(), created_at: w.now() };
        let mut tx = db.store.global().await.unwrap();
        let ghost = w.id(agenstack_core::id::UserId::new);
        assert!(matches!(tx.organization_add(&org, &ghost).await, Err(StoreError::Sql(_))));
        drop(tx);
        let user = w.user(&db.store).await;
        let mut tx = db.store.global().await.unwrap();
        // The failed one left no row behind: the id is free.
        tx.organization_add(&org, &user.id).await.unwrap();
    }

    async fn a_member_reads_the_organization(db: TestDb) {
        let w = World::new();
        let (org, lark) = w.organization(&db.store, "Lark").await;
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        let found = tx.organization_get().await.unwrap();
        assert_eq!((found.id, found.name, found.created_at), (lark.organization.id, "Lark".into(), w.now()));
        assert_eq!(tx.org(), org.org());
    }
}
