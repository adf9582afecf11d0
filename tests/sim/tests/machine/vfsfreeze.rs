//! The simulated `/dev/vfsfreeze`, through the product's own calls.

use std::thread::sleep;
use std::time::{Duration, Instant};

use hv_vss_platform::clock::{self, Monotonic};
use hv_vss_platform::mounts::FsId;
use hv_vss_platform::vfsfreeze::{self, Gate, Node, State};
use hv_vss_sim::{Fault, Kind, Moment};
use nix::errno::Errno;

use crate::nodes::Machine;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

fn soon() -> Monotonic {
    clock::now() + Duration::from_secs(5)
}

fn opened(machine: &Machine) -> Node {
    vfsfreeze::open(&machine.dev.join("vfsfreeze")).expect("the node is there")
}

/// Waits until the state is another than `begun`.
#[track_caller]
fn settled(node: &Node) -> State {
    loop {
        assert!(vfsfreeze::wait([node], soon()).expect("vfsfreeze answers"), "no change of state");
        let state = node.report().expect("vfsfreeze answers").state;
        if state != State::Begun {
            return state;
        }
    }
}

#[test]
fn a_hold_is_begun_waited_for_and_let_go() {
    let Some(machine) = Machine::with(Kind::Ours) else { return };
    let node = opened(&machine);
    assert_eq!(node.version().unwrap().abi, vfsfreeze::ABI);
    assert_eq!(node.report().unwrap().state, State::Idle);
    assert_eq!(node.release().unwrap_err().errno(), Some(Errno::EINVAL));
    node.flush(machine.a.fsid).unwrap();
    node.hold(machine.a.fsid, LONG, Gate::Quiesced).unwrap();
    assert_eq!(settled(&node), State::Held);
    assert!(machine.is_frozen(&machine.a) && !machine.is_frozen(&machine.b));
    assert_eq!(machine.host.state().unwrap().suspended.len(), 1);
    let report = node.report().unwrap();
    assert!(report.quiesced && report.left > Duration::from_secs(10) && report.left < LONG, "{report:?}");
    assert_eq!(node.flush(machine.a.fsid).unwrap_err().errno(), Some(Errno::EBUSY));
    node.release().unwrap();
    assert_eq!(settled(&node), State::Released);
    machine.becomes_writable(&machine.a);
    assert_eq!(machine.host.state().unwrap().suspended, []);
}

#[test]
fn two_are_begun_at_once_and_a_slow_one_does_not_delay_the_other() {
    let Some(machine) = Machine::with(Kind::Ours) else { return };
    machine.host.fault(machine.a.fsid, Moment::Suspend, Some(Fault::Hang)).unwrap();
    let (slow, fast) = (opened(&machine), opened(&machine));
    slow.hold(machine.a.fsid, LONG, Gate::Quiesced).unwrap();
    fast.hold(machine.b.fsid, LONG, Gate::Quiesced).unwrap();
    assert!(vfsfreeze::wait([&slow, &fast], soon()).unwrap());
    assert_eq!(fast.report().unwrap().state, State::Held);
    assert_eq!(slow.report().unwrap().state, State::Begun);
    machine.host.fault(machine.a.fsid, Moment::Suspend, None).unwrap();
    assert_eq!(settled(&slow), State::Held);
}

#[test]
fn a_hold_expires_by_itself_and_says_so() {
    let Some(machine) = Machine::with(Kind::Ours) else { return };
    let node = opened(&machine);
    let start = Instant::now();
    node.hold(machine.a.fsid, Duration::from_millis(400), Gate::Quiesced).unwrap();
    assert_eq!(settled(&node), State::Held);
    assert_eq!(settled(&node), State::Expired);
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
    machine.becomes_writable(&machine.a);
}

#[test]
fn a_closed_descriptor_and_a_failed_freeze_hold_nothing() {
    let Some(machine) = Machine::with(Kind::Ours) else { return };
    let node = opened(&machine);
    node.hold(machine.a.fsid, LONG, Gate::Quiesced).unwrap();
    assert_eq!(settled(&node), State::Held);
    drop(node);
    machine.becomes_writable(&machine.a);

    machine.host.fault(machine.a.fsid, Moment::Suspend, Some(Fault::Errno(Errno::EIO as i32))).unwrap();
    let node = opened(&machine);
    node.hold(machine.a.fsid, LONG, Gate::Quiesced).unwrap();
    assert_eq!(settled(&node), State::Failed(Errno::EIO));
    assert!(!machine.is_frozen(&machine.a));
}

#[test]
fn what_cannot_be_held_is_refused_at_once() {
    let Some(machine) = Machine::with(Kind::Ours) else { return };
    let (node, other) = (opened(&machine), opened(&machine));
    let zfs = FsId([9; 8]);
    let refused = |node: &Node, id, gate| node.hold(id, LONG, gate).unwrap_err().errno();
    assert_eq!(refused(&node, FsId([7; 8]), Gate::Quiesced), Some(Errno::ENOENT));
    assert_eq!(refused(&node, zfs, Gate::Quiesced), Some(Errno::EOPNOTSUPP));
    let error = node.hold(machine.a.fsid, Duration::from_secs(601), Gate::Quiesced).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EINVAL));
    node.hold(machine.a.fsid, LONG, Gate::Quiesced).unwrap();
    assert_eq!(refused(&other, machine.a.fsid, Gate::Quiesced), Some(Errno::EBUSY));
    assert_eq!(refused(&node, machine.b.fsid, Gate::Quiesced), Some(Errno::EBUSY));
    assert_eq!(settled(&node), State::Held);
}

#[test]
fn a_suspension_by_ufssuspend_is_waited_for() {
    let Some(machine) = Machine::with(Kind::Base) else { return };
    let mut holder = machine.process();
    holder.says("open ufssuspend rw", "fd 3");
    holder.says(&format!("suspend 3 {}", machine.a.fsid), "ok");
    let node = opened(&machine);
    node.hold(machine.a.fsid, LONG, Gate::Quiesced).unwrap();
    sleep(SHORT);
    assert_eq!(node.report().unwrap().state, State::Begun);
    holder.says("resume 3", "ok");
    assert_eq!(settled(&node), State::Held);
}
