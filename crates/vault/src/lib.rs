//! Seals and opens tokens: one data key per organization, wrapped by the master key.
