//! The asynchronous form. A thread in poll(2) waits for the node: the in-base driver has no kqueue filter, so an event loop can't.

use hv_vss_device::{Event as Heard, Watcher};
use hv_vss_platform::OsError;
use tokio::sync::mpsc;

use crate::{App, Event};

/// An [`App`] to be awaited.
#[derive(Debug)]
pub struct AppStream {
    app: App,
    heard: mpsc::UnboundedReceiver<Heard>,
    _watcher: Watcher,
}

impl App {
    /// Starts the thread that waits.
    ///
    /// # Errors
    /// When there is no thread or pipe to be had.
    pub fn into_stream(self) -> Result<AppStream, OsError> {
        let (sender, heard) = mpsc::unbounded_channel();
        let watcher = std::sync::Arc::clone(&self.node.device).watch(move |event| drop(sender.send(event)))?;
        Ok(AppStream { app: self, heard, _watcher: watcher })
    }
}

impl AppStream {
    /// The next event. Cancel safe: nothing is lost if this future is dropped. The runtime must have its timer enabled.
    pub async fn next(&mut self) -> Event {
        loop {
            let node = &self.app.node;
            if node.runs_out() {
                return Event::Thaw(crate::LetGo::TooLong);
            }
            let left = node.ends().map(|end| hv_vss_platform::clock::now().until(end));
            let heard = match left {
                Some(left) => match tokio::time::timeout(left, self.heard.recv()).await {
                    Ok(heard) => heard,
                    Err(_) => continue,
                },
                None => self.heard.recv().await,
            };
            match heard {
                Some(Heard::Request(request)) => {
                    if let Some(event) = node.event(request) {
                        return event;
                    }
                }
                Some(Heard::Gone(why)) => return Event::Gone(why),
                None => return Event::Gone("the waiting thread has ended".to_owned()),
            }
        }
    }
}
