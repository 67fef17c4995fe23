//! Organizations and conversations that come from an older platform.

use agenstack_core::conversation::{Owner, Status};
use agenstack_core::id::{ContactId, ConversationId, OrgId};
use agenstack_core::org::Organization;
use agenstack_store::tenant::conversation::ImportedConversation;
use agenstack_store::testing::{World, sealed};
use agenstack_store::{StoreError, both_databases};

both_databases! {
    async fn an_organization_is_found_by_the_name_it_came_under_and_comes_once(db: TestDb) {
        let w = World::new();
        let org = |id: OrgId| Organization { id, name: "Lark".into(), created_at: w.now() };
        let first = org(OrgId::from_bits(7));
        let mut tx = db.store.global().await.unwrap();
        assert!(tx.organization_imported("old:7").await.unwrap().is_none());
        tx.organization_import(&first, "old:7").await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = db.store.global().await.unwrap();
        let found = tx.organization_imported("old:7").await.unwrap().unwrap();
        assert!(found.id == first.id && !found.is_closed);
        drop(tx);
        for (id, name) in [(first.id.clone(), "old:8"), (w.id(OrgId::new), "old:7")] {
            let mut tx = db.store.global().await.unwrap();
            assert!(matches!(tx.organization_import(&org(id), name).await, Err(StoreError::Conflict(_))), "{name}");
        }
    }

    async fn a_conversation_is_imported_once_finished_and_of_a_person_and_grows_later(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let mut tx = db.store.tenant(&org).await.unwrap();
        let (contact, new) = tx.contact_import(&w.id(ContactId::new), "old:c1", "Bo", w.now()).await.unwrap();
        assert!(new);
        let again = tx.contact_import(&w.id(ContactId::new), "old:c1", "Ann", w.now()).await.unwrap();
        assert_eq!(again, (contact.clone(), false));
        let memory = sealed("memory");
        let mut it = ImportedConversation {
            external_id: "old:1", channel: "web", contact: &contact, memory: Some(&memory),
            last_customer_at: w.now(), last_message_at: w.now().plus_secs(5), created_at: w.now().plus_secs(-9),
        };
        let (id, new) = tx.conversation_import(&w.id(ConversationId::new), &it).await.unwrap();
        assert!(new);
        it.last_customer_at = w.now().plus_secs(60);
        it.last_message_at = w.now().plus_secs(1);
        assert_eq!(tx.conversation_import(&w.id(ConversationId::new), &it).await.unwrap(), (id.clone(), false));
        let found = tx.conversation_find(&id).await.unwrap().unwrap();
        let c = found.conversation;
        assert_eq!((c.owner, c.status, c.channel.as_str(), c.integration_id), (Owner::Person, Status::Closed, "web", None));
        assert_eq!((c.contact.name.as_str(), found.memory), ("Bo", Some(memory.clone())));
        assert_eq!((c.last_customer_at, c.last_message_at), (w.now().plus_secs(60), w.now().plus_secs(5)));
        assert_eq!(tx.conversation_newest().await.unwrap().millis(), 0, "nobody has written here yet");
    }
}
