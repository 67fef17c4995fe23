//! The one place that prints. What programs read goes to standard output, everything else to standard error.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "commands speak to the terminal, here and nowhere else"
)]

/// A line for people or programs that asked for it.
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// A warning.
pub(crate) fn warn(text: &str) {
    eprintln!("warning: {text}");
}

/// What is good to know on the way.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// Why it did not work.
pub(crate) fn error(text: &str) {
    for line in text.lines() {
        eprintln!("error: {line}");
    }
}

/// Help, the version, or what is wrong with the command line.
pub(crate) fn usage(error: &clap::Error) {
    // There is nobody left to tell when the terminal is gone.
    let _ = error.print();
}
