//! A secret that a program prints, so that any key service can hold it.

use secrecy::SecretString;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long the program may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What it may print; a key is 44 characters.
const MOST: u64 = 4096;

/// Runs `line` and gives what it prints, without space around it. It is split into words as a shell does, quotes and
/// backslashes included, but no shell runs it: there are no variables, pipes or wildcards.
///
/// # Errors
/// Says what went wrong, with the first line of what the program complained, and never with what it printed.
pub(super) fn printed(line: &str) -> Result<SecretString, String> {
    printed_within(line, PATIENCE)
}

fn printed_within(line: &str, patience: Duration) -> Result<SecretString, String> {
    let words =
        shlex::split(line).filter(|w| !w.is_empty()).ok_or("has a quote that is not closed, or is empty")?;
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("the program cannot be started: {}", error.kind()))?;
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (told, done) = mpsc::channel();
    let of_err = told.clone();
    // A program that prints without end fills a pipe, and is ended below.
    std::thread::spawn(move || {
        let mut text = Zeroizing::new(String::new());
        let read = out.take().map(|o| o.take(MOST).read_to_string(&mut text));
        let _ = told.send((true, text, read.is_some_and(|r| r.is_ok())));
    });
    std::thread::spawn(move || {
        let mut text = Zeroizing::new(String::new());
        let read = err.take().map(|e| e.take(MOST).read_to_string(&mut text));
        let _ = of_err.send((false, text, read.is_some_and(|r| r.is_ok())));
    });
    let (mut printed, mut complaint, mut readable) = (Zeroizing::default(), Zeroizing::default(), false);
    for _ in 0..2 {
        match done.recv_timeout(patience) {
            Ok((true, text, ok)) => (printed, readable) = (text, ok),
            Ok((false, text, _)) => complaint = text,
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("the program did not end within {} seconds", patience.as_secs()));
            }
        }
    }
    // It has closed what it prints into, and so it ends now, or is left behind.
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait()));
    let status = end
        .recv_timeout(patience)
        .map_err(|_| format!("the program did not end within {} seconds", patience.as_secs()))?
        .map_err(|error| format!("the program cannot be waited for: {}", error.kind()))?;
    if !status.success() {
        let said: String = complaint.lines().next().unwrap_or_default().chars().take(200).collect();
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        return Err(format!("the program failed ({status}){said}"));
    }
    let text = printed.trim();
    if !readable || text.is_empty() {
        return Err("the program printed nothing that can be read".to_owned());
    }
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn what_a_program_prints_is_the_secret_without_the_space_around_it() {
        for line in ["echo abc", "printf '%s\\n\\n' abc", "sh -c 'echo abc'", "echo \"abc\""] {
            assert_eq!(printed(line).unwrap().expose_secret(), "abc", "{line}");
        }
        assert_eq!(
            printed("echo '$HOME' '|' '*'").unwrap().expose_secret(),
            "$HOME | *",
            "no shell reads it"
        );
    }

    #[test]
    fn a_program_that_fails_is_told_with_its_complaint_and_never_with_what_it_printed() {
        for (line, part) in [
            ("", "empty"),
            ("echo 'abc", "quote"),
            ("/no/such/program", "cannot be started"),
            ("sh -c 'echo SECRET; echo denied >&2; echo more >&2; exit 3'", "denied"),
            ("true", "printed nothing"),
        ] {
            let error = printed(line).expect_err("it fails");
            assert!(
                error.contains(part) && !error.contains("SECRET") && !error.contains("more"),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let error = printed_within("sh -c 'exec tail -f /dev/null'", Duration::from_millis(200))
            .expect_err("it hangs");
        assert!(error.contains("did not end"), "{error}");
    }
}
