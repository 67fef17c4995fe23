//! Conversations and contacts.

use crate::common::make::conversation;
use agenstack_core::conversation::{Conversation, Owner, Status};
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::{ContactId, ConversationId};
use agenstack_core::integration::{Integration, Provider};
use agenstack_store::tenant::conversation::ConversationCursor;
use agenstack_store::testing::{World, sealed};
use agenstack_store::{Store, both_databases};

async fn page(w: &World, store: &Store) -> (OrgCtx, Integration) {
    let (org, _) = w.organization(store, "Lark").await;
    let it = w.connection(store, &org, Provider::Messenger, "1").await;
    (org, it)
}

async fn update(store: &Store, org: &OrgCtx, c: &Conversation) {
    let mut tx = store.tenant(org).await.unwrap();
    tx.conversation_update(c, None).await.unwrap();
    tx.commit().await.unwrap();
}

both_databases! {
    async fn a_conversation_begins_open_with_the_bot_and_is_found_by_each_of_its_names(db: TestDb) {
        let w = World::new();
        let (org, it) = page(&w, &db.store).await;
        let opened = conversation(&db.store, &w, &org, &it, "customer").await.conversation;
        assert_eq!((opened.owner, opened.status, opened.channel.as_str()), (Owner::Bot, Status::Open, "messenger"));
        assert_eq!((&opened.organization_id, &opened.integration_id), (org.org(), &Some(it.id.clone())));
        assert_eq!((opened.contact.name.as_str(), opened.external_id.as_str()), ("Bo", "customer"));
        assert_eq!((opened.last_message_at, opened.last_customer_at), (w.now(), w.now()));
        let handed = Conversation { kustomer_id: Some("k".into()), ..opened.clone() };
        update(&db.store, &org, &handed).await;
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        let found = [
            tx.conversation_find(&opened.id).await.unwrap().unwrap(),
            tx.conversation_by_customer(&it.id, "customer").await.unwrap().unwrap(),
            tx.conversation_by_kustomer("k").await.unwrap().unwrap(),
        ];
        for f in found {
            assert_eq!(format!("{:?}", f.conversation), format!("{handed:?}"));
        }
        assert!(tx.conversation_find(&w.id(ConversationId::new)).await.unwrap().is_none());
        assert!(tx.conversation_by_customer(&it.id, "stranger").await.unwrap().is_none());
        assert!(tx.conversation_by_kustomer("other").await.unwrap().is_none());
    }

    async fn a_customer_of_a_page_has_one_conversation_however_often_it_is_opened(db: TestDb) {
        let w = World::new();
        let (org, it) = page(&w, &db.store).await;
        let open = || conversation(&db.store, &w, &org, &it, "customer");
        let all = futures::future::join_all((0..6).map(|_| open())).await;
        assert!(all.iter().all(|c| c.conversation.id == all[0].conversation.id));
        assert!(all.iter().all(|c| c.conversation.contact.id == all[0].conversation.contact.id));
        let second = w.connection(&db.store, &org, Provider::Messenger, "2").await;
        let elsewhere = conversation(&db.store, &w, &org, &second, "customer").await;
        assert_ne!(elsewhere.conversation.id, all[0].conversation.id, "of another page");
    }

    async fn what_can_change_is_stored_with_the_bots_sealed_memory(db: TestDb) {
        let w = World::new();
        let (org, it) = page(&w, &db.store).await;
        let c = conversation(&db.store, &w, &org, &it, "customer").await.conversation;
        w.clock.advance_millis(7);
        let changed = Conversation {
            owner: Owner::Paused,
            status: Status::Closed,
            kustomer_id: Some("k".into()),
            last_message_at: w.now(),
            last_customer_at: w.now(),
            ..c
        };
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.conversation_update(&changed, Some(&sealed("memory"))).await.unwrap();
        let found = tx.conversation_find(&changed.id).await.unwrap().unwrap();
        assert_eq!(format!("{:?}", found.conversation), format!("{changed:?}"));
        assert_eq!(found.memory, Some(sealed("memory")));
        tx.conversation_update(&changed, None).await.unwrap();
        assert_eq!(tx.conversation_find(&changed.id).await.unwrap().unwrap().memory, None);
    }

    async fn a_contact_gets_its_name_and_keeps_it_when_the_conversation_is_opened_again(db: TestDb) {
        let w = World::new();
        let (org, it) = page(&w, &db.store).await;
        let c = conversation(&db.store, &w, &org, &it, "customer").await.conversation;
        let mut tx = db.store.tenant(&org).await.unwrap();
        tx.contact_name(&c.contact.id, "Cleo").await.unwrap();
        tx.contact_name(&w.id(ContactId::new), "Nobody").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(conversation(&db.store, &w, &org, &it, "customer").await.conversation.contact.name, "Cleo");
    }

    async fn conversations_are_listed_by_newest_activity_page_by_page(db: TestDb) {
        let w = World::new();
        let (org, it) = page(&w, &db.store).await;
        let mut all = Vec::new();
        for n in 0..5 {
            all.push(conversation(&db.store, &w, &org, &it, &n.to_string()).await.conversation);
            // Two share a moment: their ids part them.
            w.clock.advance_millis(i64::from(n != 2));
        }
        all.reverse();
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        let (mut seen, mut cursor) = (Vec::new(), None);
        for size in [2, 2, 1] {
            let list = tx.conversation_list(None, None, cursor.as_ref(), 2).await.unwrap();
            assert_eq!(list.len(), size);
            let last = &list.last().unwrap().conversation;
            cursor = Some(ConversationCursor { last_message_at: last.last_message_at, id: last.id.clone() });
            seen.extend(list.into_iter().map(|c| c.conversation.id));
        }
        assert_eq!(seen, all.into_iter().map(|c| c.id).collect::<Vec<_>>());
    }

    async fn conversations_are_narrowed_and_counted_by_owner_and_status(db: TestDb) {
        let w = World::new();
        let (org, it) = page(&w, &db.store).await;
        let mut all = Vec::new();
        for (n, (owner, status)) in [
            (Owner::Bot, Status::Open),
            (Owner::Person, Status::Open),
            (Owner::Person, Status::Closed),
        ]
        .into_iter()
        .enumerate()
        {
            let c = conversation(&db.store, &w, &org, &it, &n.to_string()).await.conversation;
            update(&db.store, &org, &Conversation { owner, status, ..c.clone() }).await;
            all.push(c.id);
        }
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        for (owner, status, which) in [
            (None, None, vec![2, 1, 0]),
            (Some(Owner::Person), None, vec![2, 1]),
            (None, Some(Status::Open), vec![1, 0]),
            (Some(Owner::Person), Some(Status::Closed), vec![2]),
            (Some(Owner::Paused), None, vec![]),
        ] {
            let list = tx.conversation_list(owner, status, None, 9).await.unwrap();
            let list: Vec<_> = list.into_iter().map(|c| c.conversation.id).collect();
            assert_eq!(list, which.iter().map(|n: &usize| all[*n].clone()).collect::<Vec<_>>());
        }
        assert_eq!(tx.conversation_count(None).await.unwrap(), 2, "open ones");
        assert_eq!(tx.conversation_count(Some(Owner::Person)).await.unwrap(), 1);
        assert_eq!(tx.conversation_count(Some(Owner::Paused)).await.unwrap(), 0);
    }

    async fn the_newest_activity_is_that_of_all_conversations(db: TestDb) {
        let w = World::new();
        let (org, it) = page(&w, &db.store).await;
        assert_eq!(db.store.tenant_read(&org).await.unwrap().conversation_newest().await.unwrap().millis(), 0);
        conversation(&db.store, &w, &org, &it, "1").await;
        w.clock.advance_millis(9);
        conversation(&db.store, &w, &org, &it, "2").await;
        let mut tx = db.store.tenant_read(&org).await.unwrap();
        assert_eq!(tx.conversation_newest().await.unwrap(), w.now());
    }
}
