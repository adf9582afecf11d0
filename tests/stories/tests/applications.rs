//! Applications on /dev/hv_appvss_dev, through the library for them (hv-vss-app), beside the real daemon.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hv_vss_app::{App, AppError, DeviceError, Event, LetGo};
use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{LIMIT, Stage, both_drivers, our_driver};

const MS: fn(u64) -> Duration = Duration::from_millis;
/// Long beside what an event takes here, short beside a test.
const SOON: Duration = Duration::from_secs(5);

/// What an application did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Accepted,
    Rested,
    /// It came to rest, but the driver had given up on it.
    Late,
    Refused,
    WentOn(LetGo),
}

/// An application in a thread of its own. What it does it tells; it ends when it hears of the node's end, or after its last event.
struct Application {
    told: Receiver<Did>,
    /// Dropped, it ends an application that dies at rest.
    life: Option<Sender<()>>,
    thread: JoinHandle<()>,
}

/// How an application behaves at a freeze.
#[derive(Clone, Copy)]
enum Manners {
    ComesToRest,
    Refuses,
    TakesLong(Duration),
    /// It comes to rest and ends when the story says so.
    DiesAtRest,
}

impl Application {
    fn starts(node: &Path, manners: Manners, max_hold: Duration) -> Self {
        let app = App::open_at(node).expect("the node is free").max_hold(max_hold);
        let (tell, told) = channel();
        let (life, death) = channel();
        let thread = std::thread::spawn(move || live(app, manners, &tell, &death));
        Self { told, life: Some(life), thread }
    }

    #[track_caller]
    fn did(&self, expected: Did) {
        match self.told.recv_timeout(SOON) {
            Ok(did) => assert_eq!(did, expected),
            Err(_) => panic!("it did nothing, where it was to have {expected:?}"),
        }
    }

    #[track_caller]
    fn did_nothing_more(&self) {
        assert_eq!(self.told.try_recv().ok(), None);
    }
}

fn live(mut app: App, manners: Manners, tell: &Sender<Did>, death: &Receiver<()>) {
    while let Ok(event) = app.wait() {
        let did = match (event, manners) {
            (Event::Check(check), _) => {
                check.accept().expect("in time");
                Did::Accepted
            }
            // Dropping the obligation is the refusal.
            (Event::Freeze(freeze), Manners::Refuses) => {
                drop(freeze);
                Did::Refused
            }
            (Event::Freeze(freeze), _) => {
                if let Manners::TakesLong(span) = manners {
                    std::thread::sleep(span);
                }
                match freeze.release() {
                    Ok(()) => Did::Rested,
                    Err(AppError::TooLate) => Did::Late,
                    Err(error) => panic!("{error}"),
                }
            }
            (Event::Thaw(why), _) => Did::WentOn(why),
            (Event::Gone(_), _) => return,
        };
        // A story that is over has stopped listening.
        let _ = tell.send(did);
        if did == Did::Rested && matches!(manners, Manners::DiesAtRest) {
            let _ = death.recv();
            return;
        }
    }
}

both_drivers! {
    fn an_application_comes_to_rest_before_the_filesystems_and_goes_on_after_them(stage: Stage) {
        let guest = stage.disk("data").start();
        let app = Application::starts(&guest.stage().application_node(), Manners::ComesToRest, SOON);
        guest.host_may(Check);
        app.did(Did::Accepted);
        guest.host_may(Freeze);
        app.did(Did::Rested);
        guest.is_frozen();
        app.did_nothing_more();
        guest.host_may(Thaw);
        app.did(Did::WentOn(LetGo::Thaw));
        guest.runs();
    }

    fn an_application_that_refuses_fails_the_backup_before_anything_is_frozen(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "").start();
        let app = Application::starts(&guest.stage().application_node(), Manners::Refuses, SOON);
        guest.host_may_not(Freeze);
        app.did(Did::Refused);
        guest.runs();
        guest.scripts_ran([]);
    }

    fn a_freeze_without_a_check_and_a_thaw_without_a_freeze_are_taken(stage: Stage) {
        let guest = stage.disk("data").start();
        let app = Application::starts(&guest.stage().application_node(), Manners::ComesToRest, SOON);
        guest.host_may(Freeze);
        app.did(Did::Rested);
        guest.host_may(Thaw);
        app.did(Did::WentOn(LetGo::Thaw));
        guest.host_may(Thaw);
        guest.host_may(Check);
        app.did(Did::Accepted);
        guest.host_may(Thaw);
        app.did_nothing_more();
    }

    fn an_application_that_is_held_too_long_goes_on_by_itself_and_the_thaw_is_answered_fail(stage: Stage) {
        let guest = stage.disk("data").start();
        let app = Application::starts(&guest.stage().application_node(), Manners::ComesToRest, MS(300));
        guest.host_may(Freeze);
        app.did(Did::Rested);
        app.did(Did::WentOn(LetGo::TooLong));
        guest.is_frozen();
        guest.host_may_not(Thaw);
        guest.runs();
    }

    fn the_applications_time_is_taken_off_the_daemons(stage: Stage) {
        // The script would need 60 s; what the application leaves of the limit is less than the whole.
        let guest = stage.disk("data").hook("50-app", "[ $phase = freeze ] && sleep 60; exit 0").start();
        let app = Application::starts(&guest.stage().application_node(), Manners::TakesLong(LIMIT / 2), SOON);
        let answered = guest.host_may_not(Freeze);
        app.did(Did::Rested);
        assert!(answered.took < LIMIT, "the daemon answered within what was left: {:?}", answered.took);
        guest.runs();
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
    }

    fn an_application_that_dies_at_rest_leaves_the_guest_to_be_thawed(stage: Stage) {
        let guest = stage.disk("data").start();
        let mut app = Application::starts(&guest.stage().application_node(), Manners::DiesAtRest, SOON);
        guest.host_may(Freeze);
        app.did(Did::Rested);
        drop(app.life.take());
        app.thread.join().expect("it ends well");
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
    }
}

/// Row 8 of the predecessors' failures, for applications: with the driver in base, which never tells them of a freeze that failed later.
mod with_the_base_driver {
    use super::*;
    use hv_vss_stories::Kind;

    #[test]
    fn predecessor_8_an_application_whose_freeze_failed_later_goes_on_by_itself() {
        Stage::take(Kind::Base).into_iter().for_each(|stage| {
            let guest = stage.disk("data").hook("50-bad", "[ $phase != freeze ]").start();
            let app = Application::starts(&guest.stage().application_node(), Manners::ComesToRest, MS(400));
            guest.host_may_not(Freeze);
            app.did(Did::Rested);
            app.did(Did::WentOn(LetGo::TooLong));
            guest.runs();
        });
    }

    #[test]
    fn only_one_application_can_have_the_node() {
        Stage::take(Kind::Base).into_iter().for_each(|stage| {
            let guest = stage.disk("data").start();
            let node = guest.stage().application_node();
            let first = App::open_at(&node).expect("it is free");
            assert!(matches!(App::open_at(&node), Err(DeviceError::Busy(_))));
            drop(first);
        });
    }
}

both_drivers! {
    fn the_example_server_stops_its_writes_during_the_hold_and_makes_up_for_them(stage: Stage) {
        let guest = stage.disk("data").start();
        let program = guest.stage().daemon_program().with_file_name("examples").join("quiet_server");
        let file = guest.stage().scratch("lines");
        let mut server = std::process::Command::new(program)
            .arg(guest.stage().application_node())
            .arg(&file)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("the examples are built with the tests");
        let mut lines = server.stdin.take().expect("piped");
        let mut says = BufReader::new(server.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let written = || std::fs::read_to_string(&file).unwrap_or_default();
        let comes_to_write = |text: &str| {
            let deadline = Instant::now() + SOON;
            while written() != text {
                assert!(Instant::now() < deadline, "it wrote {:?}", written());
                std::thread::sleep(MS(5));
            }
        };
        writeln!(lines, "before").expect("it reads");
        comes_to_write("before\n");
        guest.host_may(Check);
        guest.host_may(Freeze);
        assert_eq!(says.next().as_deref(), Some("resting"));
        writeln!(lines, "during").expect("it reads");
        std::thread::sleep(MS(100));
        assert_eq!(written(), "before\n");
        guest.host_may(Thaw);
        assert_eq!(says.next().as_deref(), Some("working"));
        comes_to_write("before\nduring\n");
        server.kill().expect("it runs");
        server.wait().expect("it ends");
    }
}

our_driver! {
    fn predecessor_8_our_driver_tells_an_application_whose_freeze_failed_later(stage: Stage) {
        let guest = stage.disk("data").hook("50-bad", "[ $phase != freeze ]").start();
        let app = Application::starts(&guest.stage().application_node(), Manners::ComesToRest, Duration::from_secs(60));
        guest.host_may_not(Freeze);
        app.did(Did::Rested);
        app.did(Did::WentOn(LetGo::Thaw));
        guest.runs();
    }

    fn a_late_application_learns_of_it_and_the_next_backup_works(stage: Stage) {
        let guest = stage.disk("data").start();
        let node = guest.stage().application_node();
        let late = Application::starts(&node, Manners::TakesLong(LIMIT + MS(300)), SOON);
        guest.host_may_not(Freeze);
        late.did(Did::Late);
        guest.host_may(Check);
        late.did(Did::Accepted);
        late.did_nothing_more();
        guest.runs();
    }

    fn several_applications_are_asked_and_one_that_refuses_is_enough(stage: Stage) {
        let guest = stage.disk("data").start();
        let node = guest.stage().application_node();
        let good: Vec<_> = (0..3).map(|_| Application::starts(&node, Manners::ComesToRest, SOON)).collect();
        guest.host_may(Freeze);
        good.iter().for_each(|app| app.did(Did::Rested));
        guest.host_may(Thaw);
        good.iter().for_each(|app| app.did(Did::WentOn(LetGo::Thaw)));

        let bad = Application::starts(&node, Manners::Refuses, SOON);
        guest.host_may_not(Freeze);
        bad.did(Did::Refused);
        guest.runs();
    }

    fn beyond_the_bound_an_application_is_told_that_the_node_is_busy(stage: Stage) {
        let guest = stage.disk("data").start();
        let node = guest.stage().application_node();
        let all: Vec<_> = (0..8).map(|_| App::open_at(&node).expect("there is room")).collect();
        assert!(matches!(App::open_at(&node), Err(DeviceError::Busy(_))));
        drop(all);
    }

    fn the_asynchronous_form_hears_the_same(stage: Stage) {
        let guest = stage.disk("data").start();
        let app = App::open_at(&guest.stage().application_node()).expect("it is free");
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut app = app.into_stream().expect("a thread");
                for _ in 0..3 {
                    let did = match app.next().await {
                        Event::Check(check) => check.accept().map(|()| Did::Accepted).expect("in time"),
                        Event::Freeze(freeze) => freeze.release().map(|()| Did::Rested).expect("in time"),
                        Event::Thaw(why) => Did::WentOn(why),
                        Event::Gone(why) => panic!("{why}"),
                    };
                    tell.send(did).expect("the story listens");
                }
            });
        });
        let app = Application { told, life: None, thread };
        guest.host_may(Check);
        app.did(Did::Accepted);
        guest.host_may(Freeze);
        app.did(Did::Rested);
        guest.host_may(Thaw);
        app.did(Did::WentOn(LetGo::Thaw));
        app.thread.join().expect("it ends well");
    }
}
