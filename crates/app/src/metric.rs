//! Numbers for whoever watches the process: how connections are, how renewals, calls and webhooks end.
//!
//! They belong to one [`App`], not to the process, so that several may run in one. What is counted here begins at 0 when
//! the application does; what the database knows is asked at each [`render`], so that every node tells the same. No
//! label names an organization, an account or a row: nothing secret can stand in a number.

use crate::App;
use crate::error::AppError;
use crate::ingest::{Accepted, Refused};
use crate::pulse::Counts;
use agenstack_core::clock::Timestamp;
use agenstack_core::integration::{ConnectionStatus, Provider};
use agenstack_store::global::queue::TableRows;
use agenstack_store::global::routing::ConnectionCount;
use metrics::{Counter, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// One metric: the table in `docs/metrics.md` has a row for each.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells, for the line that Prometheus shows.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $name:literal $kind:ident [$($label:literal),*] $help:literal;)*) => {
        $(const $constant: &str = $name;)*
        /// All of them.
        pub const ALL: &[Metric] = &[$(
            Metric { name: $name, kind: stringify!($kind), labels: &[$($label),*], help: $help },
        )*];
    };
}

// A new metric begins with a line here and a row in docs/metrics.md. What is counted is registered in `Metrics::new`,
// what is asked of the database in `render`.
metrics! {
    BUILD = "agenstack_build_info" gauge ["version"] "Always 1; the version of this node is in the label.";
    DATABASE_UP = "agenstack_database_up" gauge [] "Whether the database answered at this scrape.";
    CONNECTIONS = "agenstack_connections" gauge ["provider", "status"] "Connections of all organizations in each state.";
    NEAREST_EXPIRY = "agenstack_token_nearest_expiry_seconds" gauge ["provider"]
        "Seconds until the first access token of a working connection ends; negative if one has ended.";
    QUEUE_OLDEST = "agenstack_queue_oldest_seconds" gauge [] "How long the event that is due longest has been due; 0 if none is.";
    QUEUE_DEAD = "agenstack_queue_dead" gauge [] "Events that were given up.";
    QUEUE_WAITING = "agenstack_queue_waiting" gauge [] "Accepted events and queued deeds that wait or run.";
    TABLE_ROWS = "agenstack_table_rows" gauge ["table"] "Rows of a table of the queue, as PostgreSQL believes.";
    TABLE_DEAD_ROWS = "agenstack_table_dead_rows" gauge ["table"]
        "Former versions of rows of a table of the queue that are not cleaned away, as PostgreSQL believes.";
    REFRESHES = "agenstack_token_refreshes_total" counter ["provider", "outcome"] "Renewals of access tokens, by how they ended.";
    CALLS = "agenstack_provider_calls_total" counter ["provider", "outcome"] "Calls to providers, by how they ended.";
    CALL_SECONDS = "agenstack_provider_call_seconds" histogram ["provider", "outcome"] "How long calls to providers took.";
    PUT_OFF = "agenstack_calls_put_off_total" counter ["provider", "reason"] "What was put off without asking the provider, by reason.";
    CIRCUITS_OPEN = "agenstack_circuits_open" gauge ["provider"] "Connections that this process does not call just now, since they do not answer or asked it to wait.";
    WEBHOOKS = "agenstack_webhooks_total" counter ["provider", "outcome"]
        "Events that providers sent, and deliveries that were refused.";
    COMMIT_SECONDS = "agenstack_commit_seconds" histogram [] "How long a group of deliveries took to be committed.";
    COMMIT_EVENTS = "agenstack_commit_events" histogram [] "How many events were committed together.";
    RETENTION_DELETED = "agenstack_retention_deleted_total" counter ["table"] "Rows that were kept long enough and are deleted.";
    RETENTION_OLDEST = "agenstack_retention_oldest_seconds" gauge []
        "Age of the oldest event that the last whole look at what was kept long enough has left; 0 if there is none.";
    RETENTION_ENDED = "agenstack_retention_ended_seconds" gauge []
        "How long ago the last whole look at what was kept long enough ended; absent before the first.";
    ATTEMPTS = "agenstack_attempts_total" counter ["queue", "outcome"] "Attempts at queued events and deeds, by how they ended.";
    EVENT_SECONDS = "agenstack_event_seconds" histogram [] "From the receipt of an event to the commit of its effects.";
}

/// Bounds of what is measured in seconds, and of what is counted in events.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0];
const EVENTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Words of a label, in the order of their table.
macro_rules! outcomes {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum $name { $($(#[$vdoc])* $variant,)* }
        impl $name {
            const ALL: &'static [$name] = &[$($name::$variant,)*];
            const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }
    };
}

outcomes! {
    /// How a need for a new token ended.
    Refresh {
        /// This caller asked the provider, and stored the new tokens.
        Renewed = "renewed",
        /// Somebody else had renewed it meanwhile, and this caller uses that.
        Adopted = "adopted",
        /// The provider refused for good; somebody has to reconnect.
        Refused = "refused",
        /// The provider did not answer, or not in a way that can be used; it is tried again.
        Failed = "failed",
        /// The answer came after the right to renew had run out and another had renewed; what came was dropped.
        LeaseLost = "lease_lost",
        /// Somebody else holds the right to renew, and did not finish while this caller waited.
        GaveUp = "gave_up",
    }
}

outcomes! {
    /// Why something was put off without asking the provider.
    PutOff {
        /// The provider does not answer; one call at a time finds out whether it does again.
        CircuitOpen = "circuit_open",
        /// The provider asked to wait, or would refuse by what it said of its limits.
        RateLimited = "rate_limited",
        /// As many calls as one connection may have were under way.
        BusyHere = "busy_here",
    }
}

outcomes! {
    /// How an attempt at a queued row ended.
    Attempted {
        /// Its effects are committed.
        Done = "done",
        /// It failed and is tried again.
        Failed = "failed",
        /// It was given up.
        Dead = "dead",
        /// The provider was not asked; it goes on later and has spent no attempt.
        PutOff = "put_off",
        /// Another worker had it by then.
        LeaseLost = "lease_lost",
    }
}

outcomes! {
    /// What became of what a provider sent.
    Webhook {
        /// An event that was committed.
        Accepted = "accepted",
        /// An event that was there already.
        Duplicate = "duplicate",
        /// An event of an account that nobody has connected.
        Unrouted = "unrouted",
        /// A privacy request of a shop that nobody ever held.
        Dropped = "dropped",
        /// A signed delivery in which nothing concerns us.
        Empty = "empty",
        /// A delivery that is not signed by the provider, or not for this address or time.
        Signature = "refused_signature",
        /// A delivery without a header that every delivery has.
        Malformed = "refused_malformed",
        /// A delivery for a provider that is not set up here.
        NotSetUp = "refused_not_set_up",
        /// A delivery that came when too many waited; the provider comes again.
        Busy = "refused_busy",
        /// A delivery that could not be committed; the provider comes again.
        Unavailable = "refused_unavailable",
    }
}

/// What one application has counted.
pub struct Metrics {
    recorder: PrometheusRecorder,
    // Kept at hand: what is counted for each delivery.
    webhooks: HashMap<(Provider, Webhook), Counter>,
    commit_seconds: Histogram,
    commit_events: Histogram,
    event_seconds: Histogram,
    counts: Counts,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let recorder = described();
        let histogram = |name| recorder.register_histogram(&key(name, &[]), &META);
        let mut it = Self {
            commit_seconds: histogram(COMMIT_SECONDS),
            commit_events: histogram(COMMIT_EVENTS),
            event_seconds: histogram(EVENT_SECONDS),
            webhooks: HashMap::new(),
            counts: Counts::default(),
            recorder,
        };
        for queue in QUEUES {
            for outcome in Attempted::ALL {
                it.attempted(queue, *outcome, 0);
            }
        }
        it.expired(0, 0, 0);
        // From the start, with 0: an alert on a rate has to see where it begins.
        for provider in Provider::ALL {
            for outcome in Refresh::ALL {
                it.add(REFRESHES, *provider, outcome.as_str(), 0);
            }
            for reason in PutOff::ALL {
                it.put_off_by(*provider, *reason, 0);
            }
            for outcome in Webhook::ALL {
                let key = key(WEBHOOKS, &of(*provider, "outcome", outcome.as_str()));
                let counter = it.recorder.register_counter(&key, &META);
                counter.increment(0);
                it.webhooks.insert((*provider, *outcome), counter);
            }
        }
        it
    }

    fn add(&self, name: &'static str, provider: Provider, outcome: &'static str, n: u64) {
        self.recorder.register_counter(&key(name, &of(provider, "outcome", outcome)), &META).increment(n);
    }

    /// Something was put off, for a reason that is a word of [`PutOff`].
    pub(crate) fn put_off(&self, provider: Provider, reason: &str) {
        if let Some(reason) = PutOff::ALL.iter().find(|it| it.as_str() == reason) {
            self.put_off_by(provider, *reason, 1);
        }
    }

    fn put_off_by(&self, provider: Provider, reason: PutOff, n: u64) {
        let labels = of(provider, "reason", reason.as_str());
        self.recorder.register_counter(&key(PUT_OFF, &labels), &META).increment(n);
    }

    /// A call to a provider has ended.
    pub(crate) fn called(&self, provider: Provider, outcome: &'static str, took: Duration) {
        let key = key(CALL_SECONDS, &of(provider, "outcome", outcome));
        self.recorder.register_histogram(&key, &META).record(took.as_secs_f64());
    }

    /// Adds up what was measured since. Each measurement is kept by itself until then, or until somebody asks for the metrics, and
    /// nobody may ever ask.
    pub(crate) fn add_up(&self) {
        self.recorder.handle().run_upkeep();
    }

    /// What the operator's page shows.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// A group of deliveries was committed.
    pub(crate) fn committed(&self, events: usize, took: Duration) {
        self.commit_events.record(events as f64);
        self.commit_seconds.record(took.as_secs_f64());
    }

    /// Attempts at rows of a queue, `events` or `jobs`, ended.
    pub(crate) fn attempted(&self, queue: &'static str, outcome: Attempted, n: u64) {
        match outcome {
            Attempted::Failed => self.counts.failed.fetch_add(n, Relaxed),
            Attempted::Dead => self.counts.dead.fetch_add(n, Relaxed),
            _ => 0,
        };
        let labels =
            [Label::from_static_parts("queue", queue), Label::from_static_parts("outcome", outcome.as_str())];
        self.recorder.register_counter(&key(ATTEMPTS, &labels), &META).increment(n);
    }

    /// Rows that were kept long enough are deleted.
    pub(crate) fn expired(&self, events: u64, jobs: u64, replays: u64) {
        for (table, n) in [("events", events), ("jobs", jobs), ("replays", replays)] {
            let labels = [Label::from_static_parts("table", table)];
            self.recorder.register_counter(&key(RETENTION_DELETED, &labels), &META).increment(n);
        }
    }

    /// The effects of an event that came at `received` were committed at `now`.
    pub(crate) fn effective(&self, received: Timestamp, now: Timestamp) {
        let millis = now.millis().saturating_sub(received.millis()).max(0);
        self.event_seconds.record(millis as f64 / 1000.0);
        self.counts.took(millis);
    }

    pub(crate) fn refreshed(&self, provider: Provider, outcome: Refresh) {
        self.add(REFRESHES, provider, outcome.as_str(), 1);
    }

    /// Counts what became of a delivery, and hands it on.
    pub(crate) fn delivered(
        &self,
        provider: Provider,
        outcome: Result<Accepted, Refused>,
    ) -> Result<Accepted, Refused> {
        let add = |what: Webhook, n: usize| {
            if n > 0
                && let Some(counter) = self.webhooks.get(&(provider, what))
            {
                counter.increment(n as u64);
            }
        };
        match &outcome {
            Ok(it) => self.counts.accepted.fetch_add(it.stored as u64, Relaxed),
            Err(_) => self.counts.refused.fetch_add(1, Relaxed),
        };
        match &outcome {
            Ok(it) if *it == Accepted::default() => add(Webhook::Empty, 1),
            Ok(it) => {
                add(Webhook::Accepted, it.stored);
                add(Webhook::Duplicate, it.duplicates);
                add(Webhook::Unrouted, it.unrouted);
                add(Webhook::Dropped, it.dropped);
            }
            Err(Refused::Signature) => add(Webhook::Signature, 1),
            Err(Refused::Malformed) => add(Webhook::Malformed, 1),
            Err(Refused::NotSetUp) => add(Webhook::NotSetUp, 1),
            Err(Refused::Busy) => add(Webhook::Busy, 1),
            Err(Refused::Unavailable(_) | Refused::NotCommitted(_) | Refused::Away) => {
                add(Webhook::Unavailable, 1)
            }
        }
        outcome
    }
}

/// Everything as Prometheus reads it. Without the database what it knows is missing, and `agenstack_database_up` says so.
pub async fn render(app: &App) -> String {
    // Made anew each time: what is not there any more, such as the end of the last token, must not stay as it was.
    let now = described();
    let set = |name, labels: &[Label], value: f64| {
        now.register_gauge(&key(name, labels), &META).set(value);
    };
    set(BUILD, &[Label::from_static_parts("version", env!("CARGO_PKG_VERSION"))], 1.0);
    for (provider, outcome, n) in app.calls().all() {
        now.register_counter(&key(CALLS, &of(provider, "outcome", outcome)), &META).absolute(n);
    }
    let open = app.outgoing().open();
    for provider in Provider::ALL {
        let labels = [Label::from_static_parts("provider", provider.as_str())];
        set(CIRCUITS_OPEN, &labels, open.get(provider).map_or(0.0, |n| *n as f64));
    }
    let asked = ask(app).await;
    set(DATABASE_UP, &[], if asked.is_ok() { 1.0 } else { 0.0 });
    match asked {
        Ok(Known { connections, waiting, dead, oldest, tables, kept }) => {
            for (provider, status) in
                Provider::ALL.iter().flat_map(|p| ConnectionStatus::ALL.iter().map(|s| (*p, *s)))
            {
                let found = connections.iter().find(|c| (c.provider, c.status) == (provider, status));
                set(
                    CONNECTIONS,
                    &of(provider, "status", status.as_str()),
                    found.map_or(0.0, |c| c.count as f64),
                );
                if let Some(end) = found.and_then(|c| c.nearest_expiry)
                    && status == ConnectionStatus::Connected
                {
                    let left = (end.millis() - app.now().millis()) as f64 / 1000.0;
                    set(NEAREST_EXPIRY, &[Label::from_static_parts("provider", provider.as_str())], left);
                }
            }
            set(QUEUE_WAITING, &[], waiting as f64);
            set(QUEUE_DEAD, &[], dead as f64);
            let age = oldest.map_or(0, |at| (app.now().millis() - at.millis()).max(0));
            set(QUEUE_OLDEST, &[], age as f64 / 1000.0);
            for it in tables {
                let labels = [Label::new("table", it.table)];
                set(TABLE_ROWS, &labels, it.live as f64);
                set(TABLE_DEAD_ROWS, &labels, it.dead as f64);
            }
            let ago = |at: Timestamp| (app.now().millis() - at.millis()).max(0) as f64 / 1000.0;
            if let (oldest, Some(ended)) = kept {
                set(RETENTION_OLDEST, &[], oldest.map_or(0.0, ago));
                set(RETENTION_ENDED, &[], ago(ended));
            }
        }
        Err(error) => {
            tracing::warn!(code = error.code(), error = ?error, "metrics without what the database knows")
        }
    }
    app.metrics().recorder.handle().render() + &now.handle().render()
}

/// What the database knows.
struct Known {
    connections: Vec<ConnectionCount>,
    waiting: i64,
    dead: i64,
    oldest: Option<Timestamp>,
    tables: Vec<TableRows>,
    /// The oldest event that was left, and when the look at all of them ended.
    kept: (Option<Timestamp>, Option<Timestamp>),
}

async fn ask(app: &App) -> Result<Known, AppError> {
    let mut tx = app.store().global_read().await?;
    let (dead, oldest) = tx.queue_state().await?;
    let (connections, waiting) = (tx.connection_count().await?, tx.queue_waiting().await?);
    let tables = tx.table_rows().await?;
    drop(tx);
    Ok(Known { connections, waiting, dead, oldest, tables, kept: crate::retention::seen(app).await? })
}

/// The words of the label `queue`.
const QUEUES: [&str; 2] = ["events", "jobs"];

const META: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

fn key(name: &'static str, labels: &[Label]) -> Key {
    Key::from_parts(name, labels.to_vec())
}

fn of(provider: Provider, name: &'static str, value: &'static str) -> [Label; 2] {
    [Label::from_static_parts("provider", provider.as_str()), Label::from_static_parts(name, value)]
}

/// A recorder that knows what every metric tells.
fn described() -> PrometheusRecorder {
    let builder = PrometheusBuilder::new().set_buckets(SECONDS).expect("there are bounds");
    let counted = Matcher::Full(COMMIT_EVENTS.to_owned());
    let builder = builder.set_buckets_for_metric(counted, EVENTS).expect("there are bounds");
    let recorder = builder.build_recorder();
    for it in ALL {
        match it.kind {
            "counter" => recorder.describe_counter(it.name.into(), None, it.help.into()),
            "histogram" => recorder.describe_histogram(it.name.into(), None, it.help.into()),
            _ => recorder.describe_gauge(it.name.into(), None, it.help.into()),
        }
    }
    recorder
}

#[cfg(test)]
mod tests {
    use super::*;
    use agenstack_providers::Kind;

    /// The rows of the tables of the page, cell by cell.
    fn rows(heading: &str) -> Vec<Vec<String>> {
        let page = include_str!("../../../docs/metrics.md");
        let section = page.split("\n## ").find(|s| s.starts_with(heading)).expect("the page has this part");
        section
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.split('|').map(|cell| cell.trim().replace('`', "")).collect())
            .collect()
    }

    #[test]
    fn the_page_about_metrics_has_a_row_for_each_and_no_other() {
        let written: Vec<_> =
            rows("All metrics").into_iter().map(|r| (r[1].clone(), r[2].clone(), r[3].clone())).collect();
        let known: Vec<_> =
            ALL.iter().map(|m| (m.name.to_owned(), m.kind.to_owned(), m.labels.join(", "))).collect();
        assert_eq!(written, known);
    }

    #[test]
    fn the_page_explains_every_word_of_every_label() {
        let words =
            |heading: &str| -> Vec<String> { rows(heading).into_iter().map(|r| r[1].clone()).collect() };
        let all = |list: &[&'static str]| -> Vec<String> { list.iter().map(|w| (*w).to_owned()).collect() };
        assert_eq!(
            words("Outcomes of a renewal"),
            all(&Refresh::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>())
        );
        assert_eq!(
            words("Outcomes of an attempt"),
            all(&Attempted::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>())
        );
        assert_eq!(
            words("Outcomes of a webhook"),
            all(&Webhook::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>())
        );
        assert_eq!(
            words("Reasons for putting off"),
            all(&PutOff::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>())
        );
        let kinds: Vec<_> = std::iter::once("ok").chain(Kind::ALL.iter().map(|k| k.as_str())).collect();
        assert_eq!(words("Outcomes of a call"), all(&kinds));
    }

    #[test]
    fn what_was_added_up_before_is_told_together_with_what_came_later() {
        let metrics = Metrics::new();
        metrics.committed(3, Duration::from_millis(2));
        metrics.add_up();
        metrics.committed(4, Duration::from_millis(2));
        let text = metrics.recorder.handle().render();
        for line in ["agenstack_commit_events_sum 7", "agenstack_commit_events_count 2"] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_counter_is_there_before_anything_has_happened() {
        let text = Metrics::new().recorder.handle().render();
        for (provider, outcome) in
            [("shopify", "refused"), ("messenger", "lease_lost"), ("kustomer", "renewed")]
        {
            let line =
                format!("agenstack_token_refreshes_total{{provider=\"{provider}\",outcome=\"{outcome}\"}} 0");
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }
}
