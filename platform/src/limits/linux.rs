//! Linux: address space is RLIMIT_AS.

use nix::sys::resource::Resource;

pub(super) const MEMORY: Resource = Resource::RLIMIT_AS;
