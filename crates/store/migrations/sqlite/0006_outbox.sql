-- Mails to the people of an organization. Without a mail server they stay here, and the operator reads them.
CREATE TABLE outbox (
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    notice TEXT NOT NULL,
    user_id TEXT NOT NULL,
    address TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    sent_at INTEGER,
    last_error TEXT,
    PRIMARY KEY (organization_id, id)
) STRICT;
-- One mail for each person and notice, however often the notice is worked on.
CREATE UNIQUE INDEX outbox_once ON outbox (organization_id, notice, user_id);
CREATE INDEX outbox_by_age ON outbox (created_at);
