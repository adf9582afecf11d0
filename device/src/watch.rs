//! Waiting for requests: a thread in poll(2) on the node and on a pipe that stops it.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hv_vss_platform::{OsError, priority};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::message::Message;
use crate::node::Device;

/// The thread calls poll, an ioctl and the receiver's closure.
const STACK: usize = 64 * 1024;

/// A request can be withdrawn between poll and READ. A driver that says POLLIN for ever with nothing to read must not cost a whole processor.
const AFTER_A_FALSE_ALARM: Duration = Duration::from_millis(5);

/// What a watched device has to tell.
#[derive(Debug)]
pub enum Event {
    /// The host asks for something; the request was taken from the driver at this moment.
    Request(Message),
    /// The device serves no longer, and this is the last event: a sentence.
    Gone(String),
}

/// The waiting thread. Dropping this stops it and waits for its end, after which no event comes any more.
#[derive(Debug)]
pub struct Watcher {
    /// Dropped, it wakes the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Device {
    /// Starts a thread that waits for requests, takes them and gives them to `receive`, in the driver's order.
    ///
    /// # Errors
    /// When the system has no pipe or no thread left.
    pub fn watch(self: Arc<Self>, receive: impl FnMut(Event) + Send + 'static) -> Result<Watcher, OsError> {
        let cannot = |cause| OsError::new(format!("start waiting for requests on {}", self.path()), cause);
        let (stopped, stop) = std::io::pipe().map_err(cannot)?;
        let device = Arc::clone(&self);
        let thread = thread::Builder::new().name("vss-wait".into()).stack_size(STACK);
        let waiting = move || {
            // As the daemon itself does, who says it should that fail.
            let _ = priority::highest();
            wait(&device, &stopped, receive);
        };
        let thread = thread.spawn(waiting).map_err(cannot)?;
        Ok(Watcher { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Dropped by the receiver itself: this is the thread, and it ends by itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

fn wait(device: &Device, stopped: &PipeReader, mut receive: impl FnMut(Event)) {
    loop {
        let mut polled =
            [PollFd::new(device.as_fd(), PollFlags::POLLIN), PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => {
                return receive(Event::Gone(
                    OsError::new(format!("wait for requests on {}", device.path()), errno).to_string(),
                ));
            }
        }
        let [node, stop] = polled.map(|polled| polled.revents().unwrap_or(PollFlags::empty()));
        if !stop.is_empty() {
            return;
        }
        if node.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
            return receive(Event::Gone(format!("{} is gone: its driver was detached or has ended", device.path())));
        }
        if node.contains(PollFlags::POLLIN)
            && let Err(gone) = take_all(device, &mut receive)
        {
            return receive(Event::Gone(gone.to_string()));
        }
    }
}

/// Takes requests until the queue is empty.
fn take_all(device: &Device, receive: &mut impl FnMut(Event)) -> Result<(), OsError> {
    let mut taken = 0;
    while let Some(message) = device.read()? {
        receive(Event::Request(message));
        taken += 1;
    }
    if taken == 0 {
        thread::sleep(AFTER_A_FALSE_ALARM);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::sync::mpsc;

    use super::*;

    /// Something that can be polled like a node, though no driver is behind it: the tests with the simulator have one.
    fn pollable() -> (Arc<Device>, PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        (Arc::new(Device::of(File::from(OwnedFd::from(reader)), "node".into()).unwrap()), writer)
    }

    #[test]
    fn a_watcher_that_is_dropped_ends_its_thread_and_lets_go_of_the_device() {
        let (device, _writer) = pollable();
        let watcher = Arc::clone(&device).watch(|event| panic!("nothing happened, but: {event:?}")).unwrap();
        drop(watcher);
        assert_eq!(Arc::strong_count(&device), 1);
    }

    #[test]
    fn a_node_whose_driver_ends_is_reported_gone_once() {
        let (device, writer) = pollable();
        let (send, events) = mpsc::channel();
        let _watcher = device.watch(move |event| send.send(event).unwrap()).unwrap();
        drop(writer);
        assert!(matches!(events.recv().unwrap(), Event::Gone(reason) if reason.starts_with("node is gone")));
        assert!(events.recv().is_err(), "the thread has ended, and its receiver with it");
    }

    #[test]
    fn a_driver_that_refuses_to_be_read_is_reported_gone_with_its_errno() {
        let (device, mut writer) = pollable();
        let (send, events) = mpsc::channel();
        let _watcher = device.watch(move |event| send.send(event).unwrap()).unwrap();
        writer.write_all(b"x").unwrap();
        let Event::Gone(reason) = events.recv().unwrap() else { panic!("a pipe has no requests") };
        assert!(reason.starts_with("can't read a request from node: ") && reason.contains("os error"), "{reason}");
    }

    #[test]
    fn the_receiver_may_drop_the_watcher_itself() {
        let (device, writer) = pollable();
        let (give, take) = mpsc::channel::<Watcher>();
        let (done, ended) = mpsc::channel();
        let watcher = device.watch(move |_| {
            drop(take.recv().unwrap());
            done.send(()).unwrap();
        });
        give.send(watcher.unwrap()).unwrap();
        drop(writer);
        ended.recv().unwrap();
    }
}
