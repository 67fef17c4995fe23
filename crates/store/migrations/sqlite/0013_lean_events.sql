-- What every event is written to is kept small: what makes an event the same as another is a digest of sixteen bytes, of its
-- organization, so that it is unique there; so is the digest of the body. SQLite has no function for it: of an event that is
-- there already, its text stands in for the digest, so that it is one of a kind, but does not meet its digest.
--
-- An event is added by joining the connection it is for, which is tied to its organization: it is not tied once more.
CREATE TABLE lean_events (
    organization_id TEXT NOT NULL,
    id TEXT NOT NULL,
    integration_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    provider TEXT NOT NULL,
    topic TEXT NOT NULL,
    external_id TEXT NOT NULL,
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
    triggered_at INTEGER,
    body_digest BLOB,
    rank INTEGER NOT NULL DEFAULT 0,
    dedup BLOB NOT NULL,
    PRIMARY KEY (organization_id, id)
) STRICT;
INSERT INTO lean_events SELECT organization_id, id, integration_id, generation, provider, topic, external_id,
    order_key, payload, state, attempts, next_at, lease, lease_token, received_at, done_at, last_error, triggered_at,
    substr(body_digest, 1, 16), rank, CAST(organization_id || ':' || provider || ':' || dedup_key AS BLOB)
FROM events ORDER BY rowid;
DROP TABLE events;
ALTER TABLE lean_events RENAME TO events;
CREATE UNIQUE INDEX events_once ON events (organization_id, dedup);
CREATE UNIQUE INDEX events_once_by_body ON events (organization_id, body_digest) WHERE body_digest IS NOT NULL;
CREATE INDEX events_leased ON events (lease) WHERE state = 'running';
CREATE INDEX events_in_order ON events (organization_id, order_key, id) WHERE state IN ('pending', 'failed', 'running');
CREATE INDEX events_first ON events (rank, id) WHERE state = 'pending';
CREATE INDEX events_again ON events (rank, id) WHERE state = 'failed';
CREATE INDEX events_dead ON events (organization_id, id) WHERE state = 'dead';
