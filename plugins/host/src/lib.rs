//! The process that loads one plugin and serves its calls, single-threaded.
