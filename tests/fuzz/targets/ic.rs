//! Any bytes as a VMBus message, through the simulated host's reader; what the host itself makes is read back as it was made. (The guest's reader
//! of the same messages is kmod/broker's core; kmod/broker/tests/fuzz_host.c is its target.)
#![no_main]

use hv_vss_sim::ic::{self, Answer, HEADER};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let read = Answer::read(data);
    assert_eq!(read.is_some(), data.len() >= HEADER);
    if let Some(answer) = read {
        assert_eq!((answer.transaction, answer.flags), (data[24], data[25]));
        assert!(4 * answer.versions.len() <= data.len());
    }
    assert!(!ic::name(data).is_empty());

    assert_eq!(ic::from_hex(&ic::to_hex(data)).as_deref(), Ok(data));
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(bytes) = ic::from_hex(text)
    {
        assert_eq!(ic::to_hex(&bytes), text.split_whitespace().collect::<String>().to_ascii_lowercase());
    }

    let version = |at: &[u8]| (u16::from(at[0]), u16::from(at[1]));
    let versions: Vec<_> = data.chunks_exact(2).map(version).take(40).collect();
    let (frameworks, messages) = versions.split_at(versions.len() / 2);
    let offer = ic::negotiation(frameworks, messages, 7);
    assert_eq!(Answer::read(&offer).map(|answer| answer.versions), Some(versions));
});
