//! How many files, and so connections, the system lets this process have open. Most systems give every process 1,024 at first
//! and many more to whoever asks.

use agenstack_web::server::Limits;

/// Files for all that is no connection from outside: the database, the providers, the log, the program itself.
const OTHERS: u64 = 256;

/// Asks for as many as the system gives without more rights; gives how many there are, or nothing where nobody counts.
pub(crate) fn raise() -> Option<u64> {
    let (now, most) = limit()?;
    if most > now && set(most) { Some(most) } else { Some(now) }
}

/// How many there would be.
pub(crate) fn most() -> Option<u64> {
    limit().map(|(now, most)| most.max(now))
}

/// Connections that so many files leave room for.
pub(crate) fn connections(files: Option<u64>) -> usize {
    let usual = Limits::default().connections;
    let Some(files) = files else { return usual };
    let left = files.saturating_sub(OTHERS).max(files / 2);
    usize::try_from(left).unwrap_or(usual).clamp(1, usual)
}

#[cfg(unix)]
fn limit() -> Option<(u64, u64)> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    Some((limit.current?, limit.maximum.unwrap_or(u64::MAX)))
}

#[cfg(unix)]
fn set(files: u64) -> bool {
    let limit = rustix::process::Rlimit { current: Some(files), maximum: Some(files) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).is_ok()
}

#[cfg(not(unix))]
fn limit() -> Option<(u64, u64)> {
    None
}

#[cfg(not(unix))]
fn set(_: u64) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_all_else() {
        for (files, room) in
            [(Some(1), 1), (Some(256), 128), (Some(1_024), 768), (Some(20_000), 8_000), (None, 8_000)]
        {
            assert_eq!(connections(files), room, "{files:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn as_many_as_the_system_gives_are_taken() {
        let most = most().expect("a Unix counts");
        assert_eq!(raise(), Some(most));
        assert_eq!(limit(), Some((most, most)));
    }
}
