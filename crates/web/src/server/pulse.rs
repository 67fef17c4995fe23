//! What goes on on one connection: whether it has asked anything, how many answers are under way, and when something last
//! moved. hyper tells none of this, and without it nobody could say which connection only takes room.

use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Bytes of a watched answer that are given at once: taking so many is a sign of life.
const PIECE: usize = 16 * 1024;

/// What is known of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// Whether a request ever came whole.
    pub asked: bool,
    /// Requests whose answers are not given yet.
    pub active: usize,
    /// Watched answers of which a part was handed out, and nobody asked for more yet.
    pub given: usize,
    /// Requests that were taken back before they were answered.
    pub taken_back: usize,
    /// When something last happened.
    pub moved: Instant,
}

/// Shared by a connection and its requests.
#[derive(Clone)]
pub(super) struct Pulse(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    patience: usize,
    abused: Notify,
}

impl Pulse {
    /// Of a connection that may take back so many requests.
    pub(super) fn new(patience: usize) -> Self {
        let state = State { asked: false, active: 0, given: 0, taken_back: 0, moved: Instant::now() };
        Self(Arc::new(Inner { state: Mutex::new(state), patience, abused: Notify::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Numbers are whole after every line that changes them.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> State {
        *self.lock()
    }

    /// Is done when more requests were taken back than anybody needs to.
    pub(super) async fn abused(&self) {
        self.0.abused.notified().await;
    }

    /// A request came; `watched` if nobody else sees whether its answer is taken.
    pub(super) fn begin(&self, watched: bool) -> Deed {
        let mut state = self.lock();
        state.asked = true;
        state.active += 1;
        state.moved = Instant::now();
        drop(state);
        Deed { pulse: self.clone(), watched, answered: false, given: false }
    }
}

/// One request, until its answer has gone or nobody wants it any more.
pub(super) struct Deed {
    pulse: Pulse,
    watched: bool,
    answered: bool,
    given: bool,
}

impl Deed {
    pub(super) fn answer(mut self, response: Response) -> hyper::Response<Answer> {
        self.answered = true;
        response.map(|body| Answer { body, rest: Bytes::new(), deed: self })
    }

    fn given(&mut self, given: bool) {
        let mut state = self.pulse.lock();
        state.moved = Instant::now();
        match (self.given, given) {
            (false, true) => state.given += 1,
            (true, false) => state.given -= 1,
            _ => {}
        }
        drop(state);
        self.given = given;
    }
}

impl Drop for Deed {
    fn drop(&mut self) {
        let mut state = self.pulse.lock();
        state.active -= 1;
        state.given -= usize::from(self.given);
        state.moved = Instant::now();
        if !self.answered {
            state.taken_back += 1;
            if state.taken_back == self.pulse.0.patience + 1 {
                self.pulse.0.abused.notify_one();
            }
        }
    }
}

/// The body of an answer; its connection knows how it goes.
pub(super) struct Answer {
    body: axum::body::Body,
    /// Of a part that was cut, what is still to be given.
    rest: Bytes,
    deed: Deed,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.deed.watched {
            return Pin::new(&mut self.body).poll_frame(cx);
        }
        let part = match std::mem::take(&mut self.rest) {
            rest if rest.is_empty() => Pin::new(&mut self.body).poll_frame(cx),
            rest => Poll::Ready(Some(Ok(Frame::data(rest)))),
        };
        // hyper asks for a part only when there is room for it: whoever asks for the next one has taken the former.
        self.deed.given(matches!(part, Poll::Ready(Some(_))));
        part.map_ok(|part| match part.into_data() {
            Ok(mut data) => {
                self.rest = data.split_off(data.len().min(PIECE));
                Frame::data(data)
            }
            Err(other) => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (of_body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut all = SizeHint::new();
        all.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            all.set_upper(upper + rest);
        }
        all
    }
}
