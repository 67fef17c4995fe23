//! Ways to a new password: taken once, for a while.

use agenstack_core::id::{ResetId, SessionId};
use agenstack_store::both_databases;
use agenstack_store::testing::World;

both_databases! {
    async fn a_way_is_taken_once_and_only_while_it_lasts(db: TestDb) {
        let w = World::new();
        let user = w.user(&db.store).await;
        let end = w.now().plus_secs(60);
        let mut tx = db.store.global().await.unwrap();
        tx.reset_add(&w.id(ResetId::new), b"one", &user.id, w.now(), end).await.unwrap();
        assert_eq!(tx.reset_find(b"one", w.now()).await.unwrap().map(|u| u.id), Some(user.id.clone()));
        assert!(tx.reset_find(b"two", w.now()).await.unwrap().is_none());
        assert!(tx.reset_find(b"one", end).await.unwrap().is_none());
        assert!(tx.reset_consume(b"one", end).await.unwrap().is_none());
        assert_eq!(tx.reset_consume(b"one", w.now()).await.unwrap(), Some(user.id.clone()));
        assert!(tx.reset_consume(b"one", w.now()).await.unwrap().is_none());
        assert!(tx.reset_find(b"one", w.now()).await.unwrap().is_none());
        assert_eq!(tx.reset_sweep(end).await.unwrap(), 1);
    }

    async fn a_new_password_ends_every_session_and_every_other_way(db: TestDb) {
        let w = World::new();
        let (user, other) = (w.user(&db.store).await, w.user(&db.store).await);
        let end = w.now().plus_secs(60);
        let mut tx = db.store.global().await.unwrap();
        tx.reset_add(&w.id(ResetId::new), b"way", &user.id, w.now(), end).await.unwrap();
        tx.session_add(&w.id(SessionId::new), b"theirs", &user.id, w.now(), end).await.unwrap();
        tx.session_add(&w.id(SessionId::new), b"another's", &other.id, w.now(), end).await.unwrap();
        tx.password_set(&user.id, "another", w.now()).await.unwrap();
        assert!(tx.session_find(b"theirs", w.now()).await.unwrap().is_none());
        assert!(tx.session_find(b"another's", w.now()).await.unwrap().is_some());
        assert!(tx.reset_find(b"way", w.now()).await.unwrap().is_none());
        assert_eq!(tx.user_by_email(&user.email).await.unwrap().unwrap().password_hash, "another");
        assert_eq!(tx.user_by_email(&other.email).await.unwrap().unwrap().password_hash, "none");
    }
}
