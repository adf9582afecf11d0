//! Runs the administrator's scripts in hooks.d around the freeze.
