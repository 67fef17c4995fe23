//! What two nodes, the time and a provider that rotates can do to one connection's tokens, in every order. The provider honours a refresh
//! token until the pair that it gave for it is in use (`shopify.md` 1.7). As with the queue, a model that is small enough to be looked at
//! whole says what is promised, the store then does all of it, and rules that are left out on purpose show that the promises say something.

use super::{shop, take};
use crate::way::{self, way};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::integration::Integration;
use agenstack_store::tenant::integration::{RefreshedTokens, Tokens};
use agenstack_store::testing::{World, sealed};
use agenstack_store::{Store, StoreError, both_databases};
use std::collections::BTreeSet;

/// How far a node is. Pairs of tokens are numbers in the order in which the provider gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    Idle,
    /// It has read the stored pair, and is about to take the right to refresh.
    Read(u8),
    /// It has taken the right, and is about to ask.
    Took(u8),
    /// It was given a pair, or refused, and is about to say so.
    Told(Option<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    stored: u8,
    /// Who took the right to refresh last, unless it was given back, and whether its time is over.
    right: Option<(usize, bool)>,
    nodes: [Node; 2],
}

const BEGIN: State = State { stored: 0, right: None, nodes: [Node::Idle; 2] };

/// What can be done; the number is a node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    Read(usize),
    Take(usize),
    Ask(usize),
    /// Stores the pair it was given, or says that it was refused.
    Tell(usize),
    /// Is killed, and another starts in its place.
    Die(usize),
    /// So much time goes by that the right is over.
    Pass,
}

/// How the right to refresh works: as ours does, or with one rule left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    Ours,
    /// It is taken from who has it.
    WithoutPatience,
    /// It is taken by who has read a pair that is stored no more.
    WithoutLook,
    /// Whoever had it may store, and is believed.
    WithoutFence,
    /// It never comes back from who died.
    WithoutEnd,
}

/// A step: what it leads to, whether it succeeded, and the promise that it breaks.
struct Step {
    after: State,
    done: bool,
    broken: Option<&'static str>,
}

impl State {
    fn possible(&self) -> Vec<Action> {
        let mut all: Vec<_> =
            matches!(self.right, Some((_, false))).then_some(Action::Pass).into_iter().collect();
        for (n, node) in self.nodes.iter().enumerate() {
            all.push(match node {
                Node::Idle => Action::Read(n),
                Node::Read(_) => Action::Take(n),
                Node::Took(_) => Action::Ask(n),
                Node::Told(_) => Action::Tell(n),
            });
            all.extend((*node != Node::Idle).then_some(Action::Die(n)));
        }
        all
    }

    fn pairs(&self) -> impl Iterator<Item = u8> {
        let of = |node: Node| match node {
            Node::Read(pair) | Node::Took(pair) | Node::Told(Some(pair)) => Some(pair),
            Node::Idle | Node::Told(None) => None,
        };
        self.nodes.into_iter().filter_map(of).chain([self.stored])
    }

    /// The same with the smallest numbers that say in which order its pairs were given: what happened before is no matter.
    fn in_short(mut self) -> Self {
        let all: BTreeSet<u8> = self.pairs().collect();
        let short = |pair: u8| all.iter().position(|p| *p == pair).expect("it is one of them") as u8;
        self.stored = short(self.stored);
        self.nodes = self.nodes.map(|node| match node {
            Node::Read(pair) => Node::Read(short(pair)),
            Node::Took(pair) => Node::Took(short(pair)),
            Node::Told(pair) => Node::Told(pair.map(short)),
            Node::Idle => Node::Idle,
        });
        self
    }

    fn after(self, action: Action, rules: Rules) -> Step {
        let (mut after, mut done, mut broken) = (self, true, None);
        match action {
            Action::Read(n) => after.nodes[n] = Node::Read(self.stored),
            Action::Take(n) => {
                let Node::Read(seen) = self.nodes[n] else { unreachable!("it has read") };
                let free = match self.right {
                    None => true,
                    Some((_, over)) => over && rules != Rules::WithoutEnd,
                };
                done = (free || rules == Rules::WithoutPatience)
                    && (seen == self.stored || rules == Rules::WithoutLook);
                after.nodes[n] = if done { Node::Took(seen) } else { Node::Idle };
                if done {
                    after.right = Some((n, false));
                    broken = matches!(self.right, Some((_, false)))
                        .then_some("the right is taken from who has it");
                }
            }
            Action::Ask(n) => {
                let Node::Took(seen) = self.nodes[n] else { unreachable!("it has the right") };
                // A pair that is stored is in use.
                let given = (seen == self.stored).then(|| self.pairs().max().expect("one is stored") + 1);
                after.nodes[n] = Node::Told(given);
            }
            Action::Tell(n) => {
                let Node::Told(given) = self.nodes[n] else { unreachable!("it was told") };
                let its = matches!(self.right, Some((by, _)) if by == n);
                done = its || rules == Rules::WithoutFence;
                after.nodes[n] = Node::Idle;
                if done {
                    after.right = None;
                    match given {
                        Some(pair) if pair < self.stored => {
                            broken = Some("an older pair is stored in the place of a newer one")
                        }
                        Some(_) => {}
                        None => broken = Some("a connection that was renewed is said to be lost"),
                    }
                    after.stored = given.unwrap_or(self.stored);
                }
            }
            Action::Die(n) => after.nodes[n] = Node::Idle,
            Action::Pass => after.right = self.right.map(|(by, _)| (by, true)),
        }
        Step { after: after.in_short(), done, broken }
    }
}

/// All that can be reached, with where each step leads and whether it succeeds.
type Steps = way::Steps<State, Action, bool>;

/// That, and the promises that are broken somewhere.
fn explored(rules: Rules) -> (Steps, BTreeSet<&'static str>) {
    let (mut all, mut broken, mut open) = (Steps::new(), BTreeSet::new(), vec![BEGIN]);
    while let Some(state) = open.pop() {
        if all.contains_key(&state) {
            continue;
        }
        let mut steps = Vec::new();
        for action in state.possible() {
            let step = state.after(action, rules);
            broken.extend(step.broken);
            open.push(step.after);
            steps.push((action, step.after, step.done));
        }
        all.insert(state, steps);
    }
    // From where a renewal can still be stored, whoever died.
    let mut renewed = BTreeSet::new();
    loop {
        let known = renewed.len();
        for (from, steps) in &all {
            let stores = |action: &Action, done: bool| {
                done && matches!(action, Action::Tell(n) if matches!(from.nodes[*n], Node::Told(Some(_))))
            };
            if steps.iter().any(|(action, to, done)| stores(action, *done) || renewed.contains(to)) {
                renewed.insert(*from);
            }
        }
        if renewed.len() == known {
            break;
        }
    }
    if renewed.len() < all.len() {
        broken.insert("a connection can be renewed no more");
    }
    (all, broken)
}

#[test]
fn a_renewal_keeps_its_promises_in_every_state_and_breaks_one_without_each_of_its_rules() {
    let (all, broken) = explored(Rules::Ours);
    assert_eq!(broken, BTreeSet::new());
    assert_eq!((all.len(), all.values().map(Vec::len).sum()), (156, 628), "as `docs/reliability.md` says");
    for (rules, promise) in [
        (Rules::WithoutPatience, "the right is taken from who has it"),
        (Rules::WithoutLook, "a connection that was renewed is said to be lost"),
        (Rules::WithoutFence, "an older pair is stored in the place of a newer one"),
        (Rules::WithoutFence, "a connection that was renewed is said to be lost"),
        (Rules::WithoutEnd, "a connection can be renewed no more"),
    ] {
        let broken = explored(rules).1;
        assert!(broken.contains(promise), "{rules:?}: {broken:?}");
    }
}

/// How long the right to refresh is held in this test.
const RIGHT_MILLIS: i64 = 30_000;

/// One connection, treated as the model's.
struct Played<'a> {
    w: &'a World,
    store: &'a Store,
    org: &'a OrgCtx,
    it: &'a Integration,
    /// What each node read last, and until when it took the right.
    read: [Option<Tokens>; 2],
    until: [Timestamp; 2],
    /// What each was given last, by the second in which it ends.
    given: [Timestamp; 2],
    pairs: i64,
}

impl Played<'_> {
    async fn stored(&self) -> Tokens {
        self.store.tenant_read(self.org).await.unwrap().integration_tokens(&self.it.id).await.unwrap()
    }

    /// Gives whether it succeeded.
    async fn play(&mut self, before: &State, action: Action) -> bool {
        match action {
            Action::Read(n) => self.read[n] = Some(self.stored().await),
            Action::Take(n) => {
                let (now, seen) = (self.w.now(), self.read[n].as_ref().expect("it has read"));
                let until = now.plus_millis(RIGHT_MILLIS);
                let taken = take(self.store, self.org, self.it, seen, now, until).await;
                if taken {
                    self.until[n] = until;
                }
                return taken;
            }
            Action::Ask(n) => {
                self.pairs += 1;
                self.given[n] = self.it.token_expires_at.unwrap().plus_secs(self.pairs);
            }
            Action::Tell(n) => {
                let (now, until) = (self.w.now(), self.until[n]);
                let mut tx = self.store.tenant(self.org).await.unwrap();
                let told = if before.nodes[n] == Node::Told(None) {
                    tx.integration_refresh_failed(&self.it.id, until, now).await
                } else {
                    let pair = RefreshedTokens {
                        access_token: sealed("access"),
                        refresh_token: Some(sealed("refresh")),
                        expires_at: Some(self.given[n]),
                        refresh_expires_at: None,
                        renew_at: None,
                    };
                    tx.integration_refreshed(&self.it.id, self.it.generation, until, &pair).await
                };
                tx.commit().await.unwrap();
                assert!(matches!(told, Ok(()) | Err(StoreError::LeaseLost)), "{told:?}");
                return told.is_ok();
            }
            Action::Die(_) => {}
            Action::Pass => self.w.clock.advance_millis(RIGHT_MILLIS + 1),
        }
        true
    }
}

both_databases! {
    async fn the_store_renews_as_the_model_does_whatever_is_done_in_each_of_its_states(db: TestDb) {
        let (w, store) = (World::new(), &db.store);
        let (org, it) = shop(&w, store).await;
        let at = w.now();
        let mut played = Played {
            w: &w, store, org: &org, it: &it, read: [None, None], until: [at; 2], given: [at; 2], pairs: 0,
        };
        let (all, _) = explored(Rules::Ours);
        let mut open: BTreeSet<_> =
            all.iter().flat_map(|(state, steps)| steps.iter().map(|step| (*state, step.0))).collect();
        let mut state = BEGIN;
        let mut stored = played.stored().await.expires_at;
        while let Some(way) = way(&all, &open, state) {
            for (before, action, after, done) in way {
                assert_eq!(played.play(&before, action).await, done, "{before:?}, {action:?}");
                if let Action::Tell(n) = action && done && before.nodes[n] != Node::Told(None) {
                    stored = Some(played.given[n]);
                }
                assert_eq!(played.stored().await.expires_at, stored, "{before:?}, {action:?}");
                open.remove(&(before, action));
                state = after;
            }
        }
        assert!(open.is_empty(), "{} of {} states: {open:?}", open.len(), all.len());
    }
}
