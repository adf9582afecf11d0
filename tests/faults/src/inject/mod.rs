//! How a fault is brought about: always from outside, by signals, by orders at gates, over descriptors taken from the struck process, or by the
//! simulated kernel. Nothing of ours is built differently for it.

pub mod gate;
pub mod processes;
pub mod sockets;
