//! What things are.
//!
//! Ids, time, context, policy and the nouns of the product, with their rules. Pure: no async, no IO but the two
//! edges [`clock::SystemClock`] and [`entropy::OsEntropy`], which exist so that everything else can be handed
//! time and randomness. This crate imports none of ours; every other crate may import it.
//!
//! Look first at [`ctx`] (who asks, for which organization) and [`policy`] (who may do what).

pub mod clock;
pub mod conversation;
pub mod ctx;
pub mod entropy;
pub mod event;
pub mod id;
pub mod integration;
pub mod org;
pub mod policy;
pub mod privacy;
pub mod sealed;
