//! Tells the Hyper-V host how backups ended and why: a few keys in the guest's pool of key-value pairs, which the host reads as GuestExchangeItems.
//!
//! `keys.rs` decides what the keys say after a cycle, `text.rs` what of a sentence reaches the host unharmed, `pool.rs` changes records in the pool's
//! file without harming anybody else's, `place.rs` sees to the directory and the file. FreeBSD's hv_kvp_daemon(8) does all the rest: it reads the file anew
//! before each of the host's questions.
//!
//! This plugin is an observer: it writes within `ended` and `close` only, when nothing is frozen, and no backup waits for it.

mod keys;
mod place;
mod plugin;
mod pool;
mod text;

hv_vss_plugin::export_plugin!(observer: plugin::KvpReport);
