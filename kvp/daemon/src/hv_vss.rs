//! Is a freeze under way? One question to hv_vss_daemon(8) on its control socket (docs/control.md).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use hv_vss_kvp_core::Word;
use hv_vss_platform::peer;
use hv_vss_wire::{Frames, encode};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

/// How long the answer may take. It is given at once in every state.
const PATIENCE: Duration = Duration::from_secs(1);
/// The states in which nothing is frozen, and nothing is being frozen.
const FREE: [&str; 2] = ["idle", "checking"];

#[derive(Serialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
enum Question {
    Status,
}

/// What is needed of the answer. Other members are not looked at.
#[derive(Deserialize)]
struct Reply {
    state: Option<String>,
}

/// Asks. Waits for a second at the most, and touches no disk.
pub(crate) fn ask(control: &Path) -> Word {
    let stream = match UnixStream::connect(control) {
        Ok(stream) => stream,
        Err(error) => {
            let why = format!("hv_vss_daemon can't be asked at {}: {error}", control.display());
            let absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
            return if absent { Word::Absent(why) } else { Word::Silent(why) };
        }
    };
    match conversation(stream) {
        Ok(state) if FREE.contains(&state.as_str()) => Word::Free,
        Ok(state) => Word::Freeze(state),
        Err(why) => Word::Silent(format!("hv_vss_daemon does not answer at {}: {why}", control.display())),
    }
}

fn conversation(mut stream: UnixStream) -> Result<String, String> {
    let (user, _) = peer::credentials(&stream).map_err(|error| error.to_string())?;
    if user != 0 && user != geteuid().as_raw() {
        return Err(format!("a process of user {user} listens there, which is not root"));
    }
    let deadline = Instant::now() + PATIENCE;
    let left = || Some(deadline.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
    let too_late = || "no answer within 1 s".to_owned();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => too_late(),
        _ => error.to_string(),
    };
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.write_all(&encode(&Question::Status).map_err(|error| error.to_string())?).map_err(failed)?;
    let mut frames = Frames::default();
    let mut bytes = [0; 16 << 10];
    loop {
        if let Some(reply) = frames.next::<Reply>().map_err(|error| error.to_string())? {
            return reply.state.ok_or_else(|| "it tells no state".to_owned());
        }
        stream.set_read_timeout(Some(left().ok_or_else(too_late)?)).map_err(failed)?;
        match stream.read(&mut bytes) {
            Ok(0) => return Err("it closed the connection".to_owned()),
            Ok(read) => frames.push(&bytes[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn socket() -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("hv_vss-kvp-ask-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        std::env::temp_dir().join(name)
    }

    /// What is heard of a daemon that answers with these bytes and then keeps the connection open.
    fn heard(answer: &[u8]) -> Word {
        let path = socket();
        let listener = UnixListener::bind(&path).unwrap();
        let answer = answer.to_vec();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut question = vec![0; u32::from_le_bytes(length) as usize];
            stream.read_exact(&mut question).unwrap();
            assert_eq!(question, br#"{"ask":"status"}"#);
            stream.write_all(&answer).unwrap();
            // Until the other side is gone.
            let _ = stream.read(&mut length);
        });
        let word = ask(&path);
        daemon.join().unwrap();
        std::fs::remove_file(&path).unwrap();
        word
    }

    fn status(state: &str) -> Vec<u8> {
        let json = format!(r#"{{"reply":"status","version":"0.1.0","state":"{state}","counters":{{}}}}"#);
        [&u32::try_from(json.len()).unwrap().to_le_bytes(), json.as_bytes()].concat()
    }

    #[test]
    fn only_idle_and_checking_are_free() {
        assert_eq!((heard(&status("idle")), heard(&status("checking"))), (Word::Free, Word::Free));
        for state in ["freezing: filesystems", "frozen", "releasing", "a state of later years"] {
            assert_eq!(heard(&status(state)), Word::Freeze(state.to_owned()));
        }
    }

    #[test]
    fn what_is_no_answer_is_silence() {
        let refused = br#"{"reply":"refused","reason":"no"}"#;
        let refused = [&u32::try_from(refused.len()).unwrap().to_le_bytes(), &refused[..]].concat();
        for answer in [&refused[..], b"\x05\0\0\0xxxxx", b"\xff\xff\xff\xff", b"\x10\0"] {
            assert!(matches!(heard(answer), Word::Silent(_)), "{answer:?}");
        }
    }

    #[test]
    fn where_nothing_listens_hv_vss_is_absent() {
        let path = socket();
        assert!(matches!(ask(&path), Word::Absent(_)));
        drop(UnixListener::bind(&path).unwrap());
        assert!(matches!(ask(&path), Word::Absent(_)), "a socket that a dead daemon left");
        std::fs::remove_file(&path).unwrap();
    }
}
