-- The index tells all that is asked of a connection when its account's owner is looked up, as it does in SQLite; a key's row needs no
-- other place here.
DROP INDEX integrations_by_account;
CREATE INDEX integrations_by_account ON integrations (provider, external_id, organization_id, id, generation, status);
