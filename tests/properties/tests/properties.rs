//! Each file is about one part that only decides. A property's name is a claim about *every* input; proptest makes some hundred of them, and of one
//! that fails the smallest it finds, whose seed it prints and adds to the `.regressions` file beside the source: such a file is committed, and tried
//! first from then on.

use proptest::test_runner::{Config, FileFailurePersistence};

#[path = "properties/deadlines.rs"]
mod deadlines;
#[path = "properties/frames.rs"]
mod frames;
#[path = "properties/hooks.rs"]
mod hooks;
#[path = "properties/log.rs"]
mod log;
#[path = "properties/plan.rs"]
mod plan;
#[path = "properties/spans.rs"]
mod spans;
#[path = "properties/timeline.rs"]
mod timeline;

/// How each property is tried.
fn tried() -> Config {
    Config {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..Config::default()
    }
}
