//! Each rule and trap of the driver, so that no story succeeds where a real kernel would not.

use super::super::message;
use super::*;

/// A driver that a daemon has opened and registered with.
fn registered() -> Kvp {
    let mut kvp = Kvp::default();
    kvp.open().unwrap();
    kvp.write(&of(REGISTER, 0)).unwrap();
    kvp
}

fn of(operation: u8, pool: u8) -> Vec<u8> {
    let mut bytes = vec![0; BODY];
    (bytes[0], bytes[1]) = (operation, pool);
    bytes
}

/// A request of the host, once its message is there.
fn asked(kvp: &mut Kvp, bytes: &[u8]) {
    kvp.host_message(1, bytes);
    kvp.timer(clock::now() + CONVERTS);
}

/// Statuses that the host has got, and what a kernel would have said.
fn heard(kvp: &mut Kvp) -> (Vec<u32>, Vec<String>) {
    let (mut statuses, mut panics) = (vec![], vec![]);
    for effect in kvp.take_effects().1 {
        match effect {
            Effect::Send { bytes, .. } => statuses.push(ic::get32(&bytes, ic::AT_STATUS).unwrap()),
            Effect::Panic(text) => panics.push(text),
            _ => {}
        }
    }
    (statuses, panics)
}

fn late_enough() {
    std::thread::sleep(TOO_FAST);
}

#[test]
fn a_request_is_readable_until_it_is_answered_and_read_once() {
    let mut kvp = registered();
    assert!(!kvp.is_readable() && kvp.read(BODY, 0) == Ok(None));
    asked(&mut kvp, &message::get(1, "Key"));
    assert!(kvp.is_readable());
    let request = kvp.read(BODY, 0).unwrap().unwrap();
    assert_eq!((request.len(), &request[..2], &request[16..20]), (BODY, &[GET, 1][..], &b"Key\0"[..]));
    assert!(kvp.is_readable() && kvp.read(BODY, 0) == Ok(None), "a second read would wait for ever");
    late_enough();
    let mut answer = of(0, 0);
    answer[528..533].copy_from_slice(b"value");
    kvp.write(&answer).unwrap();
    assert!(!kvp.is_readable() && !kvp.has_the_thread());
    let (_, effects) = kvp.take_effects();
    let [Effect::Send { bytes, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(message::read(bytes).value, "value");
}

#[test]
fn nothing_is_read_or_passed_on_before_a_daemon_has_registered() {
    let mut kvp = Kvp::default();
    kvp.host_message(1, &message::get(1, "Key"));
    assert!(kvp.open().is_ok() && kvp.open() == Err(Errno::EBUSY));
    assert_eq!(kvp.read(BODY, 0), Err(Errno::EPERM));
    assert_eq!(kvp.write(&of(0, 0)), Err(Errno::EINVAL));
    assert!(!kvp.is_readable());
    kvp.write(&of(REGISTER, 0)).unwrap();
    assert!(kvp.is_readable());
}

#[test]
fn an_answer_within_two_milliseconds_reaches_the_host_and_costs_the_thread_five_seconds() {
    let mut kvp = registered();
    asked(&mut kvp, &message::get(1, "Key"));
    kvp.write(&of(0, 0)).unwrap();
    assert_eq!(heard(&mut kvp).0, [0]);
    assert!(kvp.has_the_thread());
    kvp.timer(clock::now() + PATIENCE);
    assert!(!kvp.has_the_thread() && heard(&mut kvp).0.is_empty());
}

#[test]
fn after_five_seconds_the_host_hears_a_failure_and_until_the_late_answer_nothing_is_passed_on() {
    let mut kvp = registered();
    asked(&mut kvp, &message::get(1, "Key"));
    kvp.read(BODY, 0).unwrap();
    kvp.timer(clock::now() + PATIENCE);
    assert_eq!(heard(&mut kvp).0, [ic::HV_E_FAIL]);
    asked(&mut kvp, &message::get(1, "Other"));
    assert_eq!(kvp.read(BODY, 0), Ok(None));
    kvp.write(&of(0, 0)).unwrap();
    assert_eq!(heard(&mut kvp), (vec![], vec![]), "a late answer is dropped");
    kvp.timer(clock::now() + PATIENCE);
    assert_eq!(heard(&mut kvp).0, [ic::HV_E_FAIL]);
    asked(&mut kvp, &message::get(1, "Third"));
    assert!(kvp.read(BODY, 0).unwrap().is_some());
}

#[test]
fn a_write_that_nothing_asked_for_stops_the_kernel() {
    let mut kvp = registered();
    kvp.write(&of(REGISTER, 0)).unwrap();
    assert_eq!(heard(&mut kvp).1.len(), 1, "a second registration");
    let mut kvp = registered();
    asked(&mut kvp, &message::get(1, "Key"));
    late_enough();
    kvp.write(&of(0, 0)).unwrap();
    kvp.write(&of(0, 0)).unwrap();
    assert_eq!(heard(&mut kvp).1.len(), 1, "a second answer");
}

#[test]
fn a_read_of_more_than_a_message_stops_the_kernel_and_an_offset_cuts_it() {
    let mut kvp = registered();
    asked(&mut kvp, &message::get(1, "Key"));
    assert_eq!(kvp.read(BODY, BODY as u64).unwrap().unwrap().len(), 1);
    kvp.read(BODY + 1, 0).unwrap();
    assert_eq!(heard(&mut kvp).1.len(), 1);
}

#[test]
fn a_count_that_a_dead_daemon_left_lets_its_successor_read_before_the_message_is_there() {
    let mut kvp = registered();
    asked(&mut kvp, &message::get(1, "Key"));
    kvp.close();
    kvp.open().unwrap();
    kvp.write(&of(REGISTER, 0)).unwrap();
    assert!(!kvp.is_readable(), "the request in work is not told again");
    kvp.timer(clock::now() + PATIENCE);
    kvp.host_message(2, &message::get(1, "Second"));
    assert!(kvp.is_readable());
    let stale = kvp.read(BODY, 0).unwrap().unwrap();
    assert_eq!(stale[0], REGISTER, "what it had written itself");
}

#[test]
fn an_operation_that_the_driver_does_not_know_fails_its_answer_after_the_host_has_it() {
    let mut kvp = registered();
    asked(&mut kvp, &message::empty(9, 0));
    late_enough();
    let mut answer = of(0, 0);
    answer[..4].copy_from_slice(&ic::HV_ERROR_NOT_SUPPORTED.to_ne_bytes());
    assert_eq!(kvp.write(&answer), Err(Errno::EINVAL));
    assert_eq!(heard(&mut kvp).0, [ic::HV_ERROR_NOT_SUPPORTED]);
    assert!(!kvp.is_readable());
}

#[test]
fn a_negotiation_is_answered_without_a_daemons_help_at_any_time() {
    let mut kvp = registered();
    for _ in 0..2 {
        kvp.host_message(7, &ic::negotiation(&[(1, 0), (3, 0)], &[(3, 0), (4, 0), (5, 0)], 1));
        let (_, effects) = kvp.take_effects();
        let [Effect::Send { bytes, .. }] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!(ic::Answer::read(bytes).unwrap().versions, [(3, 0), (4, 0)]);
        asked(&mut kvp, &message::get(1, "Key"));
        kvp.read(BODY, 0).unwrap();
        late_enough();
        kvp.write(&of(0, 0)).unwrap();
        kvp.take_effects();
    }
}

#[test]
fn each_operations_texts_come_through_to_the_daemon() {
    let user = |bytes: &[u8]| to_user(&bytes[HEADER..]);
    let text = |bytes: &[u8], at: usize| {
        String::from_utf8(bytes[at..].split(|byte| *byte == 0).next().unwrap().to_vec()).unwrap()
    };
    let set = user(&message::set(0, "Schlüssel", "Wert €"));
    assert_eq!((text(&set, 16).as_str(), text(&set, 528).as_str()), ("Schlüssel", "Wert €"));
    assert_eq!(text(&user(&message::delete(0, "Key")), 8), "Key");
    assert_eq!(user(&message::enumerate(3, 7))[4], 7);
    assert_eq!(text(&user(&message::get_ip("00:15:5D:00:00:01")), 4), "00:15:5D:00:00:01");
    let set_ip = user(&message::set_ip("hn0", "10.0.0.2", "255.0.0.0"));
    assert_eq!((set_ip[260], text(&set_ip, 262), text(&set_ip, 2310)), (1, "10.0.0.2".into(), "255.0.0.0".into()));
    // A size that the host lies about reads to the message's end and no further.
    let mut lie = message::set(0, "Key", "value");
    lie[HEADER + 12..HEADER + 16].fill(0xff);
    assert_eq!(text(&user(&lie), 528), "value");
}
