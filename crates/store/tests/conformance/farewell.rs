//! Providers that are still to be told.

use agenstack_core::id::FarewellId;
use agenstack_core::integration::Provider;
use agenstack_store::both_databases;
use agenstack_store::tenant::farewell::Farewell;
use agenstack_store::testing::{World, sealed};

both_databases! {
    async fn a_farewell_is_kept_until_it_was_said_and_its_tokens_are_erased_then(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        let kept = Farewell {
            id: w.id(FarewellId::new),
            integration: shop.id.clone(),
            account: shop.account_identifier.clone(),
            webhook_id: Some("hook".into()),
            access_token: Some(sealed("access")),
            refresh_token: None,
            client_id: Some("client".into()),
            client_secret: Some(sealed("client")),
            created_at: w.now(),
        };
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.farewell_add(&kept).await.unwrap();
        assert_eq!(format!("{:?}", tx.farewell_find(&kept.id).await.unwrap().unwrap()), format!("{kept:?}"));
        assert!(tx.farewell_tokens(&kept.id, &sealed("second"), Some(&sealed("refresh"))).await.unwrap());
        let found = tx.farewell_find(&kept.id).await.unwrap().unwrap();
        assert_eq!((found.access_token, found.refresh_token), (Some(sealed("second")), Some(sealed("refresh"))));
        assert!(tx.farewell_end(&kept.id).await.unwrap());
        assert!(!tx.farewell_end(&kept.id).await.unwrap());
        assert!(!tx.farewell_tokens(&kept.id, &sealed("third"), None).await.unwrap());
        assert!(tx.farewell_find(&kept.id).await.unwrap().is_none());
    }
}
