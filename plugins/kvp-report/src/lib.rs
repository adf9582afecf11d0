//! Tells the Hyper-V host how backups ended and why: a few keys in the guest's pool of key-value pairs, which the host reads as GuestExchangeItems.
//!
//! `keys.rs` decides what the keys say after a cycle. The crate hv-vss-kvp-pool changes the pool's
//! file without harming another program's pairs. hv_kvp_daemon(8), ours or FreeBSD's, does all the
//! rest: it sees that the file has changed before each of the host's questions.
//!
//! This plugin is an observer: it writes within `ended` and `close` only, when nothing is frozen, and no backup waits for it.

mod keys;
mod plugin;

hv_vss_plugin::export_plugin!(observer: plugin::KvpReport);
