-- When a token is renewed next, and how often in a row that has failed.
ALTER TABLE integrations ADD COLUMN renew_at INTEGER;
ALTER TABLE integrations ADD COLUMN renew_failures INTEGER NOT NULL DEFAULT 0;
-- A shop's token without an end is one of an older installation, to be exchanged.
UPDATE integrations SET renew_at = COALESCE(token_expires_at, 0)
    WHERE status <> 'disconnected' AND access_token IS NOT NULL AND (provider = 'shopify' OR refresh_token IS NOT NULL);
CREATE INDEX integrations_by_renewal ON integrations (renew_at) WHERE status IN ('connected', 'paused');

-- Whether events reach us, as it was found last.
ALTER TABLE integrations ADD COLUMN subscription TEXT;
ALTER TABLE integrations ADD COLUMN subscription_at INTEGER;

-- When the provider says that it happened; unsigned, so that it may narrow and never decide.
ALTER TABLE events ADD COLUMN triggered_at INTEGER;

-- How a connection came to be as it is.
CREATE TABLE integration_history (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    integration_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    actor TEXT NOT NULL,
    status TEXT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (organization_id, id)
) STRICT;
CREATE INDEX integration_history_of ON integration_history (organization_id, integration_id, id);

-- Ended connections whose provider has not been told yet.
CREATE TABLE farewells (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    integration_id TEXT NOT NULL,
    account_identifier TEXT NOT NULL,
    webhook_id TEXT,
    access_token BLOB,
    refresh_token BLOB,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (organization_id, id)
) STRICT;

-- An account that its owner releases to a named organization, which may take it by authorizing.
CREATE TABLE transfers (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    integration_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    external_id TEXT NOT NULL,
    label TEXT NOT NULL,
    to_organization_id TEXT NOT NULL,
    state TEXT NOT NULL,
    offered_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (organization_id, id)
) STRICT;
CREATE UNIQUE INDEX transfers_open ON transfers (organization_id, integration_id) WHERE state = 'offered';
CREATE INDEX transfers_to ON transfers (to_organization_id, provider, external_id) WHERE state = 'offered';
