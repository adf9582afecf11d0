//! `vssctl app-watch`: an application that knows nothing of backups is brought to rest by one command, and let go by another.
//!
//! It is an application on /dev/hv_appvss_dev, through the library for them (hv-vss-app), and needs no daemon. It stays in the foreground until it
//! is told to end. Whatever the first command began the second one ends, also where the first failed or came too late.

use std::convert::Infallible;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use std::{io, process};

use hv_vss_app::{App, DeviceError, Event, Freeze, LetGo};
use hv_vss_platform::clock::wall_clock_ns;
use hv_vss_platform::driver;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::options::AppWatch;
use super::said::Failure;
use super::when;
use hv_vss_core::config::BASE_LIMIT;

/// Watches until it is told to end. It comes back only when it can't go on.
///
/// # Errors
/// Always: why not.
pub(super) fn command(wish: &AppWatch, voice: Voice) -> Result<Infallible, Failure> {
    let mut app = App::open_at(&wish.node).map_err(unopened)?.max_hold(wish.max_hold);
    let application = Arc::new(Mutex::new(Application { wish: wish.clone(), voice, stands: Stands::AtWork }));
    let stopping = Arc::new(AtomicBool::new(false));
    end_when_told(Arc::clone(&stopping), Arc::clone(&application))?;
    voice.say("watching", &format!("watching {}", wish.node.display()));
    loop {
        let event = app.wait();
        let mut application = locked(&application);
        let why = match event {
            Ok(Event::Gone(why)) => why,
            Ok(event) => {
                application.hears(event, &stopping);
                continue;
            }
            Err(error) => error.to_string(),
        };
        application.goes_on("nobody will say when to go on");
        return Err(Failure::Other(why));
    }
}

fn unopened(error: DeviceError) -> Failure {
    Failure::Other(match error {
        DeviceError::Busy(cause) => format!(
            "{cause}; as many applications have it open as the driver takes: one with the driver in base, several with hv_vss_broker"
        ),
        other => other.to_string(),
    })
}

/// The first signal lets go and ends; a second one ends at once.
fn end_when_told(stopping: Arc<AtomicBool>, application: Arc<Mutex<Application>>) -> Result<(), Failure> {
    let cannot = |error: io::Error| Failure::Other(format!("can't wait for signals: {error}"));
    // Caught, not blocked: a blocked signal would stay so in the commands that are run.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(cannot)?;
    let context = runtime.enter();
    let mut terminated = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(cannot)?;
    drop(context);
    let waits = move || {
        runtime.block_on(async move {
            let by = tokio::select! { _ = terminated.recv() => "SIGTERM", _ = interrupted.recv() => "SIGINT" };
            stopping.store(true, Ordering::SeqCst);
            thread::spawn(move || end(&application, by));
            tokio::select! { _ = terminated.recv() => {}, _ = interrupted.recv() => {} }
            process::exit(1);
        });
    };
    thread::Builder::new().name("signals".to_owned()).spawn(waits).map(drop).map_err(cannot)
}

fn end(application: &Mutex<Application>, by: &str) -> ! {
    let mut application = locked(application);
    application.goes_on(&format!("{by} came"));
    application.voice.say("ended", &format!("ended by {by}"));
    process::exit(0)
}

fn locked(application: &Mutex<Application>) -> MutexGuard<'_, Application> {
    application.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The application that is watched over.
struct Application {
    wish: AppWatch,
    voice: Voice,
    stands: Stands,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    AtWork,
    AtRest,
}

impl Application {
    fn hears(&mut self, event: Event, stopping: &AtomicBool) {
        match event {
            Event::Check(check) => match check.accept() {
                Ok(()) => self.voice.say("check", "CHECK: a freeze would work"),
                Err(error) => self.voice.say("trouble", &format!("CHECK: {error}")),
            },
            Event::Freeze(freeze) => self.freezes(freeze, stopping),
            Event::Thaw(LetGo::Thaw) => self.goes_on("THAW"),
            Event::Thaw(LetGo::TooLong) => {
                let held = self.wish.max_hold;
                self.goes_on(&format!(
                    "nobody asked for a THAW within {held:?}, and the host will hear that it failed"
                ));
            }
            // The caller's.
            Event::Gone(_) => {}
        }
    }

    fn freezes(&mut self, freeze: Freeze, stopping: &AtomicBool) {
        if self.stands == Stands::AtWork {
            self.stands = Stands::AtRest;
            let limit = driver::freeze_time_limit().unwrap_or(BASE_LIMIT);
            let came_to_rest = run(&self.wish.on_freeze, "freeze", Some(limit)).and_then(|()| {
                // Nobody would be left to let go.
                if stopping.load(Ordering::SeqCst) { Err("was told to end".to_owned()) } else { Ok(()) }
            });
            if let Err(why) = came_to_rest {
                // The host first: it waits.
                let _ = freeze.refuse();
                self.voice.say("refused", &format!("FREEZE: the backup is refused, since on-freeze {why}"));
                return self.goes_on("it may have come to rest in part");
            }
        }
        // Said before: once the answer is out, this may be written to a filesystem that stands still.
        self.voice.say("at_rest", "FREEZE: at rest");
        if let Err(error) = freeze.release() {
            self.goes_on(&error.to_string());
        }
    }

    /// Runs on-thaw if anything was begun.
    fn goes_on(&mut self, why: &str) {
        if std::mem::replace(&mut self.stands, Stands::AtWork) == Stands::AtWork {
            return;
        }
        match run(&self.wish.on_thaw, "thaw", None) {
            Ok(()) => self.voice.say("at_work", &format!("at work again: {why}")),
            Err(trouble) => self.voice.say("trouble", &format!("on-thaw {trouble}; it was to go on: {why}")),
        }
    }
}

/// Runs a command of the administrator's, in a process group of its own, so that the terminal's Ctrl-C ends us and not what lets go. What it prints
/// goes to the standard error output.
///
/// # Errors
/// Half a sentence, to follow its name.
fn run(command: &str, phase: &str, limit: Option<Duration>) -> Result<(), String> {
    let output = io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from);
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .env("HV_VSS_PHASE", phase)
        .stdin(Stdio::null())
        .stdout(output)
        .process_group(0)
        .spawn()
        .map_err(|error| format!("can't be run by /bin/sh: {error}"))?;
    let Some(limit) = limit else {
        return judged(child.wait());
    };
    let group = i32::try_from(child.id()).map(Pid::from_raw);
    let (tell, told) = channel();
    let waits = move || drop(tell.send(child.wait()));
    thread::Builder::new().spawn(waits).map_err(|error| format!("can't be waited for: {error}"))?;
    match told.recv_timeout(limit) {
        Ok(ended) => judged(ended),
        Err(_) => {
            // It is not reaped before the thread has said so, so the number is still its own.
            let _ = group.map(|group| killpg(group, Signal::SIGKILL));
            let _ = told.recv();
            Err(format!("did not end within {limit:?} and was killed"))
        }
    }
}

fn judged(ended: io::Result<ExitStatus>) -> Result<(), String> {
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("ended with {status}")),
        Err(error) => Err(format!("can't be waited for: {error}")),
    }
}

/// How it is told what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// A line for each event.
    Text,
    /// An object for each event, one a line.
    Json,
}

impl Voice {
    fn say(self, event: &str, sentence: &str) {
        let now_ms = wall_clock_ns() / 1_000_000;
        let line = match self {
            Self::Text => format!("{} {sentence}\n", when::moment(now_ms)),
            Self::Json => format!("{}\n", json!({ "at_ms": now_ms, "event": event, "sentence": sentence })),
        };
        let mut stdout = io::stdout().lock();
        // Whoever listened may be gone; the application is let go all the same.
        let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_command_knows_its_phase_and_says_by_its_exit_whether_it_worked() {
        assert_eq!(run("[ $HV_VSS_PHASE = freeze ]", "freeze", Some(BASE_LIMIT)), Ok(()));
        assert_eq!(run("exit 3", "thaw", None), Err("ended with exit status: 3".to_owned()));
        assert!(run("kill -9 $$", "freeze", Some(BASE_LIMIT)).unwrap_err().contains("signal: 9"));
    }

    #[test]
    fn a_command_that_does_not_end_is_killed_with_what_it_started() {
        let began = Instant::now();
        let refused = run("sleep 600 & wait", "freeze", Some(Duration::from_millis(200)));
        assert_eq!(refused, Err("did not end within 200ms and was killed".to_owned()));
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}
