//! Pages on offer.

use crate::common::make::offer;
use agenstack_core::id::IntegrationId;
use agenstack_store::both_databases;
use agenstack_store::testing::World;

both_databases! {
    async fn offers_are_listed_by_name_and_replaced_as_a_whole(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let long_ago = w.now().plus_secs(-1);
        let mut tx = db.store.tenant(&ash).await.unwrap();
        tx.offer_replace(&[offer(&w, "1", "Another's")]).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = db.store.tenant(&org).await.unwrap();
        let mut mending = offer(&w, "2", "Ash");
        mending.reconnects = Some(w.id(IntegrationId::new));
        mending.reason = Some("needs a task".into());
        mending.access_token = None;
        tx.offer_replace(&[offer(&w, "1", "Lark"), mending.clone()]).await.unwrap();
        let list = tx.offer_list(long_ago).await.unwrap();
        assert_eq!(format!("{list:?}"), format!("{:?}", [mending, offer(&w, "1", "Lark")]));
        tx.offer_replace(&[offer(&w, "3", "Birch")]).await.unwrap();
        let list = tx.offer_list(long_ago).await.unwrap();
        assert_eq!(list.iter().map(|o| o.page_id.as_str()).collect::<Vec<_>>(), ["3"]);
        tx.commit().await.unwrap();
        let mut tx = db.store.tenant(&ash).await.unwrap();
        assert_eq!(tx.offer_list(long_ago).await.unwrap().len(), 1);
    }

    async fn an_offer_is_forgotten_with_its_token_once_taken_or_too_old(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.offer_replace(&[offer(&w, "1", "Lark"), offer(&w, "2", "Ash")]).await.unwrap();
        tx.offer_remove("1").await.unwrap();
        let list = tx.offer_list(w.now().plus_millis(-1)).await.unwrap();
        assert_eq!(list.iter().map(|o| o.page_id.as_str()).collect::<Vec<_>>(), ["2"]);
        assert!(tx.offer_list(w.now()).await.unwrap().is_empty());
    }

    async fn offers_that_nobody_chose_in_time_are_swept_in_every_organization(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let (old, mut new) = (offer(&w, "1", "Lark"), offer(&w, "2", "Lark"));
        new.offered_at = w.now().plus_millis(1);
        for org in [&lark, &ash] {
            let mut tx = db.store.tenant(org).await.unwrap();
            tx.offer_replace(&[old.clone(), new.clone()]).await.unwrap();
            tx.commit().await.unwrap();
        }
        let mut tx = db.store.global().await.unwrap();
        assert_eq!(tx.offer_sweep(old.offered_at).await.unwrap(), 2);
        tx.commit().await.unwrap();
        for org in [&lark, &ash] {
            let mut tx = db.store.tenant_read(org).await.unwrap();
            let list = tx.offer_list(w.now().plus_secs(-1)).await.unwrap();
            assert_eq!(list.iter().map(|o| o.page_id.as_str()).collect::<Vec<_>>(), ["2"]);
        }
    }
}
