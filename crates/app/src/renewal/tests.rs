use super::*;
use agenstack_core::clock::{Clock, ManualClock};
use agenstack_core::conversation::{Author, Delivery};
use agenstack_core::entropy::OsEntropy;
use agenstack_core::id::{ConversationId, MessageId};
use agenstack_store::global::key::StoredKey;
use agenstack_store::tenant::message::StoredMessage;
use agenstack_store::testing::{TestDb, World};
use agenstack_vault::{MasterKey, Vault, VaultError};
use std::sync::Arc;

const DAY: i64 = 86_400;

/// A process: its own memory of keys, and the one clock.
fn process(db: &TestDb, clock: &Arc<ManualClock>) -> Keyring {
    let master = MasterKey::parse(&MasterKey::generate(&agenstack_core::entropy::SeededEntropy::new(1)));
    let vault = Vault::new(master.expect("a generated key is a key"), None);
    Keyring::new(db.store.clone(), vault, clock.clone(), Arc::new(OsEntropy))
}

/// An organization with its first data key.
async fn organization(db: &TestDb, w: &World, keyring: &Keyring, name: &str) -> OrgCtx {
    let (org, _) = w.organization(&db.store, name).await;
    let mut tx = db.store.global().await.unwrap();
    keyring.create(&mut tx, org.org(), &w.ids, &OsEntropy, keyring.now()).await.unwrap();
    tx.commit().await.unwrap();
    org
}

fn text_of(id: &MessageId) -> Place<'_> {
    Place { table: "messages", row: id.as_str(), column: "text" }
}

async fn write(db: &TestDb, w: &World, keyring: &Keyring, org: &OrgCtx, text: &str) -> MessageId {
    let id = w.id(MessageId::new);
    let key = keyring.key(org.org()).await.unwrap();
    let message = StoredMessage {
        text: key.seal(text_of(&id), text.as_bytes(), &OsEntropy),
        conversation_id: w.id(ConversationId::new),
        author: Author::Customer,
        delivery: Delivery::Received,
        external_id: None,
        error: None,
        handed_out_at: None,
        created_at: w.now(),
        id: id.clone(),
    };
    let mut tx = db.store.tenant(org).await.unwrap();
    tx.message_add(&message).await.unwrap();
    tx.commit().await.unwrap();
    id
}

async fn sealed(db: &TestDb, org: &OrgCtx, id: &MessageId) -> Sealed {
    db.store.tenant_read(org).await.unwrap().message_find(id).await.unwrap().unwrap().text
}

async fn read(db: &TestDb, keyring: &Keyring, org: &OrgCtx, id: &MessageId) -> Result<String, AppError> {
    keyring.open_text(org.org(), text_of(id), &sealed(db, org, id).await).await
}

async fn under_way(db: &TestDb) -> RenewalCount {
    status(&db.store, Timestamp::from_millis(0)).await.unwrap().under_way
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(World::new().now()))
}

agenstack_store::both_databases! {
    async fn after_90_days_the_next_seal_makes_a_key_and_the_former_goes_when_nothing_needs_it(db: TestDb) {
        let (w, clock) = (World::new(), clock());
        let (one, other) = (process(&db, &clock), process(&db, &clock));
        let org = organization(&db, &w, &one, "Lark").await;
        let mut written = Vec::new();
        for n in 0..450 {
            written.push(write(&db, &w, &one, &org, &format!("text {n}")).await);
        }
        let former = one.key(org.org()).await.unwrap();
        let stale = other.newest(org.org()).await.unwrap();
        clock.advance_millis((90 * DAY - 1) * 1000);
        assert_eq!(one.key(org.org()).await.unwrap().id(), former.id());
        assert_eq!(status(&db.store, clock.now()).await.unwrap().overdue, 0);
        clock.advance_millis(1000);
        assert_eq!(status(&db.store, clock.now()).await.unwrap().overdue, 1);
        let newest = one.key(org.org()).await.unwrap();
        assert!(newest.id() > former.id());
        assert_eq!(other.key(org.org()).await.unwrap().id(), newest.id(), "another process adopts it");
        assert_eq!(status(&db.store, clock.now()).await.unwrap().overdue, 0);

        while round(&one).await.unwrap() > 0 {}
        assert_eq!(under_way(&db).await.resealed, 450);
        for id in &written {
            assert_eq!(key_id_of(&sealed(&db, &org, id).await).unwrap(), *newest.id());
        }
        assert_eq!(newest.digest("body", b"seen"), former.digest("body", b"seen"), "what was seen is recognised");
        // A process that has not heard of it seals with the former key once more.
        let late = w.id(MessageId::new);
        let value = stale.seal(text_of(&late), b"late", &OsEntropy);
        let mut tx = db.store.tenant(&org).await.unwrap();
        let mut message = tx.message_find(&written[0]).await.unwrap().unwrap();
        (message.id, message.text) = (late.clone(), value);
        tx.message_add(&message).await.unwrap();
        tx.commit().await.unwrap();

        // The next look meets it, so the former key stays for another hour.
        for expected in [451, 451] {
            assert!(db.store.global_read().await.unwrap().key_get(org.org(), Some(former.id())).await.is_ok());
            clock.advance_millis(QUIET_SECS * 1000);
            while round(&one).await.unwrap() > 0 {}
            let now = under_way(&db).await;
            assert!(now.organizations == 0 || now.resealed == expected, "{now:?}");
        }
        assert_eq!(under_way(&db).await.organizations, 0);
        let gone = db.store.global_read().await.unwrap().key_get(org.org(), Some(former.id())).await;
        assert!(gone.is_err());
        // Nothing remembered: whatever opens now opens with what is stored.
        let fresh = process(&db, &clock);
        assert_eq!(read(&db, &fresh, &org, &late).await.unwrap(), "late");
        for (n, id) in written.iter().enumerate() {
            assert_eq!(read(&db, &fresh, &org, id).await.unwrap(), format!("text {n}"));
        }
        let copy = former.seal(text_of(&late), b"old copy", &OsEntropy);
        let opened = fresh.open(org.org(), text_of(&late), &copy).await;
        assert!(matches!(opened, Err(AppError::Sealed(VaultError::DoesNotOpen))));
    }

    async fn two_processes_that_renew_at_once_lose_nothing(db: TestDb) {
        let (w, clock) = (World::new(), clock());
        let (one, other) = (process(&db, &clock), process(&db, &clock));
        let org = organization(&db, &w, &one, "Lark").await;
        let before = write(&db, &w, &one, &org, "before").await;
        let _remembered = other.key(org.org()).await.unwrap();
        clock.advance_millis(91 * DAY * 1000);
        let (a, b) = futures::future::join(
            write(&db, &w, &one, &org, "one"),
            async { other.key(org.org()).await.unwrap() },
        ).await;
        let second = write(&db, &w, &other, &org, "other").await;
        assert_eq!(b.org(), org.org());
        for _ in 0..4 {
            while futures::future::try_join(round(&one), round(&other)).await.unwrap() != (0, 0) {}
            clock.advance_millis(QUIET_SECS * 1000);
        }
        assert_eq!(under_way(&db).await.organizations, 0);
        let fresh = process(&db, &clock);
        for (id, text) in [(&before, "before"), (&a, "one"), (&second, "other")] {
            assert_eq!(read(&db, &fresh, &org, id).await.unwrap(), text);
        }
    }

    async fn a_step_that_was_killed_is_done_by_whoever_comes_next_and_no_organization_waits_for_another(db: TestDb) {
        let (w, clock) = (World::new(), clock());
        let keyring = process(&db, &clock);
        let large = organization(&db, &w, &keyring, "Large").await;
        let small = organization(&db, &w, &keyring, "Small").await;
        for n in 0..850 {
            write(&db, &w, &keyring, &large, &format!("{n}")).await;
        }
        let few = write(&db, &w, &keyring, &small, "few").await;
        clock.advance_millis(2 * QUIET_SECS * 1000);
        assert_eq!(begin_all(&keyring).await.unwrap(), 2);
        assert_eq!(begin_all(&keyring).await.unwrap(), 0, "what has a new key is left alone");
        assert!(begin_one(&keyring, small.org()).await.unwrap(), "unless it is named");
        // Claimed and never ended: the process was killed.
        let mut tx = db.store.global().await.unwrap();
        let now = clock.now();
        let (_, taken) = tx.reseal_claim(now, now.plus_secs(LEASE_SECS)).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        assert_eq!(taken.org, *large.org());
        while round(&keyring).await.unwrap() > 0 {}
        assert_eq!(under_way(&db).await.resealed, 1, "the small one is done meanwhile");
        clock.advance_millis(LEASE_SECS * 1000);
        while round(&keyring).await.unwrap() > 0 {}
        assert_eq!(under_way(&db).await.resealed, 851);
        let newest = keyring.newest(small.org()).await.unwrap();
        assert_eq!(key_id_of(&sealed(&db, &small, &few).await).unwrap(), *newest.id());
        // On a machine whose clock is behind, too, the new key is the newest.
        clock.advance_millis(-60_000);
        assert!(begin_one(&process(&db, &clock), small.org()).await.unwrap());
        assert!(keyring.newest(small.org()).await.unwrap().id() > newest.id());
    }

    async fn a_value_that_does_not_open_is_told_and_keeps_its_key(db: TestDb) {
        let (w, clock) = (World::new(), clock());
        let keyring = process(&db, &clock);
        let org = organization(&db, &w, &keyring, "Lark").await;
        let good = write(&db, &w, &keyring, &org, "good").await;
        let moved = sealed(&db, &org, &good).await;
        let former = keyring.key(org.org()).await.unwrap();
        let mut tx = db.store.tenant(&org).await.unwrap();
        let mut message = tx.message_find(&good).await.unwrap().unwrap();
        (message.id, message.text) = (w.id(MessageId::new), moved);
        tx.message_add(&message).await.unwrap();
        tx.commit().await.unwrap();
        assert!(begin_one(&keyring, org.org()).await.unwrap());
        for _ in 0..4 {
            while round(&keyring).await.unwrap() > 0 {}
            clock.advance_millis(2 * DAY * 1000);
        }
        assert_eq!((under_way(&db).await.organizations, under_way(&db).await.resealed), (1, 1));
        assert!(db.store.global_read().await.unwrap().key_get(org.org(), Some(former.id())).await.is_ok());
        assert_eq!(read(&db, &process(&db, &clock), &org, &good).await.unwrap(), "good");
    }

    async fn a_key_of_an_organization_that_is_gone_is_not_followed(db: TestDb) {
        let (w, clock) = (World::new(), clock());
        let keyring = process(&db, &clock);
        let (org, _) = w.organization(&db.store, "Lark").await;
        let key = StoredKey {
            id: w.id(DataKeyId::new),
            master_key_id: "m1".into(),
            wrapped: Sealed::from_bytes(Vec::new()),
        };
        assert!(matches!(begin_one(&keyring, org.org()).await, Err(AppError::NotFound)));
        assert!(matches!(keyring.renew(org.org(), &key.id).await, Err(AppError::NotFound)));
        assert_eq!(under_way(&db).await.organizations, 0);
    }
}
