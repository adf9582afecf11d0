//! The key-value pairs: the driver in FreeBSD's base system behind `hv_kvp_dev`, and the host's own
//! view of its messages.
//!
//! `kernel.rs` keeps every rule and trap of sys/dev/hyperv/utilities/hv_kvp.c, `text.rs` those of
//! its conversions. `message.rs` is the host's side, written apart from kvp/.

pub(crate) mod kernel;
pub mod message;
pub(crate) mod text;
