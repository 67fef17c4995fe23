//! `agenstack backup`: a copy of the embedded database, while it is in use.

use crate::wiring::{open_store, start_log};
use crate::{Failure, Given, OK, output};
use agenstack_core::clock::{Clock, SystemClock};
use anyhow::{Context, anyhow};
use clap::Args;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// What is to be done.
#[derive(Debug, Args)]
#[command(
    after_help = "The server may run meanwhile, and nobody waits. The copy is a database like the one that is used: to restore it, stop the\n\
    server, move the database and the files beside it (-wal, -shm) away, put the copy in its place, and start. The master\n\
    key is not in it, and nothing sealed opens without it: keep both, apart. See docs/backup.md, also for PostgreSQL, which\n\
    has its own programs for this."
)]
pub struct Arguments {
    /// The file to write; it must not be there yet
    file: PathBuf,
}

/// Runs it.
pub(crate) async fn run(given: &Given, arguments: Arguments) -> Result<u8, Failure> {
    let config = given.config()?;
    start_log(config.log.format, &config.log.level);
    let Some(database) = config.storage.database.sqlite_path() else {
        return Err(anyhow!(
            "the database is a PostgreSQL: back it up with its own programs (pg_dump, or pg_basebackup with its log); docs/backup.md says \
             what to mind"
        )
        .into());
    };
    if !database.exists() {
        return Err(anyhow!(
            "there is no database at {}; see AGENSTACK_DATABASE_URL and AGENSTACK_DATA_DIR",
            database.display()
        )
        .into());
    }
    let file = arguments.file;
    if file.exists() {
        return Err(anyhow!("{} is there already; name a file that is not", file.display()).into());
    }
    let at = SystemClock.now();
    let mut part = file.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    empty(&part).with_context(|| format!("{} cannot be written", part.display()))?;
    let store = open_store(&config).await?;
    let copied = store.copy_to(&part).await;
    store.close().await;
    if let Err(error) = copied {
        // What there is of it is no use to anybody.
        let _ = std::fs::remove_file(&part);
        let what = format!("the database could not be copied to {}; is there room for it?", file.display());
        return Err(anyhow!(error).context(what).into());
    }
    let bytes = put(&part, &file).with_context(|| format!("{} cannot be written", file.display()))?;
    output::say(&format!(
        "Everything that was committed by {} is in {} ({} MiB), which was looked through. Keep the master key apart from it.",
        at.rfc3339(),
        file.display(),
        bytes.div_ceil(1 << 20)
    ));
    Ok(OK)
}

/// An empty file that only its owner reads; what another run left there is gone.
fn empty(part: &Path) -> std::io::Result<()> {
    let mut journal = part.as_os_str().to_owned();
    journal.push("-journal");
    for left in [part, Path::new(&journal)] {
        if left.exists() {
            std::fs::remove_file(left)?;
        }
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(part).map(drop)
}

/// Has the copy on the disk before it has its name; gives its length.
fn put(part: &Path, file: &Path) -> std::io::Result<u64> {
    let copy = File::open(part)?;
    copy.sync_all()?;
    std::fs::rename(part, file)?;
    if let Some(folder) = file.parent().filter(|f| !f.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(copy.metadata()?.len())
}
