//! Privacy requests, their exports, and what they find and erase.

use crate::common::make::{conversation, message, request};
use agenstack_core::conversation::{Author, Delivery};
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::{AuditId, ConversationId, MessageId, PrivacyRequestId};
use agenstack_core::integration::{Integration, Provider};
use agenstack_core::privacy::PrivacyRequest;
use agenstack_store::testing::{World, sealed};
use agenstack_store::{Store, both_databases};

async fn shop(w: &World, store: &Store) -> (OrgCtx, Integration) {
    let (org, _) = w.organization(store, "Lark").await;
    let it = w.connection(store, &org, Provider::Shopify, "lark.myshopify.com").await;
    (org, it)
}

both_databases! {
    async fn an_event_notes_one_request_however_often_it_is_handled(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let first = request(&w, &it);
        let again = PrivacyRequest { event_id: first.event_id.clone(), ..request(&w, &it) };
        let mut tx = db.store.tenant(&org).await.unwrap();
        assert_eq!(tx.privacy_open(&first).await.unwrap(), first);
        assert_eq!(tx.privacy_open(&again).await.unwrap(), first);
        assert_eq!(tx.privacy_find(&first.id).await.unwrap(), Some(first));
        assert_eq!(tx.privacy_find(&again.id).await.unwrap(), None);
    }

    async fn requests_are_listed_newest_first_page_by_page(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(tx.privacy_open(&request(&w, &it)).await.unwrap());
        }
        all.reverse();
        assert_eq!(tx.privacy_list(None, 2).await.unwrap(), all[..2]);
        assert_eq!(tx.privacy_list(Some(&all[1].id), 2).await.unwrap(), all[2..]);
    }

    async fn a_request_is_done_once_and_keeps_its_first_receipt(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let asked = request(&w, &it);
        let until = w.now().plus_secs(60);
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.privacy_open(&asked).await.unwrap();
        assert_eq!(tx.privacy_export(&asked.id).await.unwrap(), None);
        assert!(tx.privacy_done(&asked.id, w.now(), "one", Some((&sealed("export"), until))).await.unwrap());
        assert!(!tx.privacy_done(&asked.id, w.now(), "two", None).await.unwrap());
        let done = tx.privacy_find(&asked.id).await.unwrap().unwrap();
        assert_eq!((done.done_at, done.expires_at, done.receipt.as_deref()), (Some(w.now()), Some(until), Some("one")));
        assert_eq!(tx.privacy_export(&asked.id).await.unwrap(), Some(sealed("export")));
    }

    async fn exports_are_found_in_order_and_can_be_erased_before_their_time(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        let mut ids: Vec<PrivacyRequestId> = Vec::new();
        for export in [true, false, true] {
            let asked = tx.privacy_open(&request(&w, &it)).await.unwrap();
            let bytes = sealed(asked.id.as_str());
            let kept = export.then(|| (&bytes, w.now()));
            assert!(tx.privacy_done(&asked.id, w.now(), "signed", kept).await.unwrap());
            ids.push(asked.id);
        }
        let first = tx.privacy_exports(None, 1).await.unwrap();
        assert_eq!((&first[0].id, &first[0].integration_id, &first[0].export), (&ids[0], &it.id, &sealed(ids[0].as_str())));
        let rest = tx.privacy_exports(Some(&ids[0]), 9).await.unwrap();
        assert_eq!(rest.iter().map(|e| &e.id).collect::<Vec<_>>(), [&ids[2]]);
        assert!(tx.privacy_export_erase(&ids[2]).await.unwrap());
        assert!(!tx.privacy_export_erase(&ids[2]).await.unwrap());
        assert!(!tx.privacy_export_erase(&ids[1]).await.unwrap());
        assert_eq!(tx.privacy_export(&ids[2]).await.unwrap(), None);
        let left = tx.privacy_find(&ids[2]).await.unwrap().unwrap();
        assert_eq!((left.expires_at, left.receipt.as_deref()), (None, Some("signed")));
    }

    async fn exports_are_swept_when_their_time_is_over_and_the_request_stays(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let asked = request(&w, &it);
        let until = w.now().plus_secs(60);
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.privacy_open(&asked).await.unwrap();
        tx.privacy_done(&asked.id, w.now(), "signed", Some((&sealed("export"), until))).await.unwrap();
        tx.commit().await.unwrap();
        for (now, swept) in [(until.plus_millis(-1), 0), (until, 1), (until, 0)] {
            let mut tx = db.store.global().await.unwrap();
            assert_eq!(tx.export_sweep(now).await.unwrap(), swept);
            tx.commit().await.unwrap();
        }
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        assert_eq!(tx.privacy_export(&asked.id).await.unwrap(), None);
        assert_eq!(tx.privacy_find(&asked.id).await.unwrap().unwrap().expires_at, None);
    }

    async fn a_receipt_stands_in_the_audit_log(db: TestDb) {
        const SQL: &str = "SELECT actor, action, subject, receipt FROM audit";
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.audit_receipt_add(&w.id(AuditId::new), ("worker", "privacy.shop_redact"), "prv_1", w.now(), "signed").await.unwrap();
        tx.commit().await.unwrap();
        let row: (String, String, String, Option<String>) = match (db.store.sqlite(), db.store.postgres()) {
            (Some(pool), _) => sqlx::query_as(SQL).fetch_one(pool).await.unwrap(),
            (None, pool) => sqlx::query_as(SQL).fetch_one(pool.unwrap()).await.unwrap(),
        };
        assert_eq!(row, ("worker".into(), "privacy.shop_redact".into(), "prv_1".into(), Some("signed".into())));
    }

    async fn conversations_are_read_in_order_and_what_the_bot_remembers_can_be_erased(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let page = w.connection(&db.store, &org, Provider::Messenger, "1").await;
        let mut all = Vec::new();
        for customer in ["7", "8", "9"] {
            all.push(conversation(&db.store, &w, &org, &page, customer).await.conversation);
        }
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.conversation_update(&all[1], Some(&sealed("memory"))).await.unwrap();
        let first = tx.conversation_scan(None, 2).await.unwrap();
        assert_eq!(first.iter().map(|c| &c.conversation.id).collect::<Vec<_>>(), [&all[0].id, &all[1].id]);
        assert_eq!(first[1].memory, Some(sealed("memory")));
        assert_eq!(tx.conversation_scan(Some(&all[1].id), 2).await.unwrap().len(), 1);
        assert!(tx.conversation_forget(&all[1].id).await.unwrap());
        assert!(!tx.conversation_forget(&all[1].id).await.unwrap());
        assert!(!tx.conversation_forget(&w.id(ConversationId::new)).await.unwrap());
        assert_eq!(tx.conversation_find(&all[1].id).await.unwrap().unwrap().memory, None);
    }

    async fn messages_about_a_connection_are_found_and_can_be_erased(db: TestDb) {
        let w = World::new();
        let (org, it) = shop(&w, &db.store).await;
        let page = w.connection(&db.store, &org, Provider::Messenger, "1").await;
        let c = conversation(&db.store, &w, &org, &page, "7").await.conversation.id;
        let mut tx = db.store.tenant(&org).await.unwrap();
        let mut ids: Vec<MessageId> = Vec::new();
        for about in [true, false, true] {
            let m = message(&w, &c, Author::Bot, Delivery::Sent, None);
            tx.message_add(&m).await.unwrap();
            if about {
                tx.message_about_set(&m.id, &it.id).await.unwrap();
            }
            ids.push(m.id);
        }
        let first = tx.message_about(&it.id, None, 1).await.unwrap();
        assert_eq!(first.iter().map(|m| &m.id).collect::<Vec<_>>(), [&ids[0]]);
        let rest = tx.message_about(&it.id, Some(&ids[0]), 9).await.unwrap();
        assert_eq!(rest.iter().map(|m| &m.id).collect::<Vec<_>>(), [&ids[2]]);
        assert!(tx.message_about(&page.id, None, 9).await.unwrap().is_empty());
        assert!(tx.message_erase(&ids[2], &sealed("nothing")).await.unwrap());
        assert!(!tx.message_erase(&w.id(MessageId::new), &sealed("nothing")).await.unwrap());
        assert_eq!(tx.message_find(&ids[2]).await.unwrap().unwrap().text, sealed("nothing"));
        assert_eq!(tx.message_about(&it.id, None, 9).await.unwrap().len(), 2);
    }

    async fn an_erased_message_is_not_sent_any_more_and_one_that_is_under_way_stays_so(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let page = w.connection(&db.store, &org, Provider::Messenger, "1").await;
        let c = conversation(&db.store, &w, &org, &page, "7").await.conversation.id;
        let mut tx = db.store.tenant(&org).await.unwrap();
        for (delivery, handed_out, then) in [
            (Delivery::Queued, false, Delivery::Failed),
            (Delivery::Queued, true, Delivery::Queued),
            (Delivery::Read, false, Delivery::Read),
        ] {
            let m = message(&w, &c, Author::Bot, delivery, None);
            tx.message_add(&m).await.unwrap();
            if handed_out {
                assert!(tx.message_handed_out(&m.id, w.now()).await.unwrap());
            }
            assert!(tx.message_erase(&m.id, &sealed("nothing")).await.unwrap());
            let erased = tx.message_find(&m.id).await.unwrap().unwrap();
            assert_eq!((erased.delivery, erased.error.is_some()), (then, then == Delivery::Failed));
        }
    }
}
