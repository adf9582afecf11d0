//! A directory tree as a value, so that two can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What stands under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The permission bits.
    pub mode: u32,
    /// The owner and the group.
    pub owner: (u32, u32),
    /// A file's content; a directory has none.
    pub content: Option<Vec<u8>>,
}

/// Everything below `root`, by its path from there.
#[must_use]
pub fn tree(root: &Path) -> BTreeMap<String, Entry> {
    let mut all = BTreeMap::new();
    add(root, root, &mut all);
    all
}

fn add(root: &Path, directory: &Path, all: &mut BTreeMap<String, Entry>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let metadata = fs::symlink_metadata(&path).expect("an entry's metadata");
        let content = (!metadata.is_dir()).then(|| fs::read(&path).expect("a file"));
        let name = path.strip_prefix(root).expect("below the root").to_str().expect("a name in UTF-8").to_owned();
        let entry = Entry { mode: metadata.mode() & 0o7777, owner: (metadata.uid(), metadata.gid()), content };
        all.insert(name, entry);
        if metadata.is_dir() {
            add(root, &path, all);
        }
    }
}
