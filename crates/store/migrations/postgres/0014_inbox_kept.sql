-- How long the inbox is kept, what became of each event, and how it goes minute by minute.

-- How far the work is that one node at a time does for all: whose rows come next, and when to go on. `oldest` is the oldest
-- event that the last whole pass left, `found` that of the pass under way.
CREATE TABLE upkeep (
    name TEXT COLLATE "C" PRIMARY KEY,
    place TEXT COLLATE "C" NOT NULL,
    found TEXT COLLATE "C" NOT NULL,
    oldest TEXT COLLATE "C" NOT NULL,
    next_at BIGINT NOT NULL,
    ended_at BIGINT
);
INSERT INTO upkeep (name, place, found, oldest, next_at) VALUES ('retention', '', '', '', 0);
GRANT SELECT, UPDATE (place, found, oldest, next_at, ended_at) ON upkeep TO agenstack_platform;

-- What became of an event before it was as it is: attempts that failed, and who asked for it again. The last few of each.
CREATE TABLE event_history (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    event_id TEXT COLLATE "C" NOT NULL,
    n BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    begun_at BIGINT,
    at BIGINT NOT NULL,
    reason TEXT COLLATE "C",
    actor TEXT COLLATE "C",
    PRIMARY KEY (organization_id, event_id, n)
);
ALTER TABLE event_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE event_history FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON event_history TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
GRANT SELECT, INSERT, DELETE ON event_history TO agenstack_app;

-- What each process did in a minute, in numbers: `lags` are the counts of how long events took, by bound.
CREATE TABLE minutes (
    minute BIGINT NOT NULL,
    process TEXT COLLATE "C" NOT NULL,
    accepted BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    dead BIGINT NOT NULL,
    lags TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (minute, process)
);
GRANT SELECT, INSERT, UPDATE (accepted, refused, failed, dead, lags), DELETE ON minutes TO agenstack_platform;

-- What is deleted all day is cleaned up all day, also where long payloads lie beside their rows.
ALTER TABLE events SET (toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_insert_scale_factor = 0.05,
    toast.autovacuum_vacuum_cost_delay = 1);
