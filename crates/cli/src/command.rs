//! The commands, a file for each.

pub mod backup;
pub mod demo;
pub mod doctor;
pub mod events;
pub mod import;
pub mod keys;
pub mod migrate;
pub mod sandbox;
pub mod scan;
pub mod seed;
pub mod serve;
