-- How many times in a row the process that worked on a row ended with it, or was not heard of: the lease ran out.
ALTER TABLE events ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;
