-- How many times in a row the process that worked on a row ended with it, or was not heard of: the lease ran out.
ALTER TABLE events ADD COLUMN expired BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN expired BIGINT NOT NULL DEFAULT 0;
GRANT SELECT (expired), UPDATE (expired) ON events TO agenstack_platform;
GRANT SELECT (expired), UPDATE (expired) ON jobs TO agenstack_platform;
