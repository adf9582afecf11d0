//! Whatever a client may write to the control socket, through the server's own conversation over a real socket: each question gets one answer, what
//! is none is refused with a sentence, and the conversation ends when the client is done.
//!
//! An even first byte: the rest is the stream as it is. An odd one: it is cut at line ends, and each line is framed as a message.
#![no_main]

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use hv_vss_core::control::{Question, Reply};
use hv_vss_daemon::control::server;
use hv_vss_daemon::engine::Event;
use hv_vss_wire::Frames;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

thread_local! {
    static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
}

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let stream = if first % 2 == 0 { rest.to_vec() } else { framed(rest) };
    // What the socket can't take at once would wait for a reader.
    if stream.len() > 100_000 {
        return;
    }
    let (mut client, served) = UnixStream::pair().expect("a pair of sockets");
    client.write_all(&stream).expect("room for the stream");
    client.shutdown(Shutdown::Write).expect("an end");
    served.set_nonblocking(true).expect("a mode");
    let questions = RUNTIME.with(|runtime| runtime.block_on(conversation(served)));

    let mut answers = Vec::new();
    let end = client.read_to_end(&mut answers);
    let mut frames = Frames::default();
    frames.push(&answers);
    let mut replies = Vec::new();
    while let Some(reply) = frames.next::<Reply>().expect("answers of the kind that vssctl understands") {
        replies.push(reply);
    }
    let refused = usize::from(replies.len() > questions);
    assert_eq!(replies.len(), questions + refused, "one answer for each question, and at most one refusal at the end");
    // Who is refused is not read to his end, and Linux calls that a reset, behind the last answer.
    let reset = end.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
    assert!(end.is_ok() || (reset && refused == 1), "answers, and their end: {end:?}");
    if refused == 1 {
        assert!(matches!(replies.last(), Some(Reply::Refused { reason }) if !reason.is_empty()));
    }
});

fn framed(text: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        stream.extend(u32::try_from(line.len()).unwrap_or(0).to_le_bytes());
        stream.extend(line);
    }
    stream
}

/// Plays the engine; gives back how many questions it got.
async fn conversation(stream: UnixStream) -> usize {
    let stream = tokio::net::UnixStream::from_std(stream).expect("a socket of the event loop");
    let (sender, mut events) = mpsc::unbounded_channel();
    let engine = async {
        let mut questions = 0;
        while let Some(event) = events.recv().await {
            let Event::Control(question, answer) = event else { panic!("the server sent {event:?}") };
            questions += 1;
            let reply = match question {
                Question::History { .. } | Question::Show { .. } => {
                    Reply::Records { records: Vec::new(), damage: None }
                }
                Question::Metrics => Reply::Metrics { text: "# EOF\n".to_owned() },
                _ => Reply::Done,
            };
            answer.send(reply).expect("somebody who waits for the answer");
        }
        questions
    };
    let server = async move {
        server::converse(stream, &sender).await;
    };
    futures_join(server, engine).await
}

/// Both to their ends; what the second one gives.
async fn futures_join<T>(one: impl Future<Output = ()>, other: impl Future<Output = T>) -> T {
    let mut one = std::pin::pin!(one);
    let mut other = std::pin::pin!(other);
    let mut ended = false;
    std::future::poll_fn(|context| {
        if !ended {
            ended = one.as_mut().poll(context).is_ready();
        }
        other.as_mut().poll(context)
    })
    .await
}
