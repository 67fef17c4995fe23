-- A merchant's own Kustomer app: its client id, and its secret, sealed. The flow carries both until it ends.
ALTER TABLE oauth_flows ADD COLUMN client_id TEXT;
ALTER TABLE oauth_flows ADD COLUMN client_secret BLOB;
ALTER TABLE integrations ADD COLUMN client_id TEXT;
ALTER TABLE integrations ADD COLUMN client_secret BLOB;
-- Who says goodbye may have to renew the token first.
ALTER TABLE farewells ADD COLUMN client_id TEXT;
ALTER TABLE farewells ADD COLUMN client_secret BLOB;
-- The webhook secret before the present one: what was signed before a change may arrive after it.
ALTER TABLE integrations ADD COLUMN webhook_secret_previous BLOB;
ALTER TABLE integrations ADD COLUMN webhook_previous_until INTEGER;
-- Until then the provider has asked not to be called.
ALTER TABLE integrations ADD COLUMN wait_until INTEGER;
