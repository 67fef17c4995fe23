//! How much a provider says that it may be asked, and who decides whether a call is made now.
//!
//! A [`Pacer`] watches over the calls that are made within [`paced`]: [`Http`](crate::Http) asks it before each of them,
//! and tells it how each ended and what the answer said of the account's budget. Calls outside have nobody who watches.

use crate::error::ProviderError;
use crate::http::Answer;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What an answer said of what is left to the account.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Shopify: a bucket of points that fills again by itself (`shopify.md` 3.2).
    Points {
        /// What the bucket holds when it is full.
        most: f64,
        /// What is in it now.
        left: f64,
        /// How much flows in each second.
        per_sec: f64,
        /// What this call had to find in it before it was begun.
        asked: f64,
    },
    /// Messenger: how much of what may be used is used (`messenger.md` 3.4).
    Usage {
        /// The highest of what is counted, in percent.
        percent: f64,
        /// How long until the page may go on; 0 if it may.
        regain_secs: u64,
    },
    /// Kustomer: calls that are left until a moment (`kustomer.md` 2.4).
    Calls {
        /// How many there are in all.
        limit: u64,
        /// How many are left.
        left: u64,
        /// Which span of time this is about: its end by the provider's clock.
        span: i64,
        /// How long until it ends.
        reset_secs: u64,
    },
}

/// Who decides about the calls of one account.
pub trait Pacer: Send + Sync {
    /// Waits for the turn of one call and gives its number. `writes` says whether the call may alter something at the provider's, as
    /// one does that sends a message.
    ///
    /// # Errors
    /// The call is not to be made now: [`ProviderError::not_asked`].
    fn turn(&self, writes: bool) -> Pin<Box<dyn Future<Output = Result<u64, ProviderError>> + Send + '_>>;

    /// The call of that number ended so. A call that was given up half-way ends [`Ended::Dropped`].
    fn ended(&self, number: u64, how: Ended<'_>, budget: Option<Budget>);
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub enum Ended<'a> {
    /// With an answer that can be used.
    Well,
    /// With this.
    Badly(&'a ProviderError),
    /// Nobody waits for it any more.
    Dropped,
}

tokio::task_local! {
    static PACER: Arc<dyn Pacer>;
    static SAID: Cell<Option<Budget>>;
}

/// Lets `pacer` decide about every call that is made within `work`.
pub async fn paced<T>(pacer: Arc<dyn Pacer>, work: impl Future<Output = T>) -> T {
    PACER.scope(pacer, work).await
}

/// Makes a call when its turn has come.
pub(crate) async fn in_turn<T>(
    writes: bool,
    call: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, ProviderError> {
    let Ok(pacer) = PACER.try_with(Arc::clone) else { return call.await };
    let number = pacer.turn(writes).await?;
    let mut under_way = UnderWay { pacer, number, is_over: false };
    SAID.scope(Cell::new(None), async {
        let outcome = call.await;
        let how = outcome.as_ref().err().map_or(Ended::Well, Ended::Badly);
        under_way.ended(how, SAID.with(Cell::take));
        outcome
    })
    .await
}

/// An answer tells what is left.
pub(crate) fn said(budget: Option<Budget>) {
    // Nobody listens to calls that are not paced.
    let _ = SAID.try_with(|said| said.set(budget.or(said.get())));
}

/// A call that was begun: it ends in any case.
struct UnderWay {
    pacer: Arc<dyn Pacer>,
    number: u64,
    is_over: bool,
}

impl UnderWay {
    fn ended(&mut self, how: Ended<'_>, budget: Option<Budget>) {
        self.is_over = true;
        self.pacer.ended(self.number, how, budget);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.is_over {
            self.ended(Ended::Dropped, None);
        }
    }
}

impl Answer {
    /// What `extensions.cost` of a GraphQL answer says (`shopify.md` 3.2).
    pub(crate) fn points(body: &serde_json::Value) -> Option<Budget> {
        let cost = body.pointer("/extensions/cost")?;
        let number = |pointer: &str| cost.pointer(pointer)?.as_f64().filter(|n| n.is_finite() && *n >= 0.0);
        Some(Budget::Points {
            most: number("/throttleStatus/maximumAvailable")?,
            left: number("/throttleStatus/currentlyAvailable")?,
            per_sec: number("/throttleStatus/restoreRate")?,
            asked: number("/requestedQueryCost")?,
        })
    }

    /// The fullest of what `X-Business-Use-Case-Usage` counts, and the longest wait that it names; it writes minutes
    /// (`messenger.md` 3.4).
    pub(crate) fn usage(&self) -> Option<Budget> {
        let usage: serde_json::Value =
            serde_json::from_str(self.header("x-business-use-case-usage")?).ok()?;
        let counted = || {
            usage.as_object().into_iter().flat_map(|all| all.values()).filter_map(|v| v.as_array()).flatten()
        };
        let highest = |names: &[&str]| {
            let numbers = counted().flat_map(|u| names.iter().filter_map(|n| u.get(n)?.as_f64()));
            numbers.filter(|n| n.is_finite() && *n >= 0.0).reduce(f64::max)
        };
        let percent = highest(&["call_count", "total_cputime", "total_time"]);
        let minutes = highest(&["estimated_time_to_regain_access"]);
        percent.or(minutes)?;
        Some(Budget::Usage {
            percent: percent.unwrap_or(0.0),
            regain_secs: minutes.and_then(|minutes| crate::http::whole_secs(minutes * 60.0)).unwrap_or(0),
        })
    }

    /// What `x-ratelimit-…` says. The reset is an instant by Kustomer's clock: read beside the `Date` of the same answer, and
    /// never further away than the minute that the budget is for (`kustomer.md` 2.4).
    pub(crate) fn calls_left(&self) -> Option<Budget> {
        const SPAN_SECS: i64 = 60;
        let number =
            |name| self.header(name)?.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        let (limit, left) = (number("x-ratelimit-limit")?, number("x-ratelimit-remaining")?);
        let span = number("x-ratelimit-reset")? as i64;
        let away = self.date().map_or(SPAN_SECS, |date| span.saturating_sub(date).clamp(0, SPAN_SECS));
        Some(Budget::Calls { limit: limit as u64, left: left as u64, span, reset_secs: away.unsigned_abs() })
    }

    /// The provider's own time, in seconds.
    fn date(&self) -> Option<i64> {
        let date = self.header("date")?;
        let at = time::OffsetDateTime::parse(date, &time::format_description::well_known::Rfc2822).ok()?;
        Some(at.unix_timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agenstack_core::integration::Provider;
    use serde_json::json;

    fn answer(headers: &[(&'static str, &str)]) -> Answer {
        let headers = headers.iter().map(|(n, v)| ((*n).parse().unwrap(), v.parse().unwrap())).collect();
        Answer { provider: Provider::Kustomer, writes: false, status: 200, headers, body: Vec::new() }
    }

    #[test]
    fn the_cost_of_a_shop_s_answer_is_read_also_where_it_was_throttled() {
        let throttled = json!({"errors": [{"extensions": {"code": "THROTTLED"}}], "extensions": {"cost": {
            "requestedQueryCost": 202, "actualQueryCost": null,
            "throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 118, "restoreRate": 100.0}}}});
        let expected = Budget::Points { most: 2000.0, left: 118.0, per_sec: 100.0, asked: 202.0 };
        assert_eq!(Answer::points(&throttled), Some(expected));
        for nothing in [
            json!({}),
            json!({"extensions": {"cost": {"requestedQueryCost": 1}}}),
            json!({"extensions": {"cost":
            {"requestedQueryCost": -1, "throttleStatus": {"maximumAvailable": 1, "currentlyAvailable": 1, "restoreRate": 1}}}}),
        ] {
            assert_eq!(Answer::points(&nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_fullest_counter_and_the_longest_wait_of_a_page_count() {
        let usage = |text: &str| answer(&[("x-business-use-case-usage", text)]).usage();
        let two = r#"{"112130216863063":[
            {"type":"pages","call_count":97,"total_cputime":23,"total_time":99,"estimated_time_to_regain_access":0},
            {"type":"messenger","call_count":1,"total_cputime":1,"total_time":1,"estimated_time_to_regain_access":2}]}"#
            .replace('\n', "");
        assert_eq!(usage(&two), Some(Budget::Usage { percent: 99.0, regain_secs: 120 }));
        let one = r#"{"1":[{"call_count":3,"total_cputime":0,"total_time":1}]}"#;
        assert_eq!(usage(one), Some(Budget::Usage { percent: 3.0, regain_secs: 0 }));
        for nonsense in ["", "{}", "[]", r#"{"1":[]}"#, r#"{"1":[{"call_count":"many"}]}"#] {
            assert_eq!(usage(nonsense), None, "{nonsense}");
        }
        assert_eq!(answer(&[]).usage(), None);
    }

    #[test]
    fn the_reset_of_kustomer_is_read_by_its_own_clock_and_is_a_minute_away_at_most() {
        let left = |reset: &str, date: Option<&str>| {
            let mut headers = vec![
                ("x-ratelimit-limit", "1000"),
                ("x-ratelimit-remaining", "7"),
                ("x-ratelimit-reset", reset),
            ];
            headers.extend(date.map(|date| ("date", date)));
            answer(&headers).calls_left()
        };
        let calls = |span, reset_secs| Some(Budget::Calls { limit: 1000, left: 7, span, reset_secs });
        // 1,795,521,600 is noon of 2026-11-24.
        let noon = Some("Tue, 24 Nov 2026 12:00:00 GMT");
        assert_eq!(left("1795521617", noon), calls(1_795_521_617, 17));
        assert_eq!(left("1795521617.0", noon), calls(1_795_521_617, 17));
        assert_eq!(left("1795521590", noon), calls(1_795_521_590, 0), "it is over");
        assert_eq!(left("1795531617", noon), calls(1_795_531_617, 60));
        assert_eq!(left("1795521617", None), calls(1_795_521_617, 60), "without a clock the whole minute");
        assert_eq!(left("1e300", Some("Fri, 01 Jan 1960 12:00:00 GMT")), calls(i64::MAX, 60));
        for nonsense in ["", "soon", "-1", "NaN"] {
            assert_eq!(left(nonsense, noon), None, "{nonsense}");
        }
        assert_eq!(answer(&[("x-ratelimit-remaining", "7")]).calls_left(), None);
    }

    /// Writes down what it is told.
    #[derive(Default)]
    struct Listener(std::sync::Mutex<Vec<String>>);

    impl Pacer for Listener {
        fn turn(&self, _: bool) -> Pin<Box<dyn Future<Output = Result<u64, ProviderError>> + Send + '_>> {
            Box::pin(std::future::ready(Ok(7)))
        }
        fn ended(&self, number: u64, how: Ended<'_>, budget: Option<Budget>) {
            let how = match how {
                Ended::Well => "well",
                Ended::Badly(e) => e.code,
                Ended::Dropped => "dropped",
            };
            self.0.lock().unwrap().push(format!("{number} {how} {}", budget.is_some()));
        }
    }

    #[tokio::test]
    async fn every_call_within_has_an_end_also_one_that_nobody_waits_for_any_more() {
        let usage = Some(Budget::Usage { percent: 1.0, regain_secs: 0 });
        let listener = Arc::new(Listener::default());
        let lost = ProviderError::new(Provider::Shopify, crate::Kind::Unavailable, "timed_out");
        paced(listener.clone(), async {
            let told = in_turn(true, async {
                said(usage);
                said(None);
                Ok(1)
            });
            assert_eq!(told.await, Ok(1));
            assert_eq!(in_turn::<()>(true, async { Err(lost.clone()) }).await, Err(lost.clone()));
            let never = in_turn::<()>(true, std::future::pending());
            assert!(tokio::time::timeout(std::time::Duration::from_millis(1), never).await.is_err());
        })
        .await;
        // Outside, nobody is told.
        said(usage);
        assert_eq!(in_turn(true, async { Ok(2) }).await, Ok(2));
        let told = listener.0.lock().unwrap().clone();
        assert_eq!(told, ["7 well true", "7 timed_out false", "7 dropped false"]);
    }
}
