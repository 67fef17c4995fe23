//! What processes tell each other.

use crate::common::make::{accept, route};
use agenstack_core::integration::Provider;
use agenstack_store::global::inbox::Addressed;
use agenstack_store::notice::Notice;
use agenstack_store::testing::{World, postgres, sqlite};
use agenstack_store::{Held, both_databases};

#[tokio::test]
async fn on_sqlite_there_is_nobody_to_tell() {
    assert!(sqlite().await.store.notices().await.unwrap().is_none());
}

#[tokio::test]
async fn on_postgres_an_account_that_changes_hands_is_told_when_it_is_committed_and_not_before() {
    let db = postgres().await;
    let w = World::new();
    let (org, _) = w.organization(&db.store, "Lark").await;
    let mut notices = db.store.notices().await.unwrap().unwrap();
    let mut undone = db.store.tenant(&org).await.unwrap();
    undone.tell_account(Provider::Shopify, "ash.myshopify.com");
    drop(undone);
    let mut done = db.store.tenant(&org).await.unwrap();
    done.tell_account(Provider::Shopify, "lark.myshopify.com");
    done.commit().await.unwrap();
    let told = notices.next().await.unwrap();
    assert_eq!(told, Notice::Account(Provider::Shopify, "lark.myshopify.com".into()));
}

#[tokio::test]
async fn on_postgres_work_is_told_by_a_process_that_has_no_worker_only() {
    let db = postgres().await;
    let w = World::new();
    let (org, _) = w.organization(&db.store, "Lark").await;
    let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
    let mut notices = db.store.notices().await.unwrap().unwrap();
    accept(&db.store, &w, &shop, "one", "a").await;
    // Notices come in the order of their commits: were the event told of, that would come first.
    let mut tx = db.store.tenant(&org).await.unwrap();
    tx.tell_account(Provider::Shopify, "lark.myshopify.com");
    tx.commit().await.unwrap();
    assert!(matches!(notices.next().await.unwrap(), Notice::Account(..)));
    db.store.tell_work();
    accept(&db.store, &w, &shop, "two", "a").await;
    assert_eq!(notices.next().await.unwrap(), Notice::Work);
    let event = w.incoming(Provider::Shopify, "three", "a");
    let one = Addressed { to: route(&shop), held: false, event };
    db.store.events_commit(&mut Held::default(), &[&one]).await.unwrap();
    assert_eq!(notices.next().await.unwrap(), Notice::Work);
}

#[tokio::test]
async fn on_postgres_whoever_listens_is_told_that_the_connection_was_lost_and_hears_again() {
    let db = postgres().await;
    let w = World::new();
    let (org, _) = w.organization(&db.store, "Lark").await;
    let mut notices = db.store.notices().await.unwrap().unwrap();
    let ended: i64 = sqlx::query_scalar(
        "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ILIKE 'LISTEN%'",
    )
    .fetch_one(db.store.postgres().unwrap())
    .await
    .unwrap();
    assert_eq!(ended, 1);
    assert_eq!(notices.next().await.unwrap(), Notice::Missed);
    let mut tx = db.store.tenant(&org).await.unwrap();
    tx.tell_account(Provider::Shopify, "lark.myshopify.com");
    tx.commit().await.unwrap();
    let told = notices.next().await.unwrap();
    assert_eq!(told, Notice::Account(Provider::Shopify, "lark.myshopify.com".into()));
}

both_databases! {
    async fn who_tells_of_work_commits_it_as_others_do(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        db.store.tell_work();
        let id = accept(&db.store, &w, &shop, "one", "a").await;
        assert!(db.store.tenant_read(&org).await.unwrap().event_find(&id).await.unwrap().is_some());
    }
}
