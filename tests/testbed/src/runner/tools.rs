//! Tools that this machine lacks: `scripts/unpack-tools` unpacks Debian's packages into
//! `target/tools`, and here the tests get to see them. Nothing is installed.
//!
//! For root, `/usr` becomes in this process's own mount namespace what it would be with these
//! packages installed. Any other user finds the programs in `target/tools/bin`, which
//! `scripts/test` puts on the search path.

use std::process::Command;

use crate::Places;

/// Unpacks what is missing, where apt-get and a network are to be had. Its own lines say what it
/// did; without either the tests say what they lack.
pub(crate) fn unpack(places: &Places) -> Result<(), String> {
    let script = places.root.join("scripts/unpack-tools");
    let status = Command::new(&script).arg(places.target.join("tools")).status();
    status.map(drop).map_err(|error| format!("{}: {error}", script.display()))
}

/// Lets root's tests see what was unpacked. Says so where that is not possible.
#[cfg(target_os = "linux")]
pub(crate) fn reach(places: &Places) {
    let tools = places.target.join("tools");
    if !nix::unistd::geteuid().is_root() || !tools.join("tree/usr").exists() {
        return;
    }
    if let Err(why) = linux::lay_over(&tools) {
        eprintln!("hv-vss-tests: what lies in {} can be used only in part: {why}", tools.display());
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn reach(_: &Places) {}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::Path;

    use nix::mount::{MsFlags, mount};

    use crate::scenario::own_mounts;

    const NOTHING: Option<&str> = None;

    pub(super) fn lay_over(tools: &Path) -> Result<(), String> {
        let over = tools.join("tree/usr").display().to_string();
        // Both would end a word in the options of the mount.
        if over.contains([':', ',']) {
            return Err("its path has a colon or a comma".to_owned());
        }
        own_mounts()?;
        let layers = format!("lowerdir={over}:/usr");
        mount(Some("overlay"), "/usr", Some("overlay"), MsFlags::empty(), Some(layers.as_str()))
            .map_err(|error| format!("an overlay on /usr: {error}"))?;
        for name in ["passwd", "group"] {
            let with_users = tools.join(name);
            mount(Some(&with_users), &Path::new("/etc").join(name), NOTHING, MsFlags::MS_BIND, NOTHING)
                .map_err(|error| format!("{}: {error}", with_users.display()))?;
        }
        Ok(())
    }
}
