//! Any bytes as a record of what is owed: understood as a whole or not at all, and written as it was understood.
#![no_main]

use hv_vss_wire::owed::{OWED_VERSION, Owed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match Owed::parse(data) {
        Ok(record) => {
            assert_eq!(record.version, OWED_VERSION);
            let written = serde_json::to_vec(&record).expect("a record can be written");
            assert_eq!(Owed::parse(&written).expect("what we wrote"), record);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
