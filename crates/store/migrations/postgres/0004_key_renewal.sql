-- Data keys that are being replaced: how far each organization's values are sealed anew under its newest key.

CREATE TABLE key_renewals (
    organization_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES organizations (id) ON DELETE CASCADE,
    key_id TEXT COLLATE "C" NOT NULL,
    place TEXT COLLATE "C" NOT NULL,
    bookmark TEXT COLLATE "C" NOT NULL,
    found BIGINT NOT NULL,
    unreadable BIGINT NOT NULL,
    resealed BIGINT NOT NULL,
    pass_at BIGINT NOT NULL,
    settled_at BIGINT NOT NULL,
    next_at BIGINT NOT NULL
);
CREATE INDEX key_renewals_due ON key_renewals (next_at);

ALTER TABLE key_renewals ENABLE ROW LEVEL SECURITY;
ALTER TABLE key_renewals FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON key_renewals TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
CREATE POLICY platform ON key_renewals TO agenstack_platform USING (true) WITH CHECK (true);

-- The values themselves are sealed anew by the tenant's role, under its wall; only keys and progress are the platform's.
GRANT SELECT, INSERT, DELETE ON key_renewals TO agenstack_platform;
GRANT UPDATE (key_id, place, bookmark, found, unreadable, resealed, pass_at, settled_at, next_at)
    ON key_renewals TO agenstack_platform;
GRANT DELETE ON organization_keys TO agenstack_platform;
