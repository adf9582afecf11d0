//! Where did the time of a cycle go? Drawn from its record alone: [`model`] decides what is shown and where, `terminal` and `svg` only paint it.

mod axis;
mod model;
mod svg;
mod terminal;
mod words;

pub use svg::svg;
pub use terminal::terminal;
