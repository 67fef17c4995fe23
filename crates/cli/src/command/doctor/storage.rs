//! The database, and the disk under an embedded one.

use super::{Findings, PATIENCE, clock::Clocks};
use crate::config::Config;
use crate::wiring::open_store;
use agenstack_app::scrub;
use agenstack_core::clock::Timestamp;
use agenstack_store::scrub::Erasure;
use agenstack_store::{Store, StoreError};
use agenstack_vault::Vault;
use std::path::{Path, PathBuf};
use tokio::time::timeout;

/// How long after its time an erasure is missed: it may come in the night, and a program that is not running does nothing.
const LATE_SECS: i64 = 86_400;
/// What an embedded database needs to go on for a while.
const ROOM: u64 = 512 * 1024 * 1024;

/// Whether the directory of an embedded database takes files, and how many.
pub(super) fn folder(config: &Config, found: &mut Findings) {
    let Some(file) = config.storage.database.sqlite_path() else { return };
    let folder = match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => PathBuf::from("."),
    };
    let shown = folder.display();
    let written = std::fs::create_dir_all(&folder).and_then(|()| tempfile::tempfile_in(&folder).map(drop));
    if let Err(error) = written {
        return found.bad(
            format!("nothing can be written into {shown} ({})", error.kind()),
            "let it belong to the user that runs agenstack, or name another with AGENSTACK_DATA_DIR",
        );
    }
    match free(&folder) {
        Some(bytes) => room(&shown.to_string(), bytes, found),
        None => found.good(format!("{shown} can be written to")),
    }
}

fn room(folder: &str, bytes: u64, found: &mut Findings) {
    let (gib, mib) = (bytes / (1 << 30), bytes / (1 << 20));
    let free = if gib >= 10 { format!("{gib} GiB") } else { format!("{mib} MiB") };
    if bytes < ROOM {
        found.bad(
            format!("{folder} has only {free} left, and a full disk refuses webhooks"),
            "make room there, or move the directory to a larger disk and name it with AGENSTACK_DATA_DIR",
        );
    } else {
        found.good(format!("{folder} can be written to and has {free} left"));
    }
}

/// Bytes that this user may still write there.
#[cfg(unix)]
fn free(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn free(_: &Path) -> Option<u64> {
    None
}

/// Whether the database answers, has our schema and needs no other key than those that were given.
pub(super) async fn database(
    config: &Config,
    vault: Option<&Vault>,
    clocks: &mut Clocks<'_>,
    found: &mut Findings,
) {
    let store = match timeout(PATIENCE * 2, open_store(config)).await {
        Ok(Ok(store)) => store,
        Ok(Err(error)) => {
            let mend = "see AGENSTACK_DATABASE_URL and AGENSTACK_DATA_DIR in docs/configuration.md";
            return found.bad(format!("{error:#}"), mend);
        }
        Err(_) => {
            let mend = "check AGENSTACK_DATABASE_URL, the network on the way, and that the server runs";
            return found.bad("the database does not answer", mend);
        }
    };
    match store.check().await {
        Ok(schema) => {
            let how =
                if schema.is_newer() { "newer than this program, which works with it" } else { "up to date" };
            found.good(format!("database ({}), its schema is {how}", store.kind()));
            keys(&store, vault, found).await;
            if let Ok(Some(erasure)) = store.erasure().await {
                erased(erasure, clocks.now(), found);
            }
        }
        // `serve` brings an older one up to date by itself.
        Err(error @ StoreError::TooNew { at, .. }) => {
            let what = error.to_string();
            let what = what.split("; ").next().unwrap_or_default();
            found.bad(
                what,
                format!("start the newer program, or restore a backup from before migration {at}"),
            );
        }
        Err(error) => {
            found.note(format!("database ({}): {error}; `serve` does it at its start, too", store.kind()));
        }
    }
    let asked = clocks.now();
    if let Ok(Some(theirs)) = store.time().await {
        clocks.database(asked, theirs);
    }
    store.close().await;
}

/// A server that lacks a key of its database does not start.
async fn keys(store: &Store, vault: Option<&Vault>, found: &mut Findings) {
    let Some(vault) = vault else { return };
    match agenstack_app::rotation::missing(store, vault).await {
        Ok(missing) if missing.is_empty() => {}
        Ok(missing) => found.bad(
            format!("the database was sealed under {}, and that key was not given", missing.join(" and ")),
            "give it as AGENSTACK_MASTER_KEY, or as AGENSTACK_MASTER_KEY_PREVIOUS while you rotate",
        ),
        Err(_) => found.bad(
            "the database answers, and its keys cannot be read",
            "give its user the rights that `agenstack migrate` sets up: run that as the owner of the schema",
        ),
    }
}

/// What was erased is to leave the file: a server does it by itself, unless it cannot.
fn erased(erasure: Erasure, now: Timestamp, found: &mut Findings) {
    let due = scrub::due_at(erasure);
    if erasure.to_write == 0 {
        found.note("what was erased leaves the database's log as soon as nobody reads from before that");
    } else if now > due.plus_secs(LATE_SECS) {
        found.bad(
            format!("what was erased since {} may still be in the database's file", erasure.since.rfc3339()),
            format!(
                "make {} MiB of room beside it, and let agenstack run; its log says why it could not write the file anew",
                erasure.to_write.saturating_mul(2).div_ceil(1 << 20)
            ),
        );
    } else {
        found.note(format!(
            "the database's file is written anew after {}, because something was erased",
            due.rfc3339()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_erased_and_could_not_leave_the_file_for_a_day_is_wrong() {
        let mut found = Findings::default();
        let erasure = Erasure { since: Timestamp::from_secs(600), to_write: 65 << 20 };
        erased(erasure, Timestamp::from_secs(608 + LATE_SECS), &mut found);
        assert_eq!((found.wrong, found.lines.len()), (0, 1));
        assert!(found.lines[0].contains("written anew after 1970-01-01T00:10:08"), "{}", found.lines[0]);
        erased(erasure, Timestamp::from_secs(609 + LATE_SECS), &mut found);
        assert_eq!(found.wrong, 1);
        assert!(found.lines[1].contains("erased since 1970-01-01T00:10:00"), "{}", found.lines[1]);
        assert!(found.lines[1].contains("make 130 MiB of room"), "{}", found.lines[1]);
        erased(Erasure { to_write: 0, ..erasure }, Timestamp::from_secs(609 + LATE_SECS), &mut found);
        assert_eq!(found.wrong, 1, "the file was written anew, however late");
    }

    #[test]
    fn a_disk_that_is_nearly_full_is_wrong() {
        let mut found = Findings::default();
        room("./data", ROOM - 1, &mut found);
        assert_eq!(found.wrong, 1);
        assert!(found.lines[0].starts_with("WRONG  ./data has only 511 MiB left"), "{}", found.lines[0]);
        room("./data", ROOM, &mut found);
        room("./data", 40 << 30, &mut found);
        assert_eq!(found.lines[1], "ok     ./data can be written to and has 512 MiB left");
        assert_eq!(found.lines[2], "ok     ./data can be written to and has 40 GiB left");
        assert_eq!(found.wrong, 1);
    }
}
