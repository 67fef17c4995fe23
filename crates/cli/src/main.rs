//! AgenStack: configuration, wiring and commands.
fn main() {}
