//! Which files lie behind a disk device? Read from GEOM's own account, the sysctl kern.geom.confxml (sys/geom/geom_dump.c).
//!
//! A label, a partition, a mirror or an encrypted disk is a provider of one geom that consumes others. It is followed down to the vnode disks
//! of md(4), which name their file.

use std::collections::{HashMap, HashSet};

/// What kern.geom.confxml told.
#[derive(Debug, Default)]
pub(super) struct Geom {
    /// Each provider's place by its names, `/dev/` left out.
    names: HashMap<String, usize>,
    providers: Vec<Provider>,
    /// The providers' ids that a geom consumes.
    consumed: HashMap<String, Vec<String>>,
    ids: HashMap<String, usize>,
}

#[derive(Debug, Default)]
struct Provider {
    geom: String,
    file: Option<String>,
}

/// One element's begin, its end, or its text.
enum Part<'a> {
    Begin(&'a str),
    End(&'a str),
    Text(&'a str),
}

impl Geom {
    /// Reads the text. What it does not know it passes over.
    pub(super) fn parse(xml: &str) -> Self {
        let mut geom = Self::default();
        let (mut open, mut at_geom, mut consumes) = (Vec::<&str>::new(), "", false);
        for part in parts(xml) {
            match part {
                Part::Begin(tag) => {
                    let (name, id) = (tag_name(tag), attribute(tag, "id"));
                    match (name, id) {
                        ("geom", Some(id)) => at_geom = id,
                        ("consumer", Some(_)) => consumes = true,
                        ("provider", Some(id)) => geom.begin_provider(id, at_geom),
                        _ => {}
                    }
                    if let ("provider", Some(id), true) = (name, attribute(tag, "ref"), consumes) {
                        geom.consumed.entry(at_geom.to_owned()).or_default().push(id.to_owned());
                    }
                    if !tag.ends_with('/') {
                        open.push(name);
                    }
                }
                Part::End(name) => {
                    consumes &= name != "consumer";
                    // Elements are closed in the order in which they were opened; should one not be, its own stay where they are.
                    if open.last() == Some(&name) {
                        open.pop();
                    }
                }
                Part::Text(text) => match open[..] {
                    [.., "provider", "name" | "alias"] => geom.name_provider(unescaped(text)),
                    [.., "provider", "config", "file"] => geom.place_provider(unescaped(text)),
                    _ => {}
                },
            }
        }
        geom
    }

    fn begin_provider(&mut self, id: &str, geom: &str) {
        self.ids.insert(id.to_owned(), self.providers.len());
        self.providers.push(Provider { geom: geom.to_owned(), file: None });
    }

    fn name_provider(&mut self, name: String) {
        if let Some(at) = self.providers.len().checked_sub(1) {
            self.names.insert(name, at);
        }
    }

    fn place_provider(&mut self, file: String) {
        if let Some(provider) = self.providers.last_mut() {
            provider.file = Some(file);
        }
    }

    /// The files that a device (`md9`, `label/sw`, `/dev/gpt/swap`) keeps its blocks in; none for one on real disks only.
    pub(super) fn files_of(&self, device: &str) -> Vec<String> {
        let name = device.strip_prefix("/dev/").unwrap_or(device);
        let (mut files, mut seen) = (Vec::new(), HashSet::new());
        let mut left: Vec<usize> = self.names.get(name).copied().into_iter().collect();
        while let Some(at) = left.pop() {
            let provider = &self.providers[at];
            if !seen.insert(at) {
                continue;
            }
            files.extend(provider.file.clone());
            let below = self.consumed.get(&provider.geom).into_iter().flatten();
            left.extend(below.filter_map(|id| self.ids.get(id)));
        }
        files.sort();
        files.dedup();
        files
    }
}

/// The tags and the texts between them.
fn parts(xml: &str) -> impl Iterator<Item = Part<'_>> {
    xml.split('<').skip(1).flat_map(|piece| {
        let (tag, text) = piece.split_once('>').unwrap_or((piece, ""));
        let part = match tag.strip_prefix('/') {
            Some(name) => Part::End(name),
            None => Part::Begin(tag),
        };
        std::iter::once(part).chain((!text.trim().is_empty()).then_some(Part::Text(text)))
    })
}

fn tag_name(tag: &str) -> &str {
    tag.split([' ', '/']).next().unwrap_or_default()
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let value = tag.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix("=\""))?;
    value.split('"').next()
}

/// The kernel writes what XML reserves, and bytes above 126, as `&#x26;`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("&#x") {
        bytes.extend_from_slice(before.as_bytes());
        rest = match after.split_once(';').map(|(digits, rest)| (u8::from_str_radix(digits, 16), rest)) {
            Some((Ok(byte), rest)) => {
                bytes.push(byte);
                rest
            }
            _ => {
                bytes.extend_from_slice(b"&#x");
                after
            }
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with a disk, a swap file with a label and one with a GPT partition, a mirror of two images, and an encrypted image.
    const MESH: &str = include_str!("geom-mesh.xml");

    fn files(device: &str) -> Vec<String> {
        Geom::parse(MESH).files_of(device)
    }

    #[test]
    fn a_swap_file_is_found_through_its_label_and_its_partition() {
        for device in ["md9", "md9p1", "gpt/gsw", "/dev/gpt/gsw"] {
            assert_eq!(files(device), ["/usr/swap1"], "{device}");
        }
        for device in ["md8", "label/sw", "/dev/label/sw"] {
            assert_eq!(files(device), ["/usr/swap & more"], "{device}");
        }
    }

    #[test]
    fn a_mirror_has_the_files_of_all_its_disks_and_an_encrypted_one_its_own() {
        assert_eq!(files("mirror/both"), ["/a/half", "/b/half"]);
        assert_eq!(files("/dev/md5.eli"), ["/a/secret"]);
    }

    #[test]
    fn a_real_disk_a_memory_disk_and_an_unknown_name_have_no_file() {
        for device in ["da0", "da0p2", "ufs/root", "md0", "nonesuch", "", "/usr"] {
            assert_eq!(files(device), Vec::<String>::new(), "{device}");
        }
    }

    #[test]
    fn a_text_cut_anywhere_is_read_as_far_as_it_goes() {
        for cut in (0..MESH.len()).filter(|cut| MESH.is_char_boundary(*cut)) {
            let all = Geom::parse(&MESH[..cut]).files_of("label/sw");
            assert!(all.is_empty() || all[0].starts_with("/usr/swap"), "{all:?}");
        }
        let circle = r#"<class id="c"><geom id="g"><consumer id="x"><provider ref="p"/></consumer><provider id="p"><name>a</name></provider></geom></class>"#;
        assert_eq!(Geom::parse(circle).files_of("a"), Vec::<String>::new());
    }
}
