-- A keyed digest of what was signed, where the provider's own id of a delivery is not: the same body under a new id is a
-- replay.
ALTER TABLE events ADD COLUMN body_digest BLOB;
CREATE UNIQUE INDEX events_once_by_body ON events (organization_id, body_digest) WHERE body_digest IS NOT NULL;
