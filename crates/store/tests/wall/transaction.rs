//! The product's own transactions: what they leave behind, and what they cannot do when our code is at fault.

use crate::common::catalog::dump;
use crate::common::make::route;
use crate::common::sweep::{CALLS, Full, Kind, call};
use agenstack_core::id::{OrgId, UserId};
use agenstack_core::integration::Provider;
use agenstack_core::policy::Role;
use agenstack_store::global::inbox::Addressed;
use agenstack_store::testing::{World, misdirected, postgres, postgres_narrow};
use agenstack_store::{GlobalTx, Held, StoreError, TenantTx};

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Commit,
    Drop,
    Refused,
    Panic,
    Abort,
}

const ENDS: [End; 5] = [End::Commit, End::Drop, End::Refused, End::Panic, End::Abort];

/// A transaction as the product begins it, of an organization or of none.
enum Open {
    Tenant(TenantTx),
    Global(GlobalTx),
}

impl Open {
    async fn end(mut self, how: End, ghost: &OrgId, v: &Full, w: &World) {
        match how {
            End::Commit => match self {
                Open::Tenant(tx) => tx.commit().await.unwrap(),
                Open::Global(tx) => tx.commit().await.unwrap(),
            },
            End::Drop => drop(self),
            End::Refused => match &mut self {
                Open::Tenant(tx) => {
                    let twice = call("a connection added", tx, v, w).await;
                    let again =
                        tx.integration_put(&v.shop, &Default::default(), Default::default(), true).await;
                    assert!(twice.is_ok() && again.is_err());
                }
                Open::Global(tx) => {
                    let member = Role::Owner;
                    let user = w.id(UserId::new);
                    assert!(tx.membership_add(ghost, &user, member, w.now()).await.is_err());
                }
            },
            End::Panic => {
                let task = tokio::spawn(async move {
                    let _open = self;
                    panic!("a test wants this task to panic");
                });
                assert!(task.await.unwrap_err().is_panic());
            }
            End::Abort => {
                let task = tokio::spawn(async move {
                    let _open = self;
                    std::future::pending::<()>().await;
                });
                tokio::task::yield_now().await;
                task.abort();
                assert!(task.await.unwrap_err().is_cancelled());
            }
        }
    }
}

#[tokio::test]
async fn a_connection_goes_back_to_the_pool_without_role_and_organization_however_its_transaction_ended() {
    let db = postgres().await;
    let w = World::new();
    let v = Full::new(&w, &db.store, "ash").await;
    let ghost = w.id(OrgId::new);
    let narrow = postgres_narrow(&db.url, 2).await;
    // Two transactions at once on two connections, each pair of ends in both orders: fifty ways.
    for (first, second) in ENDS.iter().flat_map(|a| ENDS.iter().map(move |b| (*a, *b))) {
        for swapped in [false, true] {
            let tenant = Open::Tenant(narrow.tenant(&v.org).await.unwrap());
            let global = Open::Global(narrow.global().await.unwrap());
            let (one, two) = if swapped { (global, tenant) } else { (tenant, global) };
            one.end(first, &ghost, &v, &w).await;
            two.end(second, &ghost, &v, &w).await;
            let pool = narrow.postgres().unwrap();
            let (mut a, mut b) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
            for connection in [&mut a, &mut b] {
                let (clean, role, org): (bool, String, String) = sqlx::query_as(
                    "SELECT current_user = session_user, current_setting('role'), COALESCE(current_setting('agenstack.organization', true), '')",
                )
                .fetch_one(&mut **connection)
                .await
                .unwrap();
                assert_eq!(
                    (clean, role.as_str(), org.as_str()),
                    (true, "none", ""),
                    "{first:?} then {second:?}"
                );
            }
        }
    }
    narrow.close().await;
}

#[tokio::test]
async fn a_statement_that_names_another_organization_finds_nothing_and_writes_nothing() {
    let db = postgres().await;
    let w = World::new();
    let (v, x) = (Full::new(&w, &db.store, "ash").await, Full::new(&w, &db.store, "birch").await);
    let before = dump(&db.store, v.org.org()).await;
    for (label, kind, _) in CALLS {
        let mut tx = misdirected(db.store.tenant(&x.org).await.unwrap(), v.org.org());
        match (kind, call(label, &mut tx, &v, &w).await) {
            (Kind::Add, Err(StoreError::Sql(sqlx::Error::Database(e)))) => {
                assert!(e.message().contains("row-level security"), "{label}: {e}");
            }
            (Kind::Add, other) => panic!("{label} was not refused: {other:?}"),
            (_, Ok(shown)) => assert!(shown.is_empty(), "{label}: {shown:?}"),
            (_, Err(StoreError::NotFound(_) | StoreError::LeaseLost)) => {}
            (_, Err(e)) => panic!("{label}: {e:?}"),
        }
        if *kind != Kind::Add {
            tx.commit().await.unwrap();
        }
    }
    assert_eq!(dump(&db.store, v.org.org()).await, before);
}

#[tokio::test]
async fn what_is_committed_or_looked_up_by_a_single_statement_may_no_more_than_a_transaction_across_tenants()
{
    let db = postgres().await;
    let w = World::new();
    let (org, _) = w.organization(&db.store, "Lark").await;
    let shop = w.connection(&db.store, &org, Provider::Shopify, "lark.myshopify.com").await;
    let (to, mut held) = (route(&shop), Held::default());
    let one = |name: &str| {
        let event = w.incoming(Provider::Shopify, name, "1");
        Addressed { to: to.clone(), held: false, event }
    };
    db.store.events_commit(&mut held, &[&one("a")]).await.unwrap();
    // The tests' own role passes every wall: what is refused now was done in another one.
    let pool = db.store.postgres().unwrap();
    for sql in [
        "REVOKE INSERT ON events FROM agenstack_platform",
        "REVOKE SELECT ON integrations FROM agenstack_platform",
    ] {
        sqlx::query(sql).execute(pool).await.unwrap();
    }
    assert!(db.store.events_commit(&mut held, &[&one("b")]).await.is_err());
    let asked = ["lark.myshopify.com"];
    assert!(db.store.routes_by_accounts(&mut held, Provider::Shopify, &asked).await.is_err());
}
