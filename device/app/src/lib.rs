//! For applications that want to hear of a freeze themselves, through `/dev/hv_appvss_dev`, and not by a script.
//!
//! The kernel tells an application before the filesystems are frozen and after they are released. In between the application is *at rest*: it has
//! brought its files into a state that can be backed up, and leaves them alone.
//!
//! ```no_run
//! use hv_vss_app::{App, Event};
//!
//! # fn stop_writing() -> bool { true }
//! # fn go_on() {}
//! let mut app = App::open()?;
//! loop {
//!     match app.wait()? {
//!         Event::Check(check) => check.accept()?,
//!         // Dropping `freeze` instead of releasing it tells the host that the backup has failed.
//!         Event::Freeze(freeze) => {
//!             if stop_writing() {
//!                 freeze.release()?;
//!             }
//!         }
//!         Event::Thaw(_) => go_on(),
//!         Event::Gone(why) => return Err(why.into()),
//!     }
//! }
//! # #[allow(unreachable_code)]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Three things that the driver in base does not do are done here: an application at rest lets go by itself after [`App::max_hold`], since that
//! driver never tells it of a freeze that failed later; what the host asks out of order (THAW without FREEZE, FREEZE without CHECK) is answered;
//! and an obligation that is dropped is answered *fail*.
//!
//! One application can have the in-base driver's node open, several (eight, by default) that of hv_vss_broker: see hv_vss(4). One more is
//! [`DeviceError::Busy`].

#![warn(missing_docs)]

mod app;
mod rest;
#[cfg(feature = "tokio")]
mod stream;

pub use app::{App, AppError, Check, Event, Freeze, NODE};
pub use hv_vss_device::DeviceError;
pub use rest::LetGo;
#[cfg(feature = "tokio")]
pub use stream::AppStream;
