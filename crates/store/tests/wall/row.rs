//! What is seen and written of rows, asked in plain SQL in the roles that the product takes.

use super::{APP, PLATFORM, acting, may, pool, touch};
use crate::common::catalog::{dump, owner_column, tables};
use crate::common::sweep::Full;
use agenstack_store::Store;
use agenstack_store::testing::{World, postgres};
use sqlx::AssertSqlSafe;

/// What a transaction may be told in the place of an organization without seeing a row.
const NO_ORGANIZATION: &[Option<&str>] = &[
    None,
    Some(""),
    Some(" "),
    Some("%"),
    Some("_"),
    Some("org_"),
    Some("NULL"),
    Some("' OR '1'='1"),
    Some("{}"),
];

/// Tables with an owner column, with it, that the app role may do a deed on.
async fn tenant_tables(store: &Store, deed: &str) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    for table in tables(store).await {
        if let Some(owner) = owner_column(store, &table).await
            && may(store.postgres().unwrap(), APP, &table, deed).await
        {
            found.push((table, owner));
        }
    }
    assert!(!found.is_empty());
    found
}

#[tokio::test]
async fn with_an_organization_set_each_table_shows_its_rows_and_all_of_them() {
    let db = postgres().await;
    let w = World::new();
    let (v, x) = (Full::new(&w, &db.store, "ash").await, Full::new(&w, &db.store, "birch").await);
    for (own, other) in [(&v, &x), (&x, &v)] {
        let stored = dump(&db.store, own.org.org()).await;
        let mut tx = acting(pool(&db), APP, Some(own.org.org().as_str())).await;
        for (table, owner) in tenant_tables(&db.store, "SELECT").await {
            let seen: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("SELECT {owner} FROM {table}")))
                .fetch_all(&mut *tx)
                .await
                .unwrap();
            assert_eq!(seen.len(), stored[&table].len(), "{table}");
            assert!(!seen.is_empty() && seen.iter().all(|o| o == own.org.org().as_str()), "{table}");
            let asked = sqlx::query(AssertSqlSafe(format!("SELECT 1 FROM {table} WHERE {owner} = $1")));
            let asked = asked.bind(other.org.org().as_str()).fetch_all(&mut *tx).await.unwrap();
            assert!(asked.is_empty(), "{table} answers for another organization");
        }
    }
}

#[tokio::test]
async fn with_no_organization_set_no_row_is_seen_or_changed() {
    let db = postgres().await;
    let v = Full::new(&World::new(), &db.store, "ash").await;
    let before = dump(&db.store, v.org.org()).await;
    for told in NO_ORGANIZATION {
        for (deed, sql) in [
            ("SELECT", "SELECT 1 FROM {table}"),
            ("UPDATE", "UPDATE {table} SET {owner} = {owner}"),
            ("DELETE", "DELETE FROM {table}"),
        ] {
            for (table, owner) in tenant_tables(&db.store, deed).await {
                let mut tx = acting(pool(&db), APP, *told).await;
                let touched = touch(&mut tx, &sql.replace("{table}", &table).replace("{owner}", owner)).await;
                assert_eq!(touched, Ok(0), "{deed} {table} as {told:?}");
                tx.commit().await.unwrap();
            }
        }
    }
    assert_eq!(dump(&db.store, v.org.org()).await, before);
}

#[tokio::test]
async fn a_row_of_another_organization_cannot_be_written_whatever_is_set() {
    let db = postgres().await;
    let w = World::new();
    let (v, x) = (Full::new(&w, &db.store, "ash").await, Full::new(&w, &db.store, "birch").await);
    let x_org = x.org.org().as_str();
    for told in NO_ORGANIZATION.iter().copied().chain([Some(x_org)]) {
        for (table, owner) in tenant_tables(&db.store, "INSERT").await {
            let mut tx = pool(&db).begin().await.unwrap();
            let copy = format!(
                "CREATE TEMP TABLE copy ON COMMIT DROP AS SELECT * FROM {table} WHERE {owner} = '{}' LIMIT 1;
                 GRANT SELECT ON copy TO {APP}; SET LOCAL ROLE {APP}",
                v.org.org()
            );
            touch(&mut tx, &copy).await.unwrap();
            if let Some(told) = told {
                let set = sqlx::query("SELECT set_config('agenstack.organization', $1, true)").bind(told);
                set.execute(&mut *tx).await.unwrap();
            }
            let added = touch(&mut tx, &format!("INSERT INTO {table} SELECT * FROM copy")).await;
            assert_eq!(added, Err("row-level security".to_owned()), "{table} as {told:?}");
        }
    }
}

#[tokio::test]
async fn no_row_can_be_handed_to_another_organization() {
    let db = postgres().await;
    let w = World::new();
    let (v, x) = (Full::new(&w, &db.store, "ash").await, Full::new(&w, &db.store, "birch").await);
    let mut refused_by_rows = 0;
    for table in tables(&db.store).await {
        let Some(owner) = owner_column(&db.store, &table).await else { continue };
        let sql = format!("UPDATE {table} SET {owner} = '{}'", v.org.org());
        let mut tx = acting(pool(&db), APP, Some(x.org.org().as_str())).await;
        let granted = may(pool(&db), APP, &table, "UPDATE").await;
        let why = if granted { "row-level security" } else { "permission denied" };
        assert_eq!(touch(&mut tx, &sql).await, Err(why.to_owned()), "{table}");
        refused_by_rows += usize::from(granted);
        drop(tx);
        // Nor may who crosses tenants move a row from one to the other.
        let mut tx = acting(pool(&db), PLATFORM, Some("")).await;
        assert_eq!(touch(&mut tx, &sql).await, Err("permission denied".to_owned()), "{table}");
    }
    assert!(refused_by_rows >= 7);
}
