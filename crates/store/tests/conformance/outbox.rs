//! Mails: written once, ended once, read by the operator.

use agenstack_core::id::{HistoryId, MailId, UserId};
use agenstack_core::integration::{ConnectionStatus, LastError, Provider, StateChange};
use agenstack_core::policy::Role;
use agenstack_store::both_databases;
use agenstack_store::tenant::outbox::{Letter, MailState};
use agenstack_store::testing::World;

fn letter(to: &str) -> Letter {
    Letter { address: to.into(), subject: "Shopify needs reconnecting".into(), body: "Hello".into() }
}

both_databases! {
    async fn a_person_has_one_mail_about_a_notice_and_it_ends_once(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let (notice, person) = (w.id(HistoryId::new), w.id(UserId::new));
        let (first, second) = (w.id(MailId::new), w.id(MailId::new));
        let mut tx = db.store.tenant(&org).await.unwrap();
        assert!(tx.mail_add(&first, notice.as_str(), &person, &letter("a@b.c"), MailState::Queued, w.now()).await.unwrap());
        assert!(!tx.mail_add(&second, notice.as_str(), &person, &letter("a@b.c"), MailState::Queued, w.now()).await.unwrap());
        assert_eq!(tx.mail_find(&first).await.unwrap(), Some(letter("a@b.c")));
        assert!(!tx.mail_empty(&first, "").await.unwrap(), "it is still to be sent");
        assert!(tx.mail_ended(&first, MailState::Sent, w.now(), None).await.unwrap());
        assert!(!tx.mail_ended(&first, MailState::Failed, w.now(), Some("no")).await.unwrap());
        assert_eq!(tx.mail_find(&first).await.unwrap(), None, "it is not sent again");
        assert!(tx.mail_written(notice.as_str(), &person).await.unwrap());
        assert!(!tx.mail_written("another", &person).await.unwrap() && !tx.mail_written(notice.as_str(), &w.id(UserId::new)).await.unwrap());
        assert!(tx.mail_empty(&first, "It has left.").await.unwrap());
        tx.commit().await.unwrap();
        let list = db.store.global_read().await.unwrap().outbox_list(None, 9).await.unwrap();
        assert_eq!((list.len(), list[0].state.as_str(), list[0].sent_at), (1, "sent", Some(w.now().millis())));
        assert_eq!(list[0].body, "It has left.");
        let mut tx = db.store.global().await.unwrap();
        assert!(tx.outbox_list(Some(first.as_str()), 9).await.unwrap().is_empty());
        assert_eq!(tx.outbox_sweep(w.now()).await.unwrap(), 1);
    }

    async fn owners_and_admins_of_one_organization_are_written_to(db: TestDb) {
        let w = World::new();
        let (org, lark) = w.organization(&db.store, "Lark").await;
        w.organization(&db.store, "Fern").await;
        let (_, admin) = w.member(&db.store, &lark.organization, Role::Admin).await;
        for role in [Role::Agent, Role::Viewer] {
            w.member(&db.store, &lark.organization, role).await;
        }
        let found = db.store.global_read().await.unwrap().recipients(&org).await.unwrap();
        assert_eq!(found.iter().map(|u| &u.id).collect::<Vec<_>>(), [&lark.user, &admin.user]);
    }

    async fn whether_somebody_was_written_to_for_the_same_reason_is_told(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        let change = |code: &str| StateChange {
            id: w.id(HistoryId::new), generation: 1, actor: "worker".into(), status: ConnectionStatus::NeedsReconnect,
            code: code.into(), message: "no".into(), at: w.now(),
        };
        let (first, again, other) = (change("revoked"), change("revoked"), change("app_removed"));
        let mut tx = db.store.tenant(&org).await.unwrap();
        for c in [&first, &again, &other] {
            tx.history_add(&shop.id, c).await.unwrap();
        }
        let since = w.now().plus_secs(-1);
        let person = w.id(UserId::new);
        assert!(tx.mail_add(&w.id(MailId::new), first.id.as_str(), &person, &letter("a@b.c"), MailState::Kept, w.now()).await.unwrap());
        assert!(!tx.mail_noticed(&shop.id, "revoked", &first.id, since).await.unwrap(), "its own");
        assert!(tx.mail_noticed(&shop.id, "revoked", &again.id, since).await.unwrap());
        assert!(!tx.mail_noticed(&shop.id, "app_removed", &other.id, since).await.unwrap(), "another reason");
        assert!(!tx.mail_noticed(&shop.id, "revoked", &again.id, w.now()).await.unwrap(), "long ago");
    }

    async fn a_connection_that_stands_still_is_listed_with_what_waits_for_it(db: TestDb) {
        let w = World::new();
        let (org, _) = w.organization(&db.store, "Lark").await;
        let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
        let page = w.connection(&db.store, &org, Provider::Messenger, "1").await;
        for n in ["a", "b"] {
            crate::common::make::accept(&db.store, &w, &shop, n, n).await;
        }
        let mut tx = db.store.tenant(&org).await.unwrap();
        assert!(tx.integration_troubled().await.unwrap().is_empty());
        let error = LastError { code: "x".into(), message: "no".into(), at: w.now() };
        assert!(tx.integration_failed(&shop.id, 1, Some(ConnectionStatus::NeedsReconnect), &error).await.unwrap());
        let found = tx.integration_troubled().await.unwrap();
        assert_eq!(found.iter().map(|i| &i.id).collect::<Vec<_>>(), [&shop.id]);
        assert_eq!(tx.integration_waiting(&shop.id).await.unwrap(), 2);
        assert_eq!(tx.integration_waiting(&page.id).await.unwrap(), 0);
    }
}
