//! The only door to the outside: bounded in hosts, time, size and redirects.

use crate::base;
use crate::error::{Kind, ProviderError};
use crate::pace;
use crate::tally::Tally;
use agenstack_core::integration::Provider;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::{Duration, Instant};

/// The largest answer that is read.
pub const MOST_ANSWER_BYTES: usize = 4 * 1024 * 1024;
const CONNECT: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(15);
/// The longest wait a provider can ask of us; a larger number is cut.
const LONGEST_WAIT_SECS: u64 = 86_400;

/// An HTTP client for provider calls. Cheap to clone; one for the whole process.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    tally: Tally,
}

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

impl Http {
    /// No redirects, no proxies from the environment, 5 s to connect, 15 s in all, answers up to 4 MiB.
    pub fn new() -> Self {
        Self::with_timeout(TOTAL)
    }

    /// The same with another total time.
    pub fn with_timeout(total: Duration) -> Self {
        // An error means that the process has a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("AgenStack/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .referer(false)
                .connect_timeout(CONNECT.min(total))
                .timeout(total)
        };
        // Building fails on a machine without root certificates. Loopback calls need none, and https calls then
        // fail one by one, which is where an operator looks.
        let client = builder().build().unwrap_or_else(|_| {
            let tls = rustls::ClientConfig::builder()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            builder().tls_backend_preconfigured(tls).build().expect("no part of this needs the machine")
        });
        Self { client, tally: Tally::default() }
    }

    /// The client itself, for what is no call to a provider.
    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// How many calls were made through it and its clones, and how they ended.
    pub fn tally(&self) -> Tally {
        self.tally.clone()
    }

    /// Makes a call when its turn has come, from its first byte to what its answer means, and counts how it ended. `writes` is for
    /// [`crate::pace::Pacer::turn`].
    pub(crate) async fn counted<T>(
        &self,
        provider: Provider,
        writes: bool,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let counted = async {
            let begun = Instant::now();
            let outcome = call.await;
            self.tally.add(provider, &outcome, begun.elapsed());
            outcome
        };
        pace::in_turn(writes, counted).await
    }

    /// Begins a call. `query` is appended to `url`; tokens do not belong there.
    pub(crate) fn call(
        &self,
        provider: Provider,
        method: Method,
        url: &str,
        query: &[(&str, &str)],
    ) -> Result<Call, ProviderError> {
        let refused = || ProviderError::new(provider, Kind::Rejected, "host_refused");
        let mut url = url::Url::parse(url).map_err(|_| refused())?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        base::check(&url).map_err(|_| refused())?;
        let writes = method != Method::GET;
        let request =
            self.client.request(method, url).header(ACCEPT, HeaderValue::from_static("application/json"));
        Ok(Call { provider, writes, request })
    }
}

/// A call that is being put together.
pub(crate) struct Call {
    provider: Provider,
    writes: bool,
    request: RequestBuilder,
}

impl Call {
    /// Puts a token into a header that is never printed.
    pub(crate) fn secret_header(mut self, name: &'static str, value: &str) -> Result<Self, ProviderError> {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| ProviderError::new(self.provider, Kind::Unauthorized, "token_unreadable"))?;
        value.set_sensitive(true);
        self.request = self.request.header(name, value);
        Ok(self)
    }

    /// `Authorization: Bearer`.
    pub(crate) fn bearer(self, token: &SecretString) -> Result<Self, ProviderError> {
        self.secret_header(AUTHORIZATION.as_str(), &format!("Bearer {}", token.expose_secret()))
    }

    /// A form body.
    pub(crate) fn form(mut self, fields: &[(&str, &str)]) -> Self {
        self.request = self.request.form(fields);
        self
    }

    /// A JSON body.
    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.request = self.request.json(body);
        self
    }

    /// A call that asks, although its method is not GET (GraphQL queries, token requests that change nothing).
    pub(crate) fn reads(mut self) -> Self {
        self.writes = false;
        self
    }

    /// Sends it and reads the whole answer, whatever its status.
    pub(crate) async fn send(self) -> Result<Answer, ProviderError> {
        let Call { provider, writes, request } = self;
        let lost = |code| ProviderError::new(provider, Kind::Unavailable, code).outcome_unknown(writes);
        // The text of a transport error holds the URL; only its class is kept.
        let mut response = request.send().await.map_err(|error| {
            if error.is_connect() {
                ProviderError::new(provider, Kind::Unavailable, "connect_failed")
            } else if error.is_builder() {
                ProviderError::new(provider, Kind::Rejected, "request_unbuildable")
            } else if error.is_timeout() {
                lost("timed_out")
            } else {
                lost("connection_lost")
            }
        })?;
        let status = response.status().as_u16();
        let too_large = || {
            ProviderError::new(provider, Kind::Malformed, "answer_too_large")
                .with_status(status)
                .outcome_unknown(writes)
        };
        if response.content_length().is_some_and(|n| n > MOST_ANSWER_BYTES as u64) {
            return Err(too_large());
        }
        let headers = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(part)) if body.len() + part.len() > MOST_ANSWER_BYTES => return Err(too_large()),
                Ok(Some(part)) => body.extend_from_slice(&part),
                Ok(None) => break,
                Err(error) if error.is_timeout() => return Err(lost("timed_out").with_status(status)),
                Err(_) => return Err(lost("connection_lost").with_status(status)),
            }
        }
        Ok(Answer { provider, writes, status, headers, body })
    }
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) provider: Provider,
    pub(crate) writes: bool,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON, or `Null`: for looking at errors, where an unreadable body is one more unknown.
    pub(crate) fn value(&self) -> Value {
        crate::json::parse(&self.body).unwrap_or_default()
    }

    /// The body as JSON of a success.
    pub(crate) fn read_value(&self) -> Result<Value, ProviderError> {
        crate::json::parse(&self.body).map_err(|_| self.malformed("answer_unreadable"))
    }

    /// The body as a known shape.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, ProviderError> {
        serde_json::from_value(self.read_value()?).map_err(|_| self.malformed("answer_unexpected"))
    }

    /// An answer that cannot be used. If the request does something, it has probably been done.
    pub(crate) fn malformed(&self, code: &'static str) -> ProviderError {
        ProviderError::new(self.provider, Kind::Malformed, code)
            .with_status(self.status)
            .outcome_unknown(self.writes)
    }

    /// An error with this answer's status; an outage leaves the outcome of a writing call unknown.
    pub(crate) fn error(&self, kind: Kind, code: &'static str) -> ProviderError {
        let unknown = self.writes && kind == Kind::Unavailable && (self.status >= 500 || self.status == 408);
        ProviderError::new(self.provider, kind, code).with_status(self.status).outcome_unknown(unknown)
    }

    /// What a status means where the provider's sheet says nothing else.
    pub(crate) fn error_by_status(&self) -> ProviderError {
        match self.status {
            300..=399 => self.error(Kind::Rejected, "redirected"),
            401 => self.error(Kind::Unauthorized, "token_invalid"),
            402 | 423 => self.error(Kind::Paused, "account_stopped"),
            403 => self.error(Kind::Forbidden, "permission_missing"),
            404 | 410 => self.error(Kind::NotFound, "not_found"),
            408 => self.error(Kind::Unavailable, "timed_out"),
            429 => self.error(Kind::RateLimited, "rate_limited").with_retry_after(self.retry_after()),
            500.. => self.error(Kind::Unavailable, "outage").with_retry_after(self.retry_after()),
            _ => self.error(Kind::Rejected, "request_refused"),
        }
    }

    /// `Retry-After` in seconds; Shopify writes `2.0`. Dates and nonsense are ignored.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        let secs: f64 = self.header("retry-after")?.trim().parse().ok()?;
        whole_secs(secs)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Seconds rounded up and cut to a day; nothing for what is not a duration.
pub(crate) fn whole_secs(secs: f64) -> Option<u64> {
    (secs.is_finite() && secs >= 0.0).then(|| (secs.ceil() as u64).min(LONGEST_WAIT_SECS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Answer {
        let headers = headers.iter().map(|(n, v)| ((*n).parse().unwrap(), v.parse().unwrap())).collect();
        Answer { provider: Provider::Shopify, writes: true, status, headers, body: Vec::new() }
    }

    #[test]
    fn retry_after_is_seconds_and_nonsense_is_ignored() {
        for (text, secs) in [
            ("2", Some(2)),
            ("2.0", Some(2)),
            ("1.2", Some(2)),
            ("0", Some(0)),
            ("999999999", Some(86_400)),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("soon", None),
            ("Tue, 24 Nov 2026 12:00:00 GMT", None),
        ] {
            assert_eq!(answer(429, &[("retry-after", text)]).retry_after(), secs, "{text}");
        }
        assert_eq!(answer(429, &[]).retry_after(), None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_in_the_header_nobody_waits_for_longer_than_a_day(
            text in r"[ -~]{0,24}|[-+]?[0-9]{0,30}\.?[0-9]{0,30}([eE][-+]?[0-9]{1,4})?", secs: f64,
        ) {
            for text in [text, secs.to_string()] {
                let mut answer = answer(429, &[]);
                answer.headers.insert("retry-after", text.parse().unwrap());
                assert!(answer.retry_after().is_none_or(|wait| wait <= LONGEST_WAIT_SECS), "{text}");
            }
        }
    }

    #[test]
    fn a_status_alone_tells_the_kind_and_whether_the_outcome_is_known() {
        for (status, kind, unknown) in [
            (302, Kind::Rejected, false),
            (400, Kind::Rejected, false),
            (401, Kind::Unauthorized, false),
            (402, Kind::Paused, false),
            (403, Kind::Forbidden, false),
            (404, Kind::NotFound, false),
            (408, Kind::Unavailable, true),
            (409, Kind::Rejected, false),
            (423, Kind::Paused, false),
            (429, Kind::RateLimited, false),
            (500, Kind::Unavailable, true),
            (520, Kind::Unavailable, true),
            (599, Kind::Unavailable, true),
        ] {
            let error = answer(status, &[]).error_by_status();
            assert_eq!((error.kind, error.outcome_unknown), (kind, unknown), "{status}");
        }
    }

    #[test]
    fn hosts_outside_are_spoken_to_over_https_only() {
        let http = Http::new();
        for bad in [
            "http://shop.example/",
            "https://10.0.0.1/",
            "http://169.254.169.254/",
            "file:///etc/passwd",
            "x",
        ] {
            let error = http.call(Provider::Shopify, Method::GET, bad, &[]).map(|_| ()).unwrap_err();
            assert_eq!(error.code, "host_refused", "{bad}");
        }
        assert!(http.call(Provider::Shopify, Method::GET, "https://shop.example/", &[]).is_ok());
        assert!(http.call(Provider::Shopify, Method::GET, "http://127.0.0.1:1/", &[]).is_ok());
    }
}
