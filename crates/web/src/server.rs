//! Accepts connections and bounds what a stranger can hold: how many connections, how long one may take to ask
//! something, how large its headers may be, how long it may leave an answer unread. The library's own server sets no timer,
//! so that none of hyper's limits would fire; this one does.

mod connection;
mod patient;
mod pulse;
mod room;
#[cfg(test)]
mod tests;

use axum::Router;
use connection::{Rules, Told};
use room::{Place, Room};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; past that they wait in the system's queue until another ends. From three quarters of them on, who
    /// only waits is let go after a second.
    pub connections: usize,
    /// How long a request's headers may take, from the opening of the connection or the end of the request before. Also how
    /// long an idle connection of HTTP/1 is kept, and how often a silent peer of HTTP/2 is asked whether it is there.
    pub headers: Duration,
    /// How long an idle connection of HTTP/2 is kept.
    pub idle: Duration,
    /// How long an answer may wait without a byte of it being taken.
    pub write: Duration,
    /// How long, once the server is about to end, a connection may still bring what was on its way to us: whoever sent it could
    /// not know, and a balancer would not send it a second time. The answer says that it is the connection's last.
    pub last: Duration,
    /// Header lines of one request.
    pub header_lines: usize,
    /// Bytes of one request's headers.
    pub header_bytes: usize,
    /// Requests at once on one connection of HTTP/2.
    pub streams: u32,
    /// Requests that one connection may take back before they are answered; then it is told to end.
    pub taken_back: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8_000,
            headers: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            write: Duration::from_secs(30),
            last: Duration::from_secs(1),
            header_lines: 64,
            header_bytes: 16 * 1024,
            streams: 64,
            taken_back: 200,
        }
    }
}

/// How long nothing is accepted after the system could not (too many open files).
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until `over` is done, then finishes what was asked.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, over: impl Future<Output = ()>) {
    let room = Room::new(limits.connections);
    let rules = Arc::new(Rules::new(router, limits));
    let (tell, told) = watch::channel(false);
    tokio::pin!(over);
    let serve = |stream: TcpStream, peer, place| {
        // Answers are whole; waiting for more to send only makes people wait.
        let _ = stream.set_nodelay(true);
        let (rules, told) = (rules.clone(), Told { over: told.clone(), crowded: room.crowded() });
        tokio::spawn(async move {
            connection::serve(stream, peer, &rules, told).await;
            drop(place);
        });
    };
    loop {
        tokio::select! {
            (stream, peer, place) = accept(&listener, &room) => serve(stream, peer, place),
            () = &mut over => break,
        }
    }
    // Whoever has reached the system already would be torn off with the listener.
    for (stream, peer, place) in waiting(listener, &room) {
        serve(stream, peer, place);
    }
    drop(told);
    // Nobody listens when no connection is left.
    let _ = tell.send(true);
    tell.closed().await;
}

/// The connections that wait at a listener, as far as there is room for them.
fn waiting(listener: TcpListener, room: &Room) -> impl Iterator<Item = (TcpStream, SocketAddr, Place)> {
    let listener = listener.into_std().ok();
    std::iter::from_fn(move || {
        let place = room.place_at_once()?;
        let (stream, peer) = listener.as_ref()?.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer, place))
    })
}

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, room: &Room) -> (TcpStream, SocketAddr, Place) {
    let place = room.place().await;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
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
