-- Privacy requests of Shopify: what is asked, what was done (signed), and exports until they are fetched or too old.

CREATE TABLE privacy_requests (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    integration_id TEXT COLLATE "C" NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    external_ref TEXT COLLATE "C" NOT NULL,
    received_at BIGINT NOT NULL,
    done_at BIGINT,
    expires_at BIGINT,
    receipt TEXT COLLATE "C",
    export BYTEA,
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX privacy_requests_once ON privacy_requests (organization_id, event_id);
CREATE INDEX privacy_requests_by_expiry ON privacy_requests (expires_at) WHERE expires_at IS NOT NULL;

-- Whoever holds or once held an account is asked, whatever became of the connection.
CREATE INDEX integrations_by_account ON integrations (provider, external_id);

ALTER TABLE audit ADD COLUMN receipt TEXT COLLATE "C";
-- Which connection's data a message of the bot tells.
ALTER TABLE messages ADD COLUMN about TEXT COLLATE "C";
CREATE INDEX messages_about ON messages (organization_id, about, id) WHERE about IS NOT NULL;

ALTER TABLE privacy_requests ENABLE ROW LEVEL SECURITY;
ALTER TABLE privacy_requests FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON privacy_requests TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
CREATE POLICY platform ON privacy_requests TO agenstack_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON privacy_requests TO agenstack_app;
-- Sweeps exports that are too old, by their age alone.
GRANT SELECT (expires_at), UPDATE (export, expires_at) ON privacy_requests TO agenstack_platform;
