//! Accounts that one organization releases to another.

use agenstack_core::ctx::{Actor, OrgCtx};
use agenstack_core::id::{OrgId, TransferId};
use agenstack_core::integration::{Integration, Provider};
use agenstack_store::global::transfer::Offer;
use agenstack_store::testing::World;
use agenstack_store::{StoreError, both_databases};

fn offer(w: &World, it: &Integration, to: &OrgId) -> Offer {
    Offer {
        id: w.id(TransferId::new),
        from: it.organization_id.clone(),
        integration: it.id.clone(),
        provider: it.provider,
        external_id: it.external_id.clone(),
        label: "Lark Supply".into(),
        to: to.clone(),
        created_at: w.now(),
        expires_at: w.now().plus_secs(600),
    }
}

both_databases! {
    async fn an_offer_is_seen_by_the_one_it_names_until_it_is_over(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (fern, _) = w.organization(&db.store, "Fern").await;
        let (moss, _) = w.organization(&db.store, "Moss").await;
        let shop = w.connection(&db.store, &lark, Provider::Shopify, "lark.myshopify.com").await;
        let made = offer(&w, &shop, fern.org());
        let mut tx = db.store.tenant(&lark).await.unwrap();
        tx.transfer_add(&made, "usr").await.unwrap();
        let again = tx.transfer_open(&shop.id).await.unwrap().unwrap();
        assert_eq!(format!("{again:?}"), format!("{made:?}"));
        tx.commit().await.unwrap();
        let mut tx = db.store.tenant(&lark).await.unwrap();
        let twice = tx.transfer_add(&offer(&w, &shop, moss.org()), "usr").await;
        assert!(matches!(twice, Err(StoreError::Conflict(_))));
        drop(tx);

        let mut tx = db.store.global_read().await.unwrap();
        let seen = tx.transfer_offers(&fern, w.now()).await.unwrap();
        assert_eq!((seen.len(), seen[0].from_name.as_str()), (1, "Lark"));
        assert_eq!(format!("{:?}", seen[0].offer), format!("{made:?}"));
        assert_eq!(OrgCtx::from_queue(w.ctx(Actor::Worker), &seen[0].proof).org(), lark.org());
        assert!(tx.transfer_offers(&moss, w.now()).await.unwrap().is_empty());
        assert!(tx.transfer_offers(&lark, w.now()).await.unwrap().is_empty());
        assert!(tx.transfer_offers(&fern, made.expires_at).await.unwrap().is_empty(), "too late");
    }

    async fn an_offer_ends_once_taken_declined_or_taken_back_by_whom_it_concerns(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (fern, _) = w.organization(&db.store, "Fern").await;
        let (moss, _) = w.organization(&db.store, "Moss").await;
        let shop = w.connection(&db.store, &lark, Provider::Shopify, "lark.myshopify.com").await;
        for end in ["taken", "declined", "taken back"] {
            let made = offer(&w, &shop, fern.org());
            let mut tx = db.store.tenant(&lark).await.unwrap();
            tx.transfer_add(&made, "usr").await.unwrap();
            tx.commit().await.unwrap();
            let mut tx = db.store.global().await.unwrap();
            assert!(!tx.transfer_decline(&moss, &made.id).await.unwrap(), "not on offer to it");
            if end == "declined" {
                assert!(tx.transfer_decline(&fern, &made.id).await.unwrap());
            }
            tx.commit().await.unwrap();
            let mut tx = db.store.tenant(&lark).await.unwrap();
            match end {
                "taken" => assert!(tx.transfer_taken(&made.id).await.unwrap()),
                "taken back" => assert!(tx.transfer_withdraw(&shop.id).await.unwrap()),
                _ => {}
            }
            assert!(!tx.transfer_taken(&made.id).await.unwrap(), "{end}");
            assert!(!tx.transfer_withdraw(&shop.id).await.unwrap(), "{end}");
            assert!(tx.transfer_open(&shop.id).await.unwrap().is_none(), "{end}");
            tx.commit().await.unwrap();
            assert!(db.store.global_read().await.unwrap().transfer_offers(&fern, w.now()).await.unwrap().is_empty());
        }
    }
}
