//! What we do: organizations, connect, ingest, routing, bot, jobs.
