//! Flushes all filesystems and ends. The daemon starts it beside the applications' steps: sync(2) can't be interrupted, so it belongs into a
//! process that may be left behind.

fn main() {
    hv_vss_platform::flush::everything();
}
