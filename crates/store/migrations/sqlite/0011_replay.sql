-- Replays of many events, at a pace. A step is a queued deed, so that it goes on after a crash where it was.
CREATE TABLE replays (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    provider TEXT NOT NULL,
    topic TEXT NOT NULL,
    state TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    per_second INTEGER NOT NULL,
    status TEXT NOT NULL,
    total INTEGER NOT NULL,
    done INTEGER NOT NULL,
    position TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at INTEGER,
    PRIMARY KEY (organization_id, id)
) STRICT;
-- The dead are few among the ended, and looked for.
CREATE INDEX events_dead ON events (organization_id, id) WHERE state = 'dead';
