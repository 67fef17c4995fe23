-- What `agenstack import` brings along from an older platform, and the way to a first or a new password.

-- Under which name an organization came, so that a repeat finds it.
ALTER TABLE organizations ADD COLUMN imported_from TEXT COLLATE "C";
CREATE UNIQUE INDEX organizations_imported ON organizations (imported_from) WHERE imported_from IS NOT NULL;

-- Accounts that were connected there: what people are asked to connect again. Names only.
CREATE TABLE former_accounts (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    provider TEXT COLLATE "C" NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    label TEXT COLLATE "C" NOT NULL,
    connected_at BIGINT,
    imported_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, provider, account)
);

-- Bots' settings and knowledge.
CREATE TABLE imported_settings (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    source_id TEXT COLLATE "C" NOT NULL,
    title TEXT COLLATE "C" NOT NULL,
    content BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX imported_settings_once ON imported_settings (organization_id, kind, source_id);

-- Of a person, and so of no organization. Only the hash of what the mail carries.
CREATE TABLE password_resets (
    id TEXT COLLATE "C" PRIMARY KEY,
    token_hash BYTEA NOT NULL UNIQUE,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX password_resets_of ON password_resets (user_id);
CREATE INDEX password_resets_by_expiry ON password_resets (expires_at);

ALTER TABLE former_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE former_accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON former_accounts TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
ALTER TABLE imported_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE imported_settings FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON imported_settings TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
GRANT SELECT, INSERT, DELETE ON former_accounts TO agenstack_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON imported_settings TO agenstack_app;
GRANT SELECT, INSERT, UPDATE (used_at), DELETE ON password_resets TO agenstack_platform;
