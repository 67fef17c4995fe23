//! What the test programs of this crate share: short ways to rows, the catalog, and a sweep of all tenant methods.

#![allow(dead_code, reason = "each test program uses a part")]

pub mod catalog;
pub mod make;
pub mod sweep;
