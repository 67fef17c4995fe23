-- What `agenstack import` brings along from an older platform, and the way to a first or a new password.

-- Under which name an organization came, so that a repeat finds it.
ALTER TABLE organizations ADD COLUMN imported_from TEXT;
CREATE UNIQUE INDEX organizations_imported ON organizations (imported_from) WHERE imported_from IS NOT NULL;

-- Accounts that were connected there: what people are asked to connect again. Names only.
CREATE TABLE former_accounts (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    provider TEXT NOT NULL,
    account TEXT NOT NULL,
    label TEXT NOT NULL,
    connected_at INTEGER,
    imported_at INTEGER NOT NULL,
    PRIMARY KEY (organization_id, provider, account)
) STRICT;

-- Bots' settings and knowledge.
CREATE TABLE imported_settings (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    source_id TEXT NOT NULL,
    title TEXT NOT NULL,
    content BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (organization_id, id)
) STRICT;
CREATE UNIQUE INDEX imported_settings_once ON imported_settings (organization_id, kind, source_id);

-- Of a person, and so of no organization. Only the hash of what the mail carries.
CREATE TABLE password_resets (
    id TEXT PRIMARY KEY,
    token_hash BLOB NOT NULL UNIQUE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT;
CREATE INDEX password_resets_of ON password_resets (user_id);
CREATE INDEX password_resets_by_expiry ON password_resets (expires_at);
