//! How fast one account is called, by what its provider said of what is left: a state machine without a clock.
//!
//! A call is counted as under way from its beginning to its end, and what it may cost is set aside meanwhile: an answer tells
//! only what the provider knew when it wrote it.

use agenstack_core::clock::Timestamp;
use agenstack_core::integration::Provider;
use agenstack_providers::pace::Budget;

/// Above 40 messages in a second a page's inbox and its sending freeze (`messenger.md` 3.4). What is only asked is no message.
const PAGE_GAP_MILLIS: i64 = 25;
/// A page that has used this much, in percent, is called once a second; one that has used everything waits for what the
/// provider names, or for a minute.
const NEARLY_USED: f64 = 90.0;
const SLOW_GAP_MILLIS: i64 = 1_000;
const USED_WAIT_SECS: u64 = 60;
/// Of Kustomer's budget, which belongs to all apps and keys of an organization, one in so many calls is left to others.
const LEFT_TO_OTHERS: u64 = 20;

/// What is known of one account.
#[derive(Debug)]
pub(crate) struct Pace {
    gap_millis: i64,
    under_way: u32,
    begun: u64,
    last: Option<Timestamp>,
    last_write: Option<Timestamp>,
    /// The number of the call that told what is known.
    told_by: u64,
    known: Known,
}

#[derive(Clone, Copy, Debug)]
enum Known {
    Nothing,
    Points { most: f64, left: f64, at: Timestamp, per_sec: f64, asked: f64 },
    Usage { gap_millis: i64, until: Option<Timestamp> },
    Calls { keep: u64, left: u64, span: i64, until: Timestamp },
}

impl Pace {
    pub(crate) fn new(provider: Provider) -> Self {
        let gap_millis = if provider == Provider::Messenger { PAGE_GAP_MILLIS } else { 0 };
        Self {
            gap_millis,
            under_way: 0,
            begun: 0,
            last: None,
            last_write: None,
            told_by: 0,
            known: Known::Nothing,
        }
    }

    /// Begins a call, which perhaps `writes`, and gives its number, or says in how many milliseconds to ask again.
    pub(crate) fn begin(&mut self, now: Timestamp, writes: bool) -> Result<u64, i64> {
        match self.wait(now, writes) {
            0 => {
                self.under_way += 1;
                self.begun += 1;
                self.last = Some(now);
                if writes {
                    self.last_write = Some(now);
                }
                if let Known::Calls { left, .. } = &mut self.known {
                    *left = left.saturating_sub(1);
                }
                Ok(self.begun)
            }
            wait => Err(wait),
        }
    }

    fn wait(&self, now: Timestamp, writes: bool) -> i64 {
        let until = |at: Timestamp| at.millis().saturating_sub(now.millis()).max(0);
        // A call that was made in the future says that the clock went back.
        let after = |last: Option<Timestamp>, gap: i64| {
            last.filter(|last| *last <= now).map_or(0, |last| until(last.plus_millis(gap)))
        };
        let wait = match self.known {
            Known::Nothing => 0,
            Known::Points { most, per_sec, asked, .. } => {
                // A bucket that can never hold it need not be waited for; the provider refuses by itself.
                let lack = asked.min(most) - (self.points(now) - asked * f64::from(self.under_way));
                // Fractions are not exact: a thousandth of a millisecond is not waited for.
                let millis = (lack * 1000.0 / per_sec - 0.001).ceil();
                if lack <= 0.0 || per_sec <= 0.0 { 0 } else { millis as i64 }
            }
            Known::Usage { gap_millis, until: at } => at.map_or(0, until).max(after(self.last, gap_millis)),
            Known::Calls { keep, left, until: at, .. } => {
                if left > keep {
                    0
                } else {
                    until(at)
                }
            }
        };
        if writes { wait.max(after(self.last_write, self.gap_millis)) } else { wait }
    }

    /// What is in the bucket by now.
    fn points(&self, now: Timestamp) -> f64 {
        let Known::Points { most, left, at, per_sec, .. } = self.known else { return 0.0 };
        let millis = now.millis().saturating_sub(at.millis()).max(0);
        (left + millis as f64 / 1000.0 * per_sec).min(most)
    }

    /// The call of that number has ended, and this is what was said.
    pub(crate) fn ended(&mut self, number: u64, now: Timestamp, said: Option<Budget>) {
        self.under_way = self.under_way.saturating_sub(1);
        // What was asked earlier was perhaps answered before what is known: it tells nothing, and has cost something.
        let said = said.filter(|_| number > self.told_by);
        let Some(said) = said else {
            let points = self.points(now);
            if let Known::Points { left, at, asked, .. } = &mut self.known {
                (*left, *at) = (points - *asked, now.max(*at));
            }
            return;
        };
        self.told_by = number;
        self.known = match said {
            Budget::Points { most, left, per_sec, asked } => {
                let before = if let Known::Points { asked, .. } = self.known { asked } else { 0.0 };
                Known::Points { most, left, at: now, per_sec, asked: asked.max(before) }
            }
            Budget::Usage { percent, regain_secs } => {
                let used = if percent >= 100.0 && regain_secs == 0 { USED_WAIT_SECS } else { regain_secs };
                let gap_millis = if percent >= NEARLY_USED { SLOW_GAP_MILLIS } else { 0 };
                let until = (used > 0).then(|| now.plus_secs(i64::try_from(used).unwrap_or(i64::MAX)));
                Known::Usage { gap_millis, until }
            }
            Budget::Calls { limit, left, span, reset_secs } => {
                let until = now.plus_secs(i64::try_from(reset_secs).unwrap_or(i64::MAX));
                let new = left.saturating_sub(self.under_way.into());
                let keep = limit / LEFT_TO_OTHERS;
                match self.known {
                    // Within one span it only becomes less.
                    Known::Calls { left, span: before, .. } if before == span => {
                        Known::Calls { keep, left: left.min(new), span, until }
                    }
                    Known::Calls { span: before, .. } if before > span => self.known,
                    _ => Known::Calls { keep, left: new, span, until },
                }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_000_000);

    fn at(millis: i64) -> Timestamp {
        START.plus_millis(millis)
    }

    fn pace(provider: Provider, said: Budget) -> Pace {
        let mut pace = Pace::new(provider);
        let first = pace.begin(START, true).expect("nothing is known yet");
        pace.ended(first, START, Some(said));
        pace
    }

    const SHOP: Budget = Budget::Points { most: 2000.0, left: 250.0, per_sec: 100.0, asked: 120.0 };

    #[test]
    fn a_shop_is_called_while_its_bucket_holds_what_all_calls_under_way_may_cost() {
        let mut pace = pace(Provider::Shopify, SHOP);
        let second = pace.begin(at(0), true).expect("250 are there");
        pace.begin(at(0), true).expect("130 are left");
        // 10 are left of 250, and 120 are needed: 110 come in 1.1 s.
        assert_eq!(pace.begin(at(0), true), Err(1_100));
        assert_eq!(pace.begin(at(1_099), true), Err(1));
        // The answer gives back what was asked for and not used.
        let answer = Budget::Points { most: 2000.0, left: 245.0, per_sec: 100.0, asked: 120.0 };
        pace.ended(second, at(0), Some(answer));
        assert!(pace.begin(at(0), true).is_ok(), "245 less the 120 of the third");
        assert_eq!(pace.begin(at(0), true), Err(1_150));
        assert!(pace.begin(at(1_150), true).is_ok());
    }

    #[test]
    fn an_answer_that_comes_late_or_not_at_all_has_cost_what_it_might_have() {
        let mut pace = pace(Provider::Shopify, SHOP);
        let (early, late) = (pace.begin(at(0), true).unwrap(), pace.begin(at(0), true).unwrap());
        let said = |left| Some(Budget::Points { most: 2000.0, left, per_sec: 100.0, asked: 120.0 });
        pace.ended(late, at(10), said(130.0));
        // Written before the other was asked.
        pace.ended(early, at(10), said(240.0));
        assert_eq!(pace.begin(at(10), true), Err(1_100), "130 - 120 are left");
        let third = pace.begin(at(1_110), true).expect("10 + 110");
        pace.ended(third, at(1_110), None);
        assert_eq!(pace.begin(at(1_110), true), Err(1_200));
    }

    #[test]
    fn a_bucket_is_never_fuller_than_full_and_what_it_can_never_hold_is_not_waited_for() {
        let large = Budget::Points { most: 100.0, left: 0.0, per_sec: 50.0, asked: 500.0 };
        let mut pace = pace(Provider::Shopify, large);
        assert_eq!(pace.begin(at(0), true), Err(2_000));
        assert!(pace.begin(at(2_000), true).is_ok(), "it is full, which is all that can be");
        let still = Budget::Points { most: 100.0, left: 0.0, per_sec: 0.0, asked: 50.0 };
        assert!(
            self::pace(Provider::Shopify, still).begin(at(0), true).is_ok(),
            "what never fills is not waited for"
        );
    }

    #[test]
    fn a_page_is_written_to_at_most_forty_times_a_second_called_slower_near_its_limit_and_not_at_all_past_it()
    {
        let mut free = Pace::new(Provider::Messenger);
        assert_eq!(free.begin(at(0), true), Ok(1));
        assert_eq!(free.begin(at(10), true), Err(15));
        assert_eq!(free.begin(at(10), false), Ok(2), "a question is no message");
        assert_eq!(free.begin(at(25), true), Ok(3));
        assert_eq!(free.begin(at(26), true), Err(24));
        let used = |percent, regain_secs| pace(Provider::Messenger, Budget::Usage { percent, regain_secs });
        assert_eq!(used(89.0, 0).begin(at(0), true), Err(25));
        assert_eq!(used(90.0, 0).begin(at(0), true), Err(1_000));
        assert_eq!(used(90.0, 0).begin(at(0), false), Err(1_000), "its limit counts every call");
        assert_eq!(used(90.0, 0).begin(at(1_000), true), Ok(2));
        assert_eq!(used(100.0, 0).begin(at(0), true), Err(60_000));
        assert_eq!(used(100.0, 420).begin(at(0), true), Err(420_000));
        assert_eq!(
            used(3.0, 60).begin(at(59_999), true),
            Err(1),
            "what it names counts whatever the percent"
        );
    }

    #[test]
    fn kustomer_s_last_calls_of_a_minute_are_left_to_others_and_the_next_minute_begins_anew() {
        let said = |left, span, reset_secs| Budget::Calls { limit: 300, left, span, reset_secs };
        let mut it = pace(Provider::Kustomer, said(17, 60, 9));
        let (second, third) = (it.begin(at(0), true).unwrap(), it.begin(at(0), true).unwrap());
        // 15 are kept for others.
        assert_eq!(it.begin(at(0), true), Err(9_000));
        // Two answers of the same minute, in the wrong order: it does not become more.
        it.ended(third, at(500), Some(said(15, 60, 8)));
        it.ended(second, at(500), Some(said(16, 60, 8)));
        assert_eq!(it.begin(at(500), true), Err(8_000));
        let fourth = it.begin(at(8_500), true).expect("the minute is over");
        it.ended(fourth, at(8_600), Some(said(299, 120, 59)));
        let all = (0..1_000).take_while(|_| it.begin(at(8_600), true).is_ok()).count();
        assert_eq!(all, 284);
        assert_eq!(it.begin(at(8_600), true), Err(59_000));
    }

    #[test]
    fn a_clock_that_goes_back_makes_nobody_wait_longer_than_was_said() {
        let mut slow = pace(Provider::Messenger, Budget::Usage { percent: 95.0, regain_secs: 0 });
        assert_eq!(slow.begin(at(-3_600_000), true), Ok(2));
        assert_eq!(slow.begin(at(-3_600_000), true), Err(1_000));
        let mut shop = pace(Provider::Shopify, SHOP);
        assert!(shop.begin(at(-3_600_000), true).is_ok());
    }
}
