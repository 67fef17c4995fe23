-- The first schema. Times are milliseconds since 1970 (UTC), ids are prefixed text, JSON is text.
-- Every table of a tenant begins its primary key with organization_id, so that it can be sharded by it.

CREATE TABLE users (
    id TEXT COLLATE "C" PRIMARY KEY,
    email TEXT COLLATE "C" NOT NULL UNIQUE,
    name TEXT COLLATE "C" NOT NULL,
    password_hash TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE sessions (
    id TEXT COLLATE "C" PRIMARY KEY,
    token_hash BYTEA NOT NULL UNIQUE,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE organizations (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE organization_keys (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    master_key_id TEXT COLLATE "C" NOT NULL,
    wrapped_key BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, id)
);

CREATE TABLE memberships (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, user_id)
);
CREATE INDEX memberships_by_user ON memberships (user_id, organization_id);

CREATE TABLE integrations (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    provider TEXT COLLATE "C" NOT NULL,
    external_id TEXT COLLATE "C" NOT NULL,
    account_identifier TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL,
    access_token BYTEA,
    refresh_token BYTEA,
    webhook_secret BYTEA,
    token_expires_at BIGINT,
    refresh_expires_at BIGINT,
    refresh_lease BIGINT,
    scopes TEXT COLLATE "C" NOT NULL,
    missing_scopes TEXT COLLATE "C" NOT NULL,
    acting_user_id TEXT COLLATE "C",
    webhook_id TEXT COLLATE "C",
    connected_at BIGINT NOT NULL,
    last_success_at BIGINT,
    last_event_at BIGINT,
    probed_at BIGINT,
    last_error_code TEXT COLLATE "C",
    last_error_message TEXT COLLATE "C",
    last_error_at BIGINT,
    PRIMARY KEY (organization_id, id)
);
-- One owner on the platform for each account.
CREATE UNIQUE INDEX integrations_one_owner ON integrations (provider, external_id) WHERE status <> 'disconnected';
CREATE INDEX integrations_by_actor ON integrations (provider, acting_user_id) WHERE status <> 'disconnected';
CREATE INDEX integrations_by_expiry ON integrations (token_expires_at) WHERE status = 'connected';
-- One row for each account in an organization: connecting again raises its generation.
CREATE UNIQUE INDEX integrations_one_row ON integrations (organization_id, provider, external_id);

CREATE TABLE oauth_flows (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    state_hash BYTEA NOT NULL UNIQUE,
    user_id TEXT COLLATE "C" NOT NULL,
    session_id TEXT COLLATE "C" NOT NULL,
    provider TEXT COLLATE "C" NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    reconnects TEXT COLLATE "C",
    verifier BYTEA,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    consumed_at BIGINT,
    PRIMARY KEY (organization_id, id)
);
CREATE INDEX oauth_flows_by_expiry ON oauth_flows (expires_at);

CREATE TABLE page_offers (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    page_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C",
    access_token BYTEA,
    scopes TEXT COLLATE "C" NOT NULL,
    acting_user_id TEXT COLLATE "C" NOT NULL,
    reconnects TEXT COLLATE "C",
    offered_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, page_id)
);

CREATE INDEX page_offers_by_age ON page_offers (offered_at);

CREATE TABLE events (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    integration_id TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL,
    provider TEXT COLLATE "C" NOT NULL,
    topic TEXT COLLATE "C" NOT NULL,
    external_id TEXT COLLATE "C" NOT NULL,
    dedup_key TEXT COLLATE "C" NOT NULL,
    order_key TEXT COLLATE "C" NOT NULL,
    payload BYTEA NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    attempts BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    lease BIGINT,
    lease_token TEXT COLLATE "C",
    received_at BIGINT NOT NULL,
    done_at BIGINT,
    last_error TEXT COLLATE "C",
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX events_once ON events (provider, dedup_key, organization_id);
CREATE INDEX events_due ON events (next_at) WHERE state IN ('pending', 'failed');
CREATE INDEX events_leased ON events (lease) WHERE state = 'running';
CREATE INDEX events_in_order ON events (organization_id, order_key, id) WHERE state IN ('pending', 'failed', 'running');

-- Verified, but nobody owned the account: kept for a day in case it is being connected. Belongs to no tenant.
CREATE TABLE unrouted_events (
    id TEXT COLLATE "C" PRIMARY KEY,
    provider TEXT COLLATE "C" NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    topic TEXT COLLATE "C" NOT NULL,
    external_id TEXT COLLATE "C" NOT NULL,
    dedup_key TEXT COLLATE "C" NOT NULL,
    order_key TEXT COLLATE "C" NOT NULL,
    payload BYTEA NOT NULL,
    received_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX unrouted_events_once ON unrouted_events (provider, dedup_key);
CREATE INDEX unrouted_events_by_account ON unrouted_events (provider, account, id);
CREATE INDEX unrouted_events_by_age ON unrouted_events (received_at);

CREATE TABLE jobs (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    order_key TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    attempts BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    lease BIGINT,
    lease_token TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    last_error TEXT COLLATE "C",
    PRIMARY KEY (organization_id, id)
);
CREATE INDEX jobs_due ON jobs (next_at) WHERE state IN ('pending', 'failed');
CREATE INDEX jobs_leased ON jobs (lease) WHERE state = 'running';
CREATE INDEX jobs_in_order ON jobs (organization_id, order_key, id) WHERE state IN ('pending', 'failed', 'running');

CREATE TABLE contacts (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    integration_id TEXT COLLATE "C" NOT NULL,
    external_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX contacts_once ON contacts (organization_id, integration_id, external_id);

CREATE TABLE conversations (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    integration_id TEXT COLLATE "C" NOT NULL,
    contact_id TEXT COLLATE "C" NOT NULL,
    external_id TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    kustomer_id TEXT COLLATE "C",
    bot_memory BYTEA,
    last_customer_at BIGINT NOT NULL,
    last_message_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX conversations_once ON conversations (organization_id, integration_id, external_id);
CREATE INDEX conversations_by_time ON conversations (organization_id, last_message_at, id);
CREATE INDEX conversations_by_kustomer ON conversations (organization_id, kustomer_id);

CREATE TABLE messages (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    conversation_id TEXT COLLATE "C" NOT NULL,
    author TEXT COLLATE "C" NOT NULL,
    text BYTEA NOT NULL,
    delivery TEXT COLLATE "C" NOT NULL,
    external_id TEXT COLLATE "C",
    error TEXT COLLATE "C",
    handed_out_at BIGINT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX messages_once ON messages (organization_id, conversation_id, external_id);
CREATE INDEX messages_in_conversation ON messages (organization_id, conversation_id, id);

CREATE TABLE audit (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, id)
);

-- The second wall. Two roles that own nothing and may not pass row-level security: one sees the rows of the one
-- organization that its transaction names, the other does the few deeds that cross tenants, by column.
DO $$ BEGIN CREATE ROLE agenstack_app NOLOGIN NOSUPERUSER NOBYPASSRLS;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE agenstack_platform NOLOGIN NOSUPERUSER NOBYPASSRLS;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
-- Roles belong to the whole server: another database may be doing this at the same time.
DO $$ BEGIN GRANT agenstack_app, agenstack_platform TO CURRENT_USER;
EXCEPTION WHEN unique_violation THEN NULL; END $$;
GRANT USAGE ON SCHEMA public TO agenstack_app, agenstack_platform;

ALTER TABLE organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE organizations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON organizations TO agenstack_app
    USING (id = current_setting('agenstack.organization', true))
    WITH CHECK (id = current_setting('agenstack.organization', true));
ALTER TABLE organization_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE organization_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON organization_keys TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
ALTER TABLE memberships ENABLE ROW LEVEL SECURITY;
ALTER TABLE memberships FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON memberships TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
ALTER TABLE integrations ENABLE ROW LEVEL SECURITY;
ALTER TABLE integrations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON integrations TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
ALTER TABLE oauth_flows ENABLE ROW LEVEL SECURITY;
ALTER TABLE oauth_flows FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON oauth_flows TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
ALTER TABLE page_offers ENABLE ROW LEVEL SECURITY;
ALTER TABLE page_offers FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON page_offers TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
ALTER TABLE events ENABLE ROW LEVEL SECURITY;
ALTER TABLE events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON events TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE jobs FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON jobs TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
ALTER TABLE contacts ENABLE ROW LEVEL SECURITY;
ALTER TABLE contacts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON contacts TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
ALTER TABLE conversations ENABLE ROW LEVEL SECURITY;
ALTER TABLE conversations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON conversations TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
ALTER TABLE messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE messages FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON messages TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
ALTER TABLE audit ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON audit TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));

-- What a tenant's transaction may do. Wrapped keys are not among it: the keyring reads them by organization.
GRANT SELECT ON organizations, memberships TO agenstack_app;
GRANT SELECT, INSERT, UPDATE ON integrations TO agenstack_app;
GRANT SELECT, INSERT ON oauth_flows TO agenstack_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON page_offers TO agenstack_app;
GRANT SELECT, INSERT, UPDATE ON events TO agenstack_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs TO agenstack_app;
GRANT SELECT, INSERT, UPDATE ON contacts, conversations, messages TO agenstack_app;
GRANT SELECT, INSERT ON audit TO agenstack_app;

-- What crosses tenants: accounts and log-in, keys by organization, routing, accepting, leasing.
GRANT SELECT, INSERT, UPDATE ON users TO agenstack_platform;
GRANT SELECT, INSERT, DELETE ON sessions TO agenstack_platform;
GRANT SELECT, INSERT ON organizations, organization_keys, memberships TO agenstack_platform;
GRANT UPDATE (master_key_id, wrapped_key) ON organization_keys TO agenstack_platform;
GRANT SELECT (organization_id, id, provider, external_id, status, generation, acting_user_id, webhook_secret,
        token_expires_at, connected_at, probed_at)
    ON integrations TO agenstack_platform;
GRANT UPDATE (last_event_at, probed_at) ON integrations TO agenstack_platform;
GRANT SELECT, UPDATE (consumed_at), DELETE ON oauth_flows TO agenstack_platform;
GRANT SELECT (offered_at), DELETE ON page_offers TO agenstack_platform;
GRANT INSERT ON events TO agenstack_platform;
GRANT SELECT (organization_id, id, provider, dedup_key, order_key, state, attempts, next_at, lease, lease_token)
    ON events TO agenstack_platform;
GRANT UPDATE (state, attempts, next_at, lease, lease_token) ON events TO agenstack_platform;
GRANT SELECT (organization_id, id, kind, order_key, state, attempts, next_at, lease, lease_token)
    ON jobs TO agenstack_platform;
GRANT UPDATE (state, attempts, next_at, lease, lease_token) ON jobs TO agenstack_platform;
GRANT SELECT, INSERT, DELETE ON unrouted_events TO agenstack_platform;

CREATE POLICY platform ON organizations TO agenstack_platform USING (true) WITH CHECK (true);
CREATE POLICY platform ON organization_keys TO agenstack_platform USING (true) WITH CHECK (true);
CREATE POLICY platform ON memberships TO agenstack_platform USING (true) WITH CHECK (true);
CREATE POLICY platform ON integrations TO agenstack_platform USING (true) WITH CHECK (true);
CREATE POLICY platform ON oauth_flows TO agenstack_platform USING (true) WITH CHECK (true);
CREATE POLICY platform ON page_offers TO agenstack_platform USING (true) WITH CHECK (true);
CREATE POLICY platform ON events TO agenstack_platform USING (true) WITH CHECK (true);
CREATE POLICY platform ON jobs TO agenstack_platform USING (true) WITH CHECK (true);
