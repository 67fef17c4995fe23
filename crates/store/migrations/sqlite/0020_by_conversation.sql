-- SQLite chooses the index by conversation only for what is asked by conversation: here nothing changes.
SELECT 1;
