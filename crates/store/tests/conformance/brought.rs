//! What was brought along from an older platform: kept once.

use agenstack_core::id::BroughtId;
use agenstack_store::both_databases;
use agenstack_store::tenant::brought::Brought;
use agenstack_store::testing::{World, sealed};

both_databases! {
    async fn a_setting_of_one_name_is_kept_once_and_read_back_in_order(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let brought = |kind: &str, name: &str| Brought {
            id: w.id(BroughtId::new), kind: kind.into(), source_id: name.into(), title: name.into(), content: sealed(name),
        };
        let mut tx = db.store.tenant(&org).await.unwrap();
        for (kind, name) in [("bot", "b1"), ("knowledge", "b1"), ("knowledge", "k2")] {
            assert!(tx.brought_add(&brought(kind, name), w.now()).await.unwrap());
            assert!(!tx.brought_add(&brought(kind, name), w.now()).await.unwrap());
        }
        let all = tx.brought_list(None, 99).await.unwrap();
        let names: Vec<_> = all.iter().map(|b| (b.kind.as_str(), b.title.as_str())).collect();
        assert_eq!(names, [("bot", "b1"), ("knowledge", "b1"), ("knowledge", "k2")]);
        assert_eq!(all[2].content, sealed("k2"));
        assert_eq!(tx.brought_list(Some(&all[1].id), 99).await.unwrap().len(), 1);
    }
}
