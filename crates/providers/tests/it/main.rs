//! Tests of the crate from outside: recorded vectors, calls to a provider of our own, and a search for leaks.
//!
//! `fuzz` sends what nobody should send. `wire` is that provider: a listener on this machine that answers as a test tells it and remembers what it was
//! asked. Nothing here calls anything else.

#![allow(clippy::unwrap_used, reason = "a test that meets what it did not expect ends there")]

mod call;
mod canary;
mod fuzz;
mod vector;
mod wire;
