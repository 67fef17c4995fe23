//! No organization reaches another's rows: each tenant method, each ordered pair of organizations.

use super::methods;
use crate::common::catalog::dump;
use crate::common::sweep::{CALLS, Full, Kind, call};
use agenstack_store::testing::World;
use agenstack_store::{StoreError, both_databases};

#[test]
fn every_method_of_a_tenant_is_swept() {
    for (file, method) in methods("tenant") {
        assert!(
            CALLS.iter().any(|(_, _, m)| *m == method),
            "common/sweep.rs does not call {method} of {file}"
        );
    }
}

both_databases! {
    async fn with_the_ids_of_another_organization_each_method_finds_and_changes_nothing(db: TestDb) {
        let w = World::new();
        let mut all = Vec::new();
        for name in ["ash", "birch", "cedar"] {
            all.push(Full::new(&w, &db.store, name).await);
        }
        for (x, stranger) in all.iter().enumerate() {
            for victim in all.iter().enumerate().filter(|(v, _)| *v != x).map(|(_, victim)| victim) {
                let before = dump(&db.store, victim.org.org()).await;
                for (label, kind, _) in CALLS {
                    let mut tx = db.store.tenant(&stranger.org).await.unwrap();
                    match (kind, call(label, &mut tx, victim, &w).await) {
                        (Kind::Find | Kind::Change, Ok(shown)) => assert!(shown.is_empty(), "{label}: {shown:?}"),
                        (Kind::Whole | Kind::Add, Ok(shown)) => {
                            let secrets = victim.secrets();
                            assert!(!shown.iter().any(|s| secrets.contains(&s.as_str())), "{label}: {shown:?}");
                        }
                        (Kind::Find | Kind::Change, Err(StoreError::NotFound(_) | StoreError::LeaseLost)) => {}
                        // Each pair adds the same account once more.
                        (Kind::Add, Err(StoreError::Conflict(_))) => continue,
                        (_, Err(e)) => panic!("{label}: {e:?}"),
                    }
                    // What was done shall last: the victim is looked at afterwards.
                    tx.commit().await.unwrap();
                }
                assert_eq!(dump(&db.store, victim.org.org()).await, before);
            }
        }
    }

    async fn with_its_own_ids_each_method_finds_or_changes_something(db: TestDb) {
        let w = World::new();
        for (n, (label, _, _)) in CALLS.iter().enumerate() {
            let own = Full::new(&w, &db.store, &format!("own{n}")).await;
            let before = dump(&db.store, own.org.org()).await;
            let mut tx = db.store.tenant(&own.org).await.unwrap();
            let shown = call(label, &mut tx, &own, &w).await.unwrap_or_else(|e| panic!("{label}: {e:?}"));
            // Dropped: the account that one call adds is free for the next.
            if *label == "a connection added" {
                continue;
            }
            tx.commit().await.unwrap();
            let changed = dump(&db.store, own.org.org()).await != before;
            assert!(changed || !shown.is_empty(), "{label} did nothing, so that it proves nothing for strangers");
        }
    }

    async fn an_organization_has_rows_in_every_tenant_table_of_the_sweep(db: TestDb) {
        let w = World::new();
        let own = Full::new(&w, &db.store, "ash").await;
        let tables = dump(&db.store, own.org.org()).await;
        assert_eq!(tables.len(), 22);
        for (table, rows) in tables {
            assert!(!rows.is_empty(), "{table} is empty");
        }
    }
}
