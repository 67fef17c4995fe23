//! Tells open pages that something changed. Says what kind of thing, never what it is: the page asks for that with
//! its own rights.

use agenstack_core::id::OrgId;
use tokio::sync::broadcast;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// A conversation or message.
    Inbox,
    /// A connection.
    Integrations,
    /// An event of the inbox log.
    Events,
}

impl Topic {
    /// Its name in the event stream.
    pub const fn as_str(self) -> &'static str {
        match self {
            Topic::Inbox => "inbox",
            Topic::Integrations => "integrations",
            Topic::Events => "events",
        }
    }
}

/// Changes of this process. A page that misses some asks again anyway: the stream has a slow beat as the net below.
pub struct Live(broadcast::Sender<(OrgId, Topic)>);

impl Live {
    /// Nobody listens yet.
    pub(crate) fn new() -> Self {
        Self(broadcast::channel(256).0)
    }
    /// Something of this organization changed.
    pub(crate) fn changed(&self, org: &OrgId, topic: Topic) {
        // No listener is no failure.
        let _ = self.0.send((org.clone(), topic));
    }
    /// Listens to all organizations; the caller keeps only its own.
    pub fn listen(&self) -> broadcast::Receiver<(OrgId, Topic)> {
        self.0.subscribe()
    }
}
