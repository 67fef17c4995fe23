//! The program: its command line and its environment, handed to the library.

use std::process::ExitCode;

/// The system's allocator takes a fifth of the time of accepting a delivery; this one a third of that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let directory = std::env::current_dir().unwrap_or_default();
    ExitCode::from(agenstack::run(std::env::args_os(), agenstack::config::process_environment(), directory))
}
