-- What every event is written to is kept small: what makes an event the same as another is a digest of sixteen bytes, of its
-- organization, so that it is unique there; so is the digest of the body.
ALTER TABLE events NO FORCE ROW LEVEL SECURITY;
ALTER TABLE events ADD COLUMN dedup BYTEA;
UPDATE events SET dedup = substring(sha256(convert_to(organization_id || ':' || provider || ':' || dedup_key, 'UTF8')) FROM 1 FOR 16),
    body_digest = substring(body_digest FROM 1 FOR 16);
ALTER TABLE events FORCE ROW LEVEL SECURITY;
ALTER TABLE events ALTER COLUMN dedup SET NOT NULL;
DROP INDEX events_once;
CREATE UNIQUE INDEX events_once ON events (organization_id, dedup);
ALTER TABLE events DROP COLUMN dedup_key;
GRANT SELECT (dedup) ON events TO agenstack_platform;

-- A sealed payload does not get shorter: trying, and keeping it in a table of its own, took a quarter of the time of accepting.
-- Rows of up to a page are kept whole.
ALTER TABLE events ALTER COLUMN payload SET STORAGE EXTERNAL;
ALTER TABLE events SET (toast_tuple_target = 8160);
