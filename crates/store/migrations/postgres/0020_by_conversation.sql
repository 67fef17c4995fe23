-- The index by conversation answers who names an order key, and no other: it has all rows that wait, and PostgreSQL read it from its
-- beginning to its end for those that are due, when it had counted the rows in an unlucky moment.
DROP INDEX events_in_order;
CREATE INDEX events_in_order ON events (organization_id, order_key, id)
    WHERE state IN ('pending', 'failed', 'running') AND order_key IS NOT NULL;
DROP INDEX jobs_in_order;
CREATE INDEX jobs_in_order ON jobs (organization_id, order_key, id)
    WHERE state IN ('pending', 'failed', 'running') AND order_key IS NOT NULL;
