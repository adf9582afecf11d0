//! Where the code comes from that a plugin brings along: the libraries it names by path, and those found on its own search path.
//!
//! A trusted plugin that has `DT_RUNPATH=/home/dev/lib` in it, left over from the build, would load whatever lies there into a process of
//! root's. So before the dynamic linker sees the plugin, every directory it would look in and every library it would find there is judged as
//! the plugin itself was, and theirs in turn. The linker's default directories are the system's: whoever can write there needs no plugin.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::elf::{self, Wishes};

/// Judges everything that would be loaded with the plugin in `path`, which is judged itself, and resolved.
///
/// # Errors
/// A sentence without a subject, as what comes after the plugin's name.
pub fn judge(path: &Path) -> Result<(), String> {
    let mut seen = BTreeSet::from([path.to_owned()]);
    let mut to_do = vec![path.to_owned()];
    while let Some(object) = to_do.pop() {
        // One that can't be read is the linker's to complain of; it loads nothing.
        let Ok(wishes) = elf::wishes(&object) else { continue };
        for library in brought_along(&object, &wishes)? {
            if seen.insert(library.clone()) {
                to_do.push(library);
            }
        }
    }
    Ok(())
}

/// The libraries that this object makes the linker take from elsewhere than its default directories, each judged and resolved.
fn brought_along(object: &Path, wishes: &Wishes) -> Result<Vec<PathBuf>, String> {
    let asks = |what: &str, why: String| format!("makes {} look in {what}: {why}", shown(object));
    let mut directories = Vec::new();
    for entry in wishes.search_paths.iter().flat_map(|path| path.split(':')) {
        let directory = expanded(object, entry).map_err(|why| asks(&format!("\"{entry}\""), why))?;
        judge_directory(&directory).map_err(|why| asks(entry, why))?;
        directories.push(directory);
    }
    let mut found = Vec::new();
    for name in &wishes.libraries {
        let by_path = name.contains('/').then(|| expanded(object, name)).transpose();
        let path = match by_path.map_err(|why| format!("makes {} load \"{name}\": {why}", shown(object)))? {
            Some(path) => Some(path),
            None => directories.iter().map(|directory| directory.join(name)).find(|path| path.exists()),
        };
        // By its own name alone and in none of these directories: one of the system's.
        let Some(path) = path else { continue };
        let trusted = hv_vss_trust::regular_file(&path, Some(Path::new("/")));
        found.push(trusted.map_err(|distrust| format!("makes {} load {name}: {distrust}", shown(object)))?);
    }
    Ok(found)
}

fn shown(object: &Path) -> String {
    format!("the linker, for {},", object.display())
}

/// The path that the linker makes of an entry. It knows `$ORIGIN`, the directory of the object itself; what else begins with a dollar differs
/// from system to system.
fn expanded(object: &Path, entry: &str) -> Result<PathBuf, String> {
    let origin = object.parent().unwrap_or(Path::new("/")).display().to_string();
    let path = entry.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin);
    if path.contains('$') {
        return Err("only $ORIGIN is understood here; link the plugin with a whole path".to_owned());
    }
    if !path.starts_with('/') {
        return Err(
            "that is relative to whatever directory a process is in; link the plugin with a whole path".to_owned()
        );
    }
    Ok(path.into())
}

/// A directory that is not there must be one that nobody but root could make.
fn judge_directory(directory: &Path) -> Result<(), String> {
    let there = directory.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    hv_vss_trust::directory(there).map(|_| ()).map_err(|distrust| distrust.to_string())
}
