-- The first schema. Times are milliseconds since 1970 (UTC), ids are prefixed text, JSON is text.
-- Every table of a tenant begins its primary key with organization_id, so that it can be sharded by it.

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    token_hash BLOB NOT NULL UNIQUE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE organizations (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE organization_keys (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    master_key_id TEXT NOT NULL,
    wrapped_key BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (organization_id, id)
) STRICT;

CREATE TABLE memberships (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (organization_id, user_id)
) STRICT;
CREATE INDEX memberships_by_user ON memberships (user_id, organization_id);

CREATE TABLE integrations (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL UNIQUE,
    provider TEXT NOT NULL,
    external_id TEXT NOT NULL,
    account_identifier TEXT NOT NULL,
    status TEXT NOT NULL,
    generation INTEGER NOT NULL,
    access_token BLOB,
    refresh_token BLOB,
    webhook_secret BLOB,
    token_expires_at INTEGER,
    refresh_expires_at INTEGER,
    refresh_lease INTEGER,
    scopes TEXT NOT NULL,
    missing_scopes TEXT NOT NULL,
    acting_user_id TEXT,
    webhook_id TEXT,
    connected_at INTEGER NOT NULL,
    last_success_at INTEGER,
    last_event_at INTEGER,
    probed_at INTEGER,
    last_error_code TEXT,
    last_error_message TEXT,
    last_error_at INTEGER,
    PRIMARY KEY (organization_id, id)
) STRICT;
-- One owner on the platform for each account.
CREATE UNIQUE INDEX integrations_one_owner ON integrations (provider, external_id) WHERE status <> 'disconnected';
CREATE INDEX integrations_by_actor ON integrations (provider, acting_user_id) WHERE status <> 'disconnected';
CREATE INDEX integrations_by_expiry ON integrations (token_expires_at) WHERE status = 'connected';
-- One row for each account in an organization: connecting again raises its generation.
CREATE UNIQUE INDEX integrations_one_row ON integrations (organization_id, provider, external_id);

CREATE TABLE oauth_flows (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    state_hash BLOB NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    account TEXT NOT NULL,
    reconnects TEXT,
    verifier BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    consumed_at INTEGER,
    PRIMARY KEY (organization_id, id)
) STRICT;
CREATE INDEX oauth_flows_by_expiry ON oauth_flows (expires_at);

CREATE TABLE page_offers (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    page_id TEXT NOT NULL,
    name TEXT NOT NULL,
    reason TEXT,
    access_token BLOB,
    scopes TEXT NOT NULL,
    acting_user_id TEXT NOT NULL,
    reconnects TEXT,
    offered_at INTEGER NOT NULL,
    PRIMARY KEY (organization_id, page_id)
) STRICT;

CREATE INDEX page_offers_by_age ON page_offers (offered_at);

CREATE TABLE events (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    integration_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    provider TEXT NOT NULL,
    topic TEXT NOT NULL,
    external_id TEXT NOT NULL,
    dedup_key TEXT NOT NULL,
    order_key TEXT NOT NULL,
    payload BLOB NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    lease INTEGER,
    lease_token TEXT,
    received_at INTEGER NOT NULL,
    done_at INTEGER,
    last_error TEXT,
    PRIMARY KEY (organization_id, id)
) STRICT;
CREATE UNIQUE INDEX events_once ON events (provider, dedup_key, organization_id);
CREATE INDEX events_due ON events (next_at) WHERE state IN ('pending', 'failed');
CREATE INDEX events_leased ON events (lease) WHERE state = 'running';
CREATE INDEX events_in_order ON events (organization_id, order_key, id) WHERE state IN ('pending', 'failed', 'running');

-- Verified, but nobody owned the account: kept for a day in case it is being connected. Belongs to no tenant.
CREATE TABLE unrouted_events (
    id TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    account TEXT NOT NULL,
    topic TEXT NOT NULL,
    external_id TEXT NOT NULL,
    dedup_key TEXT NOT NULL,
    order_key TEXT NOT NULL,
    payload BLOB NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX unrouted_events_once ON unrouted_events (provider, dedup_key);
CREATE INDEX unrouted_events_by_account ON unrouted_events (provider, account, id);
CREATE INDEX unrouted_events_by_age ON unrouted_events (received_at);

CREATE TABLE jobs (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    order_key TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    lease INTEGER,
    lease_token TEXT,
    created_at INTEGER NOT NULL,
    last_error TEXT,
    PRIMARY KEY (organization_id, id)
) STRICT;
CREATE INDEX jobs_due ON jobs (next_at) WHERE state IN ('pending', 'failed');
CREATE INDEX jobs_leased ON jobs (lease) WHERE state = 'running';
CREATE INDEX jobs_in_order ON jobs (organization_id, order_key, id) WHERE state IN ('pending', 'failed', 'running');

CREATE TABLE contacts (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    integration_id TEXT NOT NULL,
    external_id TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (organization_id, id)
) STRICT;
CREATE UNIQUE INDEX contacts_once ON contacts (organization_id, integration_id, external_id);

CREATE TABLE conversations (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    channel TEXT NOT NULL,
    integration_id TEXT NOT NULL,
    contact_id TEXT NOT NULL,
    external_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    status TEXT NOT NULL,
    kustomer_id TEXT,
    bot_memory BLOB,
    last_customer_at INTEGER NOT NULL,
    last_message_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (organization_id, id)
) STRICT;
CREATE UNIQUE INDEX conversations_once ON conversations (organization_id, integration_id, external_id);
CREATE INDEX conversations_by_time ON conversations (organization_id, last_message_at, id);
CREATE INDEX conversations_by_kustomer ON conversations (organization_id, kustomer_id);

CREATE TABLE messages (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    author TEXT NOT NULL,
    text BLOB NOT NULL,
    delivery TEXT NOT NULL,
    external_id TEXT,
    error TEXT,
    handed_out_at INTEGER,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (organization_id, id)
) STRICT;
CREATE UNIQUE INDEX messages_once ON messages (organization_id, conversation_id, external_id);
CREATE INDEX messages_in_conversation ON messages (organization_id, conversation_id, id);

CREATE TABLE audit (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (organization_id, id)
) STRICT;
