//! The clock that goes for a server here, compared with others: the database's machine's, or this one's with SQLite.

use super::Findings;
use agenstack_core::clock::{Clock, Timestamp};

/// What nobody minds: Shopify refuses a sign-in at 90 seconds.
const TOLERANCE_MS: i64 = 30_000;

/// Clocks that were read, and how far this machine's is from each.
pub(super) struct Clocks<'a> {
    ours: &'a dyn Clock,
    database: Option<i64>,
    providers: Vec<(String, i64)>,
}

impl<'a> Clocks<'a> {
    pub(super) fn new(ours: &'a dyn Clock) -> Self {
        Self { ours, database: None, providers: Vec::new() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.ours.now()
    }

    /// What the database's clock said between `asked` and now.
    pub(super) fn database(&mut self, asked: Timestamp, theirs: Timestamp) {
        self.database = Some(self.ahead(asked, theirs));
    }

    /// What a provider's clock said between `asked` and now.
    pub(super) fn provider(&mut self, who: &str, asked: Timestamp, theirs: Timestamp) {
        let ahead = self.ahead(asked, theirs);
        self.providers.push((who.to_owned(), ahead));
    }

    /// How far we are ahead of it, in milliseconds. It read its clock at some moment of the call.
    fn ahead(&self, asked: Timestamp, theirs: Timestamp) -> i64 {
        let (asked, answered) = (asked.millis(), self.now().millis());
        // Dates come to the second, and are cut, not rounded.
        let theirs = theirs.millis();
        if asked > theirs + 1000 { asked - theirs - 1000 } else { (answered - theirs).min(0) }
    }

    /// Of the providers, the one that we agree with most: a single wrong one does not count against us.
    pub(super) fn tell(&self, found: &mut Findings) {
        let whose = if self.database.is_some() { "the database's clock" } else { "this machine's clock" };
        let ahead = |ours: i64| ours - self.database.unwrap_or(0);
        match self.providers.iter().map(|(who, ours)| (who, ahead(*ours))).min_by_key(|(_, ahead)| ahead.abs()) {
            None => found.note(format!("no provider told the time, so that {whose} was compared with none")),
            Some((who, ahead)) if ahead.abs() > TOLERANCE_MS => found.bad(
                format!("{whose} is {}, says {who}", words(ahead)),
                "sign-ins at Shopify are refused and tokens seem alive or dead when they are not; set it there, and keep it \
                 right (timedatectl set-ntp true)",
            ),
            Some((who, _)) => found.good(format!("{whose} agrees with {who}'s")),
        }
        match self.database {
            Some(ahead) if ahead.abs() > TOLERANCE_MS => found.bad(
                format!("this machine's clock is {}, says the database's", words(ahead)),
                "a server goes by the database's, but certificates are checked and the log is written by this one; set it by \
                 NTP (timedatectl set-ntp true)",
            ),
            Some(_) => found.good("this machine's clock agrees with the database's"),
            None => {}
        }
    }
}

fn words(ahead: i64) -> String {
    let (secs, way) = (ahead.abs() / 1000, if ahead > 0 { "ahead" } else { "behind" });
    match secs {
        0..120 => format!("{secs} s {way}"),
        120..7200 => format!("{} min {way}", secs / 60),
        _ => format!("{} h {way}", secs / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agenstack_core::clock::ManualClock;

    const NOON: Timestamp = Timestamp::from_secs(1_795_608_000);

    /// Clocks that were asked at noon and answered two seconds later.
    fn told(providers: &[i64], database: Option<i64>) -> Vec<String> {
        let ours = ManualClock::at(NOON.plus_secs(2));
        let mut clocks = Clocks::new(&ours);
        for (n, secs) in providers.iter().enumerate() {
            clocks.provider(&format!("P{n}"), NOON, NOON.plus_secs(*secs));
        }
        if let Some(secs) = database {
            clocks.database(NOON, NOON.plus_secs(secs));
        }
        let mut found = Findings::default();
        clocks.tell(&mut found);
        assert_eq!(found.wrong, found.lines.iter().filter(|line| line.starts_with("WRONG")).count());
        found.lines.iter().map(|line| line.split(';').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn a_clock_within_half_a_minute_is_good() {
        for secs in [-31, -30, 0, 1, 2, 32] {
            assert_eq!(told(&[secs], None), ["ok     this machine's clock agrees with P0's"], "{secs}");
        }
    }

    #[test]
    fn a_clock_that_is_off_is_told_by_how_much() {
        for (secs, words) in
            [(-32, "31 s ahead"), (33, "31 s behind"), (-601, "10 min ahead"), (90_000, "24 h behind")]
        {
            assert_eq!(told(&[secs], None), [format!("WRONG  this machine's clock is {words}, says P0")]);
        }
    }

    #[test]
    fn one_provider_whose_clock_is_wrong_does_not_count_against_us() {
        assert_eq!(told(&[-5000, 1, 5000], None), ["ok     this machine's clock agrees with P1's"]);
    }

    #[test]
    fn where_there_is_a_database_with_a_clock_it_is_that_which_has_to_agree_with_the_providers() {
        let right = [
            "ok     the database's clock agrees with P0's",
            "ok     this machine's clock agrees with the database's",
        ];
        assert_eq!(told(&[0], Some(1)), right);
        let this_one = told(&[-100], Some(-100));
        assert_eq!(this_one[0], "ok     the database's clock agrees with P0's");
        assert_eq!(this_one[1], "WRONG  this machine's clock is 99 s ahead, says the database's");
        let the_other = told(&[0], Some(-100));
        assert_eq!(the_other[0], "WRONG  the database's clock is 99 s behind, says P0");
    }
}
