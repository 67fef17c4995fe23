//! One connection, over whatever carries it, from its opening to its end.

use super::Limits;
use super::patient::Patient;
use super::pulse::{Pulse, State};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::IntoResponse;
use http::{HeaderValue, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;
use tower::ServiceExt;

/// How long a peer of HTTP/2 may be silent when it is asked whether it is there, and how long a connection that was told to
/// end may take for it.
const PONG: Duration = Duration::from_secs(10);
/// How long a connection may wait to be used while places are scarce.
const CROWDED: Duration = Duration::from_secs(1);
/// Bytes of one stream, and of a whole connection of HTTP/2, that may be on their way before they are read.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Bytes of one answer that wait for a peer of HTTP/2 to take them.
const SEND_BUFFER: usize = 64 * 1024;

/// What every connection of a server shares.
pub(super) struct Rules {
    builder: auto::Builder<TokioExecutor>,
    limits: Limits,
    router: Router,
}

impl Rules {
    pub(super) fn new(router: Router, limits: Limits) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            // Without a timer none of hyper's time-outs would fire.
            .timer(TokioTimer::new())
            .header_read_timeout(limits.headers)
            .max_headers(limits.header_lines)
            .max_buf_size(limits.header_bytes.max(8 * 1024));
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(limits.headers)
            .keep_alive_timeout(PONG)
            .max_concurrent_streams(limits.streams)
            .max_pending_accept_reset_streams(limits.streams as usize)
            .max_local_error_reset_streams(limits.taken_back)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
        Self { builder, limits, router }
    }
}

/// What a connection is told from outside.
pub(super) struct Told {
    /// The server is about to end.
    pub over: watch::Receiver<bool>,
    /// Places are scarce.
    pub crowded: watch::Receiver<bool>,
}

/// Serves until the peer or the server ends it, or one of the limits.
pub(super) async fn serve<I>(io: I, peer: SocketAddr, rules: &Rules, mut told: Told)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = rules.limits;
    let pulse = Pulse::new(limits.taken_back);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        // Of HTTP/1 the stream itself sees whether it is read.
        let two = request.version() == Version::HTTP_2;
        let deed = pulse.begin(two);
        let (router, over) = (rules.router.clone(), told.over.clone());
        async move {
            // hyper counts the lines of HTTP/1 only.
            if request.headers().len() > limits.header_lines {
                return Ok(deed.answer(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response()));
            }
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let mut response = router.oneshot(request).await?;
            // HTTP/2 has a message of its own for this.
            if *over.borrow() && !two {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(deed.answer(response))
        }
    });
    let served = rules.builder.serve_connection(TokioIo::new(Patient::new(io, limits.write)), service);
    tokio::pin!(served);
    let mut over = told.over.clone();
    let opened = Instant::now();
    let mut last: Option<Instant> = None;
    let mut ending: Option<Instant> = None;
    loop {
        let crowded = *told.crowded.borrow_and_update();
        match next(&limits, &pulse.state(), opened, crowded, ending) {
            Next::Close => return,
            Next::End => {}
            Next::Wait(until) => tokio::select! {
                biased;
                // How a connection ends is the peer's affair.
                _ = &mut served => return,
                // An error means that the server is gone, which is an end as well.
                _ = over.wait_for(|over| *over), if last.is_none() => {
                    last = Some(Instant::now() + limits.last);
                    continue;
                }
                () = tokio::time::sleep_until(last.unwrap_or(opened)), if last.is_some() && ending.is_none() => {}
                Ok(()) = told.crowded.changed() => continue,
                () = pulse.abused() => continue,
                () = tokio::time::sleep_until(until) => continue,
            },
        }
        // What is under way is finished, and nothing new is begun.
        served.as_mut().graceful_shutdown();
        ending = Some(Instant::now());
    }
}

/// What is to be done about a connection.
enum Next {
    /// It goes on; at the latest at this time it is looked at again.
    Wait(Instant),
    /// It may finish what is under way.
    End,
    /// It is gone at once.
    Close,
}

fn next(limits: &Limits, state: &State, opened: Instant, crowded: bool, ending: Option<Instant>) -> Next {
    let now = Instant::now();
    let short = |usual: Duration| if crowded { usual.min(CROWDED) } else { usual };
    let (due, then) = match (state, ending) {
        // Which version is spoken is read without a timer: until the first request this one is the limit.
        (State { asked: false, .. }, _) => (opened + short(limits.headers), Next::Close),
        // Every request that is begun and taken back costs us and not them.
        (State { taken_back, .. }, None) if *taken_back > limits.taken_back => return Next::End,
        (State { active: 0, moved, .. }, None) => (*moved + short(limits.idle), Next::End),
        (State { active: 0, moved, .. }, Some(told)) => ((*moved).max(told) + PONG, Next::Close),
        // hyper waits for ever until a peer of HTTP/2 makes room for an answer. While another answer of the same connection
        // goes on, the peer is alive, and only holds up itself.
        (State { moved, given: 1.., .. }, _) => (*moved + limits.write, Next::Close),
        // The handlers have their own limits, and a live stream without news none.
        _ => return Next::Wait(now + limits.write),
    };
    if now < due { Next::Wait(due) } else { then }
}
