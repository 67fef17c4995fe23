-- What makes an event one of a kind begins with the second in which it happened, as far as its signed body tells that, so that events
-- of one moment stand together in these indexes, whoever they belong to: adding them writes to a few pages that are in memory,
-- not to one anywhere in the index for each. What was there before stays as it is.
DROP INDEX events_once;
CREATE UNIQUE INDEX events_once ON events (dedup, organization_id);
DROP INDEX events_once_by_body;
CREATE UNIQUE INDEX events_once_by_body ON events (body_digest, organization_id) WHERE body_digest IS NOT NULL;
