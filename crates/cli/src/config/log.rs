//! `[log]`: what is written and how.

use super::setting::Settings;
use tracing_subscriber::EnvFilter;

/// What is written and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// For people or for programs.
    pub format: LogFormat,
    /// `info`, or a list of directives such as `info,agenstack_app=debug`.
    pub level: String,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line, for programs.
    Json,
}

impl Log {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let format = settings.parse("AGENSTACK_LOG", |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("expected `text` or `json`; how much is written says AGENSTACK_LOG_LEVEL".to_owned()),
        });
        let level = settings.parse("AGENSTACK_LOG_LEVEL", |text| {
            let expected =
                || "expected error, warn, info, debug or trace, or a list such as info,agenstack_app=debug";
            // A bare word that is no level would be taken for the name of a module, and silence everything else.
            let is_level = |word: &str| {
                let word = word.rsplit('=').next().unwrap_or(word).trim().to_ascii_lowercase();
                matches!(word.as_str(), "off" | "error" | "warn" | "info" | "debug" | "trace")
            };
            let fits = text.split(',').all(is_level) && EnvFilter::try_new(text).is_ok();
            if fits { Ok(text.to_owned()) } else { Err(expected().to_owned()) }
        });
        Self { format: format.unwrap_or(LogFormat::Text), level: level.unwrap_or_else(|| "info".into()) }
    }
}
