//! How far values are sealed anew, and the sealed columns themselves.

use crate::common::make;
use agenstack_core::conversation::{Author, Delivery};
use agenstack_core::id::{ConversationId, DataKeyId};
use agenstack_core::integration::Provider;
use agenstack_store::both_databases;
use agenstack_store::tenant::sealed::SEALED;
use agenstack_store::testing::{World, sealed};

both_databases! {
    async fn whoever_waited_longest_is_claimed_and_by_one(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let (ash, _) = w.organization(&db.store, "Ash").await;
        let (key, now) = (w.id(DataKeyId::new), w.now());
        let held = now.plus_secs(60);
        let mut tx = db.store.global().await.unwrap();
        tx.reseal_begin(ash.org(), &key, now).await.unwrap();
        tx.reseal_begin(lark.org(), &key, now.plus_secs(-5)).await.unwrap();
        let (_, first) = tx.reseal_claim(now, held).await.unwrap().unwrap();
        let (_, second) = tx.reseal_claim(now, held).await.unwrap().unwrap();
        assert_eq!((&first.org, &second.org), (lark.org(), ash.org()));
        assert!(tx.reseal_claim(now, held).await.unwrap().is_none(), "both are held");

        let mut further = first.clone();
        (further.place, further.bookmark, further.resealed) = ("messages.text".into(), "msg_9".into(), 7);
        further.next_at = now;
        assert!(tx.reseal_save(&further, held).await.unwrap());
        assert!(!tx.reseal_save(&further, held).await.unwrap(), "it was held once");
        let (_, again) = tx.reseal_claim(now, held).await.unwrap().unwrap();
        assert_eq!((again.place.as_str(), again.bookmark.as_str(), again.resealed), ("messages.text", "msg_9", 7));
        let count = tx.reseal_count().await.unwrap();
        assert_eq!((count.organizations, count.waiting, count.resealed, count.unreadable), (2, 1, 7, 0));

        // Begun anew meanwhile: whoever held it can neither save nor end it.
        tx.reseal_begin(lark.org(), &key, now).await.unwrap();
        assert!(!tx.reseal_end(lark.org(), held).await.unwrap());
        assert!(tx.reseal_end(ash.org(), held).await.unwrap());
        assert_eq!(tx.reseal_count().await.unwrap().organizations, 1);
    }

    async fn values_are_listed_by_row_and_swapped_only_if_they_are_what_was_read(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let column = SEALED.iter().find(|c| c.table == "messages").unwrap();
        let conversation = w.id(ConversationId::new);
        let mut tx = db.store.tenant(&lark).await.unwrap();
        let mut rows = Vec::new();
        for _ in 0..3 {
            let message = make::message(&w, &conversation, Author::Customer, Delivery::Received, None);
            tx.message_add(&message).await.unwrap();
            rows.push(message.id.as_str().to_owned());
        }
        let first = tx.sealed_heads(column, "", 2).await.unwrap();
        assert_eq!(first, [(rows[0].clone(), Some(sealed("text"))), (rows[1].clone(), Some(sealed("text")))]);
        assert_eq!(tx.sealed_heads(column, &rows[1], 2).await.unwrap().len(), 1);
        assert!(tx.sealed_swap(column, &rows[0], &sealed("text"), &sealed("anew")).await.unwrap());
        assert!(!tx.sealed_swap(column, &rows[0], &sealed("text"), &sealed("late")).await.unwrap());
        assert_eq!(tx.sealed_get(column, &rows[0]).await.unwrap(), Some(sealed("anew")));
        assert_eq!(tx.sealed_get(column, &rows[1]).await.unwrap(), Some(sealed("text")));
    }

    async fn each_sealed_column_is_read_at_its_row(db: TestDb) {
        let w = World::new();
        let (lark, _) = w.organization(&db.store, "Lark").await;
        let shop = w.connection(&db.store, &lark, Provider::Shopify, "lark.myshopify.com").await;
        let mut tx = db.store.tenant(&lark).await.unwrap();
        let found: Vec<_> = SEALED.iter().filter(|c| c.table == "integrations").collect();
        for (column, word) in found.into_iter().zip(["first access", "first refresh", "first secret"]) {
            let heads = tx.sealed_heads(column, "", 9).await.unwrap();
            assert_eq!(heads, [(shop.id.as_str().to_owned(), Some(sealed(word)))], "{}", column.column);
        }
    }
}
