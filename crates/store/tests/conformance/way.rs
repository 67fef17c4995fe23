//! How a model is played whole: each of its steps has to be reached.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The states of a model, with what can be done in each, where it leads and what is seen of it.
pub type Steps<State, Action, Seen> = BTreeMap<State, Vec<(Action, State, Seen)>>;

/// The shortest way from a state to a step that is still open, which is its last.
pub fn way<State: Copy + Ord, Action: Copy + Ord, Seen: Copy>(
    all: &Steps<State, Action, Seen>,
    open: &BTreeSet<(State, Action)>,
    from: State,
) -> Option<Vec<(State, Action, State, Seen)>> {
    let (mut ways, mut met) = (VecDeque::from([(from, Vec::new())]), BTreeSet::from([from]));
    while let Some((state, way)) = ways.pop_front() {
        for (action, after, seen) in &all[&state] {
            let mut further = way.clone();
            further.push((state, *action, *after, *seen));
            if open.contains(&(state, *action)) {
                return Some(further);
            }
            if met.insert(*after) {
                ways.push_back((*after, further));
            }
        }
    }
    None
}
