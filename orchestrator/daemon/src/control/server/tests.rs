//! Clients against an engine that is played: who is heard, how many at once, and who is sent away.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream as Client;
use std::path::PathBuf;

use super::*;

/// A server on a socket of its own, whose engine answers each question after the given work, and notes how many were there at once.
struct Door {
    path: PathBuf,
    /// The questions that the engine had before it at each answer.
    at_once: Rc<RefCell<Vec<usize>>>,
}

/// Plays `story` in a thread while a server serves; none without root, to which alone the server listens.
fn with_a_door(name: &str, work: Duration, story: impl FnOnce(PathBuf) + Send + 'static) -> Option<Door> {
    hv_vss_testbed::needs!(Root);
    let path = std::env::temp_dir().join(format!("hv_vss-door-{name}-{}", std::process::id()));
    let at_once = Rc::new(RefCell::new(Vec::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (socket, noted) = (path.clone(), Rc::clone(&at_once));
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let (sender, mut events) = mpsc::unbounded_channel();
        let listener = listen(&socket).unwrap();
        tokio::task::spawn_local(serve(listener, sender));
        tokio::task::spawn_local(async move {
            while let Some(event) = events.recv().await {
                let Event::Control(_, answer) = event else { continue };
                noted.borrow_mut().push(1 + events.len());
                std::thread::sleep(work);
                let _ = answer.send(Reply::Done);
            }
        });
        let told = tokio::task::spawn_blocking(move || story(socket));
        told.await.unwrap();
    });
    fs::remove_file(&path).unwrap();
    Some(Door { path, at_once })
}

fn connect(path: &Path) -> Client {
    let client = Client::connect(path).unwrap();
    client.set_read_timeout(Some(PATIENCE * 2)).unwrap();
    client
}

/// Asks, and gives the answer; none: the connection was closed.
fn ask(client: &mut Client) -> Option<Reply> {
    client.write_all(&encode(&Question::Status).unwrap()).ok()?;
    let mut frames = Frames::default();
    let mut bytes = [0; 1024];
    loop {
        if let Some(reply) = frames.next().unwrap() {
            return Some(reply);
        }
        match client.read(&mut bytes) {
            Ok(0) | Err(_) => return None,
            Ok(read) => frames.push(&bytes[..read]),
        }
    }
}

#[test]
fn who_comes_with_a_question_is_answered_and_of_a_silent_crowd_the_longest_silent_make_room() {
    with_a_door("crowd", Duration::ZERO, |path| {
        let mut crowd: Vec<Client> = (0..MAX_CLIENTS + 8).map(|_| connect(&path)).collect();
        let began = Instant::now();
        assert_eq!(ask(&mut connect(&path)), Some(Reply::Done));
        assert!(began.elapsed() < PATIENCE, "it was not served because the silent had been sent away by then");
        // One more came than the crowd, so nine had to go: those that came first. The others may still ask.
        for (at, client) in crowd.iter_mut().enumerate() {
            assert_eq!(ask(client).is_some(), at >= 9, "client {at}");
        }
    });
}

#[test]
fn the_engine_never_has_two_questions_before_it_however_many_are_asked() {
    let door = with_a_door("flood", Duration::from_millis(1), |path| {
        let flood: Vec<_> = (0..16)
            .map(|_| {
                let mut client = connect(&path);
                std::thread::spawn(move || (0..10).all(|_| ask(&mut client) == Some(Reply::Done)))
            })
            .collect();
        assert!(flood.into_iter().all(|client| client.join().unwrap()), "none is refused, they only wait");
    });
    let Some(door) = door else { return };
    let at_once = door.at_once.borrow();
    assert_eq!(at_once.len(), 160);
    assert!(at_once.iter().all(|questions| *questions == 1), "{at_once:?}");
    assert!(!door.path.exists());
}

#[test]
fn who_comes_with_one_question_is_answered_although_a_crowd_that_never_stops_asking_fills_the_house() {
    with_a_door("wall", Duration::from_millis(1), |path| {
        let wall: Vec<_> = (0..MAX_CLIENTS + 8)
            .map(|_| {
                let mut client = connect(&path);
                std::thread::spawn(move || while ask(&mut client).is_some() {})
            })
            .collect();
        for _ in 0..5 {
            assert_eq!(ask(&mut connect(&path)), Some(Reply::Done));
        }
        // Room was made by ending conversations with those who had had an answer; nobody had to wait for their patience to end.
        assert!(wall.iter().any(std::thread::JoinHandle::is_finished));
    });
}

#[test]
fn after_each_question_the_engine_is_left_alone_for_three_times_as_long() {
    const WORK: Duration = Duration::from_millis(10);
    let began = Instant::now();
    let door = with_a_door("rest", WORK, |path| {
        let mut client = connect(&path);
        (0..10).for_each(|_| assert_eq!(ask(&mut client), Some(Reply::Done)));
    });
    if door.is_some() {
        // Nine pauses and ten times the work: a lower bound, which no busy machine can break.
        assert!(began.elapsed() >= WORK * (10 + 9 * REST), "{:?}", began.elapsed());
    }
}

#[test]
fn the_socket_is_roots_alone_and_what_lies_in_its_place_is_left_there() {
    let path = std::env::temp_dir().join(format!("hv_vss-place-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    for _ in 0..2 {
        // The second time the leftover of the first is replaced.
        let listener = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(listener);
    }
    fs::remove_file(&path).unwrap();
    let precious = path.with_extension("precious");
    fs::write(&precious, "precious").unwrap();
    std::os::unix::fs::symlink(&precious, &path).unwrap();
    assert!(listen(&path).unwrap_err().to_string().contains("not a socket"));
    fs::remove_file(&path).unwrap();
    fs::rename(&precious, &path).unwrap();
    assert!(listen(&path).unwrap_err().to_string().contains("not a socket"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
}
