//! `[trace]`: where spans are sent. The names are OpenTelemetry's.

use super::setting::Settings;
use secrecy::SecretString;
use url::Url;

/// Where spans are sent.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The collector, without `/v1/traces`; `None`: nowhere.
    pub endpoint: Option<String>,
    /// Headers that the collector wants, `name=value,…`.
    pub headers: Option<SecretString>,
    /// What this service is called there.
    pub service_name: String,
    /// Which share of events is followed, 0 to 1.
    pub ratio: f64,
}

impl Trace {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let endpoint = settings.parse("OTEL_EXPORTER_OTLP_ENDPOINT", |text| {
            let url = Url::parse(text).ok().filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
            match url {
                Some(url) if url.query().is_none() && url.username().is_empty() && url.password().is_none() => {
                    Ok(text.to_owned())
                }
                _ => Err("expected the address of a collector, such as http://127.0.0.1:4318; what it wants to know \
                          goes into OTEL_EXPORTER_OTLP_HEADERS"
                    .to_owned()),
            }
        });
        let ratio = settings.parse("OTEL_TRACES_SAMPLER_ARG", |text| match text.parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            _ => Err("expected a share between 0 and 1, such as 0.01".to_owned()),
        });
        Self {
            endpoint,
            headers: settings.secret("OTEL_EXPORTER_OTLP_HEADERS"),
            service_name: settings.text("OTEL_SERVICE_NAME").unwrap_or_else(|| "agenstack".into()),
            ratio: ratio.unwrap_or(1.0),
        }
    }
}
