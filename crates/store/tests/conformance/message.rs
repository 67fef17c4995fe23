//! Messages and what is known of their way.

use crate::common::make::{conversation, message};
use agenstack_core::conversation::{Author, Delivery};
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::{ConversationId, MessageId};
use agenstack_core::integration::{Integration, Provider};
use agenstack_store::tenant::message::StoredMessage;
use agenstack_store::testing::World;
use agenstack_store::{Store, StoreError, both_databases};

async fn begin(w: &World, store: &Store) -> (OrgCtx, Integration, ConversationId) {
    let (org, _) = w.organization(store, "Lark").await;
    let it = w.connection(store, &org, Provider::Messenger, "1").await;
    let c = conversation(store, w, &org, &it, "customer").await.conversation.id;
    (org, it, c)
}

async fn add(store: &Store, org: &OrgCtx, m: &StoredMessage) -> bool {
    let mut tx = store.tenant(org).await.unwrap();
    let new = tx.message_add(m).await.unwrap();
    tx.commit().await.unwrap();
    new
}

both_databases! {
    async fn a_message_is_stored_whole_and_found_by_both_its_ids(db: TestDb) {
        let w = World::new();
        let (org, _, c) = begin(&w, &db.store).await;
        let m = message(&w, &c, Author::Customer, Delivery::Received, Some("mid 1"));
        assert!(add(&db.store, &org, &m).await);
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        let by_id = tx.message_find(&m.id).await.unwrap().unwrap();
        assert_eq!((format!("{by_id:?}"), &by_id.text), (format!("{m:?}"), &m.text));
        assert_eq!(tx.message_by_external(&c, "mid 1").await.unwrap().unwrap().id, m.id);
        assert!(tx.message_by_external(&c, "mid 2").await.unwrap().is_none());
        assert!(tx.message_by_external(&w.id(ConversationId::new), "mid 1").await.unwrap().is_none());
        assert!(tx.message_find(&w.id(MessageId::new)).await.unwrap().is_none());
    }

    async fn a_message_of_the_provider_is_added_once_and_our_own_have_no_such_id_yet(db: TestDb) {
        let w = World::new();
        let (org, _, c) = begin(&w, &db.store).await;
        let said = || message(&w, &c, Author::Customer, Delivery::Received, Some("mid 1"));
        assert!(add(&db.store, &org, &said()).await);
        assert!(!add(&db.store, &org, &said()).await);
        for _ in 0..2 {
            assert!(add(&db.store, &org, &message(&w, &c, Author::Bot, Delivery::Queued, None)).await);
        }
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        assert_eq!(tx.message_list(&c, None, 9).await.unwrap().len(), 3);
    }

    async fn messages_are_listed_newest_first_page_by_page(db: TestDb) {
        let w = World::new();
        let (org, it, c) = begin(&w, &db.store).await;
        let other = conversation(&db.store, &w, &org, &it, "another").await.conversation.id;
        let mut all = Vec::new();
        for _ in 0..5 {
            let m = message(&w, &c, Author::Bot, Delivery::Queued, None);
            add(&db.store, &org, &m).await;
            add(&db.store, &org, &message(&w, &other, Author::Bot, Delivery::Queued, None)).await;
            all.push(m.id);
        }
        all.reverse();
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        let mut seen: Vec<MessageId> = Vec::new();
        for size in [2, 2, 1, 0] {
            let list = tx.message_list(&c, seen.last(), 2).await.unwrap();
            assert_eq!(list.len(), size);
            seen.extend(list.into_iter().map(|m| m.id));
        }
        assert_eq!(seen, all);
    }

    async fn the_last_message_is_no_note_of_the_product(db: TestDb) {
        let w = World::new();
        let (org, _, c) = begin(&w, &db.store).await;
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        assert!(tx.message_last(&c).await.unwrap().is_none());
        drop(tx);
        let said = message(&w, &c, Author::Customer, Delivery::Received, None);
        add(&db.store, &org, &said).await;
        add(&db.store, &org, &message(&w, &c, Author::System, Delivery::Sent, None)).await;
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        assert_eq!(tx.message_last(&c).await.unwrap().unwrap().id, said.id);
    }

    async fn a_message_is_handed_out_once_unless_it_was_surely_not_taken(db: TestDb) {
        let w = World::new();
        let (org, _, c) = begin(&w, &db.store).await;
        let m = message(&w, &c, Author::Bot, Delivery::Queued, None);
        add(&db.store, &org, &m).await;
        let hand_out = || async {
            let mut tx = db.store.tenant(&org).await.unwrap();
            let out = tx.message_handed_out(&m.id, w.now()).await.unwrap();
            tx.commit().await.unwrap();
            out
        };
        let out = futures::future::join_all((0..6).map(|_| hand_out())).await;
        assert_eq!(out.iter().filter(|o| **o).count(), 1);
        let mut tx = db.store.tenant(&org).await.unwrap();
        assert_eq!(tx.message_find(&m.id).await.unwrap().unwrap().handed_out_at, Some(w.now()));
        tx.message_taken_back(&m.id).await.unwrap();
        tx.commit().await.unwrap();
        assert!(hand_out().await);
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.message_sent(&m.id, "mid 1").await.unwrap();
        // What was sent is not taken back, or it would be sent twice.
        tx.message_taken_back(&m.id).await.unwrap();
        tx.commit().await.unwrap();
        assert!(!hand_out().await);
    }

    async fn a_message_that_was_taken_is_sent_even_if_its_answer_was_lost(db: TestDb) {
        let w = World::new();
        let (org, _, c) = begin(&w, &db.store).await;
        for (before, after) in [
            (Delivery::Queued, Delivery::Sent),
            (Delivery::Unknown, Delivery::Sent),
            (Delivery::Read, Delivery::Read),
            (Delivery::Failed, Delivery::Failed),
        ] {
            let m = message(&w, &c, Author::Bot, Delivery::Queued, None);
            add(&db.store, &org, &m).await;
            let mut tx = db.store.tenant(&org).await.unwrap();
            tx.message_delivery(&m.id, before, Some("why")).await.unwrap();
            tx.message_sent(&m.id, m.id.as_str()).await.unwrap();
            let found = tx.message_find(&m.id).await.unwrap().unwrap();
            let changed = before != after;
            assert_eq!((found.delivery, found.external_id.is_some()), (after, changed));
            assert_eq!(found.error.as_deref(), if changed { None } else { Some("why") });
        }
    }

    async fn two_messages_of_a_conversation_never_get_one_provider_id(db: TestDb) {
        let w = World::new();
        let (org, _, c) = begin(&w, &db.store).await;
        add(&db.store, &org, &message(&w, &c, Author::Agent, Delivery::Sent, Some("mid 1"))).await;
        let m = message(&w, &c, Author::Bot, Delivery::Queued, None);
        add(&db.store, &org, &m).await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        assert!(matches!(tx.message_sent(&m.id, "mid 1").await, Err(StoreError::Conflict(_))));
    }

    async fn giving_up_fails_what_waits_on_a_connection_and_was_not_handed_out(db: TestDb) {
        let w = World::new();
        let (org, it, c) = begin(&w, &db.store).await;
        let second = w.connection(&db.store, &org, Provider::Messenger, "2").await;
        let elsewhere = conversation(&db.store, &w, &org, &second, "customer").await.conversation.id;
        let new = |c: &ConversationId, delivery| message(&w, c, Author::Bot, delivery, None);
        let waits = new(&c, Delivery::Queued);
        let kept = [new(&c, Delivery::Queued), new(&c, Delivery::Sent), new(&elsewhere, Delivery::Queued)];
        add(&db.store, &org, &waits).await;
        for m in &kept {
            add(&db.store, &org, m).await;
        }
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.message_handed_out(&kept[0].id, w.now()).await.unwrap();
        assert_eq!(tx.message_cancel(&it.id, "disconnected").await.unwrap(), 1);
        let found = tx.message_find(&waits.id).await.unwrap().unwrap();
        assert_eq!((found.delivery, found.error.as_deref()), (Delivery::Failed, Some("disconnected")));
        for m in kept {
            assert_eq!(tx.message_find(&m.id).await.unwrap().unwrap().delivery, m.delivery);
        }
    }

    async fn a_receipt_moves_what_we_sent_before_it_forward_and_never_back(db: TestDb) {
        let w = World::new();
        let (org, _, c) = begin(&w, &db.store).await;
        let new = |author, delivery| message(&w, &c, author, delivery, None);
        let sent = [new(Author::Bot, Delivery::Sent), new(Author::Agent, Delivery::Sent)];
        let kept = [
            new(Author::Customer, Delivery::Received),
            new(Author::Bot, Delivery::Queued),
            new(Author::Bot, Delivery::Failed),
            new(Author::System, Delivery::Sent),
        ];
        let until = w.now();
        w.clock.advance_millis(1);
        let later = message(&w, &c, Author::Bot, Delivery::Sent, None);
        for m in sent.iter().chain(&kept).chain([&later]) {
            add(&db.store, &org, m).await;
        }
        let mut tx = db.store.tenant(&org).await.unwrap();
        for (receipt, then) in [
            (Delivery::Delivered, Delivery::Delivered),
            (Delivery::Read, Delivery::Read),
            (Delivery::Delivered, Delivery::Read),
        ] {
            tx.message_reached(&c, until, receipt).await.unwrap();
            for m in &sent {
                assert_eq!(tx.message_find(&m.id).await.unwrap().unwrap().delivery, then);
            }
            for m in kept.iter().chain([&later]) {
                assert_eq!(tx.message_find(&m.id).await.unwrap().unwrap().delivery, m.delivery);
            }
        }
    }
}
