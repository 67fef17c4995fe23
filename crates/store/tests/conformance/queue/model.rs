//! What two workers, the time and whoever frees what was left behind can do to one conversation's two rows, in every order. A model
//! small enough to look at all its states says what a queue promises; both queues then do in each of these states whatever can be
//! done, and have to do as the model does. Rules that are broken on purpose show that the promises say something.

use super::{ANY, QUEUES, Shop, ids, lease};
use crate::way::{Steps, way};
use agenstack_core::clock::Timestamp;
use agenstack_store::global::queue::Queue;
use agenstack_store::testing::World;
use agenstack_store::{Store, StoreError, both_databases};
use std::collections::{BTreeMap, BTreeSet};

/// A row, in the order of its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Waits,
    /// Leased by a worker, which may have died since; the lease may be over.
    Runs {
        by: usize,
        over: bool,
    },
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    rows: [Row; 2],
    /// What each worker believes to hold.
    holds: [Option<usize>; 2],
}

const BEGIN: State = State { rows: [Row::Waits; 2], holds: [None; 2] };
const DONE: State = State { rows: [Row::Done; 2], holds: [None; 2] };

/// What can be done; the number is a worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    /// Two more rows of the conversation are queued, when those before are done.
    Queue,
    Take(usize),
    End(usize),
    Fail(usize),
    /// Extends its lease.
    Keep(usize),
    /// Hands its lease back unused.
    HandBack(usize),
    /// Is killed, and another starts in its place.
    Die(usize),
    /// So much time goes by that each lease is over.
    Pass,
    /// Somebody frees what is over.
    Free,
}

/// What is seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    Took(Option<usize>),
    /// Whether the row was the worker's to end.
    Ended(bool),
}

/// How a queue works: as ours does, or with one rule left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    Ours,
    /// A row is taken before the one before it is done.
    WithoutOrder,
    /// Whoever believes to hold a row may end it.
    WithoutToken,
    /// A row is taken that another is at work on.
    WithoutLease,
    /// What is not over yet is freed as well.
    WithoutPatience,
    /// What was left behind is never freed.
    WithoutEnd,
}

impl State {
    /// The row that a worker holds, and whether it still does.
    fn held(&self, worker: usize) -> (usize, bool) {
        let row = self.holds[worker].expect("it holds one");
        (row, matches!(self.rows[row], Row::Runs { by, .. } if by == worker))
    }

    fn possible(&self) -> Vec<Action> {
        let runs = |row: &Row| matches!(row, Row::Runs { .. });
        let goes_on = |row: &Row| matches!(row, Row::Runs { over: false, .. });
        let mut all = Vec::new();
        all.extend((*self == DONE).then_some(Action::Queue));
        all.extend(self.rows.iter().any(goes_on).then_some(Action::Pass));
        all.extend(self.rows.iter().any(runs).then_some(Action::Free));
        for (worker, holds) in self.holds.into_iter().enumerate() {
            match holds {
                None => all.push(Action::Take(worker)),
                Some(_) => all.extend(
                    [Action::End, Action::Fail, Action::Keep, Action::HandBack, Action::Die]
                        .map(|action| action(worker)),
                ),
            }
        }
        all
    }

    fn after(mut self, action: Action, rules: Rules) -> (Self, Seen) {
        let mut seen = Seen::Nothing;
        match action {
            Action::Queue => self.rows = BEGIN.rows,
            Action::Take(worker) => {
                let free = |row: &usize| match self.rows[*row] {
                    Row::Waits => {
                        rules == Rules::WithoutOrder || self.rows[..*row].iter().all(|row| *row == Row::Done)
                    }
                    Row::Runs { .. } => rules == Rules::WithoutLease,
                    Row::Done => false,
                };
                let took = (0..self.rows.len()).find(free);
                if let Some(row) = took {
                    self.rows[row] = Row::Runs { by: worker, over: false };
                    self.holds[worker] = Some(row);
                }
                seen = Seen::Took(took);
            }
            Action::End(worker) | Action::Fail(worker) => {
                let (row, its) = self.held(worker);
                let may = its || rules == Rules::WithoutToken;
                if may {
                    self.rows[row] = if action == Action::End(worker) { Row::Done } else { Row::Waits };
                }
                self.holds[worker] = None;
                seen = Seen::Ended(may);
            }
            Action::Keep(worker) => {
                if let (row, true) = self.held(worker) {
                    self.rows[row] = Row::Runs { by: worker, over: false };
                }
            }
            Action::HandBack(worker) => {
                if let (row, true) = self.held(worker) {
                    self.rows[row] = Row::Waits;
                }
                self.holds[worker] = None;
            }
            Action::Die(worker) => self.holds[worker] = None,
            Action::Pass => {
                for row in &mut self.rows {
                    if let Row::Runs { over, .. } = row {
                        *over = true;
                    }
                }
            }
            Action::Free => {
                for row in &mut self.rows {
                    let free = match row {
                        Row::Runs { over, .. } => *over || rules == Rules::WithoutPatience,
                        _ => false,
                    };
                    if free && rules != Rules::WithoutEnd {
                        *row = Row::Waits;
                    }
                }
            }
        }
        (self, seen)
    }

    /// The promise that a step breaks.
    fn broken(&self, action: Action, after: &Self) -> Option<&'static str> {
        if after.rows[1] != Row::Waits && after.rows[0] != Row::Done {
            return Some("a row is begun before the one before it is done");
        }
        for (before, after) in self.rows.iter().zip(&after.rows) {
            if before == after {
                continue;
            }
            let its = |by| {
                [Action::End, Action::Fail, Action::Keep, Action::HandBack].map(|a| a(by)).contains(&action)
            };
            match *before {
                Row::Done if action != Action::Queue => return Some("what is done is done again"),
                Row::Runs { by, over: false } if action != Action::Pass && !its(by) => {
                    return Some("a row is taken away from who is at work on it");
                }
                Row::Runs { by, over: true } if *after == Row::Done && !its(by) => {
                    return Some("a row is ended by who does not hold it");
                }
                Row::Waits if *after == Row::Done => return Some("a row is ended that nobody holds"),
                _ => {}
            }
        }
        None
    }
}

/// All that can be reached, with where each step leads.
fn explored(rules: Rules) -> Steps<State, Action, Seen> {
    let mut all = BTreeMap::new();
    let mut open = vec![BEGIN];
    while let Some(state) = open.pop() {
        if all.contains_key(&state) {
            continue;
        }
        let step = |action| {
            let (after, seen) = state.after(action, rules);
            (action, after, seen)
        };
        let steps: Vec<_> = state.possible().into_iter().map(step).collect();
        open.extend(steps.iter().map(|(_, after, _)| *after));
        all.insert(state, steps);
    }
    all
}

/// The promises that are broken somewhere.
fn broken(rules: Rules) -> BTreeSet<&'static str> {
    let all = explored(rules);
    let steps = || all.iter().flat_map(|(before, steps)| steps.iter().map(move |step| (before, step)));
    let mut broken: BTreeSet<_> =
        steps().filter_map(|(before, (action, after, _))| before.broken(*action, after)).collect();
    // From where everything can come to its end, whatever was left behind.
    let mut ends = BTreeSet::from([DONE]);
    loop {
        let more: Vec<_> =
            steps().filter(|(_, (_, to, _))| ends.contains(to)).map(|(from, _)| *from).collect();
        let before = ends.len();
        ends.extend(more);
        if ends.len() == before {
            break;
        }
    }
    if all.keys().any(|state| !ends.contains(state)) {
        broken.insert("a row never comes to its end");
    }
    broken
}

#[test]
fn a_queue_keeps_its_promises_in_every_state_and_breaks_one_without_each_of_its_rules() {
    assert_eq!(broken(Rules::Ours), BTreeSet::new());
    for (rules, promise) in [
        (Rules::WithoutOrder, "a row is begun before the one before it is done"),
        (Rules::WithoutToken, "a row is ended by who does not hold it"),
        (Rules::WithoutToken, "what is done is done again"),
        (Rules::WithoutLease, "a row is taken away from who is at work on it"),
        (Rules::WithoutPatience, "a row is taken away from who is at work on it"),
        (Rules::WithoutEnd, "a row never comes to its end"),
    ] {
        assert!(broken(rules).contains(promise), "{rules:?}: {:?}", broken(rules));
    }
}

/// One queue as the model has it.
struct Played<'a> {
    w: &'a World,
    store: &'a Store,
    shop: &'a Shop,
    queue: Queue,
    rows: Vec<String>,
    /// The name on what each worker leased last.
    tokens: [String; 2],
    leases: usize,
}

/// How long a lease of these tests is.
const LEASE_MILLIS: i64 = 60_000;

impl Played<'_> {
    fn now(&self) -> Timestamp {
        self.w.now()
    }

    async fn queue_both(&mut self) {
        self.rows.clear();
        for _ in 0..2 {
            self.rows.push(self.shop.queue(self.w, self.store, self.queue, "a").await);
        }
    }

    async fn play(&mut self, before: &State, action: Action) -> Seen {
        let (store, now) = (self.store, self.now());
        match action {
            Action::Queue => self.queue_both().await,
            Action::Take(worker) => {
                self.leases += 1;
                let token = format!("t{}", self.leases);
                let leased = lease(store, self.queue, &token, now, 1).await;
                let row = ids(&leased).first().map(|id| self.rows.iter().position(|row| row == id).unwrap());
                if row.is_some() {
                    self.tokens[worker] = token;
                }
                return Seen::Took(row);
            }
            Action::End(worker) | Action::Fail(worker) => {
                let (row, token) = (&self.rows[before.held(worker).0], &self.tokens[worker]);
                let ended = if action == Action::End(worker) {
                    self.shop.done(self.w, store, self.queue, row, token).await
                } else {
                    self.shop.failed(store, self.queue, row, token, now).await
                };
                assert!(matches!(ended, Ok(()) | Err(StoreError::LeaseLost)), "{ended:?}");
                return Seen::Ended(ended.is_ok());
            }
            Action::Keep(_) | Action::HandBack(_) | Action::Free => {
                let mut tx = store.global().await.unwrap();
                let done = match action {
                    Action::Keep(worker) => {
                        tx.lease_extend(&self.tokens[worker], ANY, now.plus_millis(LEASE_MILLIS)).await
                    }
                    Action::HandBack(worker) => tx.lease_return(&self.tokens[worker], ANY, now).await,
                    _ => tx.lease_expire("", ANY, now, |_| now).await,
                };
                done.unwrap();
                tx.commit().await.unwrap();
            }
            Action::Die(_) => {}
            Action::Pass => self.w.clock.advance_millis(LEASE_MILLIS + 1),
        }
        Seen::Nothing
    }

    /// Whether a row is as the model says.
    async fn is(&self, row: usize, as_told: Row) -> bool {
        let (state, token) = stored(self.store, self.queue, &self.rows[row]).await;
        match as_told {
            Row::Waits => matches!(state.as_str(), "pending" | "failed") && token.is_none(),
            Row::Runs { by, .. } => state == "running" && token.as_ref() == Some(&self.tokens[by]),
            Row::Done => state == "done" && token.is_none(),
        }
    }
}

/// What stands in a row. A deed that is done is deleted.
async fn stored(store: &Store, queue: Queue, id: &str) -> (String, Option<String>) {
    let sql = match queue {
        Queue::Events => "SELECT state, lease_token FROM events WHERE id = $1",
        Queue::Jobs => "SELECT state, lease_token FROM jobs WHERE id = $1",
    };
    let row = match (store.sqlite(), store.postgres()) {
        (Some(pool), _) => sqlx::query_as(sql).bind(id).fetch_optional(pool).await.unwrap(),
        (_, pool) => sqlx::query_as(sql).bind(id).fetch_optional(pool.unwrap()).await.unwrap(),
    };
    row.unwrap_or_else(|| ("done".to_owned(), None))
}

both_databases! {
    async fn both_queues_do_as_the_model_does_whatever_is_done_in_each_of_its_states(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let shop = Shop::new(&w, store, "lark").await;
        let all = explored(Rules::Ours);
        for queue in QUEUES {
            let tokens = [String::new(), String::new()];
            let mut played = Played { w: &w, store, shop: &shop, queue, rows: Vec::new(), tokens, leases: 0 };
            let mut open: BTreeSet<_> =
                all.iter().flat_map(|(state, steps)| steps.iter().map(|step| (*state, step.0))).collect();
            played.queue_both().await;
            let mut state = BEGIN;
            while let Some(way) = way(&all, &open, state) {
                for (before, action, after, seen) in way {
                    assert_eq!(played.play(&before, action).await, seen, "{queue:?}, {before:?}, {action:?}");
                    for (row, as_told) in after.rows.into_iter().enumerate() {
                        assert!(played.is(row, as_told).await, "{queue:?}, {before:?}, {action:?}: row {row} is not {as_told:?}");
                    }
                    open.remove(&(before, action));
                    state = after;
                }
            }
            assert!(open.is_empty(), "{open:?}");
        }
    }
}
