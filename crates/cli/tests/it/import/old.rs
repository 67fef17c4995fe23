//! The old platform's database, in each of the shapes that it had, filled with what was found in such databases.

use agenstack_store::testing::{TestDb, postgres_empty};
use sqlx::AssertSqlSafe;

pub const LARK: &str = "0198c0de-7a11-7000-8000-00000000aaaa";
pub const FERN: &str = "0198c0de-7a11-7000-8000-00000000bbbb";
/// Passwords that were stored as they are, and a token of a shop.
pub const PASSWORDS: [&str; 2] = ["kestrel-window-93", "otter-lantern-57"];

/// The organization that stands for nobody.
pub fn nobody() -> String {
    format!("{}-0000-0000-0000-{}1", "0".repeat(8), "0".repeat(11))
}

/// A token by its shape, of nobody's shop.
pub fn token() -> String {
    format!("shp{}_{}", "at", "9f3c1b7e5d2a48c6b0e4f7a1d3958c2e")
}

/// Which of the shapes that exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `integrations.integration_id`, `config`, `credentials_encrypted`; JSON as text; times with a zone.
    A,
    /// `integrations.provider`, `account_identifier`, `access_token`; JSON as such; times without a zone.
    B,
}

fn schema(shape: Shape) -> String {
    let (json, time) = match shape {
        Shape::A => ("text", "timestamptz"),
        Shape::B => ("jsonb", "timestamp"),
    };
    let integrations = match shape {
        Shape::A => "integration_id text NOT NULL, integration_name text, status text, config text, credentials_encrypted text, last_sync timestamptz",
        Shape::B => "provider text NOT NULL, status text, account_identifier json, access_token text, refresh_token text, token_expires_at timestamp,
            token_scope text, encryption_key_version int, connected_at timestamp, sync_status text, error_message text",
    };
    format!(
        "CREATE TABLE organizations (id uuid PRIMARY KEY, name text, subdomain text UNIQUE, settings json, owner_user_id uuid, subscription_plan text, created_at {time});
         CREATE TABLE users (id uuid PRIMARY KEY, email text UNIQUE, name text, password_hash text);
         CREATE TABLE organization_users (organization_id uuid, user_id uuid, role text, is_active boolean);
         CREATE TABLE agents (id uuid PRIMARY KEY, organization_id uuid, email text, name text, role text, password_hash text, is_active boolean,
            is_super_admin boolean, last_login {time}, login_attempts int);
         CREATE TABLE sessions (agent_id uuid, token text, expires_at {time});
         CREATE TABLE bot_configs (id uuid PRIMARY KEY, organization_id uuid, name text, personality {json}, instructions text, greeting_message text,
            fallback_message text, settings {json}, is_active boolean);
         CREATE TABLE knowledge_base (id uuid PRIMARY KEY, organization_id uuid, bot_config_id uuid, title text, content text, category text, tags text[], is_active boolean);
         CREATE TABLE customers (id uuid PRIMARY KEY, organization_id uuid, email text, name text, phone text, metadata json, tags text[]);
         CREATE TABLE data_deletion_requests (id uuid PRIMARY KEY, organization_id uuid, customer_id uuid, status text);
         CREATE TABLE conversations (id uuid PRIMARY KEY, organization_id uuid, customer_email text, customer_name text, customer_phone text, status text,
            channel text, metadata json, started_at {time}, created_at {time});
         CREATE TABLE messages (id uuid PRIMARY KEY, conversation_id uuid, sender_type text, content text, metadata json, created_at {time});
         CREATE TABLE proactive_triggers (id uuid PRIMARY KEY, organization_id uuid, name text);
         CREATE TABLE user_kustomer_connections (id uuid PRIMARY KEY, user_id uuid, subdomain text, api_key text);
         CREATE TABLE integrations (id uuid PRIMARY KEY, organization_id uuid, {integrations});"
    )
}

/// An id of a kind: the same in every run.
pub fn id(kind: u8, n: u8) -> String {
    format!("0198c0de-0000-7000-80{kind:02}-0000000000{n:02}")
}

/// JSON as this shape holds it: encoded once more, or as often as somebody managed to.
fn json(shape: Shape, value: &serde_json::Value, times: usize) -> String {
    let mut text = value.to_string();
    for _ in 0..times {
        text = serde_json::Value::from(text).to_string();
    }
    match shape {
        Shape::A => format!("$json${text}$json$"),
        Shape::B => format!("$json${text}$json$::jsonb"),
    }
}

fn accounts(shape: Shape) -> String {
    let (one, two, three, four) = (id(9, 1), id(9, 2), id(9, 3), id(9, 4));
    let token = token();
    match shape {
        Shape::A => format!(
            r#"INSERT INTO integrations (id, organization_id, integration_id, status, config, credentials_encrypted) VALUES
            ('{one}', '{LARK}', 'shopify', 'connected', '{{"storeName": "lark-supply", "accessToken": "{token}"}}', '{token}'),
            ('{two}', '{LARK}', 'messenger', 'connected', $j$"{{\"pageId\": 100000000000001, \"pageName\": \"Lark Supply\"}}"$j$, '{token}'),
            ('{three}', '{LARK}', 'kustomer', 'connected', '{{"subdomain": "shared-desk"}}', '{token}'),
            ('{four}', '{FERN}', 'shopify', 'disconnected', '{{"storeName": "fern-goods"}}', NULL);"#
        ),
        Shape::B => format!(
            r#"INSERT INTO integrations (id, organization_id, provider, status, account_identifier, access_token, connected_at) VALUES
            ('{one}', '{LARK}', 'shopify', 'connected', '{{"shop": "https://lark-supply.myshopify.com/"}}', '{token}', '2025-03-01 10:00Z'),
            ('{two}', '{LARK}', 'messenger', 'connected', '"{{\"pageId\": 100000000000001, \"pageName\": \"Lark Supply\"}}"', '{token}', '2025-03-01 10:00Z'),
            ('{three}', '{LARK}', 'kustomer', 'connected', '{{"subdomain": "shared-desk"}}', '{token}', '2025-03-01 10:00Z'),
            ('{four}', '{FERN}', 'shopify', 'disconnected', '{{"shop": "fern-goods.myshopify.com"}}', NULL, NULL);"#
        ),
    }
}

fn rows(shape: Shape) -> String {
    let nobody = nobody();
    let [first, second] = PASSWORDS;
    let personality = json(shape, &serde_json::json!({"tone": "warm", "style": "short"}), 2);
    let settings = serde_json::json!({
        "qaDatabase": [{"question": "Do you ship abroad?", "answer": "Yes, everywhere."}, {"question": "Old one", "answer": "x", "enabled": false}],
        "knowledgeBase": [{"name": "Returns", "content": "Within 30 days.", "enabled": true, "type": "text"}, {"name": "Site", "url": "https://example.com", "type": "url"}],
        "operatingHours": {"from": "9", "to": "17"}, "escalationKeywords": ["human", "manager"],
        "widget": {"color": "red"}, "smsAuthToken": "anything", "phoneNote": token(), "responseDelay": 3,
    });
    let settings = json(shape, &settings, 2);
    let u = |n| id(1, n);
    let c = |n| id(5, n);
    let m = |n| id(6, n);
    format!(
        "INSERT INTO organizations (id, name, subdomain, owner_user_id, subscription_plan, created_at) VALUES
            ('{LARK}', 'Lark Supply', 'lark', '{u1}', 'pro', '2025-01-02 03:04:05Z'), ('{FERN}', 'Fern Goods', 'fern', NULL, 'pro', '2025-02-02 03:04:05Z'),
            ('{nobody}', 'Default', 'default', NULL, 'free', '2024-01-01');
         INSERT INTO users VALUES ('{u1}', 'Ana@lark.example.org', 'Ana Lark', '{first}'), ('{u2}', 'finn@fern.example.org', 'Finn', 'NEEDS_RESET'),
            ('{u3}', 'nowhere@example.org', 'Nowhere', '{second}');
         INSERT INTO organization_users VALUES ('{LARK}', '{u1}', 'developer', true), ('{FERN}', '{u2}', 'admin', true), ('{nobody}', '{u3}', 'owner', true),
            ('{FERN}', '{u1}', 'user', true);
         INSERT INTO agents (id, organization_id, email, name, role, password_hash, is_active, is_super_admin) VALUES
            ('{a1}', '{LARK}', 'ana@lark.example.org', 'Ana', 'agent', '{second}', true, false),
            ('{a2}', '{FERN}', 'ANA@lark.example.org', 'Ana', 'agent', '{first}', true, false),
            ('{a3}', '{LARK}', 'admin@example.com', 'Administrator', 'admin', '{first}', true, true),
            ('{a4}', '{LARK}', 'gone@lark.example.org', 'Gone', 'agent', '{first}', false, false),
            ('{a5}', '{LARK}', 'bee@lark.example.org', 'Bee', 'wizard', '{second}', true, false);
         INSERT INTO sessions VALUES ('{a1}', '{token}', '2030-01-01');
         INSERT INTO bot_configs (id, organization_id, name, personality, instructions, greeting_message, settings, is_active) VALUES
            ('{b1}', '{LARK}', 'Larky', {personality}, 'Be kind.', 'Hello!', {settings}, true),
            ('{b2}', '{nobody}', 'Default', NULL, 'Of nobody.', NULL, NULL, true),
            ('{b3}', '{FERN}', 'Off', NULL, NULL, NULL, NULL, false);
         INSERT INTO knowledge_base VALUES ('{k1}', '{FERN}', NULL, 'Opening', 'From nine to five.', 'shop', '{{hours,shop}}', true),
            ('{k2}', '{FERN}', NULL, 'Key', 'It is {token}.', NULL, NULL, true);
         INSERT INTO customers (id, organization_id, email, name) VALUES ('{cu1}', '{LARK}', 'bo@example.net', 'Bo'),
            ('{cu2}', '{LARK}', 'cy@example.net', 'Cy'), ('{cu3}', '{LARK}', 'dee@example.net', 'Dee'), ('{cu4}', '{nobody}', 'eve@example.net', 'Eve');
         INSERT INTO data_deletion_requests VALUES ('{d1}', '{LARK}', '{cu3}', 'pending');
         INSERT INTO conversations (id, organization_id, customer_email, customer_name, status, channel, started_at, created_at) VALUES
            ('{c1}', '{LARK}', 'BO@example.net', 'Bo B.', 'active', 'widget', '2025-05-01 10:00Z', '2025-05-01 10:00Z'),
            ('{c2}', '{FERN}', NULL, 'Kim', 'closed', NULL, NULL, '2025-05-02 10:00Z'),
            ('{c3}', '{nobody}', NULL, 'Somebody', 'active', 'widget', NULL, '2025-05-03 10:00Z'),
            ('{c4}', '{LARK}', 'dee@example.net', 'Dee', 'active', 'widget', NULL, '2025-05-04 10:00Z');
         INSERT INTO messages (id, conversation_id, sender_type, content, created_at) VALUES
            ('{m3}', '{c1}', 'agent', 'It left today.', '2025-05-01 10:02Z'), ('{m1}', '{c1}', 'user', 'Where is my parcel?', '2025-05-01 10:00Z'),
            ('{m2}', '{c1}', 'assistant', 'One moment.', '2025-05-01 10:01Z'), ('{m4}', '{c1}', 'user', 'my key is {token}', '2025-05-01 10:03Z'),
            ('{m5}', '{c1}', 'robot9', 'Beep.', '2025-05-01 10:04Z'), ('{m6}', '{c2}', 'visitor', 'Hi', '2025-05-02 10:00Z'),
            ('{m7}', '{c3}', 'user', 'whose am I?', '2025-05-03 10:00Z'), ('{m8}', '{c4}', 'user', 'forget me', '2025-05-04 10:00Z'),
            ('{m9}', '{lost}', 'user', 'lost', '2025-05-05 10:00Z');
         INSERT INTO proactive_triggers VALUES ('{p1}', '{LARK}', 'Hey'), ('{p2}', '{nobody}', 'Hey');
         INSERT INTO user_kustomer_connections VALUES ('{p1}', '{u2}', 'shared-desk', '{token}');",
        token = token(), u1 = u(1), u2 = u(2), u3 = u(3), a1 = id(2, 1), a2 = id(2, 2), a3 = id(2, 3), a4 = id(2, 4), a5 = id(2, 5),
        b1 = id(3, 1), b2 = id(3, 2), b3 = id(3, 3), k1 = id(4, 1), k2 = id(4, 2), cu1 = id(7, 1), cu2 = id(7, 2), cu3 = id(7, 3),
        cu4 = id(7, 4), d1 = id(8, 1), c1 = c(1), c2 = c(2), c3 = c(3), c4 = c(4), lost = c(5), m1 = m(1), m2 = m(2), m3 = m(3), m4 = m(4),
        m5 = m(5), m6 = m(6), m7 = m(7), m8 = m(8), m9 = m(9), p1 = id(8, 2), p2 = id(8, 3),
    )
}

/// Runs some statements there.
pub async fn run(old: &TestDb, sql: String) {
    let pool = old.store.postgres().expect("it is a PostgreSQL");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.expect("the old database takes it");
}

/// A filled one.
pub async fn database(shape: Shape) -> TestDb {
    let old = postgres_empty().await;
    for sql in [schema(shape), rows(shape), accounts(shape)] {
        run(&old, sql).await;
    }
    old
}
