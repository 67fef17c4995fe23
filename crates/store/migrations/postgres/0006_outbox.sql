-- Mails to the people of an organization. Without a mail server they stay here, and the operator reads them.
CREATE TABLE outbox (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    notice TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    address TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    sent_at BIGINT,
    last_error TEXT COLLATE "C",
    PRIMARY KEY (organization_id, id)
);
-- One mail for each person and notice, however often the notice is worked on.
CREATE UNIQUE INDEX outbox_once ON outbox (organization_id, notice, user_id);
CREATE INDEX outbox_by_age ON outbox (created_at);

ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON outbox TO agenstack_app
    USING (organization_id = current_setting('agenstack.organization', true))
    WITH CHECK (organization_id = current_setting('agenstack.organization', true));
CREATE POLICY platform ON outbox TO agenstack_platform USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON outbox TO agenstack_app;
GRANT SELECT (id, address, subject, body, state, created_at, sent_at, last_error), DELETE ON outbox TO agenstack_platform;
