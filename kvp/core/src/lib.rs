//! The host's key-value pairs: what is answered, what is written, and when. Nothing here makes a
//! system call or reads a clock.
//!
//! `protocol` is the message that the driver passes on. `records.rs` is the format of a pool's
//! file, `edit.rs` plans which of its bytes a change touches, `text.rs` cuts a text to what reaches
//! the host. `pools.rs` has all pools in memory with what is not written yet, `silence.rs` tells
//! whether the disk may be touched, `computed.rs` makes the pairs of the pool that no file has,
//! `addresses.rs` and `settings.rs` answer and read what the host asks of interfaces. `core.rs`
//! puts them together: inputs in, actions out.

mod addresses;
mod computed;
mod core;
mod edit;
mod machine;
mod pool;
mod pools;
pub mod protocol;
mod records;
mod settings;
mod silence;
mod text;

pub use self::core::{Action, Core, Input, Level, Limits, Look, Looked};
pub use computed::pairs as computed_pairs;
pub use edit::{Change, Edit, Plan, plan};
pub use machine::{Files, Machine};
pub use pool::Pool;
pub use pools::{Number, Pools, Refused};
pub use records::{KEY_SIZE, MOST_RECORDS, RECORD_SIZE, Records, VALUE_SIZE};
pub use settings::Settings;
pub use silence::{Silence, Word};
pub use text::{fitting, fitting_key, passed_on};
