//! What became of one event, step by step: received, committed, each attempt, and how it stands.
//!
//! Most of it stands in the event's own row. Only what the row does not know any more is kept beside it, in the
//! transaction that overwrites it; see `agenstack_store::tenant::event_history`.

use agenstack_core::clock::Timestamp;
use agenstack_core::event::{Event, EventHistory, EventState, EventStep};
use serde::Serialize;

/// A step of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// `received`, `committed`, `failed`, `dead`, `done`, `cancelled`, `replayed`, `waiting` or `running`.
    pub step: &'static str,
    /// When; for what waits, when it is due. Nothing where only the order is known: an event is committed after it was
    /// received, and before the provider was answered.
    pub at: Option<Timestamp>,
    /// When the attempt began: a worker had leased it.
    pub begun_at: Option<Timestamp>,
    /// How long the attempt took.
    pub duration_ms: Option<i64>,
    /// Why, in plain words.
    pub reason: Option<String>,
    /// Who asked for it: a member's id, `operator`, or the id of a replay.
    pub actor: Option<String>,
}

fn moment(step: &'static str, at: Option<Timestamp>) -> Moment {
    Moment { step, at, begun_at: None, duration_ms: None, reason: None, actor: None }
}

fn attempt(step: &'static str, begun: Option<Timestamp>, at: Timestamp) -> Moment {
    // What an older version of the program left says when it was due, which is never after its end.
    let begun = begun.map(|b| b.min(at));
    let took = begun.map(|b| at.millis() - b.millis());
    Moment { begun_at: begun, duration_ms: took, ..moment(step, Some(at)) }
}

/// The steps of an event, oldest first.
pub(crate) fn of(e: &Event, kept: Vec<EventHistory>) -> Vec<Moment> {
    let mut all = vec![moment("received", Some(e.received_at)), moment("committed", None)];
    let told = kept.iter().any(|k| matches!(k.step, EventStep::Dead | EventStep::Cancelled));
    all.extend(kept.into_iter().map(|k| Moment {
        reason: k.reason,
        actor: k.actor,
        ..attempt(k.step.as_str(), k.begun_at, k.at)
    }));
    match (e.state, e.done_at) {
        // An event that is for the log only is done by being committed: there was no attempt.
        (EventState::Done, Some(at)) => all.push(attempt("done", (e.attempts > 0).then_some(e.next_at), at)),
        (EventState::Dead, _) if !told => {
            all.push(Moment { reason: e.last_error.clone(), ..moment("dead", Some(e.next_at)) });
        }
        (EventState::Running, _) => all.push(moment("running", None)),
        (EventState::Pending | EventState::Failed, _) => all.push(moment("waiting", Some(e.next_at))),
        _ => {}
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use agenstack_core::entropy::SeededEntropy;
    use agenstack_core::id::{EventId, IdMaker, IntegrationId, OrgId};
    use agenstack_core::integration::Provider;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn event(state: EventState, attempts: i64, next_at: i64, done_at: Option<i64>) -> Event {
        let (maker, entropy) = (IdMaker::new(), SeededEntropy::new(1));
        Event {
            id: EventId::new(&maker, at(1), &entropy),
            organization_id: OrgId::new(&maker, at(1), &entropy),
            integration_id: IntegrationId::new(&maker, at(1), &entropy),
            generation: 1,
            provider: Provider::Shopify,
            topic: "orders/create".into(),
            external_id: "w-1".into(),
            state,
            attempts,
            received_at: at(100),
            triggered_at: None,
            done_at: done_at.map(at),
            next_at: at(next_at),
            last_error: (state == EventState::Dead).then(|| "no answer".into()),
        }
    }

    fn steps(all: &[Moment]) -> Vec<&'static str> {
        all.iter().map(|m| m.step).collect()
    }

    #[test]
    fn an_event_that_is_done_at_once_tells_when_its_attempt_began_and_how_long_it_took() {
        let all = of(&event(EventState::Done, 1, 110, Some(150)), Vec::new());
        assert_eq!(steps(&all), ["received", "committed", "done"]);
        assert_eq!(
            (all[2].begun_at, all[2].at, all[2].duration_ms),
            (Some(at(110)), Some(at(150)), Some(40))
        );
        let logged = of(&event(EventState::Done, 0, 100, Some(100)), Vec::new());
        assert_eq!((logged[2].step, logged[2].begun_at, logged[2].duration_ms), ("done", None, None));
    }

    #[test]
    fn attempts_that_failed_come_before_how_it_stands_now() {
        let failed = EventHistory {
            step: EventStep::Failed,
            begun_at: Some(at(110)),
            at: at(120),
            reason: Some("no answer".into()),
            actor: None,
        };
        let waits = of(&event(EventState::Failed, 1, 2_000, None), vec![failed.clone()]);
        assert_eq!(steps(&waits), ["received", "committed", "failed", "waiting"]);
        assert_eq!((waits[2].reason.as_deref(), waits[2].duration_ms), (Some("no answer"), Some(10)));
        assert_eq!(waits[3].at, Some(at(2_000)));
        let runs = of(&event(EventState::Running, 2, 2_000, None), vec![failed]);
        assert_eq!(steps(&runs), ["received", "committed", "failed", "running"]);
    }

    #[test]
    fn a_dead_event_tells_why_once_also_if_nothing_was_kept_of_it() {
        let dead = event(EventState::Dead, 1, 130, None);
        let all = of(&dead, Vec::new());
        assert_eq!((steps(&all)[2], all[2].reason.as_deref()), ("dead", Some("no answer")));
        let kept = EventHistory {
            step: EventStep::Cancelled,
            begun_at: None,
            at: at(130),
            reason: None,
            actor: None,
        };
        assert_eq!(steps(&of(&dead, vec![kept])), ["received", "committed", "cancelled"]);
    }
}
