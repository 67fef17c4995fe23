//! `[inbox]`: for how long events are kept.

use super::server::number;
use super::setting::Settings;
use agenstack_app::retention::{LEAST_DAYS, Retention};

/// For how long events are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inbox {
    /// What is done, and what was given up.
    pub retention: Retention,
}

impl Inbox {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let usual = Retention::default();
        let mut days =
            |name| settings.parse(name, |text| number(text, LEAST_DAYS as usize..=3_650)).map(|n| n as i64);
        let (done, dead) = (days("AGENSTACK_RETENTION_DAYS"), days("AGENSTACK_RETENTION_DEAD_DAYS"));
        let done_days = done.unwrap_or(usual.done_days);
        let dead_days = dead.unwrap_or_else(|| usual.dead_days.max(done_days));
        if dead_days < done_days {
            settings.problem(
                "AGENSTACK_RETENTION_DEAD_DAYS",
                "must not be less than AGENSTACK_RETENTION_DAYS: what was given up waits for somebody to look at it",
            );
        }
        Self { retention: Retention { done_days, dead_days } }
    }
}
