//! Walks the state machine until no new state appears: from each state, every input that the engine could give. After each the two invariants
//! are checked against a small model of the world outside, which knows only what it was told to do and what it reported.

use std::collections::{BTreeSet, HashMap};

use super::*;

/// The world as the engine sees it: who was asked what, who is alive, which timers run, which requests are open.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
struct World {
    open: BTreeSet<RequestId>,
    timers: BTreeSet<Timer>,
    surveying: bool,
    noting: bool,
    flushing: bool,
    comparing: bool,
    /// Asked to freeze, or to thaw, and not answered.
    freezing: BTreeSet<HolderId>,
    thawing: BTreeSet<HolderId>,
    /// Its freeze was called and nothing has let it go since.
    held: BTreeSet<HolderId>,
    /// Applications: a freeze was called, no thaw has been answered, and nobody gave up on it.
    owed: BTreeSet<HolderId>,
    dead: BTreeSet<HostId>,
    dying: BTreeSet<HostId>,
    reviving: BTreeSet<HostId>,
    exited: bool,
}

type Node = (Cycle, World);

/// Requests have fixed names, by their part: one is in work, one waits, one is new, one was answered with success and stays frozen.
const IN_WORK: RequestId = RequestId(0);
const WAITS: RequestId = RequestId(1);
const NEW: RequestId = RequestId(2);
const FROZEN: RequestId = RequestId(3);

fn possible(world: &World, plan: &Shape) -> Vec<Input> {
    if world.exited {
        return Vec::new();
    }
    let mut inputs = vec![Input::OperatorThaw, Input::Stop];
    inputs.extend(
        [Operation::Check, Operation::Freeze, Operation::Thaw, Operation::Unknown(9)].map(|op| Input::Host(NEW, op)),
    );
    inputs.push(Input::Rehearse);
    if world.surveying {
        inputs.push(Input::Surveyed(None));
        // The engine never plans with a host that is not there.
        if world.dead.is_empty() {
            inputs.push(Input::Surveyed(Some(plan.clone())));
        }
    }
    if world.noting {
        inputs.push(Input::Noted);
    }
    if world.flushing {
        inputs.push(Input::Flushed);
    }
    // While frozen the engine compares by itself, for a THAW.
    inputs.push(Input::Compared { same: false });
    if world.comparing {
        inputs.push(Input::Compared { same: true });
    }
    for holder in &world.freezing {
        inputs.extend([
            Input::Froze(*holder, StepEnd::Done { held: true }),
            Input::Froze(*holder, StepEnd::Failed),
            Input::Overdue(*holder),
        ]);
    }
    for holder in &world.thawing {
        let ends = [StepEnd::Done { held: true }, StepEnd::Done { held: false }, StepEnd::Failed];
        inputs.extend(ends.map(|end| Input::Thawed(*holder, end)));
        inputs.push(Input::Overdue(*holder));
    }
    inputs.extend(world.timers.iter().map(|timer| Input::TimeUp(*timer)));
    for host in plan.0.iter().map(|holder| holder.host).collect::<BTreeSet<_>>() {
        if world.reviving.contains(&host) {
            inputs.push(Input::HostReady(host));
            if !plan.0.iter().any(|holder| holder.host == host && holder.survives_exit()) {
                inputs.push(Input::HostLost(host));
            }
        } else if !world.dead.contains(&host) {
            inputs.push(Input::HostGone(host));
        }
    }
    inputs.push(Input::AnswerLate(FROZEN, Operation::Freeze));
    inputs.push(Input::AnswerLate(FROZEN, Operation::Thaw));
    inputs
}

impl World {
    fn notice(&mut self, input: &Input, plan: &Shape) {
        match input {
            Input::Host(request, _) => assert!(self.open.insert(*request)),
            Input::Surveyed(_) => self.surveying = false,
            Input::Noted => self.noting = false,
            Input::Flushed => self.flushing = false,
            Input::Compared { .. } => self.comparing = false,
            Input::Froze(holder, _) => assert!(self.freezing.remove(holder)),
            Input::Thawed(holder, end) => {
                assert!(self.thawing.remove(holder));
                let is_app = !plan.0[holder.0].is_filesystem();
                if is_app || matches!(end, StepEnd::Done { .. }) {
                    self.held.remove(holder);
                    self.owed.remove(holder);
                }
            }
            Input::HostGone(host) => {
                self.dying.remove(host);
                self.dead.insert(*host);
                for (at, holder) in plan.0.iter().enumerate().filter(|(_, holder)| holder.host == *host) {
                    self.freezing.remove(&HolderId(at));
                    self.thawing.remove(&HolderId(at));
                    if !holder.survives_exit() {
                        self.held.remove(&HolderId(at));
                    }
                }
            }
            Input::HostReady(host) => {
                self.reviving.remove(host);
                self.dead.remove(host);
            }
            Input::HostLost(host) => {
                self.reviving.remove(host);
                self.owed.retain(|id| plan.0[id.0].host != *host);
            }
            Input::TimeUp(timer) => assert!(self.timers.remove(timer)),
            Input::Overdue(_) | Input::AnswerLate(..) | Input::OperatorThaw | Input::Rehearse | Input::Stop => {}
        }
    }

    fn perform(&mut self, action: &Action, plan: &Shape) {
        match action {
            Action::Answer(request, ..) => assert!(self.open.remove(request), "{request:?} was answered twice"),
            Action::Survey(_) => assert!(!std::mem::replace(&mut self.surveying, true), "two surveys at once"),
            Action::AbandonSurvey => self.surveying = false,
            Action::Note => self.noting = true,
            Action::LastFlush => self.flushing = true,
            Action::Compare => self.comparing = true,
            Action::Freeze(holder) => {
                let host = plan.0[holder.0].host;
                assert!(!self.dead.contains(&host) && !self.dying.contains(&host), "a dead host was asked to freeze");
                if plan.0[holder.0].is_filesystem() {
                    assert!(self.freezing.is_empty(), "a filesystem's freeze is a step of its own");
                } else {
                    self.owed.insert(*holder);
                }
                self.freezing.insert(*holder);
                self.held.insert(*holder);
            }
            Action::Thaw(holder, _) => {
                let host = plan.0[holder.0].host;
                assert!(!self.dead.contains(&host) && !self.dying.contains(&host), "a dead host was asked to thaw");
                assert!(!self.freezing.contains(holder), "thaw during its own freeze");
                assert!(self.thawing.insert(*holder), "thaw during a thaw");
                if plan.0[holder.0].is_filesystem() {
                    let at_once = self
                        .thawing
                        .iter()
                        .filter(|id| plan.0[id.0].is_filesystem() && !self.dying.contains(&plan.0[id.0].host))
                        .count();
                    assert!(at_once <= 1, "filesystems are released one at a time");
                }
            }
            Action::Kill(host) => assert!(self.dying.insert(*host), "killed twice"),
            Action::Revive(host) => {
                assert!(self.dead.contains(host) && self.reviving.insert(*host), "revived while alive");
                let suspended = self.held.iter().any(|id| plan.0[id.0].is_filesystem());
                assert!(
                    !suspended || plan.0.iter().any(|holder| holder.host == *host && holder.survives_exit()),
                    "no exec while frozen"
                );
            }
            Action::Arm(timer) => drop(self.timers.insert(*timer)),
            Action::Disarm(timer) => drop(self.timers.remove(timer)),
            Action::Exit => self.exited = true,
            Action::Cancel(holder) => assert!(self.freezing.contains(holder)),
            Action::Ended(..) => {
                // An application whose process died in each of its thaws is given up; the record says so.
                self.owed.clear();
                // The engine starts what died anew, now that nothing is suspended.
                self.dead.clear();
                self.dying.clear();
            }
            Action::Await(_) | Action::Rehearsed(..) | Action::FlushBeside => {}
        }
    }

    /// The engine passes on no note, flush or comparison of a cycle that is over, and starts dead hosts anew while nothing is suspended.
    fn forget_what_the_engine_drops(&mut self, cycle: &Cycle) {
        if !matches!(cycle.state(), State::Freezing(_)) {
            (self.noting, self.flushing, self.comparing) = (false, false, false);
        }
        if cycle.is_idle() {
            self.dead.clear();
            self.dying.clear();
            self.reviving.clear();
        }
    }

    #[track_caller]
    fn check_invariants(&self, cycle: &Cycle) {
        if cycle.is_idle() {
            assert!(self.held.is_empty(), "idle, and yet held: {:?}", self.held);
            assert!(self.thawing.is_empty() && self.freezing.is_empty(), "idle, and yet calls in work");
            assert!(self.timers.is_empty(), "idle, and yet timers run: {:?}", self.timers);
            assert!(self.open.is_empty(), "idle, and yet requests wait: {:?}", self.open);
        }
        if self.exited {
            assert!(cycle.is_idle(), "left while something was held");
        }
        let known = cycle.open_requests();
        assert_eq!(known, self.open, "the machine and the world disagree on who waits for an answer");
        if !matches!(cycle.state(), State::Idle | State::Checking(_)) && !self.open.is_empty() {
            let answered_by_a_timer = self.timers.contains(&Timer::Answer) || self.timers.contains(&Timer::ThawAnswer);
            assert!(answered_by_a_timer, "a request waits and no timer will answer it");
        }
    }
}

impl Cycle {
    /// Two states that differ only in a request's number, or in the reason to be told, behave alike: the walk takes them for one.
    fn name_requests_by_their_part(&mut self) {
        match &mut self.state {
            State::Idle => {}
            State::Checking(request) => *request = IN_WORK,
            State::Freezing(Freezing { asker: Asker::Host(request), .. }) => *request = IN_WORK,
            State::Frozen(Frozen { asker: Asker::Host(request), .. }) => *request = FROZEN,
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
        if let Memory::Lost(why) = &mut self.memory {
            *why = Why::Expired;
        }
    }

    fn open_requests(&self) -> BTreeSet<RequestId> {
        let in_work = match &self.state {
            State::Checking(request) => Some(*request),
            State::Freezing(freezing) => match freezing.asker {
                Asker::Host(request) => Some(request),
                Asker::Rehearsal => None,
            },
            State::Releasing(releasing) => releasing.thaw.as_ref().map(|thaw| thaw.request),
            State::Idle | State::Frozen(_) => None,
        };
        in_work.into_iter().chain(self.waiting.map(|(request, _)| request)).collect()
    }
}

/// Every state that can be reached with this plan, and for each where its inputs lead.
fn walk(plan: &Shape) -> (Vec<Node>, Vec<Vec<(Input, usize)>>) {
    let mut known: HashMap<Node, usize> = HashMap::new();
    let mut nodes = vec![(Cycle::default(), World::default())];
    let mut edges: Vec<Vec<(Input, usize)>> = Vec::new();
    known.insert(nodes[0].clone(), 0);
    let mut at = 0;
    while at < nodes.len() {
        let (cycle, world) = nodes[at].clone();
        let mut leads = Vec::new();
        for input in possible(&world, plan) {
            let (mut next, mut after) = (cycle.clone(), world.clone());
            after.notice(&input, plan);
            let actions = next.handle(input.clone());
            for action in &actions {
                after.perform(action, plan);
            }
            after.check_invariants(&next);
            after.forget_what_the_engine_drops(&next);
            next.name_requests_by_their_part();
            after.open = next.open_requests();
            let node = (next, after);
            let number = *known.entry(node).or_insert_with_key(|node| {
                nodes.push(node.clone());
                nodes.len() - 1
            });
            leads.push((input, number));
        }
        edges.push(leads);
        at += 1;
    }
    (nodes, edges)
}

/// From every state the world can bring the machine back to rest without the host's help: timers, deaths and answers are enough.
fn every_state_finds_rest(nodes: &[Node], edges: &[Vec<(Input, usize)>]) {
    let mut backwards: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (from, leads) in edges.iter().enumerate() {
        for (input, to) in leads {
            let by_the_host = match input {
                Input::Host(..) | Input::OperatorThaw | Input::Rehearse | Input::Stop | Input::AnswerLate(..) => true,
                Input::Compared { .. } => matches!(nodes[from].0.state(), State::Frozen(_)),
                _ => false,
            };
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
    fn with_applications_one_after_the_other() {
        closes("app 10 on 0, app 20 on 1, fs on 2");
    }

    #[test]
    fn with_applications_at_once() {
        closes("app 10 on 0, app 10 on 1, fs on 2");
    }

    #[test]
    fn with_a_suspension_that_outlives_its_process() {
        closes("app 10 on 0, survivor on 1, fs on 2");
    }

    #[test]
    fn with_a_plugin_of_both_roles() {
        closes("app 50 on 0, fs on 0, fs on 1");
    }
}
