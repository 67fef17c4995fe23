-- Whoever looks for leases asks for a time and for nothing else, so that no other index of what waits will do: the one by conversation
-- holds all rows that wait, and PostgreSQL took it as long as it had counted few of them.
DROP INDEX events_leased;
CREATE INDEX events_leased ON events (lease) WHERE lease IS NOT NULL;
DROP INDEX jobs_leased;
CREATE INDEX jobs_leased ON jobs (lease) WHERE lease IS NOT NULL;
-- However few events most organizations have, some have very many: PostgreSQL must not look for a conversation's first event among all
-- events of its organization because it has counted a few for each.
ALTER TABLE events ALTER COLUMN organization_id SET (n_distinct = 20);
-- What is leased is locked and then written where it stands.
GRANT SELECT (ctid) ON events TO agenstack_platform;
GRANT SELECT (ctid) ON jobs TO agenstack_platform;
