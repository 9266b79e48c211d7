//! Events and cases as spans of time: what the time line draws and the tables list.

use std::collections::HashMap;
use std::time::Duration;

use events::{Event, Outcome};

use crate::run::Case;

/// How a step ended, as far as the log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Ended(Outcome),
    /// The log has no end for it: the run was killed, or lost the line.
    Open,
}

impl Ending {
    pub(crate) fn is_bad(self) -> bool {
        matches!(self, Ending::Open | Ending::Ended(Outcome::Failed))
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Ending::Ended(Outcome::Done) => "done",
            Ending::Ended(Outcome::Unchanged) => "unchanged",
            Ending::Ended(Outcome::Failed) => "failed",
            Ending::Open => "unfinished",
        }
    }
}

/// One execution of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) step: String,
    pub(crate) title: String,
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
    pub(crate) estimate_ms: Option<u64>,
    pub(crate) ending: Ending,
    pub(crate) message: String,
}

impl Step {
    pub(crate) fn took(&self) -> Duration {
        Duration::from_millis(self.end_ms.saturating_sub(self.start_ms))
    }
}

/// One state of an object, from its event to the object's next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phase {
    pub(crate) state: String,
    pub(crate) message: String,
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
}

/// What a state of an object means to the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Waiting,
    Bad,
}

/// The tone of a state. Words that nobody told us about count as waiting, which claims least.
pub(crate) fn tone(state: &str) -> Tone {
    let state = state.to_lowercase();
    let state = state.trim();
    match state {
        "failed" | "impossible" | "doomed" | "late" | "error" => Tone::Bad,
        "current" | "healthy" | "ready" | "running" | "unchanged" | "created" | "updated"
        | "configured" | "recreated" | "applied" | "complete" | "succeeded" | "pruned"
        | "deleted" => Tone::Good,
        _ => Tone::Waiting,
    }
}

/// The time of an event.
pub(crate) fn at_ms(event: &Event) -> u64 {
    match event {
        Event::StepStarted { at_ms, .. }
        | Event::StepProgress { at_ms, .. }
        | Event::StepEnded { at_ms, .. }
        | Event::Note { at_ms, .. }
        | Event::Object { at_ms, .. }
        | Event::Error { at_ms, .. }
        | Event::Result { at_ms, .. } => *at_ms,
    }
}

/// A duration in whole milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn last_ms(events: &[Event]) -> u64 {
    events.iter().map(at_ms).max().unwrap_or_default()
}

/// The steps in the order in which they began. An end belongs to the latest open step of its
/// name; an end without a beginning is a step that began as long ago as it says it took.
pub(crate) fn steps(events: &[Event]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut open: HashMap<&str, Vec<usize>> = HashMap::new();
    let last = last_ms(events);
    for event in events {
        match event {
            Event::StepStarted { at_ms, step, title, estimate_ms } => {
                open.entry(step).or_default().push(steps.len());
                steps.push(Step {
                    step: step.clone(),
                    title: title.clone(),
                    start_ms: *at_ms,
                    end_ms: last.max(*at_ms),
                    estimate_ms: *estimate_ms,
                    ending: Ending::Open,
                    message: String::new(),
                });
            }
            Event::StepProgress { step, message, .. } => {
                // What an unfinished step was at is the best hint at why it did not finish.
                if let Some(index) = open.get(step.as_str()).and_then(|it| it.last()) {
                    steps[*index].message.clone_from(message);
                }
            }
            Event::StepEnded { at_ms, step, outcome, took_ms, message } => {
                let index = open.get_mut(step.as_str()).and_then(Vec::pop).unwrap_or_else(|| {
                    steps.push(unannounced(step, at_ms.saturating_sub(*took_ms)));
                    steps.len() - 1
                });
                let ended = &mut steps[index];
                ended.end_ms = ended.start_ms.saturating_add(*took_ms);
                ended.ending = Ending::Ended(*outcome);
                ended.message.clone_from(message);
            }
            _ => {}
        }
    }
    steps.sort_by_key(|it| it.start_ms);
    steps
}

fn unannounced(step: &str, start_ms: u64) -> Step {
    Step {
        step: step.to_owned(),
        title: step.to_owned(),
        start_ms,
        end_ms: start_ms,
        estimate_ms: None,
        ending: Ending::Open,
        message: String::new(),
    }
}

/// The objects in the order in which they were first seen, each with its states. The last state
/// holds until `end_ms`, the end of the run.
pub(crate) fn objects(events: &[Event], end_ms: u64) -> Vec<(String, Vec<Phase>)> {
    let mut objects: Vec<(String, Vec<Phase>)> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for event in events {
        let Event::Object { at_ms, object, state, message } = event else { continue };
        let index = *known.entry(object).or_insert_with(|| {
            objects.push((object.clone(), Vec::new()));
            objects.len() - 1
        });
        let phases = &mut objects[index].1;
        if let Some(previous) = phases.last_mut() {
            previous.end_ms = (*at_ms).max(previous.start_ms);
        }
        phases.push(Phase {
            state: state.clone(),
            message: message.clone(),
            start_ms: *at_ms,
            end_ms: end_ms.max(*at_ms),
        });
    }
    objects
}

/// The cases that have a time, in as few lanes as hold them side by side.
pub(crate) fn lanes(cases: &[Case]) -> Vec<Vec<(u64, &Case)>> {
    let mut timed: Vec<(u64, &Case)> =
        cases.iter().filter_map(|it| Some((it.started_at?, it))).collect();
    timed.sort_by(|a, b| (a.0, &a.1.suite, &a.1.name).cmp(&(b.0, &b.1.suite, &b.1.name)));
    let mut lanes: Vec<(u64, Vec<(u64, &Case)>)> = Vec::new();
    for (start, case) in timed {
        // An instant still takes its place, or two cases could hide each other.
        let end = start.saturating_add(milliseconds(case.took).max(1));
        match lanes.iter_mut().find(|(free, _)| *free <= start) {
            Some((free, lane)) => {
                *free = end;
                lane.push((start, case));
            }
            None => lanes.push((end, vec![(start, case)])),
        }
    }
    lanes.into_iter().map(|(_, lane)| lane).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn started(at_ms: u64, step: &str) -> Event {
        let title = step.to_uppercase();
        Event::StepStarted { at_ms, step: step.into(), title, estimate_ms: None }
    }

    fn ended(at_ms: u64, step: &str, took_ms: u64) -> Event {
        let (outcome, message) = (Outcome::Done, String::new());
        Event::StepEnded { at_ms, step: step.into(), outcome, took_ms, message }
    }

    #[test]
    fn an_end_closes_the_latest_step_of_its_name() {
        let events = [started(0, "a"), started(5, "a"), ended(9, "a", 4), ended(20, "a", 20)];
        let spans: Vec<_> = steps(&events).iter().map(|it| (it.start_ms, it.end_ms)).collect();
        assert_eq!(spans, [(0, 20), (5, 9)]);
    }

    #[test]
    fn a_killed_step_stays_open_until_the_end_of_the_log() {
        let progress =
            Event::StepProgress { at_ms: 70, step: "a".into(), message: "layer 3".into() };
        let step = &steps(&[started(10, "a"), progress])[0];
        assert_eq!((step.ending, step.end_ms), (Ending::Open, 70));
        assert_eq!(step.message, "layer 3");
    }

    #[test]
    fn an_end_without_a_beginning_is_not_lost() {
        let step = &steps(&[ended(50, "a", 20)])[0];
        assert_eq!((step.start_ms, step.end_ms), (30, 50));
    }

    #[test]
    fn a_state_lasts_until_the_objects_next_one() {
        let object = |at_ms, object: &str, state: &str| Event::Object {
            at_ms,
            object: object.into(),
            state: state.into(),
            message: String::new(),
        };
        let events = [object(1, "x", "waiting"), object(2, "y", "failed"), object(5, "x", "ok")];
        let objects = objects(&events, 9);
        let spans = |index: usize| -> Vec<_> {
            objects[index].1.iter().map(|it| (it.start_ms, it.end_ms)).collect()
        };
        assert_eq!(spans(0), [(1, 5), (5, 9)]);
        assert_eq!(spans(1), [(2, 9)]);
    }

    #[test]
    fn an_unknown_state_claims_least() {
        assert_eq!(tone("Current"), Tone::Good);
        assert_eq!(tone("doomed"), Tone::Bad);
        assert_eq!(tone("in progress"), Tone::Waiting);
        assert_eq!(tone("not failed"), Tone::Waiting);
    }

    proptest! {
        #[test]
        fn lanes_hold_every_timed_case_once_and_without_overlap(
            spans in prop::collection::vec((prop::option::of(0..500_u64), 0..100_u64), 0..40)
        ) {
            let cases: Vec<Case> = spans
                .iter()
                .map(|(started_at, took)| Case {
                    started_at: *started_at,
                    took: Duration::from_millis(*took),
                    ..Case::default()
                })
                .collect();
            let lanes = lanes(&cases);
            let drawn: u64 = lanes.iter().flatten().map(|it| milliseconds(it.1.took)).sum();
            let timed = spans.iter().filter(|it| it.0.is_some());
            prop_assert_eq!(drawn, timed.map(|it| it.1).sum::<u64>());
            for lane in &lanes {
                for pair in lane.windows(2) {
                    prop_assert!(pair[0].0 + milliseconds(pair[0].1.took) <= pair[1].0);
                }
            }
        }

        #[test]
        fn the_phases_of_an_object_add_up_to_the_time_it_was_watched(
            mut times in prop::collection::vec(0..1000_u64, 1..10), after in 0..50_u64
        ) {
            times.sort_unstable();
            let events: Vec<Event> = times
                .iter()
                .map(|at_ms| Event::Object {
                    at_ms: *at_ms,
                    object: "x".into(),
                    state: "s".into(),
                    message: String::new(),
                })
                .collect();
            let end = times[times.len() - 1] + after;
            let phases = &objects(&events, end)[0].1;
            let total: u64 = phases.iter().map(|it| it.end_ms - it.start_ms).sum();
            prop_assert_eq!(total, end - times[0]);
        }
    }
}
