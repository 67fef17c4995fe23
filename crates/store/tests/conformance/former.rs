//! Accounts of an older platform: noted once for each organization.

use agenstack_core::integration::Provider;
use agenstack_store::both_databases;
use agenstack_store::tenant::former::FormerAccount;
use agenstack_store::testing::World;

both_databases! {
    async fn an_account_is_noted_once(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let (other, _) = w.organization(&db.store, "Fern").await;
        let shop = FormerAccount {
            provider: Provider::Shopify, account: "lark.myshopify.com".into(), label: "lark".into(), connected_at: Some(w.now()),
        };
        let page = FormerAccount { provider: Provider::Messenger, account: "12".into(), label: "Lark".into(), connected_at: None };
        let mut tx = db.store.tenant(&org).await.unwrap();
        assert!(tx.former_add(&shop, w.now()).await.unwrap() && tx.former_add(&page, w.now()).await.unwrap());
        assert!(!tx.former_add(&shop, w.now()).await.unwrap());
        assert_eq!(tx.former_list().await.unwrap(), [page, shop]);
        tx.commit().await.unwrap();
        assert!(db.store.tenant_read(&other).await.unwrap().former_list().await.unwrap().is_empty());
    }
}
