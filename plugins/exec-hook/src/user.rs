//! The user as whom a hook runs, when the configuration names one: with that user's groups, and none of root's.

use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User, getgrouplist};

/// As whom a script runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(crate) name: String,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) groups: Vec<Gid>,
    pub(crate) home: PathBuf,
}

/// Looks a user up. To be done before the freeze: the answer may lie in a file.
///
/// # Errors
/// Half a sentence.
pub(crate) fn look_up(name: &str) -> Result<Identity, String> {
    let user = User::from_name(name)
        .map_err(|errno| format!("the user {name} can't be looked up: {}", errno.desc()))?
        .ok_or_else(|| format!("there is no user {name}: correct `user` in the configuration"))?;
    let c_name = CString::new(name).map_err(|_| "a user's name can't hold a null byte".to_owned())?;
    let groups = getgrouplist(&c_name, user.gid)
        .map_err(|errno| format!("the groups of the user {name} can't be looked up: {}", errno.desc()))?;
    Ok(Identity { name: user.name, uid: user.uid, gid: user.gid, groups, home: user.dir })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_with_his_groups_and_a_mistyped_one_is_named() {
        let root = look_up("root").unwrap();
        assert!(root.uid.is_root());
        assert!(root.groups.contains(&root.gid));
        assert!(look_up("no_such_user_here").unwrap_err().contains("no_such_user_here"));
    }
}
