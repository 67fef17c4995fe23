-- Data keys that are being replaced: how far each organization's values are sealed anew under its newest key.

CREATE TABLE key_renewals (
    organization_id TEXT NOT NULL PRIMARY KEY REFERENCES organizations (id) ON DELETE CASCADE,
    key_id TEXT NOT NULL,
    place TEXT NOT NULL,
    bookmark TEXT NOT NULL,
    found INTEGER NOT NULL,
    unreadable INTEGER NOT NULL,
    resealed INTEGER NOT NULL,
    pass_at INTEGER NOT NULL,
    settled_at INTEGER NOT NULL,
    next_at INTEGER NOT NULL
) STRICT;
CREATE INDEX key_renewals_due ON key_renewals (next_at);
