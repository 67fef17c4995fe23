//! What the catalog says: security on every table, policies, roles, grants.

use super::{APP, PLATFORM, acting, may, pool, touch};
use crate::common::catalog::{columns, owner_column, tables};
use crate::common::sweep::Full;
use agenstack_store::StoreError;
use agenstack_store::testing::{World, postgres, postgres_narrow};
use std::collections::BTreeMap;

/// Tables without row-level security, and why. Grows only in a change that says why.
const WITHOUT_SECURITY: &[(&str, &str)] = &[
    ("_sqlx_migrations", "tells the schema's version; neither role may read it"),
    ("minutes", "numbers of the whole installation; only the platform role may read it, for the operator"),
    (
        "password_resets",
        "a person's, not an organization's; only the platform role may read it, to let somebody in again",
    ),
    (
        "sessions",
        "a person's, not an organization's; only the platform role may read it, to find who is signed in",
    ),
    ("unrouted_events", "of no organization yet; only the platform role may read it, to hand it to an owner"),
    (
        "upkeep",
        "how far the work for all organizations is; only the platform role may read it, to do that work",
    ),
    ("users", "a person may be in several organizations; only the platform role may read it, to sign in"),
];

/// What the platform role may read, and nothing else. Values of people are sealed; each sealed one has its reason.
const PLATFORM_READS: &[(&str, &[&str])] = &[
    // To sign in: the hash of a browser's token.
    ("users", &["id", "email", "name", "password_hash", "created_at"]),
    ("sessions", &["id", "token_hash", "user_id", "created_at", "expires_at"]),
    ("password_resets", &["id", "token_hash", "user_id", "created_at", "expires_at", "used_at"]),
    ("organizations", &["id", "name", "created_at", "deleted_at", "imported_from"]),
    ("memberships", &["organization_id", "user_id", "role", "created_at"]),
    // The keyring reads wrapped keys by organization, and wraps them anew.
    ("organization_keys", &["organization_id", "id", "master_key_id", "wrapped_key", "created_at"]),
    // How far a renewal of keys is: key ids and row ids, no value.
    (
        "key_renewals",
        &[
            "organization_id",
            "key_id",
            "place",
            "bookmark",
            "found",
            "unreadable",
            "resealed",
            "pass_at",
            "settled_at",
            "next_at",
        ],
    ),
    // How far what was kept long enough is looked through: ids of an organization and of two events.
    ("upkeep", &["name", "place", "found", "oldest", "next_at", "ended_at"]),
    ("minutes", &["minute", "process", "accepted", "refused", "failed", "dead", "lags"]),
    // A webhook is verified against its connection's secret before it is known whose it is. No token.
    (
        "integrations",
        &[
            "organization_id",
            "id",
            "provider",
            "external_id",
            "status",
            "generation",
            "webhook_secret",
            "webhook_secret_previous",
            "webhook_previous_until",
            "token_expires_at",
            "acting_user_id",
            "connected_at",
            "probed_at",
            "last_event_at",
            "renew_at",
        ],
    ),
    // Before a state is consumed nobody knows whose it is; the verifier and a client's secret
    // come with it, sealed.
    (
        "oauth_flows",
        &[
            "organization_id",
            "id",
            "state_hash",
            "user_id",
            "session_id",
            "provider",
            "account",
            "reconnects",
            "verifier",
            "client_id",
            "client_secret",
            "created_at",
            "expires_at",
            "consumed_at",
        ],
    ),
    ("page_offers", &["offered_at"]),
    (
        "events",
        &[
            "organization_id",
            "id",
            "provider",
            // A digest of what the provider calls it.
            "dedup",
            "order_key",
            "state",
            "attempts",
            "expired",
            "next_at",
            "lease",
            "lease_token",
            "rank",
            // A keyed digest, which tells nothing without the organization's key.
            "body_digest",
        ],
    ),
    // Who may take an account has to learn that it is on offer; what people call it is all it says.
    (
        "transfers",
        &[
            "organization_id",
            "id",
            "integration_id",
            "provider",
            "external_id",
            "label",
            "to_organization_id",
            "state",
            "created_at",
            "expires_at",
        ],
    ),
    // The operator reads mails that could not be sent, and old ones are forgotten by their age.
    ("outbox", &["id", "address", "subject", "body", "state", "created_at", "sent_at", "last_error"]),
    // What nobody owned is handed to its owner as it came, sealed for the platform.
    (
        "unrouted_events",
        &[
            "id",
            "provider",
            "account",
            "topic",
            "external_id",
            "dedup_key",
            "order_key",
            "payload",
            "received_at",
        ],
    ),
    (
        "jobs",
        &[
            "organization_id",
            "id",
            "kind",
            "order_key",
            "state",
            "attempts",
            "expired",
            "next_at",
            "lease",
            "lease_token",
            "rank",
        ],
    ),
    // Exports are swept by their age.
    ("privacy_requests", &["expires_at"]),
];

/// Tables whose rows the platform role may reach across organizations.
const PLATFORM_CROSSES: &[&str] = &[
    "events",
    "integrations",
    "jobs",
    "key_renewals",
    "memberships",
    "oauth_flows",
    "organization_keys",
    "organizations",
    "outbox",
    "page_offers",
    "privacy_requests",
    "transfers",
];

#[tokio::test]
async fn every_table_has_forced_row_level_security_or_a_reason() {
    let db = postgres().await;
    let all: Vec<(String, bool, bool)> = sqlx::query_as(
        "SELECT relname::text, relrowsecurity, relforcerowsecurity FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY relname COLLATE \"C\"",
    )
    .fetch_all(pool(&db))
    .await
    .unwrap();
    let without: Vec<_> = all.iter().filter(|t| !t.1 || !t.2).map(|t| t.0.as_str()).collect();
    assert_eq!(without, WITHOUT_SECURITY.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (table, _) in WITHOUT_SECURITY {
        for deed in ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"] {
            assert!(!may(pool(&db), APP, table, deed).await, "a tenant's transaction may {deed} {table}");
        }
    }
}

#[tokio::test]
async fn every_policy_says_what_may_be_seen_and_what_may_be_written() {
    let db = postgres().await;
    type Policy = (String, String, String, Option<String>, Option<String>);
    let all: Vec<Policy> = sqlx::query_as(
        "SELECT tablename::text, policyname::text, permissive || ' ' || cmd || ' TO ' || array_to_string(roles, ','), qual, with_check
         FROM pg_policies ORDER BY tablename, policyname",
    )
    .fetch_all(pool(&db))
    .await
    .unwrap();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (table, name, kind, qual, check) in all {
        let owner = owner_column(&db.store, &table).await.unwrap();
        let rule = match name.as_str() {
            "tenant" => format!("({owner} = current_setting('agenstack.organization'::text, true))"),
            _ => "true".to_owned(),
        };
        let role = if name == "tenant" { APP } else { PLATFORM };
        assert_eq!(kind, format!("PERMISSIVE ALL TO {role}"), "{table} {name}");
        assert_eq!((qual.as_ref(), check.as_ref()), (Some(&rule), Some(&rule)), "{table} {name}");
        found.entry(table).or_default().push(name);
    }
    for table in tables(&db.store).await {
        let expected: &[&str] = match table.as_str() {
            t if WITHOUT_SECURITY.iter().any(|(name, _)| *name == t) => &[],
            t if PLATFORM_CROSSES.contains(&t) => &["platform", "tenant"],
            _ => &["tenant"],
        };
        assert_eq!(found.remove(&table).unwrap_or_default(), expected, "{table}");
    }
}

#[tokio::test]
async fn nothing_in_the_schema_leads_around_the_wall() {
    let db = postgres().await;
    let around: Vec<String> = sqlx::query_scalar(
        "SELECT 'view ' || relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm', 'f')
         UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
         UNION ALL SELECT 'grant to everybody on ' || relname FROM pg_class, aclexplode(relacl) a
            WHERE relnamespace = 'public'::regnamespace AND a.grantee = 0
         UNION ALL SELECT 'column grant to everybody on ' || attrelid::regclass::text FROM pg_attribute, aclexplode(attacl) a
            WHERE a.grantee = 0 AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
         UNION ALL SELECT 'publication ' || pubname FROM pg_publication",
    )
    .fetch_all(pool(&db))
    .await
    .unwrap();
    assert!(around.is_empty(), "{around:?}");
}

#[tokio::test]
async fn both_roles_own_nothing_and_may_bypass_nothing() {
    let db = postgres().await;
    let roles: Vec<(String, bool)> = sqlx::query_as(
        "SELECT rolname::text, rolsuper OR rolbypassrls OR rolcanlogin OR rolcreaterole OR rolcreatedb OR rolreplication
            OR EXISTS (SELECT 1 FROM pg_class WHERE relowner = r.oid) OR EXISTS (SELECT 1 FROM pg_proc WHERE proowner = r.oid)
            OR EXISTS (SELECT 1 FROM pg_namespace WHERE nspowner = r.oid) OR EXISTS (SELECT 1 FROM pg_database WHERE datdba = r.oid)
            OR EXISTS (SELECT 1 FROM pg_auth_members WHERE member = r.oid)
            OR has_schema_privilege(r.oid, 'public', 'CREATE')
         FROM pg_roles r WHERE rolname LIKE 'agenstack!_%' ESCAPE '!' ORDER BY rolname",
    )
    .fetch_all(pool(&db))
    .await
    .unwrap();
    assert_eq!(roles, [(APP.to_owned(), false), (PLATFORM.to_owned(), false)]);
    for role in [APP, PLATFORM] {
        for table in tables(&db.store).await {
            for deed in ["TRUNCATE", "REFERENCES", "TRIGGER"] {
                assert!(!may(pool(&db), role, &table, deed).await, "{role} may {deed} {table}");
            }
        }
    }
}

#[tokio::test]
async fn the_platform_role_reads_these_columns_and_no_other() {
    let db = postgres().await;
    Full::new(&World::new(), &db.store, "ash").await;
    for table in tables(&db.store).await {
        let listed =
            PLATFORM_READS.iter().find(|(name, _)| *name == table).map_or(&[][..], |(_, columns)| columns);
        for column in columns(&db.store, &table).await {
            let mut tx = acting(pool(&db), PLATFORM, Some("")).await;
            let read = touch(&mut tx, &format!("SELECT {} FROM {table}", column.name)).await;
            match read {
                Ok(_) => {
                    assert!(listed.contains(&column.name.as_str()), "{table}.{} can be read", column.name)
                }
                Err(why) => {
                    assert_eq!(why, "permission denied");
                    assert!(
                        !listed.contains(&column.name.as_str()),
                        "{table}.{} cannot be read",
                        column.name
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn the_app_role_reads_no_key_no_person_and_no_session() {
    let db = postgres().await;
    let v = Full::new(&World::new(), &db.store, "ash").await;
    for table in
        ["organization_keys", "users", "sessions", "password_resets", "unrouted_events", "_sqlx_migrations"]
    {
        let mut tx = acting(pool(&db), APP, Some(v.org.org().as_str())).await;
        let read = touch(&mut tx, &format!("SELECT 1 FROM {table}")).await;
        assert_eq!(read, Err("permission denied".to_owned()), "{table}");
    }
}

#[tokio::test]
async fn the_check_refuses_roles_that_could_pass_the_wall() {
    let db = postgres().await;
    // Over one connection, so that the check is made inside the transaction that makes the roles unsafe: roles belong
    // to the whole server, and no other test may ever see these.
    let narrow = postgres_narrow(&db.url, 1).await;
    let run = async |sql: &str| {
        let mut connection = narrow.postgres().unwrap().acquire().await.unwrap();
        touch(&mut connection, sql).await.unwrap();
    };
    narrow.check().await.unwrap();
    for role in [APP, PLATFORM] {
        for sql in [
            "ALTER ROLE {role} LOGIN",
            "ALTER ROLE {role} BYPASSRLS",
            "ALTER ROLE {role} SUPERUSER",
            "GRANT pg_read_all_data TO {role}",
            "ALTER TABLE audit OWNER TO {role}",
            "CREATE SCHEMA theirs AUTHORIZATION {role}",
            "CREATE FUNCTION theirs() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION theirs() OWNER TO {role}",
        ] {
            run(&format!("BEGIN; {}", sql.replace("{role}", role))).await;
            let checked = narrow.check().await;
            run("ROLLBACK").await;
            assert!(
                matches!(&checked, Err(StoreError::UnsafeRole(why)) if why.starts_with(role)),
                "{sql}: {checked:?}"
            );
            narrow.check().await.unwrap();
        }
    }
    narrow.close().await;
}
