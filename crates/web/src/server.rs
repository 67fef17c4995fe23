//! Accepts connections and bounds what a stranger can hold: how many connections, how long one may take to ask
//! something, how large its headers may be. The library's own server sets no timer, so that none of hyper's limits
//! would fire; this one does.

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; past that they wait in the system's queue until another ends.
    pub connections: usize,
    /// How long a request's headers may take, from the opening of the connection or the end of the request before. Also how
    /// long an idle connection is kept.
    pub headers: Duration,
    /// Header lines of one request.
    pub header_lines: usize,
    /// Bytes of one request's headers.
    pub header_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8_000,
            headers: Duration::from_secs(10),
            header_lines: 64,
            header_bytes: 16 * 1024,
        }
    }
}

/// How long a peer of HTTP/2 may be silent when it is asked whether it is there.
const PONG: Duration = Duration::from_secs(10);
/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 64;
/// How long nothing is accepted after the system could not (too many open files).
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until `over` is done, then finishes what was asked.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, over: impl Future<Output = ()>) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .max_headers(limits.header_lines)
        .max_buf_size(limits.header_bytes.max(8 * 1024));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.headers)
        .keep_alive_timeout(PONG)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    let builder = Arc::new(builder);
    tokio::pin!(over);
    loop {
        let (stream, peer, permit) = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = &mut over => break,
        };
        let (router, builder, watcher) = (router.clone(), builder.clone(), graceful.watcher());
        tokio::spawn(async move {
            connection(stream, peer, router, &builder, watcher, limits.headers).await;
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let permit = room.clone().acquire_owned().await.expect("nobody closes this semaphore");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, permit),
            Err(error) => {
                // A connection that ended before it was taken is nothing; having no more files is.
                let gone = matches!(
                    error.kind(),
                    std::io::ErrorKind::ConnectionAborted
                        | std::io::ErrorKind::ConnectionReset
                        | std::io::ErrorKind::ConnectionRefused
                );
                if !gone {
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    builder: &auto::Builder<TokioExecutor>,
    watcher: Watcher,
    first: Duration,
) {
    // Answers are whole; waiting for more to send only makes people wait.
    let _ = stream.set_nodelay(true);
    let asked = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let asked = asked.clone();
        move |request: hyper::Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request)
        }
    });
    let served = watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
    tokio::pin!(served);
    // Which version is spoken is read without a timer: until the first request this one is the limit.
    tokio::select! {
        _ = &mut served => return,
        () = tokio::time::sleep(first) => {}
    }
    if asked.load(Ordering::Relaxed) {
        // How a connection ends is the peer's affair.
        let _ = served.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::State;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Notify, oneshot};

    const SHORT: Duration = Duration::from_millis(150);

    /// Told when a body is about to be read.
    #[derive(Clone)]
    struct Begun(Arc<Notify>);

    async fn started(limits: Limits) -> (SocketAddr, oneshot::Sender<()>) {
        started_with(limits, &Arc::new(Notify::new())).await
    }

    async fn started_with(limits: Limits, notify: &Arc<Notify>) -> (SocketAddr, oneshot::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let who = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() };
        let begun = |State(begun): State<Begun>, request: Request| async move {
            begun.0.notify_one();
            axum::body::to_bytes(request.into_body(), 100).await.unwrap()
        };
        let router =
            Router::new().route("/", get(who)).route("/body", post(begun)).with_state(Begun(notify.clone()));
        tokio::spawn(serve(listener, router, limits, async {
            let _ = stopped.await;
        }));
        (address, stop)
    }

    fn limits() -> Limits {
        Limits { headers: SHORT, ..Limits::default() }
    }

    /// What the server says until it ends the connection.
    async fn to_the_end(mut stream: TcpStream) -> String {
        let mut text = Vec::new();
        // A reset is an end as well.
        let _ = stream.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    }

    #[tokio::test]
    async fn whoever_sends_nothing_half_a_line_or_half_a_preface_is_let_go() {
        let (address, _stop) = started(limits()).await;
        for begun in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(begun.as_bytes()).await.unwrap();
            let said = to_the_end(stream).await;
            assert!(!said.contains("200 OK"), "{begun:?}: {said}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_kept_and_not_used_is_let_go_and_one_that_asks_again_is_served() {
        let (address, _stop) = started(limits()).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        for _ in 0..3 {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut answer = [0; 512];
            let n = stream.read(&mut answer).await.unwrap();
            let text = String::from_utf8_lossy(&answer[..n]);
            assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("127.0.0.1"), "{text}");
        }
        assert_eq!(to_the_end(stream).await, "");
    }

    #[tokio::test]
    async fn too_many_or_too_long_headers_are_refused() {
        let (address, _stop) = started(Limits::default()).await;
        let many: String = (0..80).map(|n| format!("X-{n}: 1\r\n")).collect();
        let long = format!("X-Long: {}\r\n", "a".repeat(64 * 1024));
        for headers in [many, long] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // The server may end it while this is still being sent.
            let _ = stream.write_all(format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).await;
            let said = to_the_end(stream).await;
            assert!(said.starts_with("HTTP/1.1 431") || said.is_empty(), "{said}");
        }
    }

    #[tokio::test]
    async fn past_the_bound_a_connection_waits_until_another_ends() {
        let (address, _stop) = started(Limits { connections: 2, ..limits() }).await;
        let (one, two) =
            (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
        let mut third = TcpStream::connect(address).await.unwrap();
        third.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        // The two that say nothing are let go after their time, and the third is served then.
        assert!(to_the_end(third).await.starts_with("HTTP/1.1 200 OK"));
        assert_eq!(to_the_end(one).await + &to_the_end(two).await, "");
    }

    #[tokio::test]
    async fn what_was_asked_before_the_end_is_answered() {
        let begun = Arc::new(Notify::new());
        let (address, stop) = started_with(Limits::default(), &begun).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe").await.unwrap();
        begun.notified().await;
        stop.send(()).unwrap();
        stream.write_all(b"llo").await.unwrap();
        let said = to_the_end(stream).await;
        assert!(said.starts_with("HTTP/1.1 200 OK") && said.ends_with("hello"), "{said}");
    }
}
