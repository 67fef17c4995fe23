-- Whoever looks for leases asks for a time and for nothing else, so that no other index of what waits will do: the one by conversation
-- holds all rows that wait, and PostgreSQL took it as long as it had counted few of them.
DROP INDEX events_leased;
CREATE INDEX events_leased ON events (lease) WHERE lease IS NOT NULL;
DROP INDEX jobs_leased;
CREATE INDEX jobs_leased ON jobs (lease) WHERE lease IS NOT NULL;
