//! The simulated machine, tried from outside: its nodes through real system calls, its command as a shell uses it.

mod command;
mod heard;
mod nodes;
mod process;
mod vfsfreeze;
