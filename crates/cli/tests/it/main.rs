//! Whole journeys, on a whole server: pages and API over HTTP, the emulated providers beside it, both databases.
//!
//! `scene` puts the stage up; every other file is about one promise.

#![allow(clippy::unwrap_used, reason = "a test that meets what it did not expect ends there")]

mod attack;
mod browser;
mod canary;
mod care;
mod crash;
mod desk;
mod doctor;
mod edge;
mod ending;
mod failure;
mod fault;
mod frontend;
mod import;
mod journey;
mod kept;
mod mail;
mod metrics;
mod moving;
mod ownership;
mod privacy;
mod race;
mod refusal;
mod replay;
mod rotation;
mod route;
mod scene;
mod seed;
mod timeline;
mod trace;
mod upgrade;
mod wire;
