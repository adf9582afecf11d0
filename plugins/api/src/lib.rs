//! The plugin ABI and the safe SDK for writing hv_vss plugins in Rust.
