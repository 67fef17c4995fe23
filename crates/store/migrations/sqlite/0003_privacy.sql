-- Privacy requests of Shopify: what is asked, what was done (signed), and exports until they are fetched or too old.

CREATE TABLE privacy_requests (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    integration_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    external_ref TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    done_at INTEGER,
    expires_at INTEGER,
    receipt TEXT,
    export BLOB,
    PRIMARY KEY (organization_id, id)
) STRICT;
CREATE UNIQUE INDEX privacy_requests_once ON privacy_requests (organization_id, event_id);
CREATE INDEX privacy_requests_by_expiry ON privacy_requests (expires_at) WHERE expires_at IS NOT NULL;

-- Whoever holds or once held an account is asked, whatever became of the connection.
CREATE INDEX integrations_by_account ON integrations (provider, external_id);

ALTER TABLE audit ADD COLUMN receipt TEXT;
-- Which connection's data a message of the bot tells.
ALTER TABLE messages ADD COLUMN about TEXT;
CREATE INDEX messages_about ON messages (organization_id, about, id) WHERE about IS NOT NULL;
