-- Each start asks which master keys are in use: by the names in this index, without a look at each organization's key.
CREATE INDEX organization_keys_by_master ON organization_keys (master_key_id);
