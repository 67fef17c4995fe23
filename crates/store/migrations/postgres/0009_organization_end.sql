-- An organization that was deleted: nobody's any more, and its rows go step by step.
ALTER TABLE organizations ADD COLUMN deleted_at BIGINT;
CREATE INDEX organizations_deleted ON organizations (deleted_at) WHERE deleted_at IS NOT NULL;

-- Its own rows a tenant's transaction may delete.
GRANT DELETE ON jobs, messages, conversations, contacts, events, privacy_requests, outbox, farewells, transfers, integration_history, audit, page_offers, oauth_flows, integrations TO agenstack_app;
-- What makes it an organization goes at once: its keys, its members, its name.
GRANT UPDATE (name, deleted_at), DELETE ON organizations TO agenstack_platform;
GRANT DELETE ON organization_keys, memberships TO agenstack_platform;
