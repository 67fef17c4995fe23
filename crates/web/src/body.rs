//! What the body of a request may take: time, and room in memory. One place for every route, before any handler reads.
//!
//! A handler gets a body whole or not at all; one that is too slow, too large for the moment or cut off is answered here.

use crate::failure::Failure;
use agenstack_app::AppError;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use hyper::body::{Body as _, Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// No route reads more.
const MOST: u64 = agenstack_app::ingest::MAX_BODY as u64;
/// So many bytes have to come within so long, each time anew: 1 KiB a second, in stretches that forgive a hiccup.
const STRETCH: Duration = Duration::from_secs(5);
const STRETCH_BYTES: usize = 5 * 1024;
/// So much of a body is never refused for want of room: it is what a delivery usually has, and connections are counted.
const FREE: usize = 16 * 1024;
/// Bytes of all bodies together, beyond what is free, that are in memory at once.
const ROOM: usize = 64 * 1024 * 1024;
/// What keeping a part costs beside its bytes: a body may come in parts of one byte.
const PART: usize = 64;

/// The room for bodies of one server.
#[derive(Clone)]
pub(crate) struct Bodies(Arc<Semaphore>);

impl Bodies {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(ROOM)))
    }
}

/// What became of one body.
struct Taken {
    bodies: Bodies,
    state: Mutex<(Option<Spoilt>, Option<OwnedSemaphorePermit>)>,
}

#[derive(Clone, Copy)]
enum Spoilt {
    Slow,
    NoRoom,
    CutOff,
}

/// Bounds the body of a request, and answers for one that broke its bounds.
pub(crate) async fn bounded(State(bodies): State<Bodies>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    if request.body().size_hint().lower() > MOST {
        // Told beforehand: nothing of it is read.
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    let taken = Arc::new(Taken { bodies, state: Mutex::default() });
    let request = request.map(|body| Body::new(Bounded::new(body, taken.clone())));
    let response = next.run(request).await;
    // The room is free again when the answer is there.
    match taken.spoilt() {
        None => response,
        Some(Spoilt::Slow) => StatusCode::REQUEST_TIMEOUT.into_response(),
        Some(Spoilt::NoRoom) => {
            let again = [(header::RETRY_AFTER, HeaderValue::from(1))];
            (StatusCode::SERVICE_UNAVAILABLE, again).into_response()
        }
        Some(Spoilt::CutOff) => {
            Failure(AppError::invalid("body", "The body ended before it was whole.")).into_response()
        }
    }
}

impl Taken {
    fn spoilt(&self) -> Option<Spoilt> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn spoil(&self, how: Spoilt) -> axum::Error {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(how);
        axum::Error::new(std::io::Error::from(std::io::ErrorKind::InvalidData))
    }

    /// Takes room for so many bytes more.
    fn take(&self, bytes: usize) -> Result<(), axum::Error> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(more) = self.bodies.0.clone().try_acquire_many_owned(bytes) else {
            return Err(self.spoil(Spoilt::NoRoom));
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut state.1 {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

struct Bounded {
    body: Body,
    taken: Arc<Taken>,
    /// What was kept up to now, parts included.
    kept: usize,
    /// Bytes of the present stretch.
    stretch: usize,
    timer: Option<Pin<Box<Sleep>>>,
    waits: bool,
}

impl Bounded {
    fn new(body: Body, taken: Arc<Taken>) -> Self {
        Self { body, taken, kept: 0, stretch: 0, timer: None, waits: false }
    }

    fn came(&mut self, bytes: usize) -> Result<(), axum::Error> {
        let before = self.kept.max(FREE);
        self.kept += bytes + PART;
        if self.kept > before {
            self.taken.take(self.kept - before)?;
        }
        self.stretch += bytes;
        if self.stretch >= STRETCH_BYTES {
            (self.stretch, self.waits) = (0, false);
        }
        Ok(())
    }

    /// Whether the stretch has lasted too long. Its time begins when somebody waits for it: a busy handler is not the sender's
    /// fault.
    fn is_slow(&mut self, cx: &mut Context<'_>) -> bool {
        let until = Instant::now() + STRETCH;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if !self.waits {
            self.waits = true;
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

impl hyper::body::Body for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending if self.is_slow(cx) => Poll::Ready(Some(Err(self.taken.spoil(Spoilt::Slow)))),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(part))) => {
                let came = self.came(part.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(came.map(|()| part)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(self.taken.spoil(Spoilt::CutOff)))),
            Poll::Ready(None) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
