//! The list of settings, and which source each one is taken from.

use super::{ConfigError, Problem, Source, Sources};
use crate::refusal::Names;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;

/// A setting: its variable and its key in the TOML file.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// The key in the file, `section.key`.
    pub key: &'static str,
    /// Whether the value is a secret, so that `NAME_FILE` and `key_file` exist too.
    pub secret: bool,
}

const fn plain(name: &'static str, key: &'static str) -> Setting {
    Setting { name, key, secret: false }
}

const fn secret(name: &'static str, key: &'static str) -> Setting {
    Setting { name, key, secret: true }
}

/// Every setting there is.
pub const SETTINGS: &[Setting] = &[
    plain("AGENSTACK_LISTEN", "server.listen"),
    plain("AGENSTACK_PUBLIC_URL", "server.public_url"),
    plain("AGENSTACK_METRICS_LISTEN", "server.metrics_listen"),
    plain("AGENSTACK_TRUSTED_PROXIES", "server.trusted_proxies"),
    secret("AGENSTACK_OPERATOR_PASSWORD", "server.operator_password"),
    plain("AGENSTACK_WORKERS", "server.workers"),
    plain("AGENSTACK_SHUTDOWN_SECS", "server.shutdown_secs"),
    plain("AGENSTACK_RETENTION_DAYS", "inbox.retention_days"),
    plain("AGENSTACK_RETENTION_DEAD_DAYS", "inbox.retention_dead_days"),
    plain("AGENSTACK_DATA_DIR", "storage.data_dir"),
    secret("AGENSTACK_DATABASE_URL", "storage.database_url"),
    secret("AGENSTACK_MASTER_KEY", "vault.master_key"),
    plain("AGENSTACK_MASTER_KEY_COMMAND", "vault.master_key_command"),
    secret("AGENSTACK_MASTER_KEY_PREVIOUS", "vault.master_key_previous"),
    plain("AGENSTACK_MASTER_KEY_PREVIOUS_COMMAND", "vault.master_key_previous_command"),
    secret("AGENSTACK_SMTP_URL", "mail.smtp_url"),
    plain("AGENSTACK_MAIL_FROM", "mail.from"),
    plain("AGENSTACK_LOG", "log.format"),
    plain("AGENSTACK_LOG_LEVEL", "log.level"),
    plain("OTEL_EXPORTER_OTLP_ENDPOINT", "trace.endpoint"),
    secret("OTEL_EXPORTER_OTLP_HEADERS", "trace.headers"),
    plain("OTEL_SERVICE_NAME", "trace.service_name"),
    plain("OTEL_TRACES_SAMPLER_ARG", "trace.ratio"),
    plain("SHOPIFY_API_KEY", "shopify.api_key"),
    secret("SHOPIFY_API_SECRET", "shopify.api_secret"),
    secret("SHOPIFY_API_SECRET_PREVIOUS", "shopify.api_secret_previous"),
    plain("SHOPIFY_SCOPES", "shopify.scopes"),
    plain("SHOPIFY_URL", "shopify.url"),
    plain("MESSENGER_APP_ID", "messenger.app_id"),
    secret("MESSENGER_APP_SECRET", "messenger.app_secret"),
    secret("MESSENGER_VERIFY_TOKEN", "messenger.verify_token"),
    plain("FACEBOOK_URL", "messenger.facebook_url"),
    plain("GRAPH_URL", "messenger.graph_url"),
    plain("KUSTOMER_CLIENT_ID", "kustomer.client_id"),
    secret("KUSTOMER_CLIENT_SECRET", "kustomer.client_secret"),
    plain("KUSTOMER_URL", "kustomer.url"),
    plain("KUSTOMER_API_URL", "kustomer.api_url"),
];

/// The setting that a variable gives, as it is or as a file.
pub(super) fn by_variable(name: &str) -> Option<&'static Setting> {
    let file = name.strip_suffix("_FILE");
    SETTINGS.iter().find(|setting| setting.name == name || setting.secret && Some(setting.name) == file)
}

/// The setting that a key of the file gives, as it is or as a file.
pub(super) fn by_key(key: &str) -> Option<&'static Setting> {
    let file = key.strip_suffix("_file");
    SETTINGS.iter().find(|setting| setting.key == key || setting.secret && Some(setting.key) == file)
}

/// Whether the file has a section of this name.
pub(super) fn is_section(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key.split_once('.').is_some_and(|(section, _)| section == name))
}

/// All settings, each from the source that wins, and everything that is wrong with them.
pub(super) struct Settings {
    values: BTreeMap<&'static str, (SecretString, Source)>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

/// One layer: what is set in it, under the names of variables.
#[derive(Default)]
struct Layer<'a>(BTreeMap<String, (&'a str, Source)>);

impl<'a> Layer<'a> {
    fn put(&mut self, name: impl Into<String>, text: &'a str, source: &Source) {
        // Set to nothing is not set: compose files and templates pass empty variables.
        if !text.trim().is_empty() {
            self.0.insert(name.into(), (text, source.clone()));
        }
    }
}

impl Settings {
    pub(super) fn resolve(sources: &Sources) -> Self {
        let mut this =
            Self { values: BTreeMap::new(), problems: sources.problems().collect(), warnings: Vec::new() };
        let (mut variables, mut file, mut renamed) = (Layer::default(), Layer::default(), Layer::default());

        if let Some((source, leaves)) = &sources.file {
            for leaf in leaves {
                let Some(text) = &leaf.text else {
                    let message = if by_key(&leaf.key).is_some() {
                        "expected a text, a number, or a list of texts".to_owned()
                    } else {
                        unknown(&leaf.key)
                    };
                    this.put_problem(&leaf.key, Some(source.clone()), message);
                    continue;
                };
                match (by_key(&leaf.key), new_name(&leaf.key)) {
                    (Some(setting), _) if setting.key == leaf.key => file.put(setting.name, text, source),
                    (Some(setting), _) => file.put(format!("{}_FILE", setting.name), text, source),
                    (None, Some(new)) => renamed.put(new, text, source),
                    (None, None) => this.put_problem(&leaf.key, Some(source.clone()), unknown(&leaf.key)),
                }
            }
        }
        // The env file first, so that the environment lies over it.
        let env_file = sources.env_file.iter().map(|(source, parsed)| (source, &parsed.variables));
        for (source, map) in env_file.chain([(&Source::Environment, &sources.environment)]) {
            for (name, text) in map {
                match new_name(name) {
                    Some(new) => renamed.put(new, text, source),
                    None => variables.put(name.clone(), text, source),
                }
                if by_variable(name).is_none() && looks_like_ours(name) {
                    this.warnings
                        .push(format!("{name} ({source}) is not a setting of agenstack and is ignored"));
                }
            }
        }
        for setting in SETTINGS {
            // Old names come last: a new name wins wherever it stands.
            let found = [&variables, &file, &renamed].into_iter().find_map(|layer| this.take(setting, layer));
            if let Some(value) = found {
                this.values.insert(setting.name, value);
            }
        }
        this
    }

    /// The value of a setting in one layer. The path of a file is not repeated: it might be the secret itself.
    fn take(&mut self, setting: &Setting, layer: &Layer<'_>) -> Option<(SecretString, Source)> {
        let name_file = format!("{}_FILE", setting.name);
        let direct = layer.0.get(setting.name);
        let from_file = layer.0.get(&name_file).filter(|_| setting.secret);
        match (direct, from_file) {
            (Some((_, source)), Some(_)) => {
                let message = format!("given both as it is and as {name_file}; keep one");
                self.put_problem(setting.name, Some(source.clone()), message);
                None
            }
            (Some((text, source)), None) => Some((SecretString::from(text.trim()), source.clone())),
            (None, Some((path, source))) => {
                let why = match std::fs::read_to_string(path.trim()) {
                    Ok(text) if text.trim().is_empty() => "the file that it names is empty".to_owned(),
                    Ok(text) => return Some((SecretString::from(text.trim()), source.clone())),
                    Err(error) => format!("the file that it names cannot be read: {}", error.kind()),
                };
                self.put_problem(&name_file, Some(source.clone()), why);
                None
            }
            (None, None) => None,
        }
    }

    /// The text of a setting that is no secret.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.secret(name).map(|text| text.expose_secret().to_owned())
    }

    /// The text of a setting.
    pub(super) fn secret(&self, name: &str) -> Option<SecretString> {
        debug_assert!(SETTINGS.iter().any(|setting| setting.name == name), "{name} stands in the list");
        self.values.get(name).map(|(text, _)| text.clone())
    }

    /// Reads a setting; what is wrong with it becomes a problem.
    pub(super) fn parse<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.secret(name)?;
        match read(text.expose_secret()) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problem(name, message);
                None
            }
        }
    }

    /// The same for a secret; a word of its own, so that the reader of a section sees what is one.
    pub(super) fn parse_secret<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.parse(name, read)
    }

    /// Notes what is wrong with a setting.
    pub(super) fn problem(&mut self, name: &str, message: impl Into<String>) {
        let source = self.values.get(name).map(|(_, source)| source.clone());
        self.put_problem(name, source, message.into());
    }

    /// Notes what is allowed and deserves a word.
    pub(super) fn warn(&mut self, name: &str, message: &str) {
        self.warnings.push(format!("{name}: {message}"));
    }

    /// Both or none of several settings; a missing one is named together with what it was missed beside.
    pub(super) fn together<const N: usize>(&mut self, names: [&str; N]) -> Option<[SecretString; N]> {
        let given: Vec<_> = names.iter().filter(|name| self.values.contains_key(**name)).copied().collect();
        for missing in names.iter().filter(|name| !given.contains(name)) {
            // A value that was given and could not be read has its own problem already.
            let told = self.problems.iter().any(|problem| {
                problem.name.strip_prefix(missing).is_some_and(|rest| matches!(rest, "" | "_FILE"))
            });
            if let Some(beside) = given.first().filter(|_| !told) {
                let message = format!("missing, but {beside} is set; set both, or neither to leave this out");
                self.put_problem(missing, None, message);
            }
        }
        let all: Vec<_> = names.iter().filter_map(|name| self.secret(name)).collect();
        all.try_into().ok()
    }

    /// Ends the reading: the warnings, or everything that is wrong.
    pub(super) fn finish(self) -> Result<Vec<String>, ConfigError> {
        if self.problems.is_empty() {
            Ok(self.warnings)
        } else {
            Err(ConfigError { problems: self.problems })
        }
    }

    fn put_problem(&mut self, name: &str, source: Option<Source>, message: String) {
        self.problems.push(Problem { name: name.to_owned(), source, message });
    }
}

/// The variable that an old name of the platform stands for.
fn new_name(old: &str) -> Option<String> {
    let (rule, is_file) = Names::get().renamed(old)?;
    Some(if is_file { format!("{}_FILE", rule.new) } else { rule.new.clone() })
}

/// Orchestrators set variables for a service called `agenstack`, and the test suite has its own.
fn looks_like_ours(name: &str) -> bool {
    name.strip_prefix("AGENSTACK_")
        .is_some_and(|rest| !["PORT", "SERVICE_", "TEST_"].iter().any(|foreign| rest.starts_with(foreign)))
}

fn unknown(key: &str) -> String {
    let last = key.rsplit('.').next().unwrap_or(key).to_ascii_lowercase();
    let same = |setting: &&Setting| {
        setting.name.eq_ignore_ascii_case(key) || setting.key.rsplit('.').next() == Some(last.as_str())
    };
    match SETTINGS.iter().find(same).and_then(|setting| setting.key.split_once('.')) {
        Some((section, key)) => format!("unknown key; did you mean `{key}` under [{section}]?"),
        None => "unknown key; every key stands in docs/configuration.md".to_owned(),
    }
}
