//! AgenStack: configuration, wiring and commands.
//!
//! The only room that reads the environment, the command line and files of the operator. It may import everything.
//!
//! Look first at [`config`] (what can be set) and [`refusal`] (what must not be).

pub mod config;
pub mod refusal;
