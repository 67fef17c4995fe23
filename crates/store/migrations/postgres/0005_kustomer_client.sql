-- A merchant's own Kustomer app: its client id, and its secret, sealed. The flow carries both until it ends.
ALTER TABLE oauth_flows ADD COLUMN client_id TEXT COLLATE "C";
ALTER TABLE oauth_flows ADD COLUMN client_secret BYTEA;
ALTER TABLE integrations ADD COLUMN client_id TEXT COLLATE "C";
ALTER TABLE integrations ADD COLUMN client_secret BYTEA;
-- Who says goodbye may have to renew the token first.
ALTER TABLE farewells ADD COLUMN client_id TEXT COLLATE "C";
ALTER TABLE farewells ADD COLUMN client_secret BYTEA;
-- The webhook secret before the present one: what was signed before a change may arrive after it.
ALTER TABLE integrations ADD COLUMN webhook_secret_previous BYTEA;
ALTER TABLE integrations ADD COLUMN webhook_previous_until BIGINT;
-- Until then the provider has asked not to be called.
ALTER TABLE integrations ADD COLUMN wait_until BIGINT;

-- A webhook is verified before it is known whose it is, against either secret. Not the client's secret, nor its id.
GRANT SELECT (webhook_secret_previous, webhook_previous_until) ON integrations TO agenstack_platform;
