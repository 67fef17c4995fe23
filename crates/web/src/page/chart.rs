//! Charts of the last hour: bars drawn by the server, and the same numbers for whoever does not see them.

use agenstack_app::pulse::{Beat, Pulse};
use agenstack_core::clock::Timestamp;

/// Height of the drawing; each minute is ten wide.
const HEIGHT: i64 = 90;

/// A bar.
pub(crate) struct Bar {
    pub x: i64,
    pub y: i64,
    pub height: i64,
    /// What it says when it is pointed at.
    pub title: String,
}

/// One chart.
pub(crate) struct Chart {
    pub kind: &'static str,
    pub title: &'static str,
    /// The most of it, in words.
    pub most: String,
    /// All of it in one sentence.
    pub summary: String,
    pub bars: Vec<Bar>,
}

/// A minute in which something happened, in words.
pub(crate) struct Line {
    pub at: String,
    pub cells: Vec<String>,
}

/// All charts of a page.
pub(crate) struct Charts {
    /// Where they are asked for again.
    pub source: String,
    /// Which change of the page asks.
    pub topic: &'static str,
    pub charts: Vec<Chart>,
    pub heads: Vec<&'static str>,
    pub lines: Vec<Line>,
    /// What waits now.
    pub waits: String,
    /// What is not in the charts.
    pub bound: Option<String>,
    pub empty: bool,
}

/// A span of time as people say it.
fn span(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 if ms % 1_000 != 0 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        1_000..60_000 => format!("{} s", ms / 1_000),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        3_600_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} days", ms / 86_400_000),
    }
}

/// The time of day, as a program's log has it.
fn clock(at: Option<Timestamp>) -> String {
    at.map(|at| at.rfc3339().chars().skip(11).take(5).collect()).unwrap_or_default()
}

fn chart(
    kind: &'static str,
    title: &'static str,
    minutes: &[Beat],
    value: impl Fn(&Beat) -> Option<i64>,
    words: impl Fn(i64) -> String,
    total: impl Fn(i64) -> String,
) -> Chart {
    let all: Vec<Option<i64>> = minutes.iter().map(&value).collect();
    let most = all.iter().flatten().copied().max().unwrap_or(0);
    let sum: i64 = all.iter().flatten().sum();
    let bars = minutes.iter().zip(&all).enumerate().filter_map(|(n, (beat, value))| {
        let value = value.filter(|v| *v > 0)?;
        // What is there is seen, however small beside the most.
        let height = (value * HEIGHT / most.max(1)).max(2);
        let title = format!("{} UTC: {}", clock(beat.at), words(value));
        Some(Bar { x: n as i64 * 10, y: HEIGHT - height, height, title })
    });
    let bars: Vec<_> = bars.collect();
    Chart { kind, title, most: words(most), summary: format!("{title}, last hour: {}", total(sum)), bars }
}

/// The charts of a pulse.
pub(crate) fn charts(pulse: &Pulse, source: String, topic: &'static str, of_all: bool) -> Charts {
    let m = &pulse.minutes;
    let most = |value: fn(&Beat) -> i64| m.iter().map(value).max().unwrap_or(0);
    let (accepted, failed) = (most(|b| b.accepted), most(|b| b.failed));
    let slowest = m.iter().filter_map(|b| b.p95_ms).max();
    let count = |n: i64| n.to_string();
    let mut charts = vec![
        chart(
            "accepted",
            "Accepted a minute",
            m,
            |b| Some(b.accepted),
            count,
            |sum| format!("{sum} in all, at most {accepted} in a minute"),
        ),
        chart(
            "lag",
            "Receipt to done, 95 %",
            m,
            |b| b.p95_ms,
            |ms| format!("up to {}", span(ms)),
            |_| slowest.map_or_else(|| "nothing was done".to_owned(), |ms| format!("at most {}", span(ms))),
        ),
        chart(
            "failed",
            if of_all { "Attempts that failed" } else { "Failed or given up" },
            m,
            |b| Some(b.failed),
            count,
            |sum| format!("{sum} in all, at most {failed} in a minute"),
        ),
    ];
    let mut heads = vec!["Minute (UTC)", "Accepted", "Receipt to done, 95 %", "Failed"];
    if of_all {
        let refused = most(|b| b.refused);
        charts.push(chart(
            "failed",
            "Deliveries refused",
            m,
            |b| Some(b.refused),
            count,
            |sum| format!("{sum} in all, at most {refused} in a minute"),
        ));
        heads.push("Refused");
    }
    let quiet = |b: &Beat| b.accepted == 0 && b.failed == 0 && b.refused == 0 && b.p95_ms.is_none();
    let lines: Vec<Line> = m
        .iter()
        .filter(|b| !quiet(b))
        .map(|b| {
            let lag = b.p95_ms.map_or_else(|| "none".to_owned(), |ms| format!("up to {}", span(ms)));
            let mut cells = vec![b.accepted.to_string(), lag, b.failed.to_string()];
            if of_all {
                cells.push(b.refused.to_string());
            }
            Line { at: clock(b.at), cells }
        })
        .collect();
    let more = if pulse.waits_more { "More than " } else { "" };
    let waits = match (pulse.oldest_ms, of_all) {
        (None, _) => "Nothing waits.".to_owned(),
        (Some(ms), true) => format!("What has its turn next was due {} ago.", span(ms)),
        (Some(ms), false) if pulse.waits == 1 => format!("1 event waits, since {}.", span(ms)),
        (Some(ms), false) => format!("{more}{} events wait, the oldest since {}.", pulse.waits, span(ms)),
    };
    let bound = pulse
        .since
        .map(|at| format!("Too much came in to count all of it: from {} UTC on.", clock(Some(at))));
    Charts { source, topic, charts, heads, empty: lines.is_empty(), lines, waits, bound }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(minutes: Vec<Beat>) -> Pulse {
        Pulse { minutes, oldest_ms: Some(65_000), waits: 3, waits_more: false, since: None }
    }

    #[test]
    fn the_most_is_as_high_as_the_drawing_and_what_is_small_is_seen() {
        let beat = |accepted, failed| Beat {
            at: Some(Timestamp::from_millis(1_795_521_600_000)),
            accepted,
            failed,
            p95_ms: (accepted > 0).then_some(2_500),
            ..Beat::default()
        };
        let all =
            charts(&pulse(vec![beat(1_000, 0), beat(0, 0), beat(1, 1)]), String::new(), "events", false);
        let heights: Vec<_> = all.charts[0].bars.iter().map(|b| (b.x, b.y, b.height)).collect();
        assert_eq!(heights, [(0, 0, 90), (20, 88, 2)]);
        assert_eq!(all.charts[0].bars[0].title, "12:00 UTC: 1000");
        assert_eq!(
            all.charts[0].summary,
            "Accepted a minute, last hour: 1001 in all, at most 1000 in a minute"
        );
        assert_eq!((all.charts[1].most.as_str(), all.charts.len()), ("up to 2.5 s", 3));
        assert_eq!(all.lines.len(), 2, "a quiet minute has no line");
        assert_eq!(all.lines[1].cells, ["1", "up to 2.5 s", "1"]);
        assert_eq!(all.waits, "3 events wait, the oldest since 1 min.");
    }

    #[test]
    fn where_nothing_happened_there_is_nothing_to_draw() {
        let all = charts(&pulse(vec![Beat::default(); 60]), String::new(), "pulse", true);
        assert!(all.empty && all.charts.iter().all(|c| c.bars.is_empty()));
        assert_eq!(all.charts.len(), 4);
    }
}
