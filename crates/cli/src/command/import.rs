//! `agenstack import`: takes over what an older platform held, never its credentials.

use crate::config::DatabaseUrl;
use crate::wiring::{World, app, open_store, start_log};
use crate::{FAILED, Failure, Given, OK, USAGE, output};
use agenstack_app::import::report::{KINDS, Outcome, Report};
use agenstack_app::import::{self, Check, NotImported, Options};
use anyhow::Context;
use clap::{Args, ValueEnum};
use secrecy::SecretString;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

/// What is to be taken over.
#[derive(Debug, Args)]
#[command(
    after_help = "Begin with --dry-run. It prints how much each organization has, and each row that is not taken, with the reason.\n\
    Running it again changes nothing that is there; a run that was stopped is simply repeated.\n\n\
    Passwords and tokens are never imported: people get a mail with a link to choose a password, and each organization is\n\
    told which accounts to connect again. A field that is called after a credential ends the import of a file, and a value\n\
    that looks like one is left out and told by its place.\n\n\
    docs/import.md describes the form of FILE field by field, and what is read of an old database."
)]
pub struct Arguments {
    #[command(flatten)]
    input: Input,
    /// Write nothing; only tell what would be done
    #[arg(long)]
    dry_run: bool,
    /// Write no mails. A later run without this does
    #[arg(long)]
    no_mails: bool,
    /// Tells one old platform from another, if you import from several whose ids may be the same
    #[arg(long, value_name = "NAME", default_value = "old", value_parser = source)]
    source: String,
    /// Leave a person out; may be repeated
    #[arg(long, value_name = "EMAIL")]
    skip_user: Vec<String>,
    /// Leave an organization out, by its id at the old platform; may be repeated
    #[arg(long, value_name = "ID")]
    skip_organization: Vec<String>,
    /// How to print the report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// From where; one of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Input {
    /// JSON lines in the form that docs/import.md describes
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The old platform's database, postgres://… It is only read. Others on this machine can see a command line; better
    /// use --from-file
    #[arg(long, value_name = "URL")]
    from: Option<SecretText>,
    /// The same, from a file that holds the address
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// The same, from the environment variable of this name
    #[arg(long, value_name = "NAME")]
    from_env: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Text of the command line that is not printed again.
#[derive(Clone)]
struct SecretText(SecretString);

impl std::str::FromStr for SecretText {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(SecretString::from(text)))
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText")
    }
}

fn source(text: &str) -> Result<String, String> {
    let fits = (1..=40).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if fits { Ok(text.to_owned()) } else { Err("expected 1 to 40 letters, digits, - and _".into()) }
}

impl Input {
    /// The address of the old database; `None` if a file is read.
    fn url(&self, given: &Given) -> Result<Option<SecretString>, String> {
        use secrecy::ExposeSecret;
        let (text, name) = match (&self.from, &self.from_file, &self.from_env) {
            (Some(url), _, _) => (url.0.expose_secret().to_owned(), "--from".to_owned()),
            (_, Some(file), _) => {
                let path = given.location.directory.join(file);
                let text = std::fs::read_to_string(&path);
                let text = text.map_err(|e| format!("{} cannot be read: {}", path.display(), e.kind()))?;
                (text.trim().to_owned(), "--from-file".to_owned())
            }
            (_, _, Some(name)) => {
                let text = given.environment.get(name).filter(|t| !t.is_empty());
                let text = text.ok_or_else(|| format!("the environment has no variable {name}"))?;
                (text.clone(), format!("--from-env {name}"))
            }
            _ => return Ok(None),
        };
        let url = DatabaseUrl::parse(&text).map_err(|e| format!("{name}: {e}"))?;
        if url.sqlite_path().is_some() {
            return Err(format!("{name}: the old platform's database is a PostgreSQL"));
        }
        Ok(Some(url.expose()))
    }
}

/// Runs it.
pub(crate) async fn run(given: &Given, arguments: Arguments) -> Result<u8, Failure> {
    let url = match arguments.input.url(given) {
        Ok(url) => url,
        Err(reason) => {
            output::error(&reason);
            return Ok(USAGE);
        }
    };
    let config = given.config()?;
    start_log(config.log.format, &config.log.level);
    if arguments.dry_run {
        untouched(&config).await?;
    }
    let app = app(&config, &config.server.public_url, World::default()).await?;
    let options = Options {
        source: arguments.source.clone(),
        dry_run: arguments.dry_run,
        mails: !arguments.no_mails,
        skip_users: arguments.skip_user.iter().map(|e| e.trim().to_lowercase()).collect(),
        skip_organizations: arguments.skip_organization.iter().cloned().collect(),
        check: Check { shape: agenstack_scan::credential_in, name: agenstack_scan::is_credential_name },
    };
    let done = match (&url, &arguments.input.file) {
        (Some(url), _) => import::from_database(&app, url, &options).await,
        (None, file) => {
            let file = file.as_ref().expect("one of them is required");
            let path = given.location.directory.join(file);
            let opened = File::open(&path).with_context(|| format!("{} cannot be opened", path.display()))?;
            import::from_lines(&app, &mut BufReader::new(opened), &options).await
        }
    };
    match done {
        Ok(report) => {
            output::say(&match arguments.format {
                Format::Text => text(&report),
                Format::Json => serde_json::to_string_pretty(&report).expect("a report is always JSON"),
            });
            Ok(OK)
        }
        Err(NotImported::Lines(mistakes)) => {
            for mistake in &mistakes {
                output::error(&mistake.to_string());
            }
            output::error("nothing was imported");
            Ok(FAILED)
        }
        Err(error) => Err(anyhow::Error::new(error).into()),
    }
}

/// A dry run makes no database and changes no schema.
async fn untouched(config: &crate::config::Config) -> anyhow::Result<()> {
    if config.storage.database.sqlite_path().is_some_and(|path| !path.exists()) {
        anyhow::bail!("there is no database yet, and a dry run makes none; run `agenstack migrate` first");
    }
    let store = open_store(config).await?;
    store.check().await?;
    store.close().await;
    Ok(())
}

/// The report for people.
fn text(report: &Report) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out += &text;
        out.push('\n');
    };
    line(if report.dry_run { "Dry run: nothing was written.".into() } else { "Imported.".into() });
    let new = if report.dry_run { "would be new" } else { "new" };
    for org in &report.organizations {
        let id = org.id.as_deref().unwrap_or("not made yet");
        let state = if org.is_new { new } else { "already there" };
        line(format!("\n{} ({}): {state}, {id}", org.name, org.source_id));
        for kind in KINDS {
            if let Some(count) = org.counts.get(kind) {
                line(format!(
                    "  {kind:<14} {:>8} {new} {:>8} already there",
                    count.taken, count.already_there
                ));
            }
        }
    }
    let people = report.people;
    line(format!("\n{} people {new}, {} already there", people.taken, people.already_there));
    let mails = if report.dry_run { "mails would be written" } else { "mails written" };
    line(format!("{} {mails}, with a link to choose a password", report.mails));
    for (outcome, head) in [
        (Outcome::Quarantined, "Quarantined: of nobody in particular, and given to nobody"),
        (Outcome::Refused, "Refused"),
        (Outcome::Skipped, "Skipped"),
        (Outcome::Noted, "To look at"),
    ] {
        let rows: Vec<_> = report.rows.iter().filter(|r| r.outcome == outcome).collect();
        if !rows.is_empty() {
            line(format!("\n{head} ({}):", rows.len()));
            rows.iter().for_each(|r| line(format!("  {}: {}", r.place, r.reason)));
        }
    }
    out.truncate(out.trim_end().len());
    out
}
