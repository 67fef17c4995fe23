//! Leasing: both queues keep the same rules.

mod model;

use crate::common::make::{accept, ids, lease, route};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::{Actor, OrgCtx};
use agenstack_core::event::EventState;
use agenstack_core::id::{EventId, JobId, OrgId};
use agenstack_core::integration::{Integration, Provider};
use agenstack_store::global::inbox::Addressed;
use agenstack_store::global::queue::{Attempt, Conversation, Due, Fronts, Queue, Wanted};
use agenstack_store::testing::{World, postgres, postgres_narrow};
use agenstack_store::{Store, StoreError, both_databases};
use std::collections::BTreeSet;

const QUEUES: [Queue; 2] = [Queue::Events, Queue::Jobs];
/// Before any lease.
const ANY: Timestamp = Timestamp::from_millis(0);

/// An organization that queues rows.
struct Shop {
    org: OrgCtx,
    it: Integration,
}

impl Shop {
    async fn new(w: &World, store: &Store, name: &str) -> Self {
        let (org, _) = w.organization(store, name).await;
        let it = w.connection(store, &org, Provider::Shopify, &format!("{name}.myshopify.com")).await;
        Self { org, it }
    }

    /// Queues a row, due now.
    async fn queue(&self, w: &World, store: &Store, queue: Queue, order: &str) -> String {
        if queue == Queue::Events {
            let key = w.id(JobId::new);
            return accept(store, w, &self.it, key.as_str(), order).await.as_str().to_owned();
        }
        let id = w.id(JobId::new);
        let mut tx = store.tenant(&self.org).await.unwrap();
        tx.job_add(&id, "send", "{}", order, w.now(), w.now()).await.unwrap();
        tx.commit().await.unwrap();
        id.as_str().to_owned()
    }

    /// Queues many rows at once, due now.
    async fn queue_many(&self, w: &World, store: &Store, queue: Queue, orders: &[String]) {
        if queue == Queue::Events {
            let one = |order: &String| {
                let event = w.incoming(self.it.provider, w.id(JobId::new).as_str(), order);
                Addressed { to: route(&self.it), held: false, event }
            };
            let all: Vec<_> = orders.iter().map(one).collect();
            let mut tx = store.global().await.unwrap();
            assert_eq!(tx.events_accept(&all.iter().collect::<Vec<_>>()).await.unwrap().len(), orders.len());
            return tx.commit().await.unwrap();
        }
        let mut tx = store.tenant(&self.org).await.unwrap();
        for order in orders {
            tx.job_add(&w.id(JobId::new), "send", "{}", order, w.now(), w.now()).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// Ends a row as its holder.
    async fn done(
        &self,
        w: &World,
        store: &Store,
        queue: Queue,
        id: &str,
        token: &str,
    ) -> Result<(), StoreError> {
        let mut tx = store.tenant(&self.org).await?;
        match queue {
            Queue::Events => tx.event_done(&EventId::parse(id).unwrap(), token, w.now(), w.now()).await?,
            Queue::Jobs => tx.job_done(&JobId::parse(id).unwrap(), token).await?,
        }
        tx.commit().await
    }

    /// Puts a row off as its holder.
    async fn put_off(
        &self,
        store: &Store,
        queue: Queue,
        id: &str,
        token: &str,
        next: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = store.tenant(&self.org).await?;
        match queue {
            Queue::Events => tx.event_put_off(&EventId::parse(id).unwrap(), token, next, "later").await?,
            Queue::Jobs => tx.job_put_off(&JobId::parse(id).unwrap(), token, next, "later").await?,
        }
        tx.commit().await
    }

    /// Fails a row as its holder.
    async fn failed(
        &self,
        store: &Store,
        queue: Queue,
        id: &str,
        token: &str,
        next: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = store.tenant(&self.org).await?;
        let state = EventState::Failed;
        match queue {
            Queue::Events => tx.event_failed(&EventId::parse(id).unwrap(), token, state, next, "no").await?,
            Queue::Jobs => tx.job_failed(&JobId::parse(id).unwrap(), token, state, next, "no").await?,
        }
        tx.commit().await
    }
}

/// Runs one of the deeds on leases and commits it.
macro_rules! leases {
    ($store:expr, $method:ident($($argument:expr),*)) => {{
        let mut tx = $store.global().await.unwrap();
        let n = tx.$method($($argument),*).await.unwrap();
        tx.commit().await.unwrap();
        n
    }};
}

/// Whether a row is due that was never tried.
async fn is_due(store: &Store, queue: Queue, now: Timestamp) -> bool {
    store
        .global_read()
        .await
        .unwrap()
        .due(now, Fronts::default(), &[])
        .await
        .unwrap()
        .has(queue, Attempt::First)
}

/// The same for others than some organizations.
async fn is_due_beside(store: &Store, queue: Queue, now: Timestamp, busy: &[OrgId]) -> bool {
    store
        .global_read()
        .await
        .unwrap()
        .due(now, Fronts::default(), busy)
        .await
        .unwrap()
        .has(queue, Attempt::First)
}

/// What is wanted of rows that were never tried.
fn untried(queue: Queue, limit: i64) -> Wanted<'static> {
    Wanted { queue, attempt: Attempt::First, limit, each: limit, busy: &[], fronts: Fronts::default() }
}

both_databases! {
    async fn a_row_that_is_put_off_waits_has_spent_no_attempt_and_holds_up_its_own_line_only(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let shop = Shop::new(&w, store, "lark").await;
        for queue in QUEUES {
            let first = shop.queue(&w, store, queue, "a").await;
            shop.queue(&w, store, queue, "a").await;
            let mut now = w.now();
            for token in ["t", "u", "v"] {
                let leased = lease(store, queue, token, now, 10).await;
                assert_eq!((ids(&leased), leased[0].attempts), (vec![first.as_str()], 1));
                let stranger = shop.put_off(store, queue, &first, "x", now).await;
                assert!(matches!(stranger, Err(StoreError::LeaseLost)), "{stranger:?}");
                let later = now.plus_secs(9);
                shop.put_off(store, queue, &first, token, later).await.unwrap();
                now = later.plus_millis(-1);
                assert!(lease(store, queue, "w", now, 10).await.is_empty(), "it waits, and so does the next");
                let other = shop.queue(&w, store, queue, token).await;
                assert_eq!(ids(&lease(store, queue, "w", now, 10).await), [&other]);
                now = later;
            }
        }
    }

    async fn rows_with_one_order_key_go_one_by_one_while_others_go_on(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let shop = Shop::new(&w, store, "lark").await;
        for queue in QUEUES {
            let first = shop.queue(&w, store, queue, "a").await;
            let second = shop.queue(&w, store, queue, "a").await;
            let other = shop.queue(&w, store, queue, "b").await;
            assert_eq!(ids(&lease(store, queue, "t", w.now(), 10).await), [&first, &other]);
            assert!(lease(store, queue, "u", w.now(), 10).await.is_empty(), "the second waits for the first");
            shop.done(&w, store, queue, &first, "t").await.unwrap();
            assert_eq!(ids(&lease(store, queue, "u", w.now(), 10).await), [&second]);
        }
    }

    async fn a_row_that_waits_for_another_attempt_holds_up_its_own_key_only(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let shop = Shop::new(&w, store, "lark").await;
        for queue in QUEUES {
            let first = shop.queue(&w, store, queue, "a").await;
            let second = shop.queue(&w, store, queue, "a").await;
            lease(store, queue, "t", w.now(), 10).await;
            let next = w.now().plus_secs(5);
            shop.failed(store, queue, &first, "t", next).await.unwrap();
            let other = shop.queue(&w, store, queue, "b").await;
            assert_eq!(ids(&lease(store, queue, "t", w.now(), 10).await), [&other]);
            assert!(lease(store, queue, "t", next.plus_millis(-1), 10).await.is_empty());
            let again = lease(store, queue, "t", next, 10).await;
            assert_eq!((ids(&again), again[0].attempts), (vec![first.as_str()], 2));
            shop.done(&w, store, queue, &first, "t").await.unwrap();
            assert_eq!(ids(&lease(store, queue, "t", next, 10).await), [&second]);
        }
    }

    async fn the_same_order_key_of_another_organization_is_another_key(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let (lark, ash) = (Shop::new(&w, store, "lark").await, Shop::new(&w, store, "ash").await);
        for queue in QUEUES {
            let one = lark.queue(&w, store, queue, "a").await;
            let two = ash.queue(&w, store, queue, "a").await;
            let leased = lease(store, queue, "t", w.now(), 10).await;
            assert_eq!(ids(&leased), [&one, &two]);
            for (row, shop) in leased.iter().zip([&lark, &ash]) {
                assert_eq!((&row.org, row.attempts), (shop.org.org(), 1));
                let org = OrgCtx::from_queue(w.ctx(Actor::Worker), &row.queued_for);
                assert_eq!(org.org(), shop.org.org());
            }
        }
    }

    async fn a_lease_takes_what_is_longest_due_and_no_more_than_its_limit(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let shop = Shop::new(&w, store, "lark").await;
        for queue in QUEUES {
            let mut rows = Vec::new();
            for n in 0..5 {
                rows.push(shop.queue(&w, store, queue, &n.to_string()).await);
                w.clock.advance_millis(1);
            }
            assert_eq!(ids(&lease(store, queue, "t", w.now(), 2).await), rows[..2].iter().collect::<Vec<_>>());
            assert_eq!(ids(&lease(store, queue, "t", w.now(), 9).await), rows[2..].iter().collect::<Vec<_>>());
        }
    }

    async fn only_the_holder_of_the_token_ends_a_row(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let shop = Shop::new(&w, store, "lark").await;
        for queue in QUEUES {
            let row = shop.queue(&w, store, queue, "a").await;
            let lost = |ended: Result<(), StoreError>| matches!(ended, Err(StoreError::LeaseLost));
            assert!(lost(shop.done(&w, store, queue, &row, "t").await), "not leased yet");
            lease(store, queue, "t", w.now(), 1).await;
            assert!(lost(shop.done(&w, store, queue, &row, "u").await));
            assert!(lost(shop.failed(store, queue, &row, "u", w.now()).await));
            // The holder hangs, its lease runs out, another takes over: the first may end nothing any more.
            let late = w.now().plus_secs(60);
            assert_eq!(leases!(store, lease_expire("u", ANY, late, |_| late)), 1);
            assert!(lost(shop.done(&w, store, queue, &row, "t").await), "nobody's");
            assert_eq!(ids(&lease(store, queue, "u", late, 1).await), [&row]);
            assert!(lost(shop.done(&w, store, queue, &row, "t").await), "another's");
            assert!(lost(shop.failed(store, queue, &row, "t", late).await));
            shop.done(&w, store, queue, &row, "u").await.unwrap();
            assert!(lost(shop.done(&w, store, queue, &row, "u").await), "ended already");
        }
    }

    async fn a_lease_runs_out_at_its_end_unless_extended_or_the_callers_own(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let shop = Shop::new(&w, store, "lark").await;
        let now = w.now();
        for queue in QUEUES {
            shop.queue(&w, store, queue, "a").await;
            lease(store, queue, "t", now, 1).await;
        }
        assert_eq!(leases!(store, lease_expire("u", ANY, now.plus_millis(59_999), |_| now.plus_millis(59_999))), 0);
        assert_eq!(leases!(store, lease_expire("t", ANY, now.plus_secs(60), |_| now.plus_secs(60))), 0, "its own");
        assert_eq!(leases!(store, lease_extend("u", ANY, now.plus_secs(120))), 0, "another's");
        assert_eq!(leases!(store, lease_extend("t", now.plus_millis(60_001), now.plus_secs(120))), 0, "not so long");
        assert_eq!(leases!(store, lease_extend("t", now.plus_secs(60), now.plus_secs(120))), 2, "in both queues");
        assert_eq!(leases!(store, lease_expire("u", ANY, now.plus_secs(60), |_| now.plus_secs(60))), 0);
        let (after, late) = (now.plus_millis(120_001), now.plus_secs(121));
        assert_eq!(leases!(store, lease_expire("u", after, late, |_| late)), 0, "not looked for");
        assert_eq!(leases!(store, lease_expire("u", now.plus_secs(120), now.plus_secs(120), |_| now.plus_secs(120))), 2);
        assert_eq!(leases!(store, lease_extend("t", ANY, now.plus_secs(999))), 0, "gone");
        for queue in QUEUES {
            let again = lease(store, queue, "u", now.plus_secs(120), 9).await;
            assert_eq!(again.iter().map(|l| l.attempts).collect::<Vec<_>>(), [2], "a lost attempt counts");
        }
    }

    async fn a_lease_that_runs_out_is_counted_in_a_row_and_waits_as_long_as_it_is_told(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let shop = Shop::new(&w, store, "lark").await;
        for queue in QUEUES {
            let row = shop.queue(&w, store, queue, "a").await;
            let mut now = w.now();
            for expired in 0..3 {
                let leased = lease(store, queue, "t", now, 9).await;
                assert_eq!((leased[0].attempts, leased[0].expired), (expired + 1, expired));
                now = now.plus_secs(60);
                assert_eq!(leases!(store, lease_expire("u", ANY, now, |times| now.plus_secs(times))), 1);
                assert!(lease(store, queue, "t", now.plus_secs(expired), 9).await.is_empty(), "later each time");
                now = now.plus_secs(expired + 1);
            }
            // Handed back it is as before; an attempt whose end was heard of begins the row anew.
            lease(store, queue, "t", now, 9).await;
            assert_eq!(leases!(store, lease_return("t", ANY, now)), 1);
            assert_eq!(lease(store, queue, "t", now, 9).await[0].expired, 3);
            shop.failed(store, queue, &row, "t", now).await.unwrap();
            assert_eq!(lease(store, queue, "t", now, 9).await[0].expired, 0);
            now = now.plus_secs(60);
            assert_eq!(leases!(store, lease_expire("u", ANY, now, |_| now)), 1);
            assert_eq!(lease(store, queue, "t", now, 9).await[0].expired, 1);
            shop.put_off(store, queue, &row, "t", now).await.unwrap();
            assert_eq!(lease(store, queue, "t", now, 9).await[0].expired, 0);
            shop.done(&w, store, queue, &row, "t").await.unwrap();
        }
    }

    async fn a_lease_handed_back_unused_counts_as_no_attempt(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let shop = Shop::new(&w, store, "lark").await;
        for queue in QUEUES {
            shop.queue(&w, store, queue, "a").await;
            lease(store, queue, "t", w.now(), 1).await;
        }
        assert_eq!(leases!(store, lease_return("u", ANY, w.now())), 0);
        assert_eq!(leases!(store, lease_return("t", ANY, w.now())), 2);
        for queue in QUEUES {
            assert_eq!(lease(store, queue, "u", w.now(), 9).await[0].attempts, 1);
        }
    }

    async fn a_queue_is_due_when_a_row_is_and_waits_until_the_row_is_ended(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let shop = Shop::new(&w, store, "lark").await;
        for queue in QUEUES {
            assert!(!is_due(store, queue, w.now()).await);
            let row = shop.queue(&w, store, queue, "a").await;
            assert!(!is_due(store, queue, w.now().plus_millis(-1)).await);
            assert!(is_due(store, queue, w.now()).await);
            assert_eq!(leases!(store, queue_waiting()), 1);
            lease(store, queue, "t", w.now(), 1).await;
            assert!(!is_due(store, queue, w.now()).await, "leased");
            assert_eq!(leases!(store, queue_waiting()), 1, "it runs");
            shop.done(&w, store, queue, &row, "t").await.unwrap();
            assert_eq!(leases!(store, queue_waiting()), 0);
        }
    }

    async fn a_lease_that_is_not_committed_holds_nothing(db: TestDb) {
        // PostgreSQL hears of a dropped transaction when its connection is used again, and here there is only one.
        let narrow = match db.store.postgres() {
            Some(_) => postgres_narrow(&db.url, 1).await,
            None => db.store.clone(),
        };
        let (w, store) = (World::new(), &narrow);
        let shop = Shop::new(&w, store, "lark").await;
        for queue in QUEUES {
            let row = shop.queue(&w, store, queue, "a").await;
            let mut tx = store.global().await.unwrap();
            assert_eq!(tx.lease(untried(queue, 1), "t", w.now(), w.now().plus_secs(9)).await.unwrap().len(), 1);
            drop(tx);
            let again = lease(store, queue, "u", w.now(), 1).await;
            assert_eq!((ids(&again), again[0].attempts), (vec![row.as_str()], 1));
        }
    }

    async fn workers_in_parallel_never_share_a_row_nor_pass_one_by(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let shop = Shop::new(&w, store, "lark").await;
        for queue in QUEUES {
            let mut rows = Vec::new();
            for n in 0..24 {
                rows.push(shop.queue(&w, store, queue, &(n % 6).to_string()).await);
            }
            let work = |token: String| {
                let (w, shop) = (&w, &shop);
                async move {
                    let mut mine = Vec::new();
                    // Each round of all workers moves every key on by one row at least; four rows have a key.
                    for _ in 0..24 {
                        for row in lease(store, queue, &token, w.now(), 2).await {
                            shop.done(w, store, queue, &row.id, &token).await.unwrap();
                            mine.push(row.id);
                        }
                    }
                    mine
                }
            };
            let done = futures::future::join_all((0..4).map(|n| work(format!("t{n}")))).await;
            let all: Vec<_> = done.iter().flatten().collect();
            let once: BTreeSet<_> = all.iter().collect();
            assert_eq!((all.len(), once.len()), (24, 24), "{queue:?}");
            assert_eq!(once.into_iter().copied().collect::<Vec<_>>(), rows.iter().collect::<Vec<_>>());
        }
    }

    async fn an_organization_gets_no_more_than_its_places_and_one_without_any_is_passed_over(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let (lark, ash) = (Shop::new(&w, store, "lark").await, Shop::new(&w, store, "ash").await);
        for queue in QUEUES {
            let mut flood = Vec::new();
            for n in 0..20 {
                flood.push(lark.queue(&w, store, queue, &n.to_string()).await);
            }
            let quiet = ash.queue(&w, store, queue, "a").await;
            let now = w.now();
            let wanted = Wanted { queue, attempt: Attempt::First, limit: 9, each: 2, busy: &[], fronts: Fronts::default() };
            let leased = leases!(store, lease(wanted, "t", now, now.plus_secs(60)));
            assert_eq!(ids(&leased), [&flood[0], &flood[1], &quiet]);
            let named = [lark.org.org().clone()];
            let busy = Wanted { busy: &named, ..wanted };
            assert!(leases!(store, lease(busy, "t", now, now.plus_secs(60))).is_empty());
            // Nobody else waits, and who was passed over stands where it stood.
            assert!(is_due(store, queue, now).await && !is_due_beside(store, queue, now, &named).await);
            let next = Wanted { busy: &[], each: 99, limit: 1, ..wanted };
            assert_eq!(ids(&leases!(store, lease(next, "t", now, now))), [&flood[2]]);
            // What is put back since somebody waits stands behind others for a minute, and is taken at once when they do not.
            let other = ash.queue(&w, store, queue, "b").await;
            assert!(is_due_beside(store, queue, now, &named).await);
            assert_eq!(ids(&leases!(store, lease(busy, "t", now, now))), [&other]);
            leases!(store, put_back(queue, Attempt::First, now, Fronts::default(), &named));
            let late = ash.queue(&w, store, queue, "c").await;
            assert_eq!(ids(&leases!(store, lease(next, "t", now, now))), [&late]);
            let wanted = Wanted { limit: 99, ..next };
            assert_eq!(leases!(store, lease(wanted, "t", now, now)).len(), 17);
        }
    }

    async fn what_stands_behind_many_rows_of_an_organization_without_places_counts_as_due(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let (lark, ash) = (Shop::new(&w, store, "lark").await, Shop::new(&w, store, "ash").await);
        let busy = [lark.org.org().clone()];
        for queue in QUEUES {
            for n in 0..63 {
                lark.queue(&w, store, queue, &n.to_string()).await;
            }
            assert!(!is_due_beside(store, queue, w.now(), &busy).await);
            lark.queue(&w, store, queue, "64").await;
            let behind = ash.queue(&w, store, queue, "a").await;
            assert!(is_due_beside(store, queue, w.now(), &busy).await);
            let wanted = Wanted { busy: &busy, ..untried(queue, 9) };
            assert_eq!(ids(&leases!(store, lease(wanted, "t", w.now(), w.now()))), [&behind]);
        }
    }

    async fn what_stands_behind_a_long_conversation_is_found_by_its_own_and_comes_to_stand_before_it(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let (lark, ash) = (Shop::new(&w, store, "lark").await, Shop::new(&w, store, "ash").await);
        let (now, until) = (w.now(), w.now().plus_secs(60));
        for queue in QUEUES {
            let mut last = Conversation::default();
            let first = lark.queue(&w, store, queue, "long").await;
            let leased = lease(store, queue, "t", now, 1).await;
            assert_eq!(ids(&leased), [&first]);
            lark.queue_many(&w, store, queue, &vec!["long".into(); 509]).await;
            let (one, two) = (ash.queue(&w, store, queue, "a").await, ash.queue(&w, store, queue, "b").await);
            let behind = leases!(store, lease_behind(untried(queue, 9), &mut last, "t", now, until));
            assert!(behind.is_none(), "a lease looks at all of 511 rows");
            assert_eq!(ids(&leases!(store, lease(untried(queue, 9), "t", now, until))), [&one, &two]);
            lark.queue_many(&w, store, queue, &vec!["long".into(); 3]).await;
            let three = ash.queue(&w, store, queue, "c").await;
            assert!(leases!(store, lease(untried(queue, 9), "t", now, until)).is_empty());
            // An organization without a place is not served here either.
            let busy = [ash.org.org().clone()];
            let beside = Wanted { busy: &busy, ..untried(queue, 9) };
            let behind = leases!(store, lease_behind(beside, &mut last, "t", now, until));
            assert!(behind.unwrap().is_empty());
            let behind = leases!(store, lease_behind(untried(queue, 9), &mut last, "t", now, until));
            assert_eq!(ids(&behind.unwrap()), [&three]);
            let four = ash.queue(&w, store, queue, "d").await;
            leases!(store, put_back(queue, Attempt::First, now, Fronts::default(), &[]));
            assert_eq!(ids(&leases!(store, lease(untried(queue, 9), "t", now, until))), [&four]);
            // One after the other has its turn, whatever more of it waits.
            ash.queue_many(&w, store, queue, &["x", "x", "y", "z"].map(String::from)).await;
            let one = untried(queue, 1);
            let x = leases!(store, lease_behind(one, &mut last, "t", now, until)).unwrap();
            assert_eq!(x.len(), 1);
            ash.done(&w, store, queue, &x[0].id, "t").await.unwrap();
            let mut more = Vec::new();
            for _ in 0..3 {
                let row = leases!(store, lease_behind(one, &mut last, "t", now, until)).unwrap().remove(0);
                more.push(row.id);
            }
            assert!(x[0].id < more[2] && more[2] < more[0] && more[0] < more[1], "x, then y, z, and x again: {more:?}");
            // Each in its turn, however many conversations there are, and no more of one organization than it may have.
            let many: Vec<_> = (0..200).map(|n| format!("m{n:03}")).collect();
            ash.queue_many(&w, store, queue, &many).await;
            let (mut found, mut last) = (Vec::new(), Conversation::default());
            for _ in 0..4 {
                let wanted = Wanted { each: 100, ..untried(queue, 999) };
                let behind = leases!(store, lease_behind(wanted, &mut last, "t", now, until)).unwrap();
                found.push(behind.len());
            }
            assert_eq!(found, [100, 77, 23, 0], "128 conversations at a time");
            lark.done(&w, store, queue, &first, "t").await.unwrap();
            let next = leases!(store, lease_behind(untried(queue, 9), &mut last, "t", now, until)).unwrap();
            assert_eq!((next.len(), &next[0].org), (1, lark.org.org()));
        }
    }

    async fn a_look_begins_where_rows_wait_and_one_from_the_beginning_finds_all(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let (lark, ash) = (Shop::new(&w, store, "lark").await, Shop::new(&w, store, "ash").await);
        let (now, until, busy) = (w.now(), w.now().plus_secs(60), [lark.org.org().clone()]);
        let fronts = async |from, latest| {
            store.global_read().await.unwrap().fronts(from, latest).await.unwrap()
        };
        for queue in QUEUES {
            let due = async |fronts, busy: &[OrgId]| {
                let mut tx = store.global_read().await.unwrap();
                tx.due(now, fronts, busy).await.unwrap().has(queue, Attempt::First)
            };
            let from = |fronts| Wanted { fronts, ..untried(queue, 9) };
            let beyond = fronts(Fronts::default(), now.plus_millis(1)).await;
            assert_eq!(fronts(beyond, now).await, beyond, "it does not go back");
            // It has the rank of a moment ago, before where rows that wait begin.
            let late = ash.queue(&w, store, queue, "late").await;
            assert!(!due(beyond, &[]).await && !due(beyond, &busy).await);
            assert!(leases!(store, lease(from(beyond), "t", now, until)).is_empty());
            let all = fronts(Fronts::default(), until).await;
            assert!(due(all, &[]).await && due(all, &busy).await, "up to the first that waits, and no further");
            assert_eq!(ids(&leases!(store, lease(from(all), "t", now, until))), [&late]);
            // What is in the way of others is looked for from there on, too.
            lark.queue_many(&w, store, queue, &vec!["long".into(); 600]).await;
            assert_eq!(leases!(store, lease(from(all), "t", now, until)).len(), 1);
            let mut last = Conversation::default();
            assert!(leases!(store, lease_behind(from(beyond), &mut last, "t", now, until)).is_none());
            assert!(leases!(store, lease_behind(from(all), &mut last, "t", now, until)).is_some());
            leases!(store, put_back(queue, Attempt::First, now, beyond, &[]));
            assert_eq!(fronts(Fronts::default(), until).await, all);
            for _ in 0..2 {
                leases!(store, put_back(queue, Attempt::First, now, all, &[]));
            }
            assert_ne!(fronts(Fronts::default(), until.plus_secs(1)).await, all);
        }
    }

    async fn a_turn_that_lies_ahead_is_taken_when_nobody_else_waits(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let (lark, ash) = (Shop::new(&w, store, "lark").await, Shop::new(&w, store, "ash").await);
        let mut tx = store.global().await.unwrap();
        let mut ahead = w.incoming(Provider::Shopify, "ahead", "a");
        ahead.rank = w.now().plus_secs(60);
        assert!(tx.event_accept(&crate::common::make::route(&lark.it), &ahead).await.unwrap());
        tx.commit().await.unwrap();
        let now_due = ash.queue(&w, store, Queue::Events, "a").await;
        assert_eq!(ids(&leases!(store, lease(untried(Queue::Events, 1), "t", w.now(), w.now()))), [&now_due]);
        assert_eq!(ids(&leases!(store, lease(untried(Queue::Events, 1), "t", w.now(), w.now()))), [ahead.id.as_str()]);
    }

    async fn an_event_for_the_log_is_done_by_being_committed_and_can_be_handled_again(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let shop = Shop::new(&w, store, "lark").await;
        let mut event = w.incoming(Provider::Shopify, "log", "a");
        event.log_only = true;
        let mut tx = store.global().await.unwrap();
        assert!(tx.event_accept(&crate::common::make::route(&shop.it), &event).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(store.global_read().await.unwrap().due(w.now(), Fronts::default(), &[]).await.unwrap(), Due::default());
        let mut tx = store.tenant(&shop.org).await.unwrap();
        let found = tx.event_find(&event.id).await.unwrap().unwrap();
        assert_eq!((found.state, found.attempts, found.done_at), (EventState::Done, 0, Some(w.now())));
        assert!(tx.event_replay(&event.id, w.now()).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(ids(&lease(store, Queue::Events, "t", w.now(), 9).await), [event.id.as_str()]);
    }

    async fn the_kind_of_a_leased_job_is_told_until_it_ends(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let shop = Shop::new(&w, store, "lark").await;
        shop.queue(&w, store, Queue::Jobs, "a").await;
        let leased = lease(store, Queue::Jobs, "t", w.now(), 1).await.remove(0);
        let mut tx = store.global_read().await.unwrap();
        assert_eq!(tx.job_kind(&leased).await.unwrap(), "send");
        drop(tx);
        shop.done(&w, store, Queue::Jobs, &leased.id, "t").await.unwrap();
        let mut tx = store.global_read().await.unwrap();
        assert!(matches!(tx.job_kind(&leased).await, Err(StoreError::NotFound("job"))));
    }
}

#[tokio::test]
async fn on_postgres_a_worker_does_not_wait_for_another_that_is_still_leasing() {
    let db = postgres().await;
    let (w, store) = (World::new(), &db.store);
    let shop = Shop::new(&w, store, "lark").await;
    for queue in QUEUES {
        let mut rows = Vec::new();
        for order in ["a", "b", "a", "c"] {
            rows.push(shop.queue(&w, store, queue, order).await);
        }
        let (now, until) = (w.now(), w.now().plus_secs(60));
        let (mut one, mut two) = (store.global().await.unwrap(), store.global().await.unwrap());
        let first = one.lease(untried(queue, 2), "t", now, until).await.unwrap();
        // The third row has the key of the first, which is being leased: it must not be passed.
        let second = two.lease(untried(queue, 9), "u", now, until).await.unwrap();
        assert_eq!((ids(&first), ids(&second)), (vec![rows[0].as_str(), &rows[1]], vec![rows[3].as_str()]));
        one.commit().await.unwrap();
        two.commit().await.unwrap();
        assert!(lease(store, queue, "v", now, 9).await.is_empty());
    }
}
