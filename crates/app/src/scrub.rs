//! When what was erased leaves SQLite's disk. The file is written anew for it, and nobody writes meanwhile: for a moment if it is
//! small; if it is large, for so long that deliveries are refused. So a large file is not written anew for each customer who wants
//! to be forgotten, but for all that were in some hours. Nothing of this concerns PostgreSQL.

use crate::App;
use crate::error::AppError;
use agenstack_core::clock::Timestamp;
use agenstack_store::scrub::Erasure;
use std::time::Duration;

/// Up to how many bytes a file is written anew at once: half a second.
const SMALL: u64 = 64 << 20;
/// How long an erasure waits for others for each MiB beyond: a thousand times as long as writing it takes.
const WAIT_SECS: u64 = 8;
/// How long at most, whatever the file's length: a customer is to be forgotten within thirty days.
const LONGEST_SECS: u64 = 7 * 86_400;
/// How long the file is left after it could not be written anew.
const AGAIN: Duration = Duration::from_secs(3_600);

/// When an erasure is to leave the disk.
pub fn due_at(erasure: Erasure) -> Timestamp {
    let wait = erasure.to_write.saturating_sub(SMALL).div_ceil(1 << 20).saturating_mul(WAIT_SECS);
    erasure.since.plus_secs(i64::try_from(wait.min(LONGEST_SECS)).unwrap_or(i64::MAX))
}

/// Writes the file anew if that is due.
///
/// # Errors
/// If the database is not available, or the disk has no room.
pub async fn round(app: &App) -> Result<(), AppError> {
    let Some(erasure) = app.store().erasure().await? else { return Ok(()) };
    let begun = app.now();
    if begun < due_at(erasure) {
        return Ok(());
    }
    if app.store().scrub().await? {
        let millis = app.now().millis() - begun.millis();
        tracing::info!(
            bytes = erasure.to_write,
            millis,
            "nothing is left of what was erased in the database's file"
        );
    } else {
        tracing::info!("the database is too busy for its log to be emptied; this is tried again");
    }
    Ok(())
}

/// The same beside a worker. A failure, which may have filled the disk for a while, takes its time, so that this is not begun again soon.
pub(crate) async fn run(app: App) {
    if let Err(error) = round(&app).await {
        tracing::warn!(
            ?error,
            "what was erased may still be in the database's file, which could not be written anew; if its disk has no \
             room for twice the file, make room; this is tried again in an hour"
        );
        tokio::time::sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_is_written_anew_at_once_and_a_large_one_after_a_thousand_times_as_long_as_it_takes() {
        let since = Timestamp::from_millis(60_000);
        let wait = |to_write| due_at(Erasure { since, to_write }).millis() - since.millis();
        let (mib, gib) = (1_u64 << 20, 1_u64 << 30);
        assert_eq!((wait(0), wait(64 * mib)), (0, 0));
        assert_eq!((wait(64 * mib + 1), wait(65 * mib)), (8_000, 8_000));
        assert_eq!(wait(gib), 960 * 8_000);
        // Well before the thirty days that there are, at every length.
        assert_eq!((wait(100 * gib), wait(u64::MAX)), (7 * 86_400_000, 7 * 86_400_000));
    }
}
