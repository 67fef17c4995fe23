-- Whose an account is and which key its owner's payloads are sealed with is looked up for most deliveries after a start, and SQLite reads
-- each page of that anew for each look: the index tells all that is asked of a connection, and a key stands where its owner's name does.
DROP INDEX integrations_by_account;
CREATE INDEX integrations_by_account ON integrations (provider, external_id, organization_id, id, generation, status);

CREATE TABLE keys_by_owner (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    master_key_id TEXT NOT NULL,
    wrapped_key BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (organization_id, id)
) STRICT, WITHOUT ROWID;
INSERT INTO keys_by_owner SELECT organization_id, id, master_key_id, wrapped_key, created_at FROM organization_keys
    ORDER BY organization_id, id;
DROP TABLE organization_keys;
ALTER TABLE keys_by_owner RENAME TO organization_keys;
CREATE INDEX organization_keys_by_master ON organization_keys (master_key_id);
