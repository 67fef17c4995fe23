//! How connections came to be as they are.

use agenstack_core::id::HistoryId;
use agenstack_core::integration::{ConnectionStatus, Provider, StateChange};
use agenstack_store::both_databases;
use agenstack_store::testing::World;

fn change(w: &World, status: ConnectionStatus) -> StateChange {
    StateChange {
        id: w.id(HistoryId::new),
        generation: 3,
        actor: "worker".into(),
        status,
        code: "shop_frozen".into(),
        message: "The shop is frozen.".into(),
        at: w.now(),
    }
}

both_databases! {
    async fn changes_of_one_connection_are_listed_newest_first(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        let page = w.connection(&db.store, &org, Provider::Messenger, "1").await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        let (first, second) = (change(&w, ConnectionStatus::Paused), change(&w, ConnectionStatus::Connected));
        for it in [&first, &second] {
            tx.history_add(&shop.id, it).await.unwrap();
        }
        let other = change(&w, ConnectionStatus::Paused);
        tx.history_add(&page.id, &other).await.unwrap();
        assert_eq!(tx.history_list(&shop.id, 9).await.unwrap(), [second.clone(), first.clone()]);
        assert_eq!(tx.history_list(&shop.id, 1).await.unwrap(), [second]);
        assert_eq!(tx.history_find(&shop.id, &first.id).await.unwrap(), Some(first));
        assert_eq!(tx.history_find(&shop.id, &other.id).await.unwrap(), None, "of another connection");
    }
}
