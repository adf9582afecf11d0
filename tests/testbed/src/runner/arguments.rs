//! What `cargo test` would understand: options for cargo, a name to filter by, options for libtest.

/// Options of cargo's that take a value of their own, unless it is joined by `=`.
const WITH_VALUE: [&str; 15] = [
    "-p",
    "--package",
    "--exclude",
    "--test",
    "--bin",
    "--example",
    "--bench",
    "-j",
    "--jobs",
    "-F",
    "--features",
    "--profile",
    "--target",
    "--color",
    "--config",
];
/// Options that choose kinds of targets; with one of them cargo runs no documentation tests.
const TARGETS: [&str; 10] = [
    "--lib",
    "--bin",
    "--bins",
    "--test",
    "--tests",
    "--example",
    "--examples",
    "--bench",
    "--benches",
    "--all-targets",
];

/// The command line, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// For cargo.
    pub(crate) cargo: Vec<String>,
    /// A filter by name.
    pub(crate) name: Option<String>,
    /// For each test program.
    pub(crate) libtest: Vec<String>,
}

impl Arguments {
    pub(crate) fn read(words: &[String]) -> Self {
        let mut read = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--" => {
                    read.libtest.extend(words.by_ref().cloned());
                }
                option if option.starts_with('-') => {
                    read.cargo.push(word.clone());
                    if WITH_VALUE.contains(&option) {
                        read.cargo.extend(words.next().cloned());
                    }
                }
                _ => read.name = Some(word.clone()),
            }
        }
        read
    }

    /// Whether everything is asked for, the kernel modules' tests included.
    pub(crate) fn is_whole(&self) -> bool {
        self == &Self::default()
    }

    /// Whether cargo would run documentation tests, too.
    pub(crate) fn has_documentation(&self) -> bool {
        let names = |option: &String| option.split('=').next().unwrap_or_default().to_owned();
        !self.cargo.iter().any(|option| TARGETS.contains(&names(option).as_str()))
    }

    /// Whether cargo's own choice of packages is to be used in place of all.
    pub(crate) fn names_packages(&self) -> bool {
        self.cargo
            .iter()
            .any(|option| option.starts_with("-p") || option.starts_with("--package") || option == "--workspace")
    }

    /// What each test program is given.
    pub(crate) fn for_programs(&self) -> Vec<String> {
        self.name.iter().chain(&self.libtest).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Arguments {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Arguments::read(&words)
    }

    #[test]
    fn a_value_of_an_option_is_no_filter() {
        let read = read("-p hv-vss-trust --test=trust a_file -- --nocapture --exact");
        assert_eq!(read.cargo, ["-p", "hv-vss-trust", "--test=trust"]);
        assert_eq!(read.name.as_deref(), Some("a_file"));
        assert_eq!(read.for_programs(), ["a_file", "--nocapture", "--exact"]);
        assert!(read.names_packages() && !read.has_documentation() && !read.is_whole());
    }

    #[test]
    fn without_a_word_everything_is_run() {
        assert!(read("").is_whole() && read("").has_documentation());
        assert!(!read("-- --nocapture").is_whole());
        assert!(read("-p hv-vss-trust").has_documentation());
    }
}
