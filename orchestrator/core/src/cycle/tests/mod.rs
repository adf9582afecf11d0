//! The state machine, told as stories (`stories`) and walked to its end (`closure`).

mod closure;
mod stories;

use super::*;

/// A plan from a line such as `app 10 on 0, fs on 1, survivor on 2`.
fn shape(line: &str) -> Shape {
    Shape(
        line.split(", ")
            .map(|holder| {
                let words: Vec<&str> = holder.split(' ').collect();
                let kind = match words[0] {
                    "app" => Kind::App { number: words[1].parse().unwrap() },
                    "fs" => Kind::Filesystem { survives_exit: false },
                    "survivor" => Kind::Filesystem { survives_exit: true },
                    other => panic!("{other}?"),
                };
                Holder { worker: WorkerId(words[words.len() - 1].parse().unwrap()), kind }
            })
            .collect(),
    )
}
