-- How long the inbox is kept, what became of each event, and how it goes minute by minute.

-- How far the work is that one node at a time does for all: whose rows come next, and when to go on. `oldest` is the oldest
-- event that the last whole pass left, `found` that of the pass under way.
CREATE TABLE upkeep (
    name TEXT PRIMARY KEY,
    place TEXT NOT NULL,
    found TEXT NOT NULL,
    oldest TEXT NOT NULL,
    next_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;
INSERT INTO upkeep (name, place, found, oldest, next_at) VALUES ('retention', '', '', '', 0);

-- What became of an event before it was as it is: attempts that failed, and who asked for it again. The last few of each.
CREATE TABLE event_history (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    event_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    kind TEXT NOT NULL,
    begun_at INTEGER,
    at INTEGER NOT NULL,
    reason TEXT,
    actor TEXT,
    PRIMARY KEY (organization_id, event_id, n)
) STRICT;

-- What each process did in a minute, in numbers: `lags` are the counts of how long events took, by bound.
CREATE TABLE minutes (
    minute INTEGER NOT NULL,
    process TEXT NOT NULL,
    accepted INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    lags TEXT NOT NULL,
    PRIMARY KEY (minute, process)
) STRICT;
