//! The log: whatever a plugin or a script said, it is one line, of bounded length, that steers no terminal.

use std::io::Read;
use std::os::unix::net::UnixStream;

use hv_vss_service::{Journal, Sink};
use proptest::prelude::*;
use tracing::Level;

/// What arrives at the reader of the log.
fn sent(text: &str) -> String {
    let (mut reader, writer) = UnixStream::pair().expect("a pair of sockets");
    let journal = Journal::new(Sink::of_pipe(writer.into(), "log"), Level::INFO);
    journal.say(Level::INFO, text);
    drop(journal);
    let mut line = String::new();
    reader.read_to_string(&mut line).expect("a line that is text");
    line
}

proptest! {
    #![proptest_config(crate::tried())]

    #[test]
    fn every_text_is_one_line_that_steers_nothing(text in prop_oneof![any::<String>(), "[\\x00-\\x1f\\x7f-\\x9f a]{0,60}"]) {
        let line = sent(&text);
        let body = line.strip_suffix('\n').expect("the end of a line");
        prop_assert!(!body.chars().any(char::is_control), "{:?}", body);
    }

    #[test]
    fn a_text_without_control_characters_arrives_as_it_is(text in "[ -~é日]{0,300}") {
        let expected = format!(" {text}\n");
        prop_assert!(sent(&text).ends_with(&expected));
    }

    #[test]
    fn a_long_text_is_cut_and_says_so(text in "[a-z\\n]{2100,4000}") {
        let line = sent(&text);
        prop_assert!(line.len() < 2_200 && line.ends_with(" [cut]\n"), "{} bytes", line.len());
    }
}
