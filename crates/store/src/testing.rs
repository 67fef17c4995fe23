//! Databases and organizations for tests, behind the feature `testing`.
//!
//! [`sqlite`] and [`postgres`] each give a fresh, migrated database that is gone when dropped. [`both_databases!`]
//! writes one test for both. [`World`] makes ids, people, organizations and connections by a clock that stands still.
//!
//! [`both_databases!`]: crate::both_databases

use crate::global::inbox::Incoming;
use crate::tenant::integration::Ends;
use crate::{Store, TenantTx};
use agenstack_core::clock::{Clock, ManualClock, Timestamp};
use agenstack_core::ctx::{Actor, Ctx, OrgCtx};
use agenstack_core::entropy::{Entropy, OsEntropy, SeededEntropy, bytes};
use agenstack_core::id::{EventId, IdMaker, IntegrationId, OrgId, RequestId, UserId};
use agenstack_core::integration::{
    AccountIdentifier, ConnectionStatus, Integration, Provider, ReplacedSecret, SealedTokens,
};
use agenstack_core::org::{Membership, Organization, User};
use agenstack_core::policy::Role;
use agenstack_core::sealed::Sealed;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

/// Names the PostgreSQL server that tests make their databases on.
pub const POSTGRES_VARIABLE: &str = "AGENSTACK_TEST_POSTGRES";

/// Held in the server's first database while the template is made; any number will do.
const TEMPLATE_LOCK: i64 = 0x6167_656e_7374_6163;

/// A migrated database of its own, gone when dropped.
pub struct TestDb {
    /// The database, opened.
    pub store: Store,
    /// Where it is, for a second [`Store`] or a program of its own.
    pub url: String,
    _keep: Keep,
}

/// What has to live as long as the database, and removes it.
enum Keep {
    Folder { _folder: tempfile::TempDir },
    Database { _database: Database },
}

/// A database on the test server, dropped with this.
struct Database {
    server: String,
    name: String,
}

/// A fresh SQLite database in a folder of its own.
///
/// # Panics
/// If it cannot be made.
pub async fn sqlite() -> TestDb {
    let db = sqlite_empty().await;
    db.store.migrate().await.expect("the migrations run on SQLite");
    db
}

/// A fresh SQLite database without a schema, opened.
///
/// # Panics
/// As [`sqlite`].
pub async fn sqlite_empty() -> TestDb {
    let folder = tempfile::tempdir().expect("a folder for the test's database");
    let url = format!("sqlite://{}", folder.path().join("test.db").display());
    let store = Store::connect(&url).await.expect("SQLite opens a new file");
    TestDb { store, url, _keep: Keep::Folder { _folder: folder } }
}

/// A fresh PostgreSQL database on the server that `AGENSTACK_TEST_POSTGRES` names.
///
/// # Panics
/// If it cannot be made, and if the variable is absent: a test that skips proves nothing.
pub async fn postgres() -> TestDb {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let server = postgres_server();
    let template = TEMPLATE.get_or_init(|| template(&server)).await;
    let (name, url) = new_database(&server, template).await;
    let keep = Keep::Database { _database: Database { server, name } };
    let store = Store::connect(&url).await.expect("PostgreSQL lets the tests into a new database");
    store.check().await.expect("a copy of the template is migrated");
    TestDb { store, url, _keep: keep }
}

/// A fresh PostgreSQL database without a schema, opened.
///
/// # Panics
/// As [`postgres`].
pub async fn postgres_empty() -> TestDb {
    let server = postgres_server();
    let (name, url) = new_database(&server, "template0").await;
    let keep = Keep::Database { _database: Database { server, name } };
    let store = Store::connect(&url).await.expect("PostgreSQL lets the tests into a new database");
    TestDb { store, url, _keep: keep }
}

/// A second way into a PostgreSQL database, over few connections: who comes next gets one that was used before.
///
/// # Panics
/// If the database does not answer.
pub async fn postgres_narrow(url: &str, connections: u32) -> Store {
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(connections).connect(url).await;
    Store::over(pool.expect("PostgreSQL lets the tests in a second time"))
}

/// What a fault in our own code would be: a transaction whose statements name another organization than the one
/// that PostgreSQL was told. Tests show that the second wall holds then.
pub fn misdirected(mut tx: TenantTx, org: &OrgId) -> TenantTx {
    tx.org = org.clone();
    tx
}

fn postgres_server() -> String {
    std::env::var_os(POSTGRES_VARIABLE)
        .and_then(|url| url.into_string().ok())
        .unwrap_or_else(|| panic!("no PostgreSQL for tests: run scripts/test, or set {POSTGRES_VARIABLE}"))
}

/// The URL of another database on the same server.
fn sibling(server: &str, name: &str) -> String {
    let (base, query) = match server.split_once('?') {
        Some((base, query)) => (base, format!("?{query}")),
        None => (server, String::new()),
    };
    let (host, _) = base.rsplit_once('/').expect("the URL of the test server names a database");
    format!("{host}/{name}{query}")
}

async fn run(connection: &mut PgConnection, sql: String) {
    // Only names that this module made are written into these texts; PostgreSQL binds no names.
    let done = sqlx::raw_sql(AssertSqlSafe(sql.as_str())).execute(connection).await;
    done.unwrap_or_else(|e| panic!("the test server refused `{sql}`: {e}"));
}

async fn new_database(server: &str, template: &str) -> (String, String) {
    let name = format!("agenstack_test_{}", hex::encode(bytes::<8>(&OsEntropy)));
    let mut first = PgConnection::connect(server).await.expect("the test server answers");
    run(&mut first, format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
    first.close().await.expect("the test server lets go");
    let url = sibling(server, &name);
    (name, url)
}

/// A migrated database to copy, made once per server and set of migrations, however many processes ask for it.
async fn template(server: &str) -> String {
    let name = format!("agenstack_template_{:016x}", crate::schema::fingerprint());
    let mut first = PgConnection::connect(server).await.expect("the test server answers");
    // The lock ends with the connection. Advisory locks are per database: all processes ask in the same one.
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(&mut first)
        .await
        .expect("the test server gives the lock");
    let made: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)")
        .bind(&name)
        .fetch_one(&mut first)
        .await
        .expect("the test server lists its databases");
    if !made {
        // Under another name until it is whole: who made it before may have died half-way.
        run(&mut first, format!("DROP DATABASE IF EXISTS {name}_half WITH (FORCE)")).await;
        run(&mut first, format!("CREATE DATABASE {name}_half TEMPLATE template0")).await;
        let store = Store::connect(&sibling(server, &format!("{name}_half"))).await;
        let store = store.expect("PostgreSQL lets the tests into a new database");
        store.migrate().await.expect("the migrations run on PostgreSQL");
        store.close().await;
        run(&mut first, format!("ALTER DATABASE {name}_half RENAME TO {name}")).await;
    }
    first.close().await.expect("the test server lets go");
    name
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let server = self.server.clone();
        // A destructor cannot await; a thread with a runtime of its own can. The server is thrown away anyway.
        let dropping = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async {
                if let Ok(mut first) = PgConnection::connect(&server).await {
                    let _ = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut first).await;
                    let _ = first.close().await;
                }
            });
        });
        let _ = dropping.join();
    }
}

/// Writes each test for both databases: `both_databases! { async fn a_sentence(db: TestDb) { … } }` makes
/// `a_sentence::sqlite` and `a_sentence::postgres`.
#[macro_export]
macro_rules! both_databases {
    ($($(#[$meta:meta])* async fn $name:ident($db:ident: TestDb) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "a test need not use what its module imports")]
            use super::*;

            async fn test($db: $crate::testing::TestDb) $body

            #[tokio::test]
            async fn sqlite() {
                test($crate::testing::sqlite().await).await;
            }

            #[tokio::test]
            async fn postgres() {
                test($crate::testing::postgres().await).await;
            }
        }
    )*};
}

/// Ids, time and randomness of a test, and short ways to what most tests begin with.
pub struct World {
    /// Makes ids.
    pub ids: IdMaker,
    /// The same bytes in each run.
    pub entropy: SeededEntropy,
    /// Stands still until moved. Begins at 2026-11-24T12:00:00Z.
    pub clock: ManualClock,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// The world of most tests.
    pub fn new() -> Self {
        Self::seeded(1)
    }

    /// Another world: two with different seeds can share a database.
    pub fn seeded(seed: u64) -> Self {
        let noon = Timestamp::from_millis(1_795_521_600_000);
        Self { ids: IdMaker::new(), entropy: SeededEntropy::new(seed), clock: ManualClock::at(noon) }
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A new id: `world.id(OrgId::new)`.
    pub fn id<T>(&self, new: fn(&IdMaker, Timestamp, &dyn Entropy) -> T) -> T {
        new(&self.ids, self.now(), &self.entropy)
    }

    /// An operation of `actor`, now.
    pub fn ctx(&self, actor: Actor) -> Ctx {
        Ctx { actor, request: self.id(RequestId::new), now: self.now() }
    }

    /// A person who is stored and can sign in with no password: the hash is no hash.
    pub async fn user(&self, store: &Store) -> User {
        let id = self.id(UserId::new);
        let user = User { email: format!("{id}@example.com"), name: "Ana".into(), id };
        let mut tx = store.global().await.expect("a transaction");
        tx.user_add(&user, "none", self.now()).await.expect("a new person");
        tx.commit().await.expect("a commit");
        user
    }

    /// A stored organization with its owner, and the owner's proof of it.
    pub async fn organization(&self, store: &Store, name: &str) -> (OrgCtx, Membership) {
        let owner = self.user(store).await;
        let org = Organization { id: self.id(OrgId::new), name: name.into(), created_at: self.now() };
        let mut tx = store.global().await.expect("a transaction");
        tx.organization_add(&org, &owner.id).await.expect("a new organization");
        tx.commit().await.expect("a commit");
        let membership = Membership { organization: org, user: owner.id.clone(), role: Role::Owner };
        (OrgCtx::from_membership(self.ctx(Actor::User(owner.id)), &membership), membership)
    }

    /// A new person in an organization, and their proof of it.
    pub async fn member(&self, store: &Store, org: &Organization, role: Role) -> (OrgCtx, Membership) {
        let user = self.user(store).await;
        let mut tx = store.global().await.expect("a transaction");
        tx.membership_add(&org.id, &user.id, role, self.now()).await.expect("a new member");
        tx.commit().await.expect("a commit");
        let membership = Membership { organization: org.clone(), user: user.id.clone(), role };
        (OrgCtx::from_membership(self.ctx(Actor::User(user.id)), &membership), membership)
    }

    /// A connection to an account, not stored: connected now, generation 1.
    pub fn integration(&self, org: &OrgId, provider: Provider, external_id: &str) -> Integration {
        let text = || external_id.to_owned();
        Integration {
            id: self.id(IntegrationId::new),
            organization_id: org.clone(),
            provider,
            status: ConnectionStatus::Connected,
            account_identifier: match provider {
                Provider::Shopify => AccountIdentifier::Shopify {
                    store_name: external_id.trim_end_matches(".myshopify.com").to_owned(),
                    shop: text(),
                    shop_id: "gid://shopify/Shop/1".into(),
                },
                Provider::Messenger => {
                    AccountIdentifier::Messenger { page_id: text(), page_name: "Lark Supply".into() }
                }
                Provider::Kustomer => AccountIdentifier::Kustomer {
                    subdomain: "lark".into(),
                    org_id: text(),
                    org_name: "Lark Supply".into(),
                    method: "oauth".into(),
                },
            },
            scopes: vec!["read".into(), "write".into()],
            missing_scopes: Vec::new(),
            token_expires_at: Some(self.now().plus_secs(3600)),
            connected_at: self.now(),
            last_success_at: None,
            last_error: None,
            external_id: text(),
            generation: 1,
            last_event_at: None,
            acting_user_id: Some("acting".into()),
            webhook_id: Some("hook".into()),
            subscription: None,
            client_id: Some("client".into()),
        }
    }

    /// A stored connection with tokens that no key opens.
    pub async fn connection(
        &self,
        store: &Store,
        org: &OrgCtx,
        provider: Provider,
        external_id: &str,
    ) -> Integration {
        let it = self.integration(org.org(), provider, external_id);
        let ends = Ends { refresh: Some(self.now().plus_secs(86_400)), renew_at: it.token_expires_at };
        let mut tx = store.tenant(org).await.expect("a transaction");
        let stored = tx.integration_put(&it, &tokens("first"), ends, true).await;
        stored.expect("an account that nobody holds");
        tx.commit().await.expect("a commit");
        it
    }

    /// A verified event on its way in, received now.
    pub fn incoming(&self, provider: Provider, dedup_key: &str, order_key: &str) -> Incoming {
        Incoming {
            id: self.id(EventId::new),
            provider,
            topic: "orders/updated".into(),
            external_id: format!("external {dedup_key}"),
            dedup_key: dedup_key.into(),
            order_key: order_key.into(),
            payload: sealed("payload"),
            received_at: self.now(),
            triggered_at: None,
            rank: self.now(),
            log_only: false,
            told_at: None,
            body: None,
        }
    }
}

/// Bytes in the place of a sealed value; no key opens them.
pub fn sealed(text: &str) -> Sealed {
    Sealed::from_bytes(text.as_bytes().to_vec())
}

/// Tokens that no key opens, told apart by a word.
pub fn tokens(word: &str) -> SealedTokens {
    SealedTokens {
        access_token: Some(sealed(&format!("{word} access"))),
        refresh_token: Some(sealed(&format!("{word} refresh"))),
        webhook_secret: Some(sealed(&format!("{word} secret"))),
        webhook_secret_previous: Some(ReplacedSecret {
            secret: sealed(&format!("{word} previous")),
            until: Timestamp::from_millis(1_900_000_000_000),
        }),
        client_secret: Some(sealed(&format!("{word} client"))),
    }
}
