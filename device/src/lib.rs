//! The VSS driver's device files: the message, the ioctls, waiting for a request, and what the host heard.
//!
//! Works with the driver in FreeBSD's base system (sys/dev/hyperv/utilities/hv_snapshot.c) and with the one in `kmod/broker/`, through the same two
//! ioctls and poll(2). Not through kqueue: the driver in base has none, and so neither tokio nor mio can wait for it; a thread in poll(2) can.
//! Nothing here decides what to answer.

mod budget;
mod heard;
mod ioctl;
mod message;
mod node;
mod watch;

pub use budget::budget;
pub use heard::{Answer, Application, Heard, HeardRequest, Reason};
pub use hv_vss_types::{Operation, Verdict};
pub use message::Message;
pub use node::{AnswerError, Device, DeviceError, Driver};
pub use watch::{Event, Watcher};
