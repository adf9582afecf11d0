//! The conversation with workers and vssctl: whatever is said arrives, however the stream is cut.

use hv_vss_wire::{Answer, Claim, Event, FrameError, Frames, Level, MAX_FRAME, Phase, Progress, encode};
use proptest::collection::vec;
use proptest::prelude::*;

fn event() -> impl Strategy<Value = Event> {
    let text = || prop_oneof!["[ -~]{0,40}", any::<String>()];
    let claim = prop_oneof![
        Just(Claim::Freeze),
        Just(Claim::NotMine),
        text().prop_map(|reason| Claim::Ignore { reason }),
        text().prop_map(|reason| Claim::Veto { reason }),
    ];
    let answer = prop_oneof![
        (vec(claim, 0..4), any::<bool>()).prop_map(|(claims, held)| Answer::Done { claims, held }),
        text().prop_map(|reason| Answer::Refused { reason }),
        text().prop_map(|reason| Answer::Broken { reason }),
    ];
    let progress = prop_oneof![
        Just(Progress::Planned),
        Just(Progress::Started),
        proptest::option::of(text()).prop_map(|failure| Progress::Ended { failure }),
    ];
    prop_oneof![
        (any::<u64>(), answer).prop_map(|(id, answer)| Event::Answer { id, answer }),
        text().prop_map(|text| Event::Log { level: Level::Warn, text }),
        (text(), progress).prop_map(|(name, progress)| Event::Substep { name, phase: Phase::Thaw, progress }),
        Just(Event::LetGo),
    ]
}

/// Everything that comes out of a stream in these parts.
fn heard(parts: &[&[u8]]) -> Vec<Event> {
    let mut frames = Frames::default();
    let mut out = Vec::new();
    for part in parts {
        frames.push(part);
        while let Some(event) = frames.next().expect("what was encoded") {
            out.push(event);
        }
    }
    out
}

proptest! {
    #![proptest_config(crate::tried())]

    #[test]
    fn every_message_arrives_whole_and_in_order_however_the_stream_is_cut(events in vec(event(), 0..6), cuts in vec(any::<prop::sample::Index>(), 0..12)) {
        let stream: Vec<u8> = events.iter().flat_map(|event| encode(event).expect("short enough")).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        prop_assert_eq!(heard(&parts), events);
    }

    #[test]
    fn a_message_that_is_announced_as_too_long_is_refused_before_it_is_there(length in (MAX_FRAME + 1)..=u32::MAX as usize) {
        let mut frames = Frames::default();
        frames.push(&u32::try_from(length).expect("in range").to_le_bytes());
        let refused = frames.next::<Event>();
        prop_assert!(matches!(refused, Err(FrameError::TooLong(told)) if told == length));
    }
}
