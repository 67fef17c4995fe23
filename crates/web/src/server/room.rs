//! How many connections there is room for, and whether it is getting narrow.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The places of all connections.
#[derive(Clone)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    all: usize,
    crowded: Arc<watch::Sender<bool>>,
}

impl Room {
    pub(super) fn new(all: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(all)), all, crowded: Arc::new(watch::Sender::new(false)) }
    }

    /// Whether three of four places are taken: then those who only wait have to go sooner. It ends when half of them are free.
    pub(super) fn crowded(&self) -> watch::Receiver<bool> {
        self.crowded.subscribe()
    }

    /// A place, once there is one.
    pub(super) async fn place(&self) -> Place {
        let permit = self.places.clone().acquire_owned().await.expect("nobody closes this semaphore");
        self.taken(permit)
    }

    /// A place, if there is one now.
    pub(super) fn place_at_once(&self) -> Option<Place> {
        Some(self.taken(self.places.clone().try_acquire_owned().ok()?))
    }

    fn taken(&self, permit: OwnedSemaphorePermit) -> Place {
        self.look();
        Place { permit: Some(permit), room: self.clone() }
    }

    fn look(&self) {
        let free = self.places.available_permits();
        self.crowded.send_if_modified(|crowded| {
            let now = if *crowded { free < self.all / 2 } else { free < self.all / 4 };
            std::mem::replace(crowded, now) != now
        });
    }
}

/// One connection's place.
pub(super) struct Place {
    permit: Option<OwnedSemaphorePermit>,
    room: Room,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.permit.take();
        self.room.look();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_crowded_from_three_quarters_until_one_half() {
        let room = Room::new(8);
        let crowded = room.crowded();
        let mut places = Vec::new();
        let mut seen = Vec::new();
        for _ in 0..8 {
            places.push(room.place().await);
            seen.push(*crowded.borrow());
        }
        assert_eq!(seen, [false, false, false, false, false, false, true, true]);
        seen.clear();
        while places.pop().is_some() {
            seen.push(*crowded.borrow());
        }
        assert_eq!(seen, [true, true, true, false, false, false, false, false]);
    }
}
