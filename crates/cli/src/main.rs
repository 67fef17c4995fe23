//! The program: its command line and its environment, handed to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let directory = std::env::current_dir().unwrap_or_default();
    ExitCode::from(agenstack::run(std::env::args_os(), agenstack::config::process_environment(), directory))
}
