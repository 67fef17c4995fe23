-- When a row's turn comes: when it is due, or later if its organization has queued more than its share before it.
ALTER TABLE events ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;

-- What waits, apart from what is ended: these stay small however long the log grows.
DROP INDEX events_due;
CREATE INDEX events_first ON events (rank, id) WHERE state = 'pending';
CREATE INDEX events_again ON events (rank, id) WHERE state = 'failed';
DROP INDEX jobs_due;
CREATE INDEX jobs_first ON jobs (rank, id) WHERE state = 'pending';
CREATE INDEX jobs_again ON jobs (rank, id) WHERE state = 'failed';


