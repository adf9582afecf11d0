//! Any bytes as the history file: what can't be read is skipped and said; what was read is written so that all of it is read again.
#![no_main]

use hv_vss_core::history::{History, KEPT};
use hv_vss_core::metrics::Tally;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let history = History::parse(&text);
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(history.records().len() <= KEPT.min(lines));
    assert_eq!(history.damage.is_none(), history.records().len() == KEPT.min(lines), "{:?}", history.damage);

    let mut tally = Tally::default();
    for record in history.records() {
        tally.count(record);
    }
    let again = History::parse(&history.text().expect("records can be written"));
    assert_eq!((again.records().len(), &again.damage), (history.records().len(), &None));
});
