//! Over pipes in memory and a clock that jumps: what takes ten seconds outside takes none here, and every limit is seen to
//! fire when it says.

mod http1;
mod http2;
mod socket;

use super::connection::{self, Rules, Told};
use super::*;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::routing::{get, post};
use bytes::Bytes;
use std::convert::Infallible;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// What the handlers of the tests share.
#[derive(Clone, Default)]
struct Seen {
    /// Told when a handler that never ends is reached.
    begun: Arc<Notify>,
    /// The other end of a live stream.
    live: Arc<std::sync::Mutex<Option<mpsc::Sender<Bytes>>>>,
}

fn router(seen: &Seen) -> Router {
    let who = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() };
    let echo = |State(seen): State<Seen>, request: Request| async move {
        seen.begun.notify_one();
        match axum::body::to_bytes(request.into_body(), 100).await {
            Ok(body) => (http::StatusCode::OK, body),
            Err(_) => (http::StatusCode::BAD_REQUEST, Bytes::new()),
        }
    };
    let never = |State(seen): State<Seen>| async move {
        seen.begun.notify_one();
        std::future::pending::<()>().await
    };
    // In parts, as what is made while it is sent.
    let large = || async {
        let parts = (0..64).map(|_| Ok::<_, Infallible>(Bytes::from(vec![b'x'; 16 * 1024])));
        Body::from_stream(tokio_stream::iter(parts))
    };
    let live = |State(seen): State<Seen>| async move {
        let (news, told) = mpsc::channel(1);
        *seen.live.lock().unwrap() = Some(news);
        Body::from_stream(ReceiverStream::new(told).map(Ok::<_, Infallible>))
    };
    Router::new()
        .route("/", get(who))
        .route("/body", post(echo))
        .route("/never", get(never))
        .route("/large", get(large))
        .route("/one-part", get(|| async { vec![b'x'; 200_000] }))
        .route("/live", get(live))
        .with_state(seen.clone())
}

/// A server without a listener.
struct Stage {
    rules: Arc<Rules>,
    seen: Seen,
    over: watch::Sender<bool>,
    crowded: watch::Sender<bool>,
}

impl Stage {
    fn new() -> Self {
        let seen = Seen::default();
        Self {
            rules: Arc::new(Rules::new(router(&seen), Limits::default())),
            seen,
            over: watch::Sender::new(false),
            crowded: watch::Sender::new(false),
        }
    }

    /// Opens a connection; the second is done when the server has let go of it.
    fn open(&self) -> (DuplexStream, JoinHandle<()>) {
        let (ours, theirs) = tokio::io::duplex(4 * 1024);
        let (rules, told) =
            (self.rules.clone(), Told { over: self.over.subscribe(), crowded: self.crowded.subscribe() });
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        (ours, tokio::spawn(async move { connection::serve(theirs, peer, &rules, told).await }))
    }

    /// Says something and gives everything that is answered until the server ends the connection, with how long that took.
    async fn said(&self, text: impl AsRef<[u8]>) -> (String, Duration) {
        let (mut stream, _served) = self.open();
        let began = Instant::now();
        let mut answer = Vec::new();
        // The server may end it while this is still being said.
        let _ = stream.write_all(text.as_ref()).await;
        let _ = stream.read_to_end(&mut answer).await;
        (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
    }
}

/// Whether it took that long, and hardly longer.
#[track_caller]
fn took(elapsed: Duration, secs: u64) {
    let (least, most) = (Duration::from_secs(secs), Duration::from_secs(secs + 1));
    assert!(least <= elapsed && elapsed < most, "{elapsed:?} instead of {secs} s");
}
