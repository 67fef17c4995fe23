-- When a row's turn comes: when it is due, or later if its organization has queued more than its share before it.
ALTER TABLE events ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
-- Nothing is to be done about it but to enter it in the log: it is ended in bulk.
ALTER TABLE events ADD COLUMN log_only INTEGER NOT NULL DEFAULT 0;

-- What waits, apart from what is ended: these stay small however long the log grows.
DROP INDEX events_due;
CREATE INDEX events_first ON events (rank, id) WHERE state = 'pending' AND log_only = 0;
CREATE INDEX events_again ON events (rank, id) WHERE state = 'failed';
CREATE INDEX events_to_log ON events (rank, id) WHERE state = 'pending' AND log_only = 1;
DROP INDEX events_in_order;
CREATE INDEX events_in_order ON events (organization_id, order_key, id)
    WHERE state IN ('pending', 'failed', 'running') AND log_only = 0;
DROP INDEX jobs_due;
CREATE INDEX jobs_first ON jobs (rank, id) WHERE state = 'pending';
CREATE INDEX jobs_again ON jobs (rank, id) WHERE state = 'failed';


