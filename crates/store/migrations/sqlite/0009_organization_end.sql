-- An organization that was deleted: nobody's any more, and its rows go step by step.
ALTER TABLE organizations ADD COLUMN deleted_at INTEGER;
CREATE INDEX organizations_deleted ON organizations (deleted_at) WHERE deleted_at IS NOT NULL;
