//! The helper that runs the administrator's script for addresses. No shell is involved: the script
//! is executed with one word for each address.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use hv_vss_kvp_core::{Input, Settings};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::mailbox::{Post, helper};

/// A script that takes longer is killed. The host was answered long before.
const LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked at.
const PACE: Duration = Duration::from_millis(20);
/// All that a script gets of an environment.
const PATH: &str = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin";

/// Starts the helper.
pub(crate) fn start(script: PathBuf, post: Post) -> io::Result<Sender<Settings>> {
    let (sender, settings) = channel::<Settings>();
    helper("script").spawn(move || {
        for settings in settings {
            post.send(Input::Configured(run(&script, &settings.arguments(), LIMIT)));
        }
    })?;
    Ok(sender)
}

fn run(script: &Path, arguments: &[String], limit: Duration) -> Result<(), String> {
    // Judged each time: the file can change while the daemon runs.
    let trusted = hv_vss_trust::regular_file(script, None).map_err(|distrust| distrust.to_string())?;
    let cannot = |error: io::Error| format!("can't run {}: {error}", trusted.display());
    let mut command = Command::new(&trusted);
    command.args(arguments).env_clear().env("PATH", PATH).current_dir("/").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(cannot)?;
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait().map_err(cannot)? {
            Some(status) => return judge(&trusted, status),
            None if Instant::now() >= deadline => {
                let group = i32::try_from(child.id()).map(Pid::from_raw);
                // It may have ended by itself a moment ago; then nothing is left to be killed.
                let _ = group.map(|group| killpg(group, Signal::SIGKILL));
                let _ = child.wait();
                return Err(format!("{} was killed after {} s", trusted.display(), limit.as_secs()));
            }
            None => thread::sleep(PACE),
        }
    }
}

fn judge(script: &Path, status: ExitStatus) -> Result<(), String> {
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", script.display())) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use hv_vss_testbed::needs;

    use super::*;

    fn script(name: &str, text: &str, mode: u32) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("hv_vss-kvp-{name}-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let path = directory.join("script");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn ends(script: &Path, limit: Duration) -> Result<(), String> {
        let result = run(script, &["interface=hn0".into(), "address=10.0.0.5/8".into()], limit);
        fs::remove_dir_all(script.parent().unwrap()).unwrap();
        result
    }

    #[test]
    fn the_scripts_exit_status_is_the_result_and_each_argument_is_one_word() {
        // Only root's files are trusted.
        needs!(Root);
        let good =
            script("good", "#!/bin/sh\n[ $# = 2 ] && [ \"$2\" = address=10.0.0.5/8 ] && [ -z \"$HOME\" ]\n", 0o755);
        assert_eq!(ends(&good, LIMIT), Ok(()));
        let bad = script("bad", "#!/bin/sh\nexit 3\n", 0o755);
        assert!(ends(&bad, LIMIT).unwrap_err().contains("exit status: 3"));
        let hangs = script("hangs", "#!/bin/sh\nsleep 60\n", 0o755);
        assert!(ends(&hangs, Duration::from_millis(100)).unwrap_err().contains("was killed"));
    }

    #[test]
    fn a_script_that_others_may_write_or_that_is_not_there_is_not_run() {
        // Only root's files are trusted.
        needs!(Root);
        let open = script("open", "#!/bin/sh\nexit 0\n", 0o777);
        assert!(ends(&open, LIMIT).is_err());
        assert!(run(Path::new("/nonexistent/script"), &[], LIMIT).is_err());
    }
}
