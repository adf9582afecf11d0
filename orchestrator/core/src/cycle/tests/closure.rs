//! Walks the state machine until no new state appears: from each state, every input that the engine could give. After each the invariants
//! are checked against a small model of the world outside, which knows only what it was told to do and what it reported.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::*;
use crate::cycle::world::{World, possible};

type Node = (Cycle, World);

/// Requests have fixed names, by their part: one is in work, one waits, one is new, one was answered with success and stays frozen.
const IN_WORK: RequestId = RequestId(0);
const WAITS: RequestId = RequestId(1);
const NEW: RequestId = RequestId(2);
const FROZEN: RequestId = RequestId(3);

impl Cycle {
    /// Two states that differ only in a request's number, or in the reason to be told, behave alike: the walk takes them for one.
    fn name_requests_by_their_part(&mut self) {
        match &mut self.state {
            State::Idle => {}
            State::Checking(request) => *request = request.map(|_| IN_WORK),
            State::Freezing(Freezing { asker: Asker::Host(request), .. }) => *request = IN_WORK,
            State::Frozen(Frozen { asker: Asker::Host(request), thaw, .. }) => {
                *request = FROZEN;
                *thaw = thaw.map(|_| IN_WORK);
            }
            State::Freezing(_) | State::Frozen(_) => {}
            State::Releasing(releasing) => {
                releasing.why = Why::AsAsked;
                if let Some(thaw) = &mut releasing.thaw {
                    thaw.request = IN_WORK;
                    thaw.doubt = thaw.doubt.map(|_| Why::Expired);
                }
            }
        }
        if let Some((request, _)) = &mut self.waiting {
            *request = WAITS;
        }
    }
}

/// Every state that can be reached with this plan, and for each where its inputs lead.
fn walk(plan: &Shape) -> (Vec<Node>, Vec<Vec<(Input, usize)>>) {
    let mut known: HashMap<Node, usize> = HashMap::new();
    let mut nodes = vec![(Cycle::default(), World::default())];
    let mut edges: Vec<Vec<(Input, usize)>> = Vec::new();
    // Where each state was first come from: a walk by breadth, so that a mistake is told by a shortest way to it.
    let mut ways: Vec<Option<(usize, Input)>> = vec![None];
    known.insert(nodes[0].clone(), 0);
    let mut at = 0;
    while at < nodes.len() {
        let mut leads = Vec::new();
        for input in possible(&nodes[at].1, plan, NEW, FROZEN) {
            let node = catch_unwind(AssertUnwindSafe(|| step(&nodes[at], &input, plan))).unwrap_or_else(|mistake| {
                eprintln!("{:?}, then {input:?}", way_to(at, &ways));
                resume_unwind(mistake)
            });
            let number = *known.entry(node).or_insert_with_key(|node| {
                nodes.push(node.clone());
                ways.push(Some((at, input.clone())));
                nodes.len() - 1
            });
            leads.push((input, number));
        }
        edges.push(leads);
        at += 1;
    }
    (nodes, edges)
}

/// What an input leads to.
fn step((cycle, world): &Node, input: &Input, plan: &Shape) -> Node {
    let (mut next, mut after) = (cycle.clone(), world.clone());
    after.notice(input, plan);
    for action in &next.handle(input.clone()) {
        after.perform(action, plan);
    }
    after.check_invariants(&next);
    after.forget_what_the_engine_drops(&next);
    next.name_requests_by_their_part();
    after.open = next.open_requests();
    (next, after)
}

fn way_to(at: usize, ways: &[Option<(usize, Input)>]) -> Vec<&Input> {
    let mut way: Vec<&Input> =
        std::iter::successors(ways[at].as_ref(), |(from, _)| ways[*from].as_ref()).map(|(_, input)| input).collect();
    way.reverse();
    way
}

/// From every state the world can bring the machine back to rest without the host's help: timers, deaths and answers are enough.
fn every_state_finds_rest(nodes: &[Node], edges: &[Vec<(Input, usize)>]) {
    let mut backwards: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (from, leads) in edges.iter().enumerate() {
        for (input, to) in leads {
            let by_the_host = matches!(
                input,
                Input::Host(..)
                    | Input::OperatorThaw
                    | Input::OperatorCheck
                    | Input::Rehearse
                    | Input::Stop
                    | Input::AnswerLate(..)
            );
            if !by_the_host {
                backwards[*to].push(from);
            }
        }
    }
    let mut rests: Vec<bool> = nodes.iter().map(|(cycle, _)| cycle.is_idle()).collect();
    let mut queue: Vec<usize> = (0..nodes.len()).filter(|at| rests[*at]).collect();
    while let Some(at) = queue.pop() {
        for from in &backwards[at] {
            if !std::mem::replace(&mut rests[*from], true) {
                queue.push(*from);
            }
        }
    }
    let stuck = rests.iter().position(|rests| !rests);
    assert!(stuck.is_none(), "no way back to idle from {:#?}", nodes[stuck.unwrap_or(0)]);
}

/// Walks one plan to its end.
fn closes(plan: &str) {
    let (nodes, edges) = walk(&shape(plan));
    every_state_finds_rest(&nodes, &edges);
    let transitions: usize = edges.iter().map(Vec::len).sum();
    println!("{plan}: {} states, {transitions} transitions", nodes.len());
    assert!(nodes.iter().any(|(cycle, _)| matches!(cycle.state(), State::Frozen(_))), "the walk never froze anything");
}

mod in_every_reachable_state_each_request_has_one_answer_and_idle_holds_nothing {
    use super::closes;

    #[test]
    fn with_two_filesystems_in_one_process() {
        closes("app 10 on 0, fs on 1, fs on 1");
    }

    #[test]
    fn with_filesystems_in_two_processes() {
        closes("fs on 0, fs on 1, fs on 0");
    }

    #[test]
    fn with_applications_one_after_the_other() {
        closes("app 10 on 0, app 20 on 1, fs on 2");
    }

    #[test]
    fn with_applications_at_once() {
        closes("app 10 on 0, app 10 on 1, fs on 2");
    }

    #[test]
    fn with_a_suspension_that_outlives_its_process_and_is_released_first() {
        closes("app 10 on 0, survivor on 1, fs on 2");
    }

    #[test]
    fn with_a_suspension_that_outlives_its_process_and_is_released_last() {
        closes("app 10 on 0, fs on 1, survivor on 2");
    }

    #[test]
    fn with_a_plugin_of_both_roles() {
        closes("app 50 on 0, fs on 0, fs on 1");
    }
}
