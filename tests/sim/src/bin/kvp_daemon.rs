//! `hv-vss-sim-kvp-daemon NODE FILE`: a daemon for the key-value pairs that answers after it has
//! written to its file, as FreeBSD's does. It shows what a backup pays for that.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use hv_vss_sim::kvp::message::{BODY, SET};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The first message of a daemon.
const REGISTER: u8 = 4;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, node, file] = &arguments[..] else {
        return Err(io::Error::other("usage: hv-vss-sim-kvp-daemon NODE FILE"));
    };
    let node = OpenOptions::new().read(true).write(true).open(node)?;
    let mut message = [0; BODY];
    message[0] = REGISTER;
    node.write_at(&message, 0)?;
    println!("ready");
    io::stdout().flush()?;
    loop {
        poll(&mut [PollFd::new(node.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
        node.read_at(&mut message, 0)?;
        sleep(Duration::from_millis(2));
        if message[0] == SET {
            keep(Path::new(file), &message[16..])?;
        }
        message[..4].fill(0);
        node.write_at(&message, 0)?;
    }
}

fn keep(file: &Path, record: &[u8]) -> io::Result<()> {
    File::options().append(true).create(true).open(file)?.write_all(record)
}
