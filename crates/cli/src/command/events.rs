//! `agenstack events`: the inbox, for operators.

use crate::wiring::{World, app, start_log};
use crate::{FAILED, Failure, Given, OK, output};
use agenstack_app::event::{self, Query};
use agenstack_app::timeline::Moment;
use agenstack_app::{App, AppError, operator, replay};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::event::{Event, EventState, Replay, ReplayStatus};
use agenstack_core::integration::Provider;
use anyhow::{Context, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::time::Duration;

/// Organizations that are listed when none is named.
const ORGANIZATIONS: i64 = 100;
/// How often a replay is looked at while it is waited for.
const LOOK: Duration = Duration::from_secs(1);

/// What can be done with it.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List events, newest first; without an organization: whose events wait or are dead
    List(List),
    /// Show one event
    Show(Show),
    /// Handle an event again, or all that a filter names; a server has to run, which does the work
    #[command(
        after_help = "What an event did before is not done twice. Many are taken oldest first, at a pace, and what comes in meanwhile\n\
        goes on. Waiting for the end can be stopped with Ctrl-C; the replay itself goes on, until it is paused.\n\n  \
        agenstack events replay --organization ORG evt_…\n  \
        agenstack events replay --organization ORG --state dead --since 2026-11-25T00:00:00Z --dry-run\n  \
        agenstack events replay --organization ORG --pause rpl_…"
    )]
    Replay(Again),
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON document
    Json,
}

/// Which events.
#[derive(Debug, Args)]
struct Filter {
    /// Only of this provider: shopify, messenger or kustomer
    #[arg(long, value_parser = provider)]
    provider: Option<Provider>,
    /// Only of this topic, such as orders/create or message.text
    #[arg(long)]
    topic: Option<String>,
    /// Only in this state: pending, running, failed, dead or done
    #[arg(long, value_parser = state)]
    state: Option<EventState>,
    /// Received at or after this time, such as 2026-11-25T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Received before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Only what the provider calls so: the id of a delivery or message (for lists)
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// Only where this stands in the last error (for lists)
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
}

/// What is listed.
#[derive(Debug, Args)]
pub struct List {
    /// Whose events
    #[arg(long, value_name = "ORG")]
    organization: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// How many, at most 200
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=200))]
    limit: i64,
    /// Where a former list ended
    #[arg(long)]
    cursor: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What is shown.
#[derive(Debug, Args)]
pub struct Show {
    /// Whose event
    #[arg(long, value_name = "ORG")]
    organization: String,
    /// The event
    event: String,
    /// Also what it carried, which may tell about customers
    #[arg(long)]
    payload: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What is handled again.
#[derive(Debug, Args)]
pub struct Again {
    /// Whose events
    #[arg(long, value_name = "ORG")]
    organization: String,
    /// One event; without it, all that the filter names (the dead ones, if no state is given)
    #[arg(conflicts_with_all = ["provider", "topic", "state", "since", "until", "per_second", "dry_run"])]
    event: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Events a second, at most
    #[arg(long, value_name = "N")]
    per_second: Option<i64>,
    /// Only tell how many it would be
    #[arg(long)]
    dry_run: bool,
    /// Do not wait for the end
    #[arg(long)]
    detach: bool,
    /// Stop a replay for now
    #[arg(long, value_name = "REPLAY", conflicts_with_all = ["event", "resume", "cancel"])]
    pause: Option<String>,
    /// Go on with a paused replay
    #[arg(long, value_name = "REPLAY", conflicts_with_all = ["event", "cancel"])]
    resume: Option<String>,
    /// End a replay; what it has put back stays there
    #[arg(long, value_name = "REPLAY", conflicts_with = "event")]
    cancel: Option<String>,
}

fn provider(text: &str) -> Result<Provider, String> {
    Provider::parse(text).ok_or_else(|| "use one of shopify, messenger, kustomer".to_owned())
}

fn state(text: &str) -> Result<EventState, String> {
    let known = EventState::parse(text).filter(|s| *s != EventState::Unrouted);
    known.ok_or_else(|| "use one of pending, running, failed, dead, done".to_owned())
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "write the time as 2026-11-24T12:00:00Z".to_owned())
}

impl Filter {
    fn query(self) -> Query {
        let Self { provider, topic, state, since, until, external_id, error } = self;
        Query { provider, topic, state, since, until, external_id, error }
    }
}

/// Runs it.
pub(crate) async fn run(given: &Given, command: Command) -> Result<u8, Failure> {
    let config = given.config()?;
    start_log(config.log.format, &config.log.level);
    let app = app(&config, &config.server.public_url, World::default()).await?;
    match command {
        Command::List(list) if list.organization.is_none() => backlog(&app, list.format).await,
        Command::List(list) => events(&app, list).await,
        Command::Show(show) => one(&app, show).await,
        Command::Replay(again) => handle_again(&app, again).await,
    }
}

fn told(error: AppError) -> Failure {
    let text = match &error {
        AppError::NotFound => "there is no such organization, event or replay".to_owned(),
        other => other.to_string(),
    };
    Failure::Other(anyhow!(text))
}

async fn acting(app: &App, organization: &str) -> Result<OrgCtx, Failure> {
    match operator::organization(app, organization).await {
        Ok((org, _)) => Ok(org),
        Err(AppError::NotFound) => Err(Failure::Other(anyhow!(
            "there is no organization {organization}; `agenstack events list` names those whose events wait"
        ))),
        Err(error) => Err(told(error)),
    }
}

fn json(value: serde_json::Result<Value>) -> Result<(), Failure> {
    output::say(&format!("{:#}", value.context("the answer cannot be written")?));
    Ok(())
}

async fn backlog(app: &App, format: Format) -> Result<u8, Failure> {
    let rows = operator::backlog(app, ORGANIZATIONS).await.map_err(told)?;
    if let Format::Json = format {
        let items: Vec<_> = rows
            .iter()
            .map(|r| serde_json::json!({"organization_id": r.org, "state": r.state, "count": r.count, "oldest": r.oldest}))
            .collect();
        json(Ok(serde_json::json!({"items": items, "next_cursor": null})))?;
        return Ok(OK);
    }
    if rows.is_empty() {
        output::say("No event waits, and none is dead.");
        return Ok(OK);
    }
    output::say(&format!("{:<31}{:<9}{:>9}  {}", "organization", "state", "events", "first due"));
    for r in rows {
        output::say(&format!(
            "{:<31}{:<9}{:>9}  {}",
            r.org.as_str(),
            r.state.as_str(),
            r.count,
            r.oldest.rfc3339()
        ));
    }
    Ok(OK)
}

async fn events(app: &App, list: List) -> Result<u8, Failure> {
    let org = acting(app, list.organization.as_deref().unwrap_or_default()).await?;
    let query = list.filter.query();
    let found =
        event::list(app, &org, &query, list.cursor.as_deref(), Some(list.limit)).await.map_err(told)?;
    if let Format::Json = list.format {
        json(serde_json::to_value(&found))?;
        return Ok(OK);
    }
    if found.items.is_empty() {
        output::say("No event matches.");
        return Ok(OK);
    }
    output::say(&format!(
        "{:<31}{:<26}{:<9}{:>5}  {:<24}{}",
        "event", "received", "state", "tries", "topic", "last error"
    ));
    for e in &found.items {
        output::say(line(e).trim_end());
    }
    if let Some(cursor) = found.next_cursor {
        output::note(&format!("There are more: --cursor {cursor}"));
    }
    Ok(OK)
}

fn line(e: &Event) -> String {
    let why = e.last_error.as_deref().unwrap_or_default();
    let (id, at) = (e.id.as_str(), e.received_at.rfc3339());
    format!("{id:<31}{at:<26}{:<9}{:>5}  {:<24}{why}", e.state.as_str(), e.attempts, e.topic)
}

async fn one(app: &App, show: Show) -> Result<u8, Failure> {
    let org = acting(app, &show.organization).await?;
    let mut found = event::get(app, &org, &show.event).await.map_err(told)?;
    if !show.payload {
        found.payload = None;
    }
    if let Format::Json = show.format {
        json(serde_json::to_value(&found))?;
        return Ok(OK);
    }
    let e = &found.event;
    let at = |time: Option<Timestamp>| time.map_or_else(|| "not yet".to_owned(), |at| at.rfc3339());
    for (name, value) in [
        ("event", e.id.to_string()),
        ("organization", e.organization_id.to_string()),
        ("provider", e.provider.to_string()),
        ("topic", e.topic.clone()),
        ("provider's id", e.external_id.clone()),
        ("state", e.state.to_string()),
        ("attempts", e.attempts.to_string()),
        ("received", e.received_at.rfc3339()),
        ("done", at(e.done_at)),
        ("last error", e.last_error.clone().unwrap_or_else(|| "none".to_owned())),
    ] {
        output::say(&format!("{name:<14} {value}"));
    }
    output::say("");
    for m in &found.timeline {
        output::say(step(m).trim_end());
    }
    if let Some(payload) = &found.payload {
        output::say("");
        json(Ok(payload.clone()))?;
    }
    Ok(OK)
}

/// A step of an event in a line.
fn step(m: &Moment) -> String {
    let at = m.at.map_or_else(String::new, Timestamp::rfc3339);
    let took = m.duration_ms.map_or_else(String::new, |ms| format!("after {ms} ms"));
    let actor = m.actor.as_ref().map_or_else(String::new, |who| format!("by {who}"));
    let why = m.reason.as_deref().unwrap_or_default();
    let words: Vec<_> = [took.as_str(), actor.as_str(), why].into_iter().filter(|w| !w.is_empty()).collect();
    format!("{:<14} {at:<26}{}", m.step, words.join(" "))
}

async fn handle_again(app: &App, again: Again) -> Result<u8, Failure> {
    let org = acting(app, &again.organization).await?;
    let turns = [
        (&again.pause, ReplayStatus::Paused),
        (&again.resume, ReplayStatus::Running),
        (&again.cancel, ReplayStatus::Cancelled),
    ];
    for (id, to) in turns {
        if let Some(id) = id {
            let turned = replay::turn(app, &org, id, to).await.map_err(told)?;
            output::say(&format!("{} is {}: {} of {}", turned.id, turned.status, turned.done, turned.total));
            return Ok(OK);
        }
    }
    if let Some(id) = &again.event {
        let event = event::replay(app, &org, id).await.map_err(told)?;
        output::say(&format!("{} is {} again", event.id, event.state));
        return Ok(OK);
    }
    let (query, pace) = (again.filter.query(), again.per_second);
    if again.dry_run {
        let planned = replay::plan(app, &org, &query, pace).await.map_err(told)?;
        output::say(&format!("{} {} events would be handled again", planned.total, planned.state));
        return Ok(OK);
    }
    let begun = replay::begin(app, &org, &query, pace).await.map_err(told)?;
    output::say(&format!(
        "{}: {} {} events, {} a second",
        begun.id, begun.total, begun.state, begun.per_second
    ));
    if again.detach { Ok(OK) } else { follow(app, &org, &begun).await }
}

/// Shows how far it is until it ends.
async fn follow(app: &App, org: &OrgCtx, begun: &Replay) -> Result<u8, Failure> {
    let bar = ProgressBar::new(begun.total.unsigned_abs());
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len}, {eta} left");
    bar.set_style(style.context("the progress cannot be shown")?);
    loop {
        let now = replay::get(app, org, begun.id.as_str()).await.map_err(told)?;
        bar.set_position(now.done.unsigned_abs());
        match now.status {
            ReplayStatus::Running => tokio::time::sleep(LOOK).await,
            ReplayStatus::Paused => {
                bar.abandon();
                output::say(&format!("{} is paused: {} of {}", now.id, now.done, now.total));
                return Ok(OK);
            }
            ReplayStatus::Done | ReplayStatus::Cancelled => {
                bar.finish_and_clear();
                output::say(&format!(
                    "{} is {}: {} events were put back into the queue",
                    now.id, now.status, now.done
                ));
                return Ok(if now.status == ReplayStatus::Done { OK } else { FAILED });
            }
        }
    }
}
