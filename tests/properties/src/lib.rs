//! Nothing but tests: what must be true of every input, where there are too many to try them all. Where there aren't, the test that tries them all
//! stands beside the code.
