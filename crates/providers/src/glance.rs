//! A glance at an address from outside: whether anything answers there, and what time it says it is.
//!
//! For `doctor`. No token and no name of an account is sent.

use crate::base;
use crate::http::Http;
use agenstack_core::clock::Timestamp;
use reqwest::header::DATE;
use std::error::Error;
use std::io;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// As much of a body as tells whose it is.
const MOST_BODY_BYTES: usize = 4096;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glance {
    /// The status, whatever it is.
    pub status: u16,
    /// The `Date` of the answer; to the second.
    pub date: Option<Timestamp>,
    /// The beginning of the body.
    pub body: String,
}

/// Why nothing was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dark {
    /// The address is one that is never asked: not https, or a number.
    Refused,
    /// Nobody is there: no such name, no way, or nothing listens.
    Unreachable,
    /// Somebody is there, whose certificate this machine does not trust.
    Untrusted,
    /// The connection stands, and no answer comes in time.
    Silent,
}

impl Http {
    /// Asks an address for whatever it shows to anybody. Redirects are not followed.
    ///
    /// # Errors
    /// Tells why nothing was seen.
    pub async fn glance(&self, url: &str) -> Result<Glance, Dark> {
        let url = url::Url::parse(url).map_err(|_| Dark::Refused)?;
        base::check(&url).map_err(|_| Dark::Refused)?;
        let mut answer = self.client().get(url).send().await.map_err(|error| dark(&error))?;
        let date = answer.headers().get(DATE).and_then(|date| date_of(date.to_str().ok()?));
        let mut body = Vec::new();
        // A body that breaks off tells as much as was read.
        while let (true, Ok(Some(part))) = (body.len() < MOST_BODY_BYTES, answer.chunk().await) {
            body.extend_from_slice(&part);
        }
        body.truncate(MOST_BODY_BYTES);
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Glance { status: answer.status().as_u16(), date, body })
    }
}

/// `Tue, 24 Nov 2026 12:00:00 GMT`
fn date_of(text: &str) -> Option<Timestamp> {
    Some(Timestamp::from_secs(OffsetDateTime::parse(text, &Rfc2822).ok()?.unix_timestamp()))
}

/// Only the class of a transport error is kept: its text holds the address.
fn dark(error: &reqwest::Error) -> Dark {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if is_tls(inner) {
            return Dark::Untrusted;
        }
        cause = inner.source();
    }
    if error.is_connect() { Dark::Unreachable } else { Dark::Silent }
}

fn is_tls(error: &(dyn Error + 'static)) -> bool {
    // What an `io::Error` wraps is not its source, but the error itself.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>() || wrapped.is_some_and(|inner| is_tls(inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    async fn listener() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        (listener, format!("127.0.0.1:{}", at.port()))
    }

    #[tokio::test]
    async fn what_answers_is_seen_with_its_time_whatever_its_status() {
        let (listener, at) = listener().await;
        let told =
            || async { (http::StatusCode::NOT_FOUND, [("date", "Tue, 24 Nov 2026 12:00:00 GMT")], "no") };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(told)).await });
        let seen = Http::new().glance(&format!("http://{at}/x")).await.unwrap();
        let date = Timestamp::parse_rfc3339("2026-11-24T12:00:00Z");
        assert_eq!(seen, Glance { status: 404, date, body: "no".into() });
    }

    #[tokio::test]
    async fn what_does_not_answer_is_told_apart() {
        let http = Http::with_timeout(Duration::from_millis(300));
        let (free, at) = listener().await;
        drop(free);
        assert_eq!(http.glance(&format!("http://{at}")).await, Err(Dark::Unreachable));
        assert_eq!(http.glance("http://shop.example").await, Err(Dark::Refused));
        let (_silent, at) = listener().await;
        assert_eq!(http.glance(&format!("http://{at}")).await, Err(Dark::Silent));
        // Speaks, and no TLS: nothing that could be trusted.
        let (plain, at) = listener().await;
        tokio::spawn(async move {
            let (mut stream, _) = plain.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        });
        assert_eq!(
            http.glance(&format!("https://localhost:{}", at.split(':').nth(1).unwrap())).await,
            Err(Dark::Untrusted)
        );
    }
}
