-- When a token is renewed next, and how often in a row that has failed.
ALTER TABLE integrations ADD COLUMN renew_at BIGINT;
ALTER TABLE integrations ADD COLUMN renew_failures BIGINT NOT NULL DEFAULT 0;
-- A shop's token without an end is one of an older installation, to be exchanged.
UPDATE integrations SET renew_at = COALESCE(token_expires_at, 0)
    WHERE status <> 'disconnected' AND access_token IS NOT NULL AND (provider = 'shopify' OR refresh_token IS NOT NULL);
CREATE INDEX integrations_by_renewal ON integrations (renew_at) WHERE status IN ('connected', 'paused');

-- Whether events reach us, as it was found last.
ALTER TABLE integrations ADD COLUMN subscription TEXT COLLATE "C";
ALTER TABLE integrations ADD COLUMN subscription_at BIGINT;

-- When the provider says that it happened; unsigned, so that it may narrow and never decide.
ALTER TABLE events ADD COLUMN triggered_at BIGINT;

-- How a connection came to be as it is.
CREATE TABLE integration_history (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    integration_id TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    message TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, id)
);
CREATE INDEX integration_history_of ON integration_history (organization_id, integration_id, id);

-- Ended connections whose provider has not been told yet.
CREATE TABLE farewells (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    integration_id TEXT COLLATE "C" NOT NULL,
    account_identifier TEXT COLLATE "C" NOT NULL,
    webhook_id TEXT COLLATE "C",
    access_token BYTEA,
    refresh_token BYTEA,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, id)
);

-- An account that its owner releases to a named organization, which may take it by authorizing.
CREATE TABLE transfers (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    integration_id TEXT COLLATE "C" NOT NULL,
    provider TEXT COLLATE "C" NOT NULL,
    external_id TEXT COLLATE "C" NOT NULL,
    label TEXT COLLATE "C" NOT NULL,
    to_organization_id TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    offered_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX transfers_open ON transfers (organization_id, integration_id) WHERE state = 'offered';
CREATE INDEX transfers_to ON transfers (to_organization_id, provider, external_id) WHERE state = 'offered';

ALTER TABLE integration_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE integration_history FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON integration_history TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
ALTER TABLE farewells ENABLE ROW LEVEL SECURITY;
ALTER TABLE farewells FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON farewells TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
ALTER TABLE transfers ENABLE ROW LEVEL SECURITY;
ALTER TABLE transfers FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON transfers TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
CREATE POLICY platform ON transfers TO agenstack_platform USING (true) WITH CHECK (true);

GRANT SELECT, INSERT ON integration_history TO agenstack_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON farewells TO agenstack_app;
GRANT SELECT, INSERT, UPDATE ON transfers TO agenstack_app;
GRANT SELECT (organization_id, id, integration_id, provider, external_id, label, to_organization_id, state, created_at, expires_at)
    ON transfers TO agenstack_platform;
GRANT UPDATE (state) ON transfers TO agenstack_platform;
GRANT SELECT (renew_at), UPDATE (renew_at) ON integrations TO agenstack_platform;
GRANT INSERT (triggered_at) ON events TO agenstack_platform;
