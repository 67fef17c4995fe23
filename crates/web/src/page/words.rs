//! Instants in words.

use agenstack_core::clock::Timestamp;

/// An instant as pages show it: exactly for programs, roughly for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct When {
    pub iso: String,
    pub words: String,
}

impl When {
    /// Seen from `now`.
    pub(crate) fn of(at: Timestamp, now: Timestamp) -> Self {
        Self { iso: at.rfc3339(), words: words(at.secs() - now.secs()) }
    }
}

fn words(from_now: i64) -> String {
    let (amount, past) = (from_now.unsigned_abs(), from_now <= 0);
    let (number, unit) = match amount {
        0..=44 => return if past { "just now".into() } else { "in a moment".into() },
        45..=5_399 => ((amount + 30) / 60, "minute"),
        5_400..=129_599 => ((amount + 1_800) / 3_600, "hour"),
        _ => ((amount + 43_200) / 86_400, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    if past { format!("{number} {unit}{plural} ago") } else { format!("in {number} {unit}{plural}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_told_as_people_say_them() {
        for (secs, text) in [
            (0, "just now"),
            (-30, "just now"),
            (-60, "1 minute ago"),
            (-3_600, "60 minutes ago"),
            (-7_200, "2 hours ago"),
            (-90_000, "25 hours ago"),
            (-172_800, "2 days ago"),
            (10, "in a moment"),
            (3_000, "in 50 minutes"),
            (86_400, "in 24 hours"),
        ] {
            assert_eq!(words(secs), text, "{secs}");
        }
    }
}
