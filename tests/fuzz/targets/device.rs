//! Any request of the driver: what its 64 bytes ask for, how much time is left for it, and every deadline made of that.
#![no_main]

use std::time::Duration;

use hv_vss_core::deadline::{Deadline, Limits};
use hv_vss_device::{Message, Operation, budget};
use hv_vss_fuzz::Bytes;
use hv_vss_platform::clock::Monotonic;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = judge(&mut Bytes::new(data));
});

fn judge(bytes: &mut Bytes<'_>) -> arbitrary::Result<()> {
    let message = Message { operation: bytes.arbitrary()?, status: bytes.arbitrary()?, msgid: bytes.arbitrary()? };
    match message.asks_for() {
        Operation::Check => assert_eq!(message.operation, 1),
        Operation::Freeze => assert_eq!(message.operation, 2),
        Operation::Thaw => assert_eq!(message.operation, 3),
        Operation::Unknown(number) => assert!(number == message.operation && !(1..=3).contains(&number)),
    }

    let wall = if bytes.arbitrary()? {
        message.msgid.wrapping_add(bytes.arbitrary::<u32>()?.into())
    } else {
        bytes.arbitrary()?
    };
    let limit = span(bytes)?;
    let left = budget(message.msgid, wall, limit);
    let waited = wall.checked_sub(message.msgid).map(Duration::from_nanos).filter(|waited| *waited < limit);
    match waited {
        Some(waited) => assert_eq!(left + waited, limit, "what was waited is gone, and nothing else"),
        None => assert_eq!(left, limit / 2, "what can't be true is not counted"),
    }

    let limits = Limits {
        limit,
        freeze_limit: limit,
        reserve: span(bytes)?,
        max_frozen: span(bytes)?,
        thaw_answer_after: span(bytes)?,
        last_flush: span(bytes)?,
        thaw_limit: span(bytes)?,
        observer_limit: span(bytes)?,
    };
    let (read, now) = (Monotonic::from_ns(bytes.arbitrary()?), Monotonic::from_ns(bytes.arbitrary()?));
    let of_freeze = limits.budget(read, left);
    assert!(read <= of_freeze.answer.0 && of_freeze.answer.0 <= read + left);
    assert!(of_freeze.expiry >= of_freeze.answer.0, "no host lets go before the answer is due");
    let of_thaw = limits.thaw_answer(&of_freeze);
    assert!(read <= of_thaw.0 && of_thaw <= of_freeze.answer);
    let flushed = limits.last_flush(now, of_freeze.answer);
    assert!(flushed.0 >= now && flushed <= of_freeze.answer.max(Deadline(now)));
    assert!(now.until(flushed.0) <= of_freeze.answer.left(now) / 2 && now.until(flushed.0) <= limits.last_flush);
    Ok(())
}

fn span(bytes: &mut Bytes<'_>) -> arbitrary::Result<Duration> {
    Ok(if bytes.arbitrary()? {
        Duration::from_millis(bytes.arbitrary::<u16>()?.into())
    } else {
        Duration::new(bytes.arbitrary()?, bytes.int_in_range(0..=999_999_999)?)
    })
}
