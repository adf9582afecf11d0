//! The helper that looks names up. A resolver may take a minute.

use std::io;
use std::sync::mpsc::{Sender, channel};

use hv_vss_kvp_core::Input;
use hv_vss_platform::network;

use crate::mailbox::{Post, helper};

/// Starts the helper. It is sent host names.
pub(crate) fn start(post: Post) -> io::Result<Sender<String>> {
    let (sender, hosts) = channel::<String>();
    helper("name").spawn(move || {
        for host in hosts {
            let full = network::full_name(&host);
            post.send(Input::Named(host, full));
        }
    })?;
    Ok(sender)
}
